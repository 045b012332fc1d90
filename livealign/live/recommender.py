"""Rank the live rooms for one user, with reasons.

    recommender = Recommender.open(bundle_path)
    answer = recommender.recommend(view, reader, request)

A recommender holds a release's models, vocabularies and names, and no state: the live rooms and the user's history are
arguments. It needs no LLM: the view has the rooms' vectors and codes from the refresh (`livealign.live.refresh`).
"""

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from livealign.alignment.towers import Alignment
from livealign.codes.certainty import code_certainty
from livealign.codes.codebook import Codebook
from livealign.codes.names import path_names
from livealign.config import LiveConfig
from livealign.dataset.contexts import hour_of
from livealign.dataset.examples import KnownIds, serving_examples
from livealign.dataset.features import USER_FEATURES, feature_matrix
from livealign.errors import LiveAlignError
from livealign.live.answers import MAX_K, Fallback, RankedRoom, Recommendations
from livealign.live.list_places import Places, diverse, explored
from livealign.live.reasons import BY_STREAMER, JUST_STARTED, reason, sure_names
from livealign.live.selection import ANY_ROOM, RoomFilter, selected
from livealign.live.state.rooms import LiveView
from livealign.live.state.wishes import NOTHING_UNWANTED, Unwanted
from livealign.ranking.contexts import UNKNOWN, Context, Contexts
from livealign.ranking.network import ItemTable
from livealign.ranking.ranker import Ranker
from livealign.release.bundle import Bundle, open_bundle
from livealign.release.contents import read_code_names, read_contexts_of
from livealign.release.models import ReleaseModels

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Reader(NamedTuple):
    """The user that a list is for; h engagements before the list's time, newest first."""

    user_id: int
    authors: Ints  # [h] landed ids
    vectors: Floats  # [h, dim]
    codes: Ints  # [h, levels]
    has_content: NDArray[np.bool_]  # [h] False: entered before a window was coded, so the codes are the author's alone
    counts: tuple[float, ...]  # USER_COUNTS of the days before
    ignored: Ints  # rooms shown lately and not entered, repeated as often as shown
    unwanted: Unwanted = NOTHING_UNWANTED


