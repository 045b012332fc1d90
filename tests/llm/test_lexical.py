"""Counted words: which words count, what their vectors know, and what a later day adds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livealign.config import LexicalConfig
from livealign.errors import BundleError, TrainingError
from livealign.llm.lexical import Lexicon, fit_lexicon, words_of

CONFIG = LexicalConfig(width=8)
TOPICS = {
    "chess": ("gambit", "bishop", "endgame", "checkmate", "castling"),
    "cooking": ("butter", "skillet", "simmer", "pastry", "broth"),
    "fishing": ("lure", "pike", "reel", "riverbank", "float"),
}
FILLERS = ("well", "hello", "today", "friends", "nice", "okay")


def planted(texts_of_topic: int = 60, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(texts, room of each, topic of each): four words of the topic among fillers, ten texts a room."""
    rng = np.random.default_rng(seed)
    texts, rooms, topics = [], [], []
    for number, words in enumerate(TOPICS.values()):
        for row in range(texts_of_topic):
            said = [*rng.choice(words, 3, replace=False), *rng.choice(FILLERS, 4)]
            texts.append(f"a title | minute {row} | host: {' '.join(rng.permutation(said))}")
            rooms.append(100 * number + row // 10)
            topics.append(number)
    return texts, np.array(rooms), np.array(topics)


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    texts, rooms, _ = planted()
    return fit_lexicon(texts, rooms, CONFIG)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_what_was_said_counts_and_the_frame_of_the_text_does_not() -> None:
    text = "Chess night | games | minute 15 | quiet for 3 min | host: the Gambit | chat: gg x12 / Nice_move | before: e4"
    assert list(words_of(text)) == ["chess", "night", "games", "the", "gambit", "gg", "nice", "move", "e4"]
    assert list(words_of("")) == list(words_of("🎉 :: !!")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("王者荣耀", ["王者", "者荣", "荣耀"]),
        ("我在玩lol了", ["我在", "在玩", "了", "lol"]),
        ("スプラトゥーン", ["スプ", "プラ", "ラト", "トゥ", "ゥー", "ーン"]),
        ("롤 랭크", ["롤", "랭크"]),
        ("क्रिकेट खेल", ["क्रिकेट", "खेल"]),
        ("Überraschung straße", ["überraschung", "strasse"]),
        ("игра в шахматы", ["игра", "в", "шахматы"]),
    ],
)
def test_words_of_every_script_are_found(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words


def test_texts_of_one_topic_are_near_even_without_a_common_word() -> None:
    lexicon = fit_lexicon(*planted()[:2], replace(CONFIG, width=3))
    near, same, far = lexicon.encode(["gambit bishop", "endgame checkmate", "butter skillet"])
    assert cosine(near, same) > 0.8 > 0.2 > cosine(near, far)


def test_unknown_words_shorten_a_vector_and_keep_its_direction(lexicon: Lexicon) -> None:
    known, half, none, empty = lexicon.encode(["gambit bishop", "gambit bishop zugzwang fianchetto", "zugzwang", ""])
    assert cosine(known, half) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(half) < 0.8 * np.linalg.norm(known)
    assert not none.any()
    assert not empty.any()


def test_a_word_that_one_room_alone_says_is_not_counted() -> None:
    texts, rooms, _ = planted()
    texts = [f"{text} jargon" if room == 3 else text for text, room in zip(texts, rooms.tolist(), strict=True)]
    assert not fit_lexicon(texts, rooms, CONFIG).encode(["jargon"]).any()
    assert fit_lexicon(texts, rooms, replace(CONFIG, least_rooms=1)).encode(["jargon"]).any()


def test_a_texts_vector_depends_on_that_text_alone(lexicon: Lexicon) -> None:
    texts, *_ = planted(seed=1)
    together = lexicon.encode(texts)
    alone = np.concatenate([lexicon.encode([text]) for text in texts])
    assert together.tobytes() == alone.tobytes()


def test_the_same_texts_give_the_same_bytes_and_they_are_saved_and_loaded(lexicon: Lexicon, tmp_path: Path) -> None:
    texts, rooms, _ = planted()
    fit_lexicon(texts, rooms, CONFIG).save(tmp_path / "again.npz")
    lexicon.save(tmp_path / "lexicon.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "lexicon.npz").read_bytes()
    loaded = Lexicon.load(tmp_path / "lexicon.npz")
    assert loaded.encode(texts).tobytes() == lexicon.encode(texts).tobytes()
    assert (loaded.space, loaded.width) == (lexicon.space, 8)


@pytest.mark.parametrize("damage", ["cut", "format", "sizes", "missing"])
def test_a_lexicon_that_cannot_be_read_is_refused_with_a_way_on(lexicon: Lexicon, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "lexicon.npz"
    lexicon.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "format":
        np.savez(path, **arrays | {"format": np.array("livealign-lexicon-9")})
    elif damage == "sizes":
        np.savez(path, **arrays | {"idf": arrays["idf"][1:]})
    else:
        path.unlink()
    with pytest.raises(BundleError, match=r"lexicon\.npz .*run the retrain again"):
        Lexicon.load(path)


def test_new_words_find_their_topic_and_known_words_keep_their_vectors(lexicon: Lexicon) -> None:
    texts, rooms, topics = planted(seed=2)
    new = {0: "zugzwang", 1: "julienne", 2: "trolling"}
    texts = [f"{text} {new[topic]}" for text, topic in zip(texts, topics.tolist(), strict=True)]
    grown = lexicon.with_new_words(texts, rooms, CONFIG)
    assert len(grown.words) == len(lexicon.words) + 3
    assert grown.space == lexicon.space
    known = ["gambit bishop", "butter today", "lure pike reel"]
    assert grown.encode(known).tobytes() == lexicon.encode(known).tobytes()
    of_new, of_known = grown.encode(list(new.values())), lexicon.encode([words[0] for words in TOPICS.values()])
    for row, vector in enumerate(of_new):
        assert np.argmax([cosine(vector, other) for other in of_known]) == row
    assert grown.with_new_words(texts, rooms, CONFIG) is grown
    assert lexicon.with_new_words(texts, rooms, replace(CONFIG, most_words=len(lexicon.words))) is lexicon


def test_without_a_word_to_count_there_is_a_lexicon_that_knows_nothing() -> None:
    for texts in ([], ["", ""], ["one", "two"]):
        lexicon = fit_lexicon(texts, np.arange(len(texts)), CONFIG)
        assert lexicon.encode(["one two"]).tolist() == [[0.0] * 8]
        grown = lexicon.with_new_words(*planted()[:2], CONFIG)
        assert np.isfinite(grown.encode(["gambit"])).all()
    with pytest.raises(TrainingError, match="2 texts and 1 rooms"):
        fit_lexicon(["a", "b"], np.array([1]), CONFIG)
