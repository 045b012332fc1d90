"""Builds of the dbt project: day by day, late, by other code, on rows that break a contract or a dbt test."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from tests.planted.landing import DAYS, REJECTS, planted_rows
from tests.planted.landing_rows import at, write_landing
from tests.support.planted_warehouse import Built, contents
from tests.support.run_dbt import PROJECT, Dbt, rows, spoil


@pytest.mark.slow
def test_days_built_one_by_one_as_they_land_or_again_give_the_same_marts(dbt: Dbt, built: Built, tmp_path: Path) -> None:
    landing, warehouse = tmp_path / "landing", tmp_path / "warehouse.duckdb"

    def land_and_build(day: date) -> None:
        write_landing(landing, [day], planted_rows(), REJECTS)
        run = dbt.run("run", landing, warehouse, [day])
        assert run.success, run.messages

    land_and_build(DAYS[0])
    early = rows(warehouse, "select click from marts.interactions where impression_id = 21")
    assert early == [{"click": None}]  # the click after midnight is not known yet
    for day in DAYS[1:]:
        land_and_build(day)
    assert contents(warehouse) == contents(built.warehouse)
    files = {path: path.stat().st_ino for path in (tmp_path / "tables").rglob("*.parquet")}
    land_and_build(DAYS[2])
    rewritten = {path.parent.name for path, inode in files.items() if path.stat().st_ino != inode}
    assert rewritten == {f"dt={DAYS[1]}", f"dt={DAYS[2]}"}  # the day and the one before, whose late labels it knows
    land_and_build(DAYS[1])
    assert contents(warehouse) == contents(built.warehouse)
    refreshed = dbt.run("run", landing, warehouse, DAYS, "--full-refresh")
    assert refreshed.success, refreshed.messages
    assert contents(warehouse) == contents(built.warehouse)


def test_days_that_other_code_built_are_refused(dbt: Dbt, built: Built, copied: Callable[[str], Path]) -> None:
    warehouse = copied("old")
    spoil(warehouse, "rooms", "alter table spoilt rename column title to heading")
    run = dbt.run("run", built.landing, warehouse, DAYS[2:], "--select", "rooms")
    assert not run.success
    assert "was built by other code; run dbt build --full-refresh" in run.messages


def test_a_row_that_breaks_the_contract_is_refused_and_the_day_stays(
    dbt: Dbt, built: Built, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken_project"
    shutil.copytree(PROJECT, broken, ignore=shutil.ignore_patterns("target", "logs"))
    model = broken / "models" / "marts" / "rooms.sql"
    model.write_text(model.read_text().replace("    author_id,", "    nullif(author_id, 20) as author_id,"))
    warehouse = copied("broken")
    run = dbt.run("run", built.landing, warehouse, DAYS, "--select", "rooms", project=broken)
    assert not run.success
    assert "NOT NULL constraint failed" in run.messages
    assert contents(warehouse) == contents(built.warehouse)


@pytest.mark.slow
def test_a_shared_warehouse_that_dbt_attaches_gets_the_same_marts_day_by_day(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared.duckdb"
    monkeypatch.setenv("LIVEALIGN_DBT_TARGET", "shared")
    monkeypatch.setenv("LIVEALIGN_SHARED_WAREHOUSE", str(shared))
    dbt = Dbt(tmp_path / "dbt")  # parsed anew: the target is a part of what is parsed
    dbt.root.mkdir()
    write_landing(tmp_path / "landing", DAYS, planted_rows(), REJECTS)
    for days in (DAYS[:-1], DAYS[-1:]):
        run = dbt.run(
            "build", tmp_path / "landing", tmp_path / "warehouse.duckdb", days, "--exclude-resource-type", "unit_test"
        )
        assert run.success, run.messages
    assert contents(shared) == contents(built.warehouse)
    assert not (tmp_path / "warehouse.duckdb").exists()


def test_a_day_that_lands_late_is_put_in_its_place(dbt: Dbt, built: Built, tmp_path: Path) -> None:
    landing, warehouse = tmp_path / "landing", tmp_path / "warehouse.duckdb"
    write_landing(landing, [DAYS[0], DAYS[2]], planted_rows(), REJECTS)
    first = dbt.run("run", landing, warehouse, DAYS)
    assert first.success, first.messages
    assert contents(warehouse) != contents(built.warehouse)
    write_landing(landing, [DAYS[1]], planted_rows(), REJECTS)
    late = dbt.run("run", landing, warehouse, [DAYS[1]])
    assert late.success, late.messages
    assert contents(warehouse) == contents(built.warehouse)


def test_tests_fail_on_rows_from_the_future_and_on_lost_rows(dbt: Dbt, built: Built, copied: Callable[[str], Path]) -> None:
    warehouse = copied("spoilt")
    # A window that went on when the room was shown; a click known before the impression; a count of the day itself.
    spoil(
        warehouse,
        "interactions",
        "update spoilt set segment_id = (select max_by(segment_id, ended_at) from marts.segments where room_id = 1)"
        " where impression_id = 13;"
        " update spoilt set click_known_at = shown_at - interval '1 second' where impression_id = 12",
    )
    spoil(warehouse, "authors_daily", "update spoilt set clicks = clicks + 1 where author_id = 30")
    spoil(warehouse, "users_daily", "update spoilt set impressions = impressions + 1 where user_id = 1 and dt = '2025-06-03'")
    # A click known earlier than it was, and a vector of a moment that went on.
    spoil(
        warehouse, "user_histories", "update spoilt set engaged_at = engaged_at - interval '1 minute' where impression_id = 21"
    )
    spoil(warehouse, "segment_vectors", "update spoilt set vector_ended_at = vector_ended_at + interval '1 day'")
    spoil(warehouse, "segments", "update spoilt set n_comments = n_comments + 1 where room_id = 1 and segment_index = 2")
    spoil(warehouse, "quarantine", "delete from spoilt where reason = 'duplicate_key'")
    run = dbt.run("test", built.landing, warehouse, DAYS, "--select", "test_type:singular")
    assert not run.success
    assert run.named("fail") == {
        "segments_had_ended_when_shown",
        "labels_are_known_between_impression_and_horizon",
        "authors_daily_counts_only_days_before",
        "users_daily_counts_only_days_before",
        "histories_are_the_clicks",
        "vectors_had_ended_with_their_segment",
        "segments_hold_only_their_window",
        "ledger_is_conserved",
    }


def test_counts_of_one_more_day_are_checked_from_the_day_before(dbt: Dbt, built: Built, copied: Callable[[str], Path]) -> None:
    names = {"authors_daily_counts_only_days_before", "users_daily_counts_only_days_before"}
    warehouse = copied("counts")
    last = DAYS[-1]
    right = dbt.run("test", built.landing, warehouse, [last], "--select", *sorted(names))
    assert right.named("pass") == names
    spoil(warehouse, "authors_daily", f"update spoilt set clicks = clicks + 1 where author_id = 30 and dt = '{last}'")  # noqa: S608
    spoil(warehouse, "users_daily", f"update spoilt set likes = likes + 1 where user_id = 1 and dt = '{DAYS[0]}'")  # noqa: S608
    wrong = dbt.run("test", built.landing, warehouse, [last], "--select", *sorted(names))
    assert wrong.named("fail") == names


def test_a_model_that_looks_ahead_fails_the_build_and_stops_what_depends_on_it(
    dbt: Dbt, built: Built, copied: Callable[[str], Path], tmp_path: Path
) -> None:
    leaky = tmp_path / "leaky_project"
    shutil.copytree(PROJECT, leaky, ignore=shutil.ignore_patterns("target", "logs"))
    model = leaky / "models" / "marts" / "interactions.sql"
    honest = "impressions.shown_at >= segments.ended_at"
    assert honest in model.read_text()
    # The window that is on when the room is shown, as a careless author would have it.
    model.write_text(model.read_text().replace(honest, f"{honest} - interval '30 seconds'"))
    run = dbt.run(
        *("build", built.landing, copied("leaky"), DAYS, "--select", "interactions+", "--exclude-resource-type", "unit_test"),
        project=leaky,
    )
    assert not run.success
    assert run.named("fail") == {"segments_had_ended_when_shown"}
    assert {"user_histories", "int_author_days", "int_user_days"} <= run.named("skipped")


def test_an_inferred_list_without_its_session_fails_and_a_session_without_its_impression_warns(
    dbt: Dbt, tmp_path: Path
) -> None:
    planted = planted_rows()
    seen = {"author_id": 10, "room_id": 1, "surface": "inferred", "user_id": 1}
    lists = [  # (request, impressions, when they were shown)
        *(("played", 90 + n, "01 12:05:00") for n in range(3)),
        *(("over midnight", 93 + n, "01 23:59:59.500") for n in range(2)),
        *(("lost", 95 + n, "02 12:05:00") for n in range(2)),
        *(("perhaps behind the last day", 97 + n, "03 23:59:59.500") for n in range(2)),
    ]
    planted["impressions"] = [
        *planted["impressions"],
        *({"impression_id": one, "request_id": request, "shown_at": at(when), **seen} for request, one, when in lists),
    ]
    plays = [(90, 91, "01 12:05:01"), (91, 94, "02 00:00:00.500"), (92, 99, "02 13:00:00")]
    who = {"user_id": 1, "author_id": 10, "room_id": 1}
    planted["plays"] = [
        *planted["plays"],
        *({"play_id": play, "impression_id": shown, "entered_at": at(when), **who} for play, shown, when in plays),
    ]
    write_landing(tmp_path / "landing", DAYS, planted, REJECTS)
    warehouse = tmp_path / "warehouse.duckdb"
    assert dbt.run("run", tmp_path / "landing", warehouse, DAYS, "--select", "staging").success
    names = ["inferred_lists_have_their_play", "plays_have_their_impression"]
    tested = dbt.run("test", tmp_path / "landing", warehouse, DAYS, "--select", *names)
    assert tested.named("fail") == {"inferred_lists_have_their_play"}
    assert tested.named("warn") == {"plays_have_their_impression"}
    assert "Got 1 result" in tested.messages
