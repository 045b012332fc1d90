"""The variants that are compared, from popularity to the full method.

They differ in their inputs. The ranker, its training budget and the data are the same.

    trained = train_variant("aligned_codes", corpus, profile)
    scores = trained.score(corpus.test)                     # float32 [n, tasks], probabilities

| variant | inputs of the ranker beside author and statistics |
|---|---|
| popularity | no ranker: the author's smoothed rate in training |
| id_only | no other |
| raw_llm, tuned_llm | that content vector, pasted in |
| hour_weekday | hour and weekday pasted in: the moment without its text |
| aligned | the aligned vector |
| no_gate | as aligned, with a fixed mean instead of the gate |
| aligned_codes | the aligned vector and its codes: the full method |
| static_room | as aligned_codes, each room frozen at its first segment |
| shuffled | as aligned_codes, content permuted among an author's segments |
| llm_codes, lexical_codes | as aligned_codes, with that source of content alone |
| llm_lexical_codes | as aligned_codes, with both |
| text_only, frames_only | as aligned_codes, with the sources of `alignment.sources` that are texts, or with pictures alone |
| text_frames | as aligned_codes, with these texts and pictures |
| frames_shuffled | as text_frames, pictures permuted among an author's segments |
| raw_codes | as llm_codes, on the frozen LLM |
| raw_llm_codes | as llm_codes, on the frozen and the tuned LLM, each behind a gate of its own |
| tfidf, minilm | as llm_codes, with that content in the LLM's place |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from livealign.alignment.network import ContentScaler
from livealign.alignment.towers import Alignment, item_vectors
from livealign.alignment.training import AlignmentReport, train_alignment
from livealign.codes.codebook import Codebook, codebook_rows, fit_codebook
from livealign.config import AlignmentConfig
from livealign.dataset.content import content_names, content_of, one_source
from livealign.dataset.corpus import FRAMES, LEXICAL, RAW, TUNED, Corpus
from livealign.dataset.examples import TASKS, Examples
from livealign.errors import TrainingError
from livealign.profiles import Profile
from livealign.ranking.network import ItemTable
from livealign.ranking.ranker import Ranker
from livealign.ranking.training import train_ranker

RELEASE = "aligned_codes"


PASTED = ("raw_llm", "tuned_llm", "hour_weekday")
OTHER_CONTENT = {  # the full method on it
    "llm_codes": (TUNED,),
    "lexical_codes": (LEXICAL,),
    "llm_lexical_codes": (TUNED, LEXICAL),
    "raw_codes": (RAW,),
    "raw_llm_codes": (RAW, TUNED),
    "tfidf": ("tfidf",),
    "minilm": ("minilm",),
    "frames_only": (FRAMES,),
}
BY_SOURCES = {  # the full method on given `alignment.sources`, sorted by name
    ("llm",): "llm_codes",
    ("lexical",): "lexical_codes",
    ("lexical", "llm"): "llm_lexical_codes",
}
OF_FRAMES = ("text_only", "frames_only", "text_frames", "frames_shuffled")
FULL_METHOD = (
    "aligned_codes",
    "static_room",
    "shuffled",
    *(name for name in OTHER_CONTENT if name not in OF_FRAMES),
    *OF_FRAMES,
)
VARIANTS = ("popularity", "id_only", *PASTED, "no_gate", "aligned", *FULL_METHOD)
_POPULARITY_SMOOTHING = 50.0  # impressions at the base rate


def source_pairs(sources: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Source of content → the full method with both sources, and without this one.

    Args:
        sources: of the release (`alignment.sources`): if it reads both, it is the method with both.
    """
    if "frames" in sources:
        return {} if len(sources) == 1 else {"frames": (RELEASE, "text_only")}
    name = {variant: variant for variant in BY_SOURCES.values()} | {BY_SOURCES[tuple(sorted(sources))]: RELEASE}
    both, llm, lexical = name["llm_lexical_codes"], name["llm_codes"], name["lexical_codes"]
    return {"llm": (both, lexical), "lexical": (both, llm)}


@dataclass(frozen=True)
class TrainedVariant:
    """A variant ready to score the examples of its corpus, with all its parts."""

    name: str
    seed: int
    rates: NDArray[np.float32] | None  # popularity: [authors, tasks]
    ranker: Ranker | None
    items: ItemTable  # over the item rows of the corpus
    alignment: Alignment | None
    alignment_report: AlignmentReport | None
    codebook: Codebook | None
    content: NDArray[np.float32] | None  # [segments, d] the aligned content of this variant

    def score(self, examples: Examples) -> NDArray[np.float32]:
        """Probabilities [n, tasks] in the order of `dataset.examples.TASKS`."""
        if self.ranker is None:
            assert self.rates is not None
            return self.rates[examples.author]
        return self.ranker.predict(examples, self.items)


