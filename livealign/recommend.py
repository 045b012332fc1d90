"""A release bundle and a live state → ranked live rooms, each with a reason.

    recommender = Recommender.open(bundle_path)
    answer = recommender.recommend(user_id=17, k=10)

The recommender holds what a release knows (models, vocabularies, names) and the live state that it ranks. It needs no LLM:
the rooms' vectors and codes are in the state, put there by a snapshot or by the refresh.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from livealign.alignment import Alignment
from livealign.bundle import Bundle, open_bundle
from livealign.code_names import path_names
from livealign.dataset import Examples, KnownIds, serving_examples
from livealign.errors import BundleError, LiveAlignError
from livealign.live_state import Engagement, LiveState, LiveView
from livealign.ranking import ItemTable, Ranker
from livealign.recommendations import MAX_K, Fallback, RankedRoom, Recommendations
from livealign.release_parts import (
    ALIGNMENT,
    CODEBOOK,
    RANKER,
    read_code_names,
    read_vocabulary,
    snapshot_files,
)
from livealign.retrieval import RoomIndex
from livealign.semantic_codes import Codebook

RANK_AT_MOST = 500  # rooms that go into the ranker; of more, those nearest to the user's vector

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Recommender:
    """One release in service. `recommend` may be called from any thread; `state` is changed by one (`livealign.live_state`)."""

    bundle: Bundle
    alignment: Alignment
    codebook: Codebook
    ranker: Ranker
    vocabulary: KnownIds
    code_names: dict[str, str]
    state: LiveState

    @classmethod
    def open(cls, path: Path, device: torch.device | str = "cpu") -> "Recommender":
        """Verify the bundle, load its models, and start from its snapshot.

        Raises:
            BundleError: a file is missing or damaged, or the parts are not of one retrain.
        """
        bundle = open_bundle(path)
        alignment = Alignment.load(bundle.file(ALIGNMENT), device)
        codebook = Codebook.load(bundle.file(CODEBOOK))
        ranker = Ranker.load(bundle.file(RANKER), codebook.version, device)
        vocabulary = read_vocabulary(bundle)
        if codebook.dim != alignment.config.dim or ranker.sizes.vector_dim not in (0, alignment.config.dim):
            raise BundleError(f"the models in {path} do not fit each other; build the release again")

        def author_moments(author_ids: Ints) -> tuple[Floats, Ints]:
            """Vectors and codes of authors' rooms without any content."""
            no_content = np.zeros((len(author_ids), alignment.sizes.content_dim), dtype=np.float32)
            vectors = alignment.room_vectors(vocabulary.authors.lookup(author_ids), no_content)
            return vectors, codebook.encode(vectors).astype(np.int64)

        state = LiveState.from_snapshot(snapshot_files(bundle), author_moments, alignment.history_length)
        return cls(bundle, alignment, codebook, ranker, vocabulary, read_code_names(bundle), state)

    @property
    def model_version(self) -> str:
        """The release id."""
        return self.bundle.release_id

    def recommend(self, user_id: int, k: int, exclude: Collection[int] = (), at: int | None = None) -> Recommendations:
        """At most `k` rooms that are live, those most likely to be clicked first.

        Args:
            user_id: one never seen in training gets a list too, by what is on now.
            k: 1 to MAX_K.
            exclude: room ids to leave out.
            at: epoch milliseconds; None for the state's own clock, the latest moment it knows of.

        Raises:
            LiveAlignError: `k` is out of bounds.
        """
        if not 1 <= k <= MAX_K:
            raise LiveAlignError(f"k is {k}; ask for 1 to {MAX_K} rooms")
        at = self.state.clock if at is None else at
        view, history = self.state.view, [entry for entry in self.state.history(user_id) if entry.at < at]
        live = view.live_at(at)
        rows = live[~np.isin(view.room_id[live], list(exclude))] if exclude else live
        fallbacks: list[Fallback] = []
        if not self.vocabulary.users.lookup(np.array([user_id]))[0]:
            fallbacks.append("unknown_user")
        if not history:
            fallbacks.append("no_history")
        if not len(rows):
            fallbacks.append("all_excluded" if len(live) else "no_live_rooms")
            return Recommendations(uuid.uuid4().hex, self.model_version, at, (), tuple(fallbacks))
        rooms, scores = self._ranked(view.take(rows), user_id, history, at)
        best = np.argsort(-scores[:, self.ranker.config.tasks.index("click")], kind="stable")[:k]
        listed = tuple(self._listed(rooms, row, scores[row], history, at) for row in best)
        if any(room.content_age_seconds is None for room in listed):
            fallbacks.append("author_only")
        return Recommendations(uuid.uuid4().hex, self.model_version, at, listed, tuple(fallbacks))

    def _ranked(
        self, rooms: LiveView, user_id: int, history: Sequence[Engagement], at: int
    ) -> tuple[LiveView, NDArray[np.float32]]:
        """The rooms that were ranked (all, or the RANK_AT_MOST nearest to the user), and their probabilities [n, tasks]."""
        if len(rooms.room_id) > RANK_AT_MOST:
            one, items = self._examples(rooms.take(np.array([0])), user_id, history, at)  # the user is the same in all rows
            assert items.vectors is not None
            user = self.alignment.example_user_vectors(one, items.vectors)
            found = RoomIndex.build(np.arange(len(rooms.room_id)), rooms.vectors).search(user, RANK_AT_MOST)
            rooms = rooms.take(np.sort(found.room_ids[0]))
        examples, items = self._examples(rooms, user_id, history, at)
        return rooms, self.ranker.predict(examples, items if self.ranker.sizes.vector_dim else items._replace(vectors=None))

    def _examples(self, rooms: LiveView, user_id: int, history: Sequence[Engagement], at: int) -> tuple[Examples, ItemTable]:
        """The rooms as the ranker reads them: features as in training, and the items that the rows point to."""
        n = len(rooms.room_id)
        impressions, clicks = self.state.user_counts.get(user_id, (0.0, 0.0))
        columns = {
            **rooms.columns,
            "minute_in_room": (at - rooms.started_at) / 60_000,
            "segment_age_seconds": np.where(rooms.content_at > 0, (at - rooms.content_at) / 1000, np.nan),
            "user_impressions": np.full(n, impressions),
            "user_clicks": np.full(n, clicks),
        }
        examples = serving_examples(
            self.vocabulary.users,
            self.vocabulary.authors,
            self.vocabulary.base_rates,
            user_id,
            rooms.room_id,
            rooms.author_id,
            at,
            columns,
            np.array([entry.moment.author_id for entry in history], dtype=np.int64),
            self.alignment.history_length,
        )
        vectors = [np.zeros((1, self.state.dim), np.float32), rooms.vectors, *(entry.moment.vector[None] for entry in history)]
        codes = [np.zeros((1, self.state.levels), np.int64), rooms.codes, *(entry.moment.codes[None] for entry in history)]
        return examples, ItemTable(np.concatenate(vectors), np.concatenate(codes))

    def _listed(
        self, rooms: LiveView, row: int, scores: NDArray[np.float32], history: Sequence[Engagement], at: int
    ) -> RankedRoom:
        room, codes = rooms.rooms[row], [int(code) for code in rooms.codes[row]]
        by_task = {task: float(score) for task, score in zip(self.ranker.config.tasks, scores, strict=True)}
        has_content = room.moment.segment_id != 0
        return RankedRoom(
            room_id=room.room_id,
            author_id=room.author_id,
            title=room.title,
            score=by_task["click"],
            scores=by_task,
            codes=codes,
            code_names=path_names(codes, self.code_names),
            content_age_seconds=max(0.0, (at - room.moment.ended_at) / 1000) if has_content else None,
            reason=reason(codes, self.code_names, room.author_id, history) if has_content else _JUST_STARTED,
        )


_JUST_STARTED = "Just started: chosen by who is streaming."


def reason(codes: Sequence[int], names: Mapping[str, str], author_id: int, history: Sequence[Engagement]) -> str:
    """One sentence on what is on now and what in the user's history speaks for it.

    Moments are similar when they share the first, coarsest, code.
    """
    now = f"Now: {path_names(codes, names)[min(1, len(codes) - 1)]}."
    similar = sum(int(entry.moment.codes[0]) == codes[0] for entry in history)
    same_author = sum(entry.moment.author_id == author_id for entry in history)
    if similar:
        return f"{now} You entered {similar} similar {'moment' if similar == 1 else 'moments'} lately."
    if same_author:
        return f"{now} You entered this streamer's room {'once' if same_author == 1 else f'{same_author} times'} lately."
    return f"{now} New to you." if history else now
