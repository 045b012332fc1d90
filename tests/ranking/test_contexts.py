"""Contexts prefer what was planted, add nothing where nothing was, and fall back where a value was not seen."""

from pathlib import Path

import numpy as np
import pytest

from livealign.dataset.contexts import ContextColumns
from livealign.errors import BundleError
from livealign.ranking.contexts import Context, Contexts, learn_contexts, read_contexts

USERS, DAYS, EACH = 300, 6, 20
COUNTRIES, LANGUAGES = np.array(["chile", "japan", "kenya"]), np.array(["en", "ja"])
Shown = tuple[ContextColumns, np.ndarray, np.ndarray, np.ndarray]


def shown(preference: float, seed: int = 0) -> Shown:
    """Impressions of users whose country prefers the code of its number, and whose language its rooms."""
    rng = np.random.default_rng(seed)
    user, day = np.repeat(np.arange(USERS), DAYS * EACH), np.tile(np.repeat(np.arange(DAYS), EACH), USERS)
    country, language = user % 3, user // 3 % 2
    code, room_language, hour = rng.integers(0, 3, len(user)), rng.integers(0, 2, len(user)), rng.integers(0, 24, len(user))
    logit = -1.5 + preference * ((code == country) + (room_language == language)) + rng.normal(0, 0.5, USERS)[user]
    click = (rng.random(len(user)) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    columns = (hour.astype(str), LANGUAGES[language], COUNTRIES[country], code.astype(str), LANGUAGES[room_language])
    return ContextColumns(*(column.astype(object) for column in columns)), click, user, day


def test_what_a_country_and_a_language_prefer_is_learned_each_for_itself() -> None:
    contexts = learn_contexts(*shown(0.8))
    codes, languages = np.array([0, 1, 2, 1]), ["en", "en", "en", "ja"]
    for number, country in enumerate(COUNTRIES.tolist()):
        by_country = contexts.log_odds(Context("", "", country), codes, languages)
        assert by_country[:3].argmax() == number
        assert by_country[1] == pytest.approx(by_country[3], abs=0.05), "a country prefers no language here"
    by_language = contexts.log_odds(Context("", "ja", ""), codes, languages)
    assert by_language[3] > by_language[:3].max() + 0.2
    both = contexts.log_odds(Context("", "ja", "japan"), codes, languages)
    assert both == pytest.approx(by_language + contexts.log_odds(Context("", "", "japan"), codes, languages))
    assert both.argmax() == 3


def test_a_value_that_nobody_had_adds_nothing_and_leaves_the_other_parts() -> None:
    contexts = learn_contexts(*shown(0.8))
    codes, languages = np.array([0, 1, 9]), ["en", "ja", "fr"]
    assert not contexts.log_odds(Context("", "xx", "atlantis"), codes, languages).any()
    partly = contexts.log_odds(Context("", "ja", "atlantis"), codes, languages)
    assert partly == pytest.approx(contexts.log_odds(Context("", "ja", ""), codes, languages))
    assert partly[1] > partly[0]
    assert contexts.log_odds(Context("3", "en", "kenya"), codes, languages)[2] == pytest.approx(0, abs=0.02)


def test_where_contexts_do_not_differ_they_add_next_to_nothing() -> None:
    for seed in range(3):
        contexts = learn_contexts(*shown(0.0, seed))
        for country in COUNTRIES.tolist():
            for hour in range(24):
                added = contexts.log_odds(Context(str(hour), "ja", country), np.arange(3), ["en", "ja", "en"])
                assert abs(added).max() < 0.1


def test_what_single_users_or_a_single_day_prefer_is_no_context() -> None:
    """Each country has one user who enters one code always, and one day on which everybody does."""
    columns, click, user, day = shown(0.0)
    code = columns.room_code.astype(int)
    click[(user < 3) & (code == user % 3)] = 1
    of_a_day = shown(0.0)[1]
    of_a_day[(day == 2) & (code == user % 3)] = 1
    for clicks in (click, of_a_day):
        contexts = learn_contexts(columns, clicks, user, day)
        assert abs(contexts.log_odds(Context("", "", "japan"), np.arange(3), ["en"] * 3)).max() < 0.1


def test_clicks_that_are_not_known_and_unknown_contexts_are_left_out() -> None:
    columns, click, user, day = shown(0.8)
    more = ContextColumns(*(np.append(column, column[:500]) for column in columns))
    more.country[-500:] = ""
    unknown = np.append(click, np.full(500, np.nan, dtype=np.float32))
    with_more = learn_contexts(more, unknown, np.append(user, user[:500]), np.append(day, day[:500]))
    assert with_more == learn_contexts(columns, click, user, day)
    assert learn_contexts(columns, np.full(len(click), np.nan), user, day).tables == {field: {} for field in with_more.tables}


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    contexts, path = learn_contexts(*shown(0.8)), tmp_path / "contexts.json"
    path.write_bytes(contexts.to_bytes())
    assert read_contexts(path) == contexts
    assert not Contexts().log_odds(Context("1", "en", "japan"), np.arange(3), ["en"] * 3).any()
    for damaged in (b"{", b"[]", b'{"format": 1}', b'{"log_odds": {"hour": 3}}', b'{"format": 99, "log_odds": {}}'):
        path.write_bytes(damaged)
        with pytest.raises(BundleError, match=r"contexts\.json"):
            read_contexts(path)
