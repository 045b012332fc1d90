"""KuaiLive: both spellings, Shanghai days, midnight crossings, title vectors."""

import numpy as np
import pytest

import tests.planted.kuaishou_archives as make
from livealign.errors import ArchiveError
from livealign.platforms.registry import archive_days, land

PLATFORM = "kuailive"


def utc(moment):
    return round(moment.replace(tzinfo=make.UTC).timestamp() * 1_000)


@pytest.mark.parametrize(("spelling", "packed"), [("streamer", False), ("author", True)])
def test_both_spellings_land_the_same_events(tmp_path, spelling, packed):
    world = make.write_kuailive(tmp_path, spelling=spelling, packed=packed)
    summary = land(PLATFORM, tmp_path, tmp_path / "l")
    plays = make.landed(tmp_path / "l", "plays")
    assert sorted((p["user_id"], p["room_id"], utc(p["entered_at"])) for p in plays) == sorted(row[:3] for row in world.plays)
    shown = {(row["user_id"], row["room_id"], utc(row["shown_at"])) for row in make.landed(tmp_path / "l", "impressions")}
    assert shown == {*world.shows, *(row[:3] for row in world.plays)}
    assert len(make.landed(tmp_path / "l", "likes")) == len(world.likes)
    assert {row["text"] for row in make.landed(tmp_path / "l", "comments")} == {""}
    assert sorted(row["value"] for row in make.landed(tmp_path / "l", "gifts")) == [0.5, 1.5, 2.5]
    assert summary.reasons == {"same_broadcast": 1}
    assert summary.read == summary.landed + summary.rejected


def test_watch_time_in_milliseconds_ends_the_play(tmp_path):
    world = make.write_kuailive(tmp_path)
    land(PLATFORM, tmp_path, tmp_path / "l")
    lengths = {row[:2]: 0 if row[3] is None else row[3] - row[2] for row in world.plays}
    impressions = {row["impression_id"]: row["shown_at"] for row in make.landed(tmp_path / "l", "impressions")}
    for play in make.landed(tmp_path / "l", "plays"):
        assert utc(play["left_at"]) - utc(play["entered_at"]) == lengths[play["user_id"], play["room_id"]]
        assert impressions[play["impression_id"]] == play["entered_at"]


def test_days_are_utc_although_p_date_is_shanghais(tmp_path):
    make.write_kuailive(tmp_path)
    assert archive_days(PLATFORM, tmp_path) == [make.DAY_ONE, make.DAY_TWO]
    land(PLATFORM, tmp_path, tmp_path / "l", days=[make.DAY_ONE])
    rooms = make.landed(tmp_path / "l", "rooms")
    assert {row["room_id"] for row in rooms} == {9001, 9002, 9003}  # 9003 began 23:00 UTC, under p_date 20250506
    assert "20250506,9003" in (tmp_path / "room.csv").read_text()


def test_a_stream_over_midnight_in_shanghai_is_one_broadcast(tmp_path):
    make.write_kuailive(tmp_path)
    assert (tmp_path / "room.csv").read_text().count(",9002,") == 2
    land(PLATFORM, tmp_path, tmp_path / "l")
    (room,) = [row for row in make.landed(tmp_path / "l", "rooms") if row["room_id"] == 9002]
    assert (utc(room["started_at"]), utc(room["ended_at"])) == (make.NOON + make.HOUR, make.NOON + 5 * make.HOUR)


def test_end_times_that_pandas_made_floats_are_still_whole_milliseconds(tmp_path):
    world = make.write_kuailive(tmp_path)
    ends = {room.end for room in world.rooms if room.end}

    def as_floats(text):
        for end in ends:
            text = text.replace(f",{end},", f",{end}.0,")
        return text

    make.rewrite(tmp_path / "room.csv", as_floats)
    land(PLATFORM, tmp_path, tmp_path / "l")
    assert {utc(row["ended_at"]) for row in make.landed(tmp_path / "l", "rooms") if row["ended_at"]} == ends


