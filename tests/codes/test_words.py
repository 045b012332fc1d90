"""Words of any script: between spaces, with their marks, or as runs of characters that stand alone."""

import pytest

from livealign.codes.words import words_of


def test_the_matrix_says_which_text_has_which_word_once() -> None:
    vocabulary, contains = words_of(["Chess chess opening", "opening, 2025 ok"])
    assert vocabulary.tolist() == ["chess", "opening"]
    assert contains.toarray().tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("word", ["हिन्दी", "தமிழ்", "мастерская", "العربية", "γλώσσα", "한국어", "counter2strike", "naïve"])
def test_a_word_with_marks_is_one_word(word: str) -> None:
    assert words_of([f"so {word}, ok"])[0].tolist() == [word]


def test_of_a_script_without_spaces_only_runs_with_more_than_one_surrounding_are_words() -> None:
    words = words_of(["我喜欢象棋", "你喜欢象棋吗", "象棋开局", "喜欢下围棋"])[0].tolist()
    assert {"象棋", "喜欢"} <= set(words)
    assert not {"欢象", "我喜", "棋开"} & set(words)


@pytest.mark.parametrize("laughter", ["jajaja", "hahahah", "kkkk", "哈哈哈", "wwww", "55555"])
def test_laughter_is_no_word(laughter: str) -> None:
    assert words_of([laughter, f"{laughter} {laughter}"])[0].tolist() == []


def test_the_most_frequent_words_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livealign.codes.words.VOCABULARY", 2)
    assert words_of(["common often", "common often", "common rare"])[0].tolist() == ["common", "often"]
