"""The context of an impression is what was known when it was shown."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.config import DatasetConfig
from livealign.dataset.contexts import context_columns
from livealign.dataset.corpus import Corpus, load_corpus
from livealign.days import partition
from tests.planted.marts import Planted
from tests.planted.release import plant_platform

LANGUAGES = ("EN", "ja", None)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Rooms with a language by their number; every second user has a country on the first day."""
    planted = plant_platform(tmp_path_factory.mktemp("marts"), users=30, rooms_per_day=16, requests_per_day=80, days=3)
    for path in (planted.marts / "rooms").glob("dt=*/*.parquet"):
        rooms = pq.ParquetFile(path).read()
        languages = pa.array([LANGUAGES[room % 3] for room in rooms["room_id"].to_pylist()], pa.string())
        pq.write_table(rooms.set_column(rooms.column_names.index("language"), "language", languages), path)
    return planted


@pytest.fixture(scope="module")
def corpus(planted: Planted) -> Corpus:
    return load_corpus(planted.marts, planted.days[-1], DatasetConfig(history_length=3))


def test_hour_room_and_country_are_those_of_the_impression(planted: Planted, corpus: Corpus) -> None:
    shown = corpus.test
    codes = np.arange(corpus.n_items)[:, None] % 7
    columns = context_columns(corpus, shown, codes, planted.marts)
    assert columns.hour.tolist() == [str(datetime.fromtimestamp(at / 1000, UTC).hour) for at in shown.shown_at]
    assert columns.room_code.tolist() == [str(item % 7) for item in shown.item.tolist()]
    assert columns.room_language.tolist() == [(LANGUAGES[room % 3] or "").casefold() for room in shown.room_id.tolist()]
    assert set(columns.country) == {""}, "marts of an earlier version have no countries"


def test_the_newest_country_counts_and_none_of_a_later_day(planted: Planted, corpus: Corpus) -> None:
    users = np.unique(corpus.test.user_id)
    told = {users[0]: ("chile", "japan", "peru"), users[1]: (None, "Kenya", None)}
    days = [*planted.days[-2:], planted.days[-1] + timedelta(days=1)]
    for number, day in enumerate(days):
        rows = [(user, names[number]) for user, names in told.items() if names[number]]
        path = partition(planted.marts, "user_countries", day)
        path.parent.mkdir(parents=True)
        schema = pa.schema({"user_id": pa.int64(), "country": pa.string()})
        pq.write_table(pa.Table.from_pylist([{"user_id": user, "country": name} for user, name in rows], schema), path)
    columns = context_columns(corpus, corpus.test, np.zeros((corpus.n_items, 1), dtype=np.int64), planted.marts)
    expected = {users[0]: "japan", users[1]: "kenya"}
    assert columns.country.tolist() == [expected.get(user, "") for user in corpus.test.user_id.tolist()]


def test_a_language_is_that_of_most_rooms_entered_before(planted: Planted, corpus: Corpus) -> None:
    shown = corpus.test
    columns = context_columns(corpus, shown, np.zeros((corpus.n_items, 1), dtype=np.int64), planted.marts)
    found = set()
    for row in range(len(shown)):
        segments = shown.history_segment[row][: shown.history_length[row]]
        rooms = corpus.segment_room_id[segments[segments > 0]].tolist()
        names = sorted(name.casefold() for room in rooms if (name := LANGUAGES[room % 3]))
        expected = max(dict.fromkeys(names), key=names.count, default="")
        assert columns.language[row] == expected
        found.add(expected)
    assert found == {"", "en", "ja"}