@dataclass(frozen=True)
class Request:
    """The parameters of a list."""

    at: int  # epoch milliseconds
    k: int
    exclude: Collection[int] = ()
    surface: str | None = None
    content: bool = True  # False: the view was made by `without_content`
    among: Collection[int] | None = None  # ids of the only rooms to rank
    wanted: RoomFilter = ANY_ROOM
    context: Context = UNKNOWN
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Recommender:
    """The models of one release. All methods may be called from any thread."""

    bundle: Bundle
    alignment: Alignment
    codebook: Codebook
    ranker: Ranker
    vocabulary: KnownIds
    code_names: dict[str, str]
    contexts: Contexts
    config: LiveConfig
    _paths: dict[tuple[int, ...], list[str]] = field(default_factory=dict, init=False, repr=False)  # cache of names

    @classmethod
    def open(cls, path: Path, config: LiveConfig | None = None, device: torch.device | str = "cpu") -> "Recommender":
        """Verify the bundle and load its models.

        Raises:
            BundleError: a file is missing or damaged, or the models are not of one retrain.
        """
        bundle = open_bundle(path)
        models = ReleaseModels.load(bundle, device)
        return cls(
            bundle,
            models.alignment,
            models.codebook,
            models.ranker,
            models.vocabulary,
            read_code_names(bundle),
            read_contexts_of(bundle),
            config or LiveConfig(),
        )

    @property
    def model_version(self) -> str:
        """The release id."""
        return self.bundle.release_id

    def encode_authors(self, author_ids: Ints) -> tuple[Floats, Ints]:
        """Vectors [n, dim] and codes [n, levels] of authors alone, without content."""
        return self.aligned(author_ids, np.zeros((len(author_ids), self.alignment.sizes.content_dim), dtype=np.float32))

    def aligned(self, author_ids: Ints, content: Floats) -> tuple[Floats, Ints]:
        """Content [n, Σ sources] of these authors' rooms → vectors [n, dim] and codes [n, levels]."""
        vectors = self.alignment.room_vectors(self.vocabulary.authors.lookup(author_ids), content)
        return vectors, self.codebook.encode(vectors).astype(np.int64)

    def names(self, codes: Sequence[int]) -> list[str]:
        """A name for each level of one code path, "" where it has none."""
        path = tuple(codes)
        if path not in self._paths:
            self._paths[path] = path_names(path, self.code_names)
        return self._paths[path]

    def recommend(self, view: LiveView, reader: Reader, request: Request) -> Recommendations:
        """At most `k` live rooms, best first.

        Of many rooms, only those nearest to the user's vector are ranked (`LiveConfig.candidates`). Rooms shown lately and not
        entered rank lower. At most `max_same_code` rooms share their first code, if there are enough others. Some places go to
        candidates drawn at random, seeded by the request id.

        Raises:
            LiveAlignError: `k` is out of bounds.
        """
        if not 1 <= request.k <= MAX_K:
            raise LiveAlignError(f"k is {request.k}; ask for 1 to {MAX_K} rooms")
        clock = _Stages()
        live = view.live_at(request.at)
        rows = selected(view, live, request.among, request.exclude, request.wanted, reader.unwanted)
        fallbacks: list[Fallback] = []
        if not self.vocabulary.users.lookup(np.array([reader.user_id]))[0]:
            fallbacks.append("unknown_user")
        if not len(reader.authors):
            fallbacks.append("no_history")
        if not len(rows):
            fallbacks.append("all_excluded" if len(live) else "no_live_rooms")
            return self._answer(request, (), fallbacks, clock)
        user = self.user_vector(reader)
        clock.lap("user")
        rows = self.nearest(view, rows, user, reader, request)
        clock.lap("candidates")
        scores = self.scores_in_context(view, rows, reader, request)
        clock.lap("rank")
        places = self._places(view, rows, scores, reader, request)
        reasons = self.reasons(view, rows[places.chosen], reader, request.content)
        listed = tuple(
            self._listed(view, int(rows[place]), scores[place], reader, request, why)._replace(
                explored=place in places.drawn, propensity=propensity
            )
            for place, propensity, why in zip(places.chosen, places.propensities, reasons, strict=True)
        )
        if request.content and any(room.content_age_seconds is None for room in listed):
            fallbacks.append("author_only")
        if request.content and view.waiting[rows[places.chosen]].any():
            fallbacks.append("old_content")
        clock.lap("compose")
        return self._answer(request, listed, fallbacks, clock)

    def _answer(
        self, request: Request, rooms: tuple[RankedRoom, ...], fallbacks: Sequence[Fallback], clock: "_Stages"
    ) -> Recommendations:
        return Recommendations(
            request.request_id,
            self.model_version,
            request.at,
            rooms,
            tuple(fallbacks),
            request.surface,
            clock.seconds,
            context=request.context,
        )

    def nearest(self, view: LiveView, rows: Ints, user: Floats, reader: Reader, request: Request) -> Ints:
        """The rows that are ranked: the `LiveConfig.candidates` nearest to the user's vector.

        The context of a user without a history counts too.
        """
        if len(rows) <= self.config.candidates:
            return rows
        near = (view.vectors @ user)[rows]  # of all rooms: indexing first costs more than the products
        if (added := self.in_context(view, rows, reader, request)) is not None:
            near = near + added / self.alignment.logit_scale
        return np.sort(rows[np.argpartition(-near, self.config.candidates)[: self.config.candidates]])

    def lowered(self, view: LiveView, rows: Ints, click: Floats, reader: Reader) -> Floats:
        """The probabilities of a click [n], lower for rooms shown lately and not entered."""
        if not len(reader.ignored):
            return click
        times = (view.room_id[rows][:, None] == reader.ignored).sum(1)
        return click * self.config.seen_penalty**times

    def in_context(self, view: LiveView, rows: Ints, reader: Reader, request: Request) -> NDArray[np.float64] | None:
        """What the context adds to the log-odds of a click [len(rows)]; None with a history."""
        if len(reader.authors) or not self.contexts.tables:
            return None
        context = request.context._replace(hour=hour_of(request.at))
        languages = [(view.rooms[row].language or "").casefold() for row in rows.tolist()]
        return self.contexts.log_odds(context, view.codes[rows, 0], languages)

    def scores_in_context(self, view: LiveView, rows: Ints, reader: Reader, request: Request) -> Floats:
        """`scores`, where the probability of a click counts the context of a user without a history."""
        scores, added = self.scores(view, rows, reader, request.at), self.in_context(view, rows, reader, request)
        if added is not None:
            click = self.ranker.config.tasks.index("click")
            scores[:, click] = expit(logit(scores[:, click].astype(np.float64)) + added)
        return scores

    @torch.inference_mode()
    def scores(self, view: LiveView, rows: Ints, reader: Reader, at: int) -> Floats:
        """Probabilities [len(rows), tasks] of the reader for rooms of the view, as in training."""
        one_thread()
        n = len(rows)
        impressions, clicks = reader.counts
        content_at = view.content_at[rows]
        seen_at = np.minimum(at, view.ended_at[rows])  # an ended room counts as at its end
        columns = {
            **view.columns(rows),
            "minute_in_room": (seen_at - view.started_at[rows]) / 60_000,
            "segment_age_seconds": np.where(content_at > 0, np.maximum(seen_at - content_at, 0) / 1000, np.nan),
            "user_impressions": np.full(n, impressions),
            "user_clicks": np.full(n, clicks),
        }
        vocabulary = self.vocabulary
        examples = serving_examples(
            vocabulary.users,
            vocabulary.authors,
            vocabulary.base_rates,
            reader.user_id,
            view.room_id[rows],
            view.author_id[rows],
            at,
            columns,
            reader.authors,
            self.alignment.history_length,
        )
        padding = np.zeros((1, self.codebook.dim), np.float32), np.zeros((1, self.codebook.levels), np.int64)
        vectors = np.concatenate([padding[0], view.vectors[rows], reader.vectors])
        codes = np.concatenate([padding[1], view.codes[rows], reader.codes])
        return self.ranker.predict(examples, ItemTable(vectors, codes).for_ranker(self.ranker.sizes))

    def user_vector(self, reader: Reader) -> Floats:
        """The user's vector [dim] of the alignment."""
        return self.user_vectors([reader])[0]

    @torch.inference_mode()
    def user_vectors(self, readers: Sequence[Reader]) -> Floats:
        """The vectors [n, dim] of users of the alignment, of any length."""
        histories = np.zeros((len(readers), self.alignment.history_length, self.codebook.dim), dtype=np.float32)
        for history, reader in zip(histories, readers, strict=True):
            newest = reader.vectors[: len(history)]
            history[: len(newest)] = newest
        impressions, clicks = np.array([reader.counts for reader in readers]).T
        columns = {"user_impressions": impressions, "user_clicks": clicks}
        return self.alignment.user_vectors(
            self.vocabulary.users.lookup(np.array([reader.user_id for reader in readers])),
            histories,
            np.array([len(reader.authors) for reader in readers]),
            feature_matrix(columns, self.vocabulary.base_rates, len(readers))[:, USER_FEATURES],
        )

    def _places(self, view: LiveView, rows: Ints, scores: Floats, reader: Reader, request: Request) -> Places:
        """The list as places in `rows`."""
        click = self.lowered(view, rows, scores[:, self.ranker.config.tasks.index("click")], reader)
        order = np.argsort(-click, kind="stable").tolist()
        best = diverse(order, view.codes[rows, 0].tolist(), request.k, self.config.max_same_code)
        return explored(best, order, self.config.exploration_share, request.request_id)

    def _listed(self, view: LiveView, row: int, scores: Floats, reader: Reader, request: Request, why: str) -> RankedRoom:
        room, codes = view.rooms[row], view.codes[row].tolist()
        names = self.names(codes)
        by_task = dict(zip(self.ranker.config.tasks, scores.tolist(), strict=True))
        content_at = int(view.content_at[row])
        return RankedRoom(
            room_id=room.room_id,
            author_id=room.author_id,
            title=room.title,
            score=by_task["click"] * self.config.seen_penalty ** int((reader.ignored == room.room_id).sum()),
            scores=by_task,
            codes=codes,
            code_names=names,
            content_age_seconds=max(0.0, (request.at - content_at) / 1000) if content_at else None,
            reason=why,
        )

    def reasons(self, view: LiveView, rows: Ints, reader: Reader, content: bool = True) -> list[str]:
        """The sentences that say what speaks for rooms [n]."""
        certainty = code_certainty(self.codebook, view.vectors[rows], view.codes[rows, :1])[:, 0].tolist()
        entered = np.where(reader.has_content[:, None], reader.codes, -1)
        return [
            self._reason(view, row, reader, entered, sure, content) for row, sure in zip(rows.tolist(), certainty, strict=True)
        ]

    def _reason(self, view: LiveView, row: int, reader: Reader, entered: Ints, certainty: float, content: bool) -> str:
        if not view.content_at[row]:
            return JUST_STARTED if content else BY_STREAMER
        codes = view.codes[row].tolist()
        return reason(codes, sure_names(self.names(codes), certainty), entered, reader.authors == view.rooms[row].author_id)


def without_content(view: LiveView) -> LiveView:
    """The view with each room as its author alone; the caller holds the state's lock."""
    alone = view.coded_windows.of_authors(view.author_id)
    return view._replace(
        vectors=view.coded_windows["vector"][alone],
        codes=view.coded_windows["codes"][alone],
        content_at=np.zeros_like(view.content_at),
        counts=np.full_like(view.counts, np.nan),
    )


def one_thread() -> None:
    """Let torch use one thread: for a few hundred rows more threads cost more than they gain."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


class _Stages:
    """A stopwatch: seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now
