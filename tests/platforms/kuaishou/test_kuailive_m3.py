"""KuaiLive-M3: every published quirk, against a planted world."""

import logging
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests.planted.kuaishou_archives as make
from livealign.days import partition
from livealign.errors import ArchiveError
from livealign.platforms.registry import archive_days, land

PLATFORM = "kuailive_m3"


def landed_ids(landing, table, *names):
    return sorted(tuple(row[name] for name in names) for row in make.landed(landing, table))


def utc(moment):
    return round(moment.replace(tzinfo=make.UTC).timestamp() * 1_000)


@pytest.mark.parametrize(("layout", "packed"), [("folders", False), ("flat", True)])
def test_both_layouts_land_the_same_events_in_utc(tmp_path, layout, packed):
    world = make.write_m3(tmp_path / "a", layout=layout, packed=packed)
    summary = land(PLATFORM, tmp_path / "a", tmp_path / "l")
    plays = make.landed(tmp_path / "l", "plays")
    assert sorted(
        (p["user_id"], p["room_id"], utc(p["entered_at"]), p["left_at"] and utc(p["left_at"])) for p in plays
    ) == sorted(world.plays)
    shown = {(row["user_id"], row["room_id"], utc(row["shown_at"])) for row in make.landed(tmp_path / "l", "impressions")}
    assert shown == {*world.shows, *((user, room, at) for user, room, at, _ in world.plays)}
    assert len(make.landed(tmp_path / "l", "likes")) == len(world.likes)
    assert {row["author_id"] for row in make.landed(tmp_path / "l", "likes")} <= {71, 72, 73}
    assert summary.read == summary.landed + summary.rejected
    assert summary.reasons == {"share_failed": 3, "room_still_live": 1}


@pytest.mark.parametrize(("clock_ms", "name"), [(0, "utc"), (make.SHANGHAI, "shanghai")])
def test_the_clock_is_found_and_stated(tmp_path, clock_ms, name, caplog):
    make.write_m3(tmp_path / "a", clock_ms=clock_ms)
    with caplog.at_level(logging.INFO, "livealign"):
        land(PLATFORM, tmp_path / "a", tmp_path / "l")
    assert f"live_room_meta.parquet: times are on the clock of {name}" in caplog.text
    assert {utc(row["started_at"]) for row in make.landed(tmp_path / "l", "rooms")} == {
        r.start for r in make.small_world().rooms
    }


def test_a_clock_that_is_neither_is_refused_and_can_be_stated(tmp_path, monkeypatch):
    make.write_m3(tmp_path / "a", clock_ms=-5 * make.HOUR)
    with pytest.raises(ArchiveError, match=r"fit neither clock.*LIVEALIGN_KUAILIVE_M3_CLOCK"):
        archive_days(PLATFORM, tmp_path / "a")
    monkeypatch.setenv("LIVEALIGN_KUAILIVE_M3_CLOCK", "utc")
    assert archive_days(PLATFORM, tmp_path / "a")
    monkeypatch.setenv("LIVEALIGN_KUAILIVE_M3_CLOCK", "berlin")
    with pytest.raises(ArchiveError, match="use one of utc, shanghai"):
        archive_days(PLATFORM, tmp_path / "a")


def test_without_unix_times_p_date_tells_the_clock_and_without_both_nobody_guesses(tmp_path):
    world = make.small_world()
    world.plays += [
        (105, 9002, make.NOON + 4 * make.HOUR + i * 1_000, None) for i in range(30)
    ]  # 16:00 UTC: the next day there
    make.write_m3(tmp_path / "a", world, clock_ms=0)
    live = tmp_path / "a" / "live"
    (live / "live_comment.csv").unlink()
    for shard in (live / "live_emb_128_ts").iterdir():
        shard.unlink()
    assert archive_days(PLATFORM, tmp_path / "a") == [make.DAY_ONE, make.DAY_TWO]
    make.rewrite(live / "live_interaction.csv", lambda text: text.replace("p_date", "pdate"))
    with pytest.raises(ArchiveError, match=r"add live_comment\.csv or a shard"):
        archive_days(PLATFORM, tmp_path / "a")


def test_a_play_names_its_impression_and_ids_are_the_same_in_every_run(tmp_path):
    make.write_m3(tmp_path / "a")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    land(PLATFORM, tmp_path / "a", tmp_path / "again", days=[make.DAY_TWO])
    impressions = {row["impression_id"]: row for row in make.landed(tmp_path / "l", "impressions")}
    plays = make.landed(tmp_path / "l", "plays")
    for play in plays:
        shown = impressions[play["impression_id"]]
        assert (shown["user_id"], shown["room_id"], shown["shown_at"]) == (play["user_id"], play["room_id"], play["entered_at"])
    assert len(impressions) == len(plays) + len(make.small_world().shows)
    for table in ("plays", "impressions", "likes", "gifts", "comments"):
        both = [partition(tmp_path / name, table, make.DAY_TWO) for name in ("l", "again")]
        assert both[0].read_bytes() == both[1].read_bytes()


