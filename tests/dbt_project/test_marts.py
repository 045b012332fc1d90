"""The marts of a planted landing: known by hand for a few rooms, computed the slow way for a random crowd."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.config import DatasetConfig, LiveConfig, SegmentConfig
from livealign.dataset.corpus import load_corpus
from livealign.dataset.histories import read_engagements
from livealign.dataset.marts import MARTS, publish_marts, read_mart
from livealign.dataset.platform_vectors import read_platform_vectors
from livealign.days import end_of, partition
from livealign.events.parsing import parse_events
from livealign.ids import segment_id
from livealign.live.apply import apply
from livealign.live.closing import close_windows
from livealign.live.startup import Snapshot, state_of
from livealign.live.state.coded_windows import CodedWindows
from livealign.llm.texts import texts_of
from livealign.operation_config import DriftConfig
from livealign.release.snapshot import write_snapshot
from livealign.replay.events import day_events, landed_rooms
from orchestration.drift.columns import day_frame
from orchestration.drift.words import room_words
from tests.planted import slow_warehouse
from tests.planted.landing import DAYS, planted_rows
from tests.planted.landing_rows import at
from tests.support.planted_warehouse import Built
from tests.support.run_dbt import PROJECT, document, rows

HORIZON = datetime(2025, 6, 4)
LABELS = ("click", "watch_seconds", "long_view", "like", "comment", "gift")


def test_every_dbt_test_passes_and_rows_of_rooms_that_never_landed_are_only_warned_about(built: Built) -> None:
    assert built.run.named("warn") == {"known_room_stg_comments_"}
    assert built.run.named("fail", "error", "skipped") == set()
    assert len(built.run.named("pass")) > 50


def test_the_docs_say_what_each_table_and_each_column_is(built: Built, tmp_path: Path) -> None:
    catalog, manifest = document(tmp_path, built.landing, built.warehouse)
    unsaid = []
    for name, table in catalog["nodes"].items():
        said = manifest["nodes"][name]
        unsaid += [] if said["description"] else [name]
        unsaid += [f"{name}.{column}" for column in table["columns"] if not said["columns"].get(column, {}).get("description")]
    assert unsaid == []
    assert {name.rpartition(".")[2] for name in catalog["nodes"]} >= set(MARTS)


def test_nothing_is_written_into_the_project(built: Built) -> None:
    assert {path.name for path in PROJECT.iterdir()} <= {
        *("dbt_project.yml", "profiles.yml", "models", "macros", "tests"),
        *("target", "logs", "package-lock.yml"),  # of runs by hand, ignored by git
    }


def test_segments_of_a_room_are_its_windows_in_which_anything_happened(built: Built) -> None:
    got = rows(built.warehouse, "select * from marts.segments where room_id = 1 order by segment_index")
    names = ("segment_index", "n_viewers", "n_entered", "n_left", "retention")
    assert [tuple(row[name] for name in names) for row in got[:8]] == [
        (0, 1, 1, 0, None),  # user 9 enters at 12:00:12
        (1, 3, 2, 1, 0.0),  # users 1 and 2 enter, 9 leaves
        (2, 2, 0, 0, 1.0),
        (3, 2, 1, 1, 1.0),  # user 2 leaves and is back before the window ends
        (4, 2, 0, 1, 0.5),
        (5, 1, 0, 0, 1.0),
        (6, 2, 1, 1, 0.0),  # user 1 leaves, 3 enters
        (7, 1, 0, 0, 1.0),
    ]
    # User 3 stays longer than the room, whose last window begins at 12:19:30.
    assert (got[-1]["segment_index"], got[-1]["n_viewers"], got[-1]["n_left"]) == (39, 1, 1)
    third = got[2]
    assert (third["started_at"], third["ended_at"], third["title"]) == (at("01 12:01:00"), at("01 12:01:30"), "Cooking")
    assert (third["chat_text"], third["n_comments"], third["n_commenters"], third["n_bot_comments"]) == (
        "first\nsecond",
        2,
        1,
        1,
    )
    assert (third["n_gifts"], third["gift_value"], third["n_shares"]) == (2, 9.5, 1)
    assert (got[4]["n_likes"], got[4]["n_follows"]) == (3, 1)
    assert (got[1]["speech_text"], got[1]["n_speech"]) == ("hello all we cook", 2)  # an utterance counts where it ends
    assert got[8]["chat_text"] == "x" * 2_000
    assert [row["segment_id"] for row in got] == [segment_id(1, row["window"]) for row in got]


def test_a_room_goes_on_over_midnight_and_an_open_one_until_the_horizon(built: Built) -> None:
    night = rows(built.warehouse, "select * from marts.segments where room_id = 2 order by segment_index")
    assert [(row["segment_index"], row["dt"].day, row["n_viewers"], row["retention"]) for row in night] == [
        (2, 1, 1, None),
        (3, 1, 1, 1.0),  # user 4 is there when midnight strikes
        (4, 2, 2, 1.0),
        (5, 2, 2, 0.5),
        (6, 2, 1, 0.0),
    ]
    assert night[2]["speech_text"] == "good night"
    open_room = rows(built.warehouse, "select * from marts.segments where room_id = 3 order by segment_index")
    assert [row["segment_index"] for row in open_room] == list(range(10, 20))
    assert open_room[-1]["ended_at"] == HORIZON


def test_labels_come_with_the_time_they_are_known_and_are_null_before(built: Built) -> None:
    got = {
        row["impression_id"]: row for row in rows(built.warehouse, "select * from marts.interactions where impression_id < 100")
    }
    assert {one: tuple(row[label] for label in LABELS) for one, row in got.items()} == {
        11: (0, 0.0, 0, 0, 0, 0),
        12: (1, 150.0, 1, 1, 0, 0),
        13: (1, 40.0, 0, 0, 0, 1),
        14: (0, 0.0, 0, 0, 0, 0),
        21: (1, 50.0, 0, 0, 0, 0),
        22: (0, 0.0, 0, 0, 0, 0),
        31: (1, None, 1, None, None, None),
        32: (1, None, None, None, None, None),
        33: (None,) * 6,
    }
    assert [got[12][f"{label}_known_at"] for label in LABELS] == [
        *(at("01 12:00:45"), at("01 12:03:15"), at("01 12:01:45"), at("01 12:02:25"), at("01 12:03:15"), at("01 12:03:15"))
    ]
    assert [got[13][f"{label}_known_at"] for label in LABELS] == [
        *(at("01 12:00:55"), at("01 12:01:35"), at("01 12:01:55"), at("01 12:01:35"), at("01 12:01:35"), at("01 12:01:05"))
    ]
    assert {got[14][f"{label}_known_at"] for label in LABELS} == {at("01 12:03:00")}
    assert [got[31][f"{label}_known_at"] for label in LABELS] == [at("03 23:55:05"), None, at("03 23:56:05"), None, None, None]


def test_the_segment_of_an_impression_is_the_last_that_had_ended(built: Built) -> None:
    got = rows(
        built.warehouse,
        """
        select impression_id, segments.ended_at, segment_age_seconds, minute_in_room
        from marts.interactions left join marts.segments using (segment_id) where impression_id < 100 order by 1
        """,
    )
    assert [tuple(row.values())[:3] for row in got] == [
        (11, None, None),
        (12, at("01 12:00:30"), 12.0),
        (13, at("01 12:00:30"), 20.0),
        (14, at("01 12:02:00"), 0.0),
        (21, at("01 23:59:30"), 20.0),
        (22, at("02 00:00:00"), 10.0),
        (31, None, None),
        (32, at("03 23:59:00"), 20.0),
        (33, at("03 23:59:00"), 10.0),
    ]
    assert got[3]["minute_in_room"] == pytest.approx(110 / 60)


def test_histories_are_clicks_on_the_day_on_which_they_became_known(built: Built) -> None:
    got = rows(built.warehouse, "select * from marts.user_histories where impression_id < 100 order by engaged_at")
    first = segment_id(1, slow_warehouse.window_of(at("01 12:00:00")))
    names = ("impression_id", "dt", "user_id", "engaged_at", "author_id", "segment_id")
    assert [tuple(row[name] for name in names) for row in got][:3] == [
        (12, DAYS[0], 1, at("01 12:00:45"), 10, first),
        (13, DAYS[0], 2, at("01 12:00:55"), 10, first),
        # Shown before midnight, clicked after it.
        (21, DAYS[1], 1, at("02 00:00:20"), 20, segment_id(2, slow_warehouse.window_of(at("01 23:59:00")))),
    ]
    assert {row["impression_id"] for row in got} == {12, 13, 21, 31, 32}


def test_running_counts_hold_what_was_known_when_the_day_began(built: Built) -> None:
    names = ("impressions", "clicks", "watch_seconds", "long_views", "likes", "comments", "gifts", "rooms")

    def counts(mart: str, person: str, one: int) -> list[tuple]:
        found = rows(built.warehouse, f"select * from marts.{mart} where {person}_id = ? order by dt", one)  # noqa: S608
        return [(row["dt"].day, *(row[name] for name in names)) for row in found]

    # The click on author 20 was made after midnight, so it counts on the second day.
    assert counts("authors_daily", "author", 20) == [
        (1, 0, 0, 0.0, 0, 0, 0, 0, 0),
        (2, 1, 0, 0.0, 0, 0, 0, 0, 1),
        (3, 2, 1, 50.0, 0, 0, 0, 0, 1),
    ]
    assert counts("authors_daily", "author", 30) == [(3, 0, 0, 0.0, 0, 0, 0, 0, 0)]
    assert counts("users_daily", "user", 1) == [
        (1, 0, 0, 0.0, 0, 0, 0, 0, 0),
        (2, 3, 1, 150.0, 1, 1, 0, 0, 1),
        (3, 3, 2, 200.0, 1, 1, 0, 0, 2),
    ]


def test_rooms_and_quarantine_are_what_landed(built: Built) -> None:
    got = rows(built.warehouse, "select dt, room_id, ended_at from marts.rooms where room_id < 100 order by room_id")
    assert [tuple(row.values()) for row in got] == [
        (DAYS[0], 1, at("01 12:20:00")),
        (DAYS[0], 2, at("02 00:02:00")),
        (DAYS[2], 3, None),
    ]
    refused = rows(built.warehouse, "select dt, table_name, file, line, reason from marts.quarantine order by dt, line")
    assert [tuple(row.values()) for row in refused] == [
        (DAYS[0], "plays", "plays.csv", 0, "unknown_field"),
        (DAYS[0], "plays", "plays.csv", 7, "wrong_type"),
        (DAYS[1], "likes", "likes.csv", 2, "duplicate_key"),
    ]


def test_segments_of_a_random_crowd_are_those_computed_the_slow_way(built: Built) -> None:
    expected = slow_warehouse.segments(planted_rows(), HORIZON)
    found = {(row["room_id"], row["window"]): row for row in rows(built.warehouse, "select * from marts.segments")}
    assert found.keys() == expected.keys()
    for key, here in expected.items():
        assert {name: found[key][name] for name in here} == here, key


def test_a_replay_of_the_landed_days_gives_each_window_the_title_and_category_of_the_mart(built: Built) -> None:
    def of_authors(author_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(author_ids), 2), np.float32), np.zeros((len(author_ids), 2), np.int64)

    found: dict[tuple[int, int], tuple[str, str]] = {}
    for day in DAYS:
        events = day_events(built.landing, landed_rooms(built.landing, day), day)
        nothing = Snapshot(events[0].at, CodedWindows(2, 2, of_authors), {}, {}, {}, {}, [])
        state = state_of(nothing, LiveConfig(), 5, 30_000)
        for window in range(state.closed_until + 1, end_of(day) // 30_000):
            while events and events[0].at < (window + 1) * 30_000:
                at, item = events.pop(0)
                (placed,), _ = parse_events([item], at)
                apply(state, placed.event)
            close_windows(state, window, SegmentConfig())
            for room in state.rooms.values():
                if room.waiting is not None and room.waiting.text.window == window:
                    found[room.room_id, window] = (room.waiting.text.title, room.waiting.text.category)
    mart = {
        (row["room_id"], row["window"]): (row["title"] or "", row["category"] or "")
        for row in rows(built.warehouse, 'select room_id, "window", title, category from marts.segments')
    }
    common = found.keys() & mart.keys()
    assert {key: found[key] for key in common} == {key: mart[key] for key in common}
    assert len(common) > 0.9 * len(mart)
    assert len({mart[key] for key in common}) > 20


def test_labels_and_histories_of_a_random_crowd_are_those_computed_the_slow_way(built: Built) -> None:
    planted = planted_rows()
    expected = slow_warehouse.interactions(planted, HORIZON)
    found = {row["impression_id"]: row for row in rows(built.warehouse, "select * from marts.interactions")}
    shown = [row for row in planted["impressions"] if row["shown_at"].date() in DAYS]
    assert found.keys() == {row["impression_id"] for row in shown}
    for one in found:
        assert {name: found[one][name] for name in expected[one]} == expected[one], one
    assert {row["click"] for row in found.values()} == {0, 1, None}
    clicks = {one: (row["click_known_at"], row["segment_id"]) for one, row in expected.items() if one in found and row["click"]}
    histories = rows(built.warehouse, "select * from marts.user_histories")
    assert {row["impression_id"]: (row["engaged_at"], row["segment_id"]) for row in histories} == clicks
    assert len(clicks) > 100
    assert all(row["dt"] == row["engaged_at"].date() for row in histories)


def test_a_segment_has_the_vectors_of_the_platform_that_had_ended_with_it(built: Built) -> None:
    windows = [(row["room_id"], row["window"]) for row in rows(built.warehouse, 'select room_id, "window" from marts.segments')]
    found = {
        (row["room_id"], row["window"], row["vector_source"]): row["content_vector"]
        for row in rows(built.warehouse, "select * from marts.segment_vectors")
    }
    assert found == slow_warehouse.vectors(planted_rows(), windows)
    assert len({source for *_, source in found}) == 2


def test_a_segment_has_the_newest_picture_of_its_window(built: Built) -> None:
    windows = {(row["room_id"], row["window"]) for row in rows(built.warehouse, "select * from marts.segments")}
    newest: dict[tuple[int, int], tuple[datetime, str]] = {}
    for frame in planted_rows()["frames"]:
        window = frame["room_id"], int(frame["at"].replace(tzinfo=UTC).timestamp()) // 30
        if window in windows:
            newest[window] = max(newest.get(window, (datetime.min, "")), (frame["at"], frame["path"]))
    found = rows(built.warehouse, "select * from marts.segment_frames")
    assert {(row["room_id"], row["window"]): (row["taken_at"], row["frame_path"]) for row in found} == newest
    assert len(found) > 20


def test_viewers_have_the_country_of_their_profile_where_it_has_any(built: Built) -> None:
    found = {(row["user_id"], row["dt"], row["country"]) for row in rows(built.warehouse, "select * from marts.user_countries")}
    profiles = planted_rows()["users"]
    assert found == {(row["user_id"], row["observed_at"].date(), row["country"]) for row in profiles if row["country"]}
    assert len(found) < len(profiles)


def test_the_marts_are_published_as_they_are(built: Built, tmp_path: Path) -> None:
    written = publish_marts(built.warehouse.parent / "tables", tmp_path / "marts")
    for mart in MARTS:
        (counted,) = rows(built.warehouse, f"select count(*) as n from marts.{mart}")  # noqa: S608
        assert written[mart] == counted["n"] > 0
        assert {path.name for path in (tmp_path / "marts" / mart).iterdir()} >= {f"dt={day}" for day in DAYS}


def test_days_whose_files_older_code_wrote_are_read_as_before_by_every_reader(built: Built, tmp_path: Path) -> None:
    marts = tmp_path / "marts"
    publish_marts(built.warehouse.parent / "tables", marts)
    wanted = readings(marts, tmp_path / "new")
    for file in [partition(marts, mart, DAYS[1]) for mart in MARTS]:
        table = pq.ParquetFile(file).read()
        narrow = pa.schema([field.with_nullable(table[field.name].null_count > 0) for field in table.schema])
        file.unlink()  # the published name of dbt's file
        pq.write_table(pa.Table.from_arrays(table.columns, schema=narrow), file)
    first, second = (pq.read_schema(partition(marts, "rooms", day)) for day in DAYS[:2])
    assert first != second
    assert readings(marts, tmp_path / "old") == wanted


def readings(marts: Path, folder: Path) -> dict[str, object]:
    """What each reader of marts makes of the planted days, as values that can be compared."""
    segments = read_mart(marts, "segments", DAYS)
    ids = np.unique(segments["segment_id"].to_numpy())
    vectors, codes = np.ones((len(ids), 2), np.float32), np.ones((len(ids), 2), np.int32)
    write_snapshot(folder, marts, end_of(DAYS[2]) - 60_000, ids, vectors, codes, 5)
    users = np.unique(read_mart(marts, "interactions", DAYS)["user_id"].to_numpy())
    platform = read_platform_vectors(marts, DAYS, ids)
    assert platform is not None
    drift = DriftConfig()
    return {
        **{mart: pa.concat_tables([read_mart(marts, mart, [day]) for day in DAYS]).to_pylist() for mart in MARTS},
        "snapshot": {file.name: file.read_bytes() for file in folder.iterdir()},
        "histories": [column.tolist() for column in read_engagements(marts, DAYS[1], DAYS[2], users, 5)],
        "vectors": platform.vectors.tolist(),
        "texts": texts_of(marts, ids, DAYS, SegmentConfig()),
        "drift": day_frame(marts, DAYS, drift).to_csv(),
        "words": room_words(marts, DAYS, drift).to_csv(),
        "corpus": load_corpus(marts, DAYS[2], DatasetConfig()).segment_ids.tolist(),
    }