def test_the_title_vector_lies_at_the_start_of_the_room(tmp_path):
    world = make.write_kuailive(tmp_path)
    land(PLATFORM, tmp_path, tmp_path / "l")
    titles = np.load(tmp_path / "title_embeddings.npy")
    vectors = {row["room_id"]: row for row in make.landed(tmp_path / "l", "content_vectors")}
    assert vectors.keys() == {room.live_id for room in world.rooms}
    for i, room in enumerate(world.rooms):
        row = vectors[room.live_id]
        assert (utc(row["ended_at"]), row["source"]) == (room.start, "title")
        np.testing.assert_array_equal(row["vector"], titles[i % 2])


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [(np.zeros((1, 128), np.float32), "unknown_title"), (np.full((2, 128), np.nan, np.float32), "not_finite")],
)
def test_title_vectors_that_do_not_fit_are_rejected_each(tmp_path, vectors, reason):
    make.write_kuailive(tmp_path)
    np.save(tmp_path / "title_embeddings.npy", vectors)
    summary = land(PLATFORM, tmp_path, tmp_path / "l")
    assert set(summary.tables["content_vectors"].reasons) == {reason}


def npy_header(text):
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content", [b"", b"no numpy", np.zeros((2, 3)).tobytes(), npy_header(b"{'shape': (2,\n"), npy_header(b"[]\n")]
)
def test_a_title_file_that_is_none_costs_only_the_titles(tmp_path, content):
    make.write_kuailive(tmp_path)
    (tmp_path / "title_embeddings.npy").write_bytes(content)
    summary = land(PLATFORM, tmp_path, tmp_path / "l")
    assert summary.tables["content_vectors"].reasons == {"unreadable_file": 1}
    assert summary.tables["rooms"].landed == 4


def test_a_pickled_title_file_is_never_unpickled(tmp_path):
    make.write_kuailive(tmp_path)
    np.save(tmp_path / "title_embeddings.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    summary = land(PLATFORM, tmp_path, tmp_path / "l")
    assert summary.tables["content_vectors"].reasons == {"unreadable_file": 1}


def test_bands_stay_text_and_profiles_land_on_the_first_day(tmp_path):
    make.write_kuailive(tmp_path)
    land(PLATFORM, tmp_path, tmp_path / "l")
    for author in make.landed(tmp_path / "l", "authors"):
        assert (author["followers_band"], author["age_band"], author["country"]) == ("100-500", "24-30", "China")
        assert author["observed_at"].date() == make.DAY_ONE
    assert {user["followers_band"] for user in make.landed(tmp_path / "l", "users")} == {"0-10"}


def test_seconds_in_place_of_milliseconds_are_rejected_with_a_hint(tmp_path):
    make.write_kuailive(tmp_path)
    make.rewrite(tmp_path / "like.csv", lambda text: text + "101,9001,71,1746446400\n")
    summary = land(PLATFORM, tmp_path, tmp_path / "l")
    assert summary.tables["likes"].reasons == {"wrong_time_unit": 1}
    (reject,) = make.rejects(tmp_path / "l", "likes")
    assert "milliseconds" in reject["detail"]


def test_without_rooms_there_is_no_landing(tmp_path):
    make.write_kuailive(tmp_path)
    (tmp_path / "room.csv").unlink()
    with pytest.raises(ArchiveError, match=r"no room\.csv or mapped_room\.csv"):
        archive_days(PLATFORM, tmp_path)


def test_a_rerun_gives_the_same_bytes(tmp_path):
    make.write_kuailive(tmp_path)
    for name in ("l", "again"):
        land(PLATFORM, tmp_path, tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "l") for path in (tmp_path / "l").glob("**/*.parquet"))
    assert files
    assert all((tmp_path / "l" / file).read_bytes() == (tmp_path / "again" / file).read_bytes() for file in files)