def test_no_column_of_an_impression_tells_whether_it_was_entered(tmp_path):
    make.write_m3(tmp_path / "a")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    for row in make.landed(tmp_path / "l", "impressions"):
        assert {row["surface"], row["position"], row["request_id"], row["score"]} == {None}


def test_counts_of_a_play_land_at_its_end(tmp_path):
    make.write_m3(tmp_path / "a")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    ends = {(p["user_id"], p["room_id"]): p["left_at"] for p in make.landed(tmp_path / "l", "plays")}
    gifts, follows = make.landed(tmp_path / "l", "gifts"), make.landed(tmp_path / "l", "follows")
    assert {gift["user_id"] for gift in gifts} == {102}
    assert {(gift["count"], gift["value"]) for gift in gifts} == {(2, None)}  # sendings, not items
    assert {follow["user_id"] for follow in follows} == {101}
    assert all(action["at"] == ends[action["user_id"], action["room_id"]] for action in [*gifts, *follows])


def test_like_counts_stand_in_only_where_the_likes_are_missing(tmp_path):
    world = make.write_m3(tmp_path / "a")
    (tmp_path / "a" / "live" / "live_like.csv").unlink()
    summary = land(PLATFORM, tmp_path / "a", tmp_path / "l")
    likes = make.landed(tmp_path / "l", "likes")
    assert [like["count"] for like in likes] == [2] * len([play for play in world.plays if play[3] is not None])
    assert summary.tables["likes"].reasons == {"missing_value": len([play for play in world.plays if play[3] is None])}


def test_an_end_that_is_missing_follows_from_the_duration(tmp_path):
    make.write_m3(tmp_path / "a")
    file = tmp_path / "a" / "live" / "live_interaction.csv"
    lines = file.read_text().splitlines()
    cells = lines[1].split(",")
    cells[4] = ""
    file.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    user, room, at, left = make.small_world().plays[0]
    play = next(p for p in make.landed(tmp_path / "l", "plays") if (p["user_id"], p["room_id"]) == (user, room))
    assert (utc(play["entered_at"]), utc(play["left_at"])) == (at, left)


def test_quoted_comments_keep_their_newlines_and_lose_their_mentions(tmp_path):
    make.write_m3(tmp_path / "a")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    texts = {row["text"] for row in make.landed(tmp_path / "l", "comments") if row["user_id"] == 101}
    assert texts == {'good, very "good"\nsee @user !'}
    assert "game @user night" in {row["title"] for row in make.landed(tmp_path / "l", "rooms")}


def test_vectors_of_segments_have_string_ids_and_those_of_rooms_wait_for_the_end(tmp_path):
    world = make.write_m3(tmp_path / "a")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    vectors = make.landed(tmp_path / "l", "content_vectors")
    segments = sorted((row["room_id"], utc(row["ended_at"])) for row in vectors if row["source"] == "segment_128")
    assert segments == sorted((room.live_id, room.start + 30_000 * (i + 1)) for room in world.rooms for i in range(3))
    whole = {row["room_id"]: utc(row["ended_at"]) for row in vectors if row["source"] == "room_64"}
    assert whole == {room.live_id: room.end for room in world.rooms if room.end is not None}
    assert {len(row["vector"]) for row in vectors} == {64, 128}


def test_a_room_under_two_dates_is_one_broadcast(tmp_path):
    make.write_m3(tmp_path / "a")
    path = tmp_path / "a" / "live" / "live_room_meta.parquet"
    rooms = pq.read_table(path)
    over = rooms.slice(2, 1)  # 23:00 to 02:00 UTC: the first row does not know its end, the second begins at midnight
    first = over.set_column(4, "end_timestamp", pa.nulls(1, pa.timestamp("ms")))
    midnight = make.NOON + 12 * make.HOUR + make.SHANGHAI
    second = over.set_column(3, "start_timestamp", pa.array([midnight], pa.timestamp("ms")))
    pq.write_table(pa.concat_tables([rooms.slice(0, 2), first, second, rooms.slice(3)]), path)
    summary = land(PLATFORM, tmp_path / "a", tmp_path / "l")
    room = next(row for row in make.landed(tmp_path / "l", "rooms") if row["room_id"] == 9003)
    assert (utc(room["started_at"]), utc(room["ended_at"])) == (make.NOON + 11 * make.HOUR, make.NOON + 14 * make.HOUR)
    assert summary.tables["rooms"].reasons == {"same_broadcast": 1}
    (reject,) = make.rejects(tmp_path / "l", "rooms")
    assert (reject["line"], reject["detail"]) == (4, "a part of the broadcast of row 3")