def train_variant(
    name: str,
    corpus: Corpus,
    profile: Profile,
    seed: int | None = None,
    *,
    content: str | None = None,
    device: torch.device | str = "cpu",
) -> TrainedVariant:
    """Train one variant of the table above.

    Args:
        seed: of all its parts; None for those of the profile.
        content: which of `corpus.content` the variants that read `alignment.sources` align in their place.

    Raises:
        TrainingError: unknown variant, or the corpus lacks the content that it needs.
    """
    if name not in VARIANTS:
        raise TrainingError(f"there is no variant '{name}'; choose one of {', '.join(VARIANTS)}")
    seed = profile.ranker.seed if seed is None else seed
    ranker_config = replace(profile.ranker, seed=seed)
    if name == "popularity":
        return TrainedVariant(name, seed, popularity_rates(corpus), None, ItemTable(), None, None, None, None)
    if name == "id_only":
        ranker = train_ranker(corpus, ItemTable(), ranker_config, device=device)
        return TrainedVariant(name, seed, None, ranker, ItemTable(), None, None, None, None)
    if name in PASTED:
        items = ItemTable(_pasted_vectors(corpus, one_source(corpus, name), profile.alignment))
        ranker = train_ranker(corpus, items, ranker_config, device=device)
        return TrainedVariant(name, seed, None, ranker, items, None, None, None, None)

    own = content_names(profile.alignment.sources) if content is None else (content,)
    names = OTHER_CONTENT.get(name) or _of_frames(name, profile.alignment.sources) or own
    of_segments, sources = content_of(corpus, *names)
    aligned = variant_content(name, corpus, of_segments, seed)
    if name == "frames_shuffled":
        first = sum(sources[: names.index(FRAMES)])
        pictures = slice(first, first + sources[names.index(FRAMES)])
        aligned = of_segments.copy()
        aligned[:, pictures] = of_segments[shuffled_rows(corpus, seed), pictures]
    gate_mode = "mean" if name == "no_gate" else "learned"
    alignment, report = train_alignment(corpus, aligned, replace(profile.alignment, seed=seed), gate_mode, device, sources)
    vectors = item_vectors(alignment, corpus, aligned)
    if name in ("aligned", "no_gate"):
        items = ranker_items(alignment, vectors)
        ranker = train_ranker(corpus, items, ranker_config, device=device)
        return TrainedVariant(name, seed, None, ranker, items, alignment, report, None, aligned)
    rows = codebook_rows(corpus, aligned)
    codebook = fit_codebook(vectors[rows], replace(profile.codes, seed=seed))
    items = ranker_items(alignment, vectors, codebook.encode(vectors))
    ranker = train_ranker(corpus, items, ranker_config, codebook.version, codebook.codes_per_level, device)
    return TrainedVariant(name, seed, None, ranker, items, alignment, report, codebook, aligned)


def _of_frames(name: str, sources: Sequence[str]) -> tuple[str, ...]:
    """The content of a variant that compares texts with pictures; empty for another."""
    texts = content_names([source for source in sources if source != "frames"])
    return {"text_only": texts, "text_frames": (*texts, FRAMES), "frames_shuffled": (*texts, FRAMES)}.get(name, ())


def variant_content(name: str, corpus: Corpus, content: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """The variant's content [segments, d].

    It is frozen at each room's first segment, permuted within an author, or unchanged.
    """
    if name == "static_room":
        return content[corpus.segment_first]
    return content[shuffled_rows(corpus, seed)] if name == "shuffled" else content


def shuffled_rows(corpus: Corpus, seed: int) -> NDArray[np.int64]:
    """Row of the segment whose content each segment [segments] gets in `shuffled`.

    It is a training segment of the same author: training segments are permuted, a held-out one draws. Permuting within the
    held-out day would keep what the author does today, a good half of the moment. The segments of an author without training
    segments draw from all training segments.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(corpus.segment_ids))
    by_author = np.lexsort((rng.random(len(rows)), corpus.segment_author_id))
    all_train = np.flatnonzero(corpus.segment_is_train)
    for mine in np.split(by_author, np.flatnonzero(np.diff(corpus.segment_author_id[by_author])) + 1):
        train, held_out = mine[corpus.segment_is_train[mine]], mine[~corpus.segment_is_train[mine]]
        rows[np.sort(train)] = train
        rows[held_out] = rng.choice(train if len(train) else all_train, len(held_out))
    rows[0] = 0
    return rows


def ranker_items(alignment: Alignment, vectors: NDArray[np.float32], codes: NDArray[np.integer] | None = None) -> ItemTable:
    """The item table for the ranker: vectors [items, dim] and codes [items, levels].

    It has neither if content is switched off (`livealign.alignment.content_check`). The towers then know only a room's author,
    which the ranker knows itself, so it ranks exactly as `id_only` does.
    """
    return ItemTable() if alignment.gate_mode == "id" else ItemTable(vectors, codes)


def popularity_rates(corpus: Corpus) -> NDArray[np.float32]:
    """[authors, tasks] each author's smoothed share of positive labels in training.

    An unknown author has the base rate.
    """
    rates = np.empty((corpus.authors.size, len(TASKS)), dtype=np.float32)
    for column, task in enumerate(TASKS):
        label = corpus.train.label(task)
        known = ~np.isnan(label)
        trials = np.bincount(corpus.train.author[known], minlength=corpus.authors.size)
        hits = np.bincount(corpus.train.author[known], weights=label[known], minlength=corpus.authors.size)
        base = hits.sum() / max(1, trials.sum())
        rates[:, column] = (hits + _POPULARITY_SMOOTHING * base) / (trials + _POPULARITY_SMOOTHING)
    return rates


def _pasted_vectors(corpus: Corpus, content: NDArray[np.float32], config: AlignmentConfig) -> NDArray[np.float32]:
    """[items, rank] principal components of the content, scaled as in the alignment; zero without content."""
    rows = (content != 0).any(1)
    scaler = ContentScaler(content.shape[1], min(config.content_rank, content.shape[1]))
    fit = rows & corpus.segment_is_train
    if fit.any():
        scaler.fit(torch.from_numpy(content[fit]), evenness=config.even_dimensions)
    scaled = scaler(torch.from_numpy(content)).numpy() * rows[:, None]
    return np.concatenate([scaled, np.zeros((corpus.authors.size, scaled.shape[1]), dtype=np.float32)])
