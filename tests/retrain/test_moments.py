"""The moments of the day's report: which are chosen, what they say, and the gate of each source beside them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.alignment.towers import Alignment
from livealign.config import EvaluationConfig
from livealign.dataset.content import content_of
from livealign.dataset.corpus import FRAMES, LEXICAL, RAW, TUNED, Corpus, load_corpus
from livealign.days import partition
from livealign.errors import LiveAlignError
from livealign.evaluation.frame import by_quality, read_segments, segment_characters
from livealign.files import replace_json
from livealign.frames.decode import picture_name, webp_of
from livealign.profiles import load_profile
from livealign.release.bundle import ALIGNMENT, CODE_NAMES
from livealign.retrain.alignment import align, encode
from livealign.retrain.artifacts import DayArtifacts, read_codes
from livealign.retrain.gates import QUALITIES, gate_sections
from livealign.retrain.moments import MOMENTS, SILENT, chosen_rows, shown_moments
from tests.planted.marts import plant_marts
from tests.planted.release import planted_picture
from tests.retrain.test_evaluation import with_texts

PROFILE = load_profile("tiny")


class Day:
    """A planted day with pictures of every second segment, towers and codes."""

    def __init__(self, root: Path) -> None:
        self.marts, self.landing, self.artifacts = root / "marts", root / "landing", DayArtifacts(root / "artifacts")
        planted = plant_marts(self.marts, days=3)
        with_texts(planted)
        corpus = load_corpus(planted.marts, planted.days[-1], PROFILE.dataset)
        for name in (RAW, TUNED, LEXICAL):
            corpus = corpus.with_content(name, planted.segment_ids, planted.vectors)
        seen = planted.segment_ids[::2]
        self.corpus: Corpus = corpus.with_content(FRAMES, seen, planted.vectors[::2])
        self.profile = replace(PROFILE, alignment=replace(PROFILE.alignment, sources=("frames", "llm", "lexical")))
        align(self.corpus, self.profile, self.artifacts)
        encode(self.corpus, self.profile, self.artifacts, ["words"] * (len(corpus.segment_ids) - 1))
        replace_json(self.artifacts.codes / CODE_NAMES, {str(code): f"name {code}" for code in range(8)})
        topics = dict(zip(planted.segment_ids.tolist(), planted.segment_topic.tolist(), strict=True))
        self.paths = {}
        for topic in set(topics.values()):
            pixels = planted_picture(topic)
            path = f"pictures/{picture_name(pixels)}.webp"
            (self.landing / path).parent.mkdir(parents=True, exist_ok=True)
            (self.landing / path).write_bytes(webp_of(pixels))
            self.paths[topic] = path
        self.topics = topics
        rows = [segment for segment in seen.tolist() if segment in set(corpus.segment_ids.tolist())]
        file = partition(self.marts, "segment_frames", corpus.day)
        file.parent.mkdir(parents=True)
        paths = [self.paths[topics[segment]] for segment in rows]
        pq.write_table(pa.table({"segment_id": pa.array(rows, pa.int64()), "frame_path": paths}), file)
        self.segments = read_segments(corpus, self.marts)
        self.characters = segment_characters(corpus, self.segments)

    def moments(self, seed: int = 17) -> list:
        arguments = (self.corpus, self.segments, self.artifacts, self.marts, self.landing, self.characters, seed)
        return shown_moments(*arguments)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(tmp_path_factory.mktemp("day"))


def test_a_moment_has_the_picture_of_its_window_its_words_its_codes_and_what_followed(day: Day) -> None:
    moments = day.moments()
    assert 3 <= len(moments) <= MOMENTS
    codes = {tuple(map(str, path)) for path in read_codes(day.artifacts).tolist()}
    for moment in moments:
        (line,) = moment.lines
        assert line.startswith("host: the host plays ")
        word = line.removeprefix("host: the host plays ").rsplit(" ", 1)[0]
        (topic,) = {topic for topic in day.paths if _word(topic) == word}
        np.testing.assert_array_equal(moment.picture, planted_picture(topic))
        assert moment.heading.startswith("title · games · minute ")
        assert tuple(code for code, _ in moment.codes) in codes
        assert moment.codes[0][1] == f"name {moment.codes[0][0]}"
        assert moment.then[0].startswith("shown to ")
    assert [moment.then for moment in day.moments()] == [moment.then for moment in moments]
    assert [moment.then for moment in day.moments(18)] != [moment.then for moment in moments]


def _word(topic: int) -> str:
    from tests.planted.release import WORDS

    return WORDS[topic]


def test_who_entered_is_counted_among_those_who_were_shown_the_window(day: Day) -> None:
    test = day.corpus.test
    found = {}
    for moment in day.moments():
        shown, rest = moment.then[0].removeprefix("shown to ").split(": ")
        found[int(shown)] = int(rest.split(" ")[0])
    click = np.nan_to_num(test.label("click"))
    counts = {
        (int((test.segment == row).sum()), int(click[test.segment == row].sum())) for row in np.unique(test.segment).tolist()
    }
    assert set(found.items()) <= counts


def test_a_missing_picture_is_named_and_a_day_without_pictures_has_no_moments(day: Day, tmp_path: Path) -> None:
    with pytest.raises(LiveAlignError, match="land its day again"):
        shown_moments(day.corpus, day.segments, day.artifacts, day.marts, tmp_path, day.characters, 17)
    assert shown_moments(day.corpus, day.segments, day.artifacts, tmp_path, day.landing, day.characters, 17) == []


def test_rooms_are_different_and_some_have_nothing_said() -> None:
    rooms = np.repeat(np.arange(40), 5)
    characters = np.where(rooms % 2, 0, 30)
    rows = chosen_rows(np.arange(200), rooms, characters, seed=3)
    assert len(rows) == len(set(rooms[rows].tolist())) == MOMENTS
    assert (characters[rows] == 0).sum() == SILENT
    silent = chosen_rows(np.arange(200), rooms, np.zeros(200, np.int64), seed=3)
    assert len(set(rooms[silent].tolist())) == MOMENTS
    assert len(chosen_rows(np.array([7]), rooms, characters, seed=3)) == 1
    assert len(chosen_rows(np.zeros(0, np.int64), rooms, characters, seed=3)) == 0


def test_the_gate_of_each_source_is_the_mean_over_its_own_segments(day: Day) -> None:
    config = EvaluationConfig(much_text_characters=30)
    quality = by_quality(day.characters, config)
    alignment = Alignment.load(day.artifacts.alignment / ALIGNMENT)
    content = content_of(day.corpus, TUNED, LEXICAL, FRAMES).vectors
    (section,) = gate_sections(alignment, day.corpus, content, quality)
    assert list(section.columns) == ["source", "over authors", "authors", *QUALITIES]
    assert [row[0] for row in section.rows] == list(alignment.source_names) == ["llm", "lexical", "frames"]
    widths = [day.corpus.content[name].shape[1] for name in (TUNED, LEXICAL, FRAMES)]
    for place, (row, part) in enumerate(zip(section.rows, np.split(content, np.cumsum(widths)[:-1], axis=1), strict=True)):
        has = (part != 0).any(axis=1)
        gates = alignment.gates(day.corpus.segment_author, content)[place].mean(axis=1)
        for value, cell in enumerate(row[3:]):
            mine = has & (quality == value)
            assert cell == (f"{gates[mine].mean():.3f}; {mine.sum():,}" if mine.any() else "–")
        authors = day.corpus.segment_author_id[has]
        means = [gates[has][authors == author].mean() for author in np.unique(authors)]
        assert row[1] == f"{np.mean(means):.3f}"
        assert row[2] == f"{len(means):,}"