def test_a_bad_row_is_rejected_with_its_line_and_loses_no_other(tmp_path):
    world = make.write_m3(tmp_path / "a")
    file = tmp_path / "a" / "live" / "live_interaction.csv"
    lines = file.read_text().splitlines()
    lines[3] = "1,2,3"
    lines[5] = lines[5].replace("10", "x", 1)
    lines[6] = lines[6].replace("2025-", "1925-", 1)
    file.write_text("\n".join(lines) + "\n")
    summary = land(PLATFORM, tmp_path / "a", tmp_path / "l")
    assert {(row["line"], row["reason"]) for row in make.rejects(tmp_path / "l", "plays")} == {
        (3, "malformed_row"),
        (5, "wrong_type"),
        (6, "time_before_2000"),
    }
    assert summary.tables["plays"].landed == len(world.plays) - 3


def test_a_column_nobody_knows_is_a_warning_and_a_missing_one_costs_the_file(tmp_path):
    make.write_m3(tmp_path / "a")
    live = tmp_path / "a" / "live"
    make.rewrite(live / "live_share.csv", lambda text: text.replace("is_share_success", "brand_new"))
    make.rewrite(live / "live_comment.csv", lambda text: text.replace("content", "contents"))
    summary = land(PLATFORM, tmp_path / "a", tmp_path / "l")
    assert summary.tables["shares"].warnings == {"unknown_field": 1}
    assert summary.tables["comments"].reasons == {"missing_column": 1}
    assert summary.tables["comments"].landed == 0


def test_a_file_that_is_there_twice_is_refused(tmp_path):
    make.write_m3(tmp_path / "a", layout="folders")
    make.write_m3(tmp_path / "a", layout="flat")
    with pytest.raises(ArchiveError, match="keep the one that should count"):
        archive_days(PLATFORM, tmp_path / "a")


def test_a_secret_key_hides_all_people_everywhere(tmp_path, monkeypatch):
    make.write_m3(tmp_path / "a")
    make.rewrite(tmp_path / "a" / "live" / "live_share.csv", lambda text: text + "101,9001,71\n101,9001,71,yesterday,1\n")
    monkeypatch.setenv("LIVEALIGN_ID_KEY", "s3cret")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    tables = ("users", "authors", "plays", "impressions", "comments", "likes", "gifts", "follows", "shares", "rooms")
    rows = [row for table in tables for row in make.landed(tmp_path / "l", table)]
    assert min(row[name] for row in rows for name in ("user_id", "author_id") if name in row) > 1_000_000
    likers = {row["user_id"] for row in make.landed(tmp_path / "l", "likes")}
    assert likers <= {row["user_id"] for row in make.landed(tmp_path / "l", "users")}
    assert {row["author_id"] for row in make.landed(tmp_path / "l", "likes")} <= {
        row["author_id"] for row in make.landed(tmp_path / "l", "rooms")
    }
    assert not any("101" in str(row["row"]) or "71" in str(row["row"]) for row in make.rejects(tmp_path / "l", "shares"))


def test_landing_day_by_day_lands_and_rejects_what_one_run_does(tmp_path):
    make.write_m3(tmp_path / "a")
    make.rewrite(tmp_path / "a" / "live" / "live_like.csv", lambda text: text + "1,9001,\n101,4444,2025-05-06 09:00:00.000\n")
    whole = land(PLATFORM, tmp_path / "a", tmp_path / "l")
    parts = [land(PLATFORM, tmp_path / "a", tmp_path / "parts", days=[day]) for day in archive_days(PLATFORM, tmp_path / "a")]
    for table, counts in whole.tables.items():
        assert counts.landed == sum(part.tables[table].landed for part in parts)
        assert counts.reasons == sum((part.tables[table].reasons for part in parts), start=type(counts.reasons)())
    assert whole.tables["likes"].reasons == {"missing_value": 1, "unknown_room": 1}


def test_days_are_utc_and_known_without_landing(tmp_path):
    make.write_m3(tmp_path / "a")
    assert archive_days(PLATFORM, tmp_path / "a") == [date(2025, 5, 5), date(2025, 5, 6)]


@pytest.mark.parametrize("clock_ms", [0, make.SHANGHAI])
def test_a_bad_row_is_kept_under_the_utc_day_of_its_written_time(clock_ms, tmp_path):
    make.write_m3(tmp_path / "a", clock_ms=clock_ms)
    file = tmp_path / "a" / "live" / "live_interaction.csv"
    evening = make.NOON + 8 * make.HOUR  # 20:00 UTC, when it is the next day in Shanghai
    _, first, *_ = file.read_text().splitlines()
    cells = ["nobody", *first.split(",")[1:3], make.csv_time(evening, clock_ms), "", *first.split(",")[5:]]
    make.rewrite(file, lambda text: text + ",".join(cells) + "\n")
    land(PLATFORM, tmp_path / "a", tmp_path / "l")
    kept = {
        day: [row["reason"] for row in pq.read_table(path, partitioning=None).to_pylist()]
        for day in (make.DAY_ONE, make.DAY_TWO)
        if (path := partition(tmp_path / "l" / "rejects", "plays", day)).exists()
    }
    assert kept == {make.DAY_ONE: ["wrong_type"], make.DAY_TWO: []}
