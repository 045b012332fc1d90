"""Damaged archives, at random and on purpose: no adapter crashes, nothing is lost, every reject has its reason."""

import contextlib
import gzip
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tests.planted.kuaishou_archives as make
from livealign.errors import LiveAlignError
from livealign.events.log import EventLog
from livealign.landing.summary import LandingSummary
from livealign.platforms import csv_blocks
from livealign.platforms.chat import json_text
from livealign.platforms.inspect import inspect_archive
from livealign.platforms.registry import PLATFORMS, land
from livealign.simulation.archive import FORMAT
from livealign.simulation.config import MANIFEST
from tests.planted.chat_archives import (
    FAN,
    START_MS,
    cd_message,
    danmaku,
    recorder_xml,
    write,
    write_every_format,
    write_yt,
    yt_line,
    yt_text,
)

FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NASTY_CELLS = [
    *(b"", b"NaN", b"inf", b"-inf", b"NULL", b"-5", b"0", b"12.5", b"1e300", b"99999999999999999999", b"9223372036854775808"),
    *(
        b"1746446400",
        b"1746446400000000",
        b"2025-13-45 00:00:00",
        b"2025-05-05",
        b"1970-01-01 00:00:00.000",
        b"9999-12-31 23:59:59",
    ),
    *(b"\xff\xfe", b"\x00", "٣".encode(), b"x" * 70_000, b'a"b', b"  7  ", b"[1, 2]"),
]


@cache
def pristine(platform: str) -> dict[str, bytes]:
    """A small good archive as bytes by path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ARCHIVES[platform](folder)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _write_twitch(folder: Path) -> None:
    for number, channel in enumerate(("channel1", "channel2")):
        broadcast = folder / channel / f"2025-08-01_20-00-22_{number}"
        broadcast.mkdir(parents=True)
        vod = {"vod_id": str(number), "title": "t", "description": {}, "created_at": "2025-08-01T20:00:22Z", "duration": 600}
        (broadcast / "vod.json").write_text(json.dumps(vod))
        messages = [
            {
                "id": f"m{i}",
                "createdAt": "2025-08-01T20:00:30Z",
                "contentOffsetSeconds": 10 * i,
                "commenter": None if i == 3 else {"id": str(i % 3), "login": f"fan_{i % 3}", "displayName": "Fan"},
                "message": {"fragments": [{"text": f"hi {i}", "emote": None}], "userBadges": []},
            }
            for i in range(8)
        ]
        (broadcast / "verbose_chat.json.gz").write_bytes(gzip.compress(json.dumps(messages).encode()))


def _write_youtube(folder: Path) -> None:
    lines = [yt_line(1_000 * i, yt_text(i, 1_000 * i, f"line {i}", str(i % 3))) for i in range(6)]
    write_yt(folder, lines, {})
    rows = [json.dumps(cd_message(i, 5.0 + i, FAN + str(i % 3), f"line {i}")) for i in range(6)]
    write(folder / "stream [zyxwvutsrqp].jsonl", "\n".join(rows) + "\n")


def _write_bilibili(folder: Path) -> None:
    spoken = [danmaku(10.5 + i, f"line {i}", f"100{i % 3}", f"u{i % 3}") for i in range(6)]
    write(folder / "r" / "1.xml", recorder_xml(spoken))
    write(folder / "777" / "2025-09-22.txt", "".join(f"{START_MS + 1_000 * i}:88{i % 3}:line {i}\n" for i in range(6)))


def _write_simulator(folder: Path) -> None:
    """What landed from another platform has the columns of a simulated archive."""
    with tempfile.TemporaryDirectory() as name:
        make.write_m3(Path(name) / "a")
        land("kuailive_m3", Path(name) / "a", Path(name) / "l")
        for path in (Path(name) / "l").glob("*/dt=*/part-0.parquet"):
            if path.parent.parent.name not in ("ledger", "rejects"):
                target = folder / path.parent.name / f"{path.parent.parent.name}.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    (folder / MANIFEST).write_text(json.dumps({"format": FORMAT}))


def _write_parquet(folder: Path) -> None:
    """The same rows as engines lay them out: a table in a folder of days, one in numbered files, one in a file."""
    _write_simulator(folder)
    (folder / MANIFEST).unlink()
    for number, path in enumerate(sorted(folder.glob("dt=*/*.parquet"))):
        name, day = path.stem, path.parent.name
        targets = {"plays": f"plays/{day}/part-0.snappy.parquet", "comments": f"comments_{number}.parquet"}
        if name in targets:
            (folder / targets[name]).parent.mkdir(parents=True, exist_ok=True)
            path.rename(folder / targets[name])


def _write_liverec(folder: Path) -> None:
    rows = [
        f"{user},{1000 + streamer},host{streamer},{10 * user + streamer},{10 * user + streamer + 2}"
        for user in range(6)
        for streamer in range(4)
    ]
    (folder / "100k.csv").write_text("\n".join(rows) + "\n")
    (folder / "liverec.json").write_text(json.dumps({"start": "2025-04-01T00:00:00Z"}))


def _write_served(folder: Path) -> None:
    """Two files of an event log: the second has the ends of what began in the first."""
    at = 1_749_470_000_000
    who = {"room_id": 10, "author_id": 1}
    for kinds in (("room_started", "impression", "play_started", "comment", "like"), ("speech", "play_ended", "room_ended")):
        with EventLog(folder) as log:
            for kind in kinds:
                event = {"kind": kind, "event_id": kind, "at": at, **who}
                event |= {} if kind in ("room_started", "room_ended", "speech") else {"user_id": 7}
                event |= {"text": "hi"} if kind in ("comment", "speech") else {}
                event |= {"ended_at": at + 1_000} if kind == "speech" else {}
                event |= {"play_id": "play_started"} if kind == "play_ended" else {}
                log.append([json.dumps(event).encode()])
                at += 20_000
    (folder / "lock").unlink()


# A small good archive of every platform; a new one needs this line alone.
ARCHIVES: dict[str, Callable[[Path], object]] = {
    "kuailive": make.write_kuailive,
    "kuailive_m3": make.write_m3,
    "twitch": _write_twitch,
    "youtube": _write_youtube,
    "bilibili": _write_bilibili,
    "chat": write_every_format,
    "simulator": _write_simulator,
    "served": _write_served,
    "parquet": _write_parquet,
    "liverec": _write_liverec,
}
INFER_IMPRESSIONS = {
    "kuailive",
    "kuailive_m3",
    "twitch",
    "youtube",
    "bilibili",
    "chat",
    "liverec",
}  # from their plays: none may land without the other


def test_every_platform_is_damaged_and_all_of_its_files_are_read():
    assert set(ARCHIVES) == set(PLATFORMS)
    for platform in ARCHIVES:
        assert undamaged(platform).not_read == []


def land_bytes(platform: str, files: dict[str, bytes]) -> LandingSummary | None:
    """Land an archive given as bytes; None where it is refused as a whole. Checks what must hold for any input."""
    with tempfile.TemporaryDirectory() as name:
        archive, landing = Path(name) / "a", Path(name) / "l"
        for file, content in files.items():
            (archive / file).parent.mkdir(parents=True, exist_ok=True)
            (archive / file).write_bytes(content)
        try:
            summary = land(platform, archive, landing)
        except LiveAlignError:
            assert not list(landing.glob("*/dt=*"))
            return None
        rejects = make.rejects(landing)
        assert all(re.fullmatch(r"[a-z0-9_]+", row["reason"]) and row["file"] and row["line"] >= 0 for row in rejects)
        for table, counts in summary.tables.items():
            assert counts.read == counts.landed + counts.rejected
            assert counts.rejected == sum(counts.reasons.values())
            assert counts.landed == len(make.landed(landing, table))
            assert counts.rejected == sum(row["table"] == table and row["reason"] != "unknown_field" for row in rejects)
        if platform in INFER_IMPRESSIONS:
            shown = {row["impression_id"] for row in make.landed(landing, "impressions")}
            assert {row["impression_id"] for row in make.landed(landing, "plays")} <= shown
        return summary


@cache
def undamaged(platform: str) -> LandingSummary:
    summary = land_bytes(platform, pristine(platform))
    assert summary is not None
    return summary


def damage(content: bytes, kind: str, place: float, noise: bytes) -> bytes:
    at = int(place * len(content))
    if kind == "truncate":
        return content[:at]
    if kind == "cut":
        return content[:at] + content[at + max(1, len(noise)) :]
    if kind == "flip":
        return content[:at] + bytes(byte ^ 0xFF for byte in content[at : at + 3]) + content[at + 3 :]
    return content[:at] + noise + content[at:]


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
@FEW
@given(
    hits=st.lists(
        st.tuples(
            st.integers(0, 10_000),
            st.sampled_from(["truncate", "cut", "flip", "insert"]),
            st.floats(0, 1),
            st.sampled_from([b"\n", b'"', b",,", b"\xff\xfe\x00", b"\r", b'"\n"', b"NaN", b"{}", b"\xef\xbb\xbf"]),
        ),
        min_size=1,
        max_size=4,
    ),
    packed=st.booleans(),
)
def test_random_damage_crashes_nothing_and_loses_nothing(platform, hits, packed):
    files = dict(pristine(platform))
    if packed:
        files = {f"{name}.gz" if name.endswith(".csv") else name: content for name, content in files.items()}
        files = {name: gzip.compress(content) if name.endswith(".csv.gz") else content for name, content in files.items()}
    for which, kind, place, noise in hits:
        name = sorted(files)[which % len(files)]
        files[name] = damage(files[name], kind, place, noise)
    land_bytes(platform, files)


@pytest.mark.parametrize("platform", ["kuailive", "kuailive_m3"])
@FEW
@given(data=st.data())
def test_a_nasty_cell_costs_at_most_its_row(platform, data):
    files = dict(pristine(platform))
    csvs = [name for name in sorted(files) if name.endswith(".csv") and b'"' not in files[name] and "photo" not in name]
    name = data.draw(st.sampled_from(csvs))
    lines = files[name].rstrip(b"\n").split(b"\n")
    cells = [line.split(b",") for line in lines]
    row, column = data.draw(st.integers(1, len(lines) - 1)), data.draw(st.integers(0, len(cells[0]) - 1))
    cells[row][column] = data.draw(st.sampled_from(NASTY_CELLS))
    files[name] = b"\n".join(b",".join(row) for row in cells) + b"\n"
    before, after = undamaged(platform), land_bytes(platform, files)
    if after is None:  # the cell took the only clue to the clock or all rooms away: refused, with a remedy
        return
    for table in ("rooms", "plays", "comments", "likes", "shares", "users", "authors"):
        assert after.tables[table].read == before.tables[table].read
    # A row of one file feeds several tables; a play that goes takes its impression, gift, … along unread.
    assert before.landed - 8 <= after.landed <= before.landed + 1


@pytest.mark.parametrize("platform", ["kuailive_m3", "simulator", "parquet"])
@FEW
@given(data=st.data())
def test_a_column_of_another_type_is_judged_row_by_row(platform, data):
    files = dict(pristine(platform))
    name = data.draw(st.sampled_from([file for file in sorted(files) if file.endswith(".parquet")]))
    rows = pq.read_table(io.BytesIO(files[name]))
    column = data.draw(st.sampled_from(rows.schema.names))
    n = len(rows)
    values = data.draw(
        st.sampled_from(
            [
                pa.array(["x", "12", None, "1e9", "NaN", "9" * 25] * n, pa.string())[:n],
                pa.array([2**63, 5, 0] * n, pa.uint64())[:n],
                pa.array([float("nan"), float("inf"), -1.5, 1e300] * n, pa.float64())[:n],
                pa.array([1_746_446_400, 1_746_446_400_000_000, -1] * n, pa.int64())[:n],
                pa.array([[float("nan")] * 128, [], None, [1.0] * 3] * n, pa.list_(pa.float64()))[:n],
                pa.array([True, None] * n, pa.bool_())[:n],
                pa.array([b"\xff", b"7"] * n, pa.binary())[:n],
                pa.nulls(n),
            ]
        )
    )
    sink = io.BytesIO()
    pq.write_table(rows.set_column(rows.schema.get_field_index(column), column, values), sink)
    files[name] = sink.getvalue()
    land_bytes(platform, files)


@pytest.mark.parametrize("platform", ["kuailive", "kuailive_m3", "twitch"])
def test_truncated_gzip_keeps_the_other_files(platform):
    files = dict(pristine(platform))
    if platform == "twitch":
        name = next(file for file in files if file.endswith(".gz"))
        files[name] = files[name][:-9]
    else:
        name = next(file for file in files if "like" in file)
        files[f"{name}.gz"] = gzip.compress(files.pop(name))[:-9]
    summary = land_bytes(platform, files)
    assert summary is not None
    assert summary.reasons["unreadable_file"] == 1
    assert summary.tables["rooms"].landed


@pytest.mark.parametrize("platform", ["kuailive_m3", "twitch"])
def test_a_comment_of_ten_megabytes_is_rejected_alone(platform):
    files = dict(pristine(platform))
    text = "so long, " * (10 << 17)
    if platform == "twitch":
        name = next(file for file in files if file.endswith(".gz"))
        messages = json.loads(gzip.decompress(files[name]))
        messages[5]["message"]["fragments"][0]["text"] = text
        files[name] = gzip.compress(json.dumps(messages).encode(), 1)
    else:
        files["live/live_comment.csv"] += f'9001,101,71,"{text}",{make.NOON + make.HOUR}\n'.encode()
    before, summary = undamaged(platform), land_bytes(platform, files)
    assert summary is not None
    assert summary.tables["comments"].reasons["text_too_long"] == 1
    assert summary.tables["comments"].read == before.tables["comments"].read + (platform == "kuailive_m3")


@pytest.mark.parametrize("platform", ["kuailive", "kuailive_m3", "twitch"])
def test_a_zip_bomb_is_refused_by_its_size(platform, monkeypatch):
    monkeypatch.setattr(csv_blocks, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr(json_text, "MAX_CHAT_BYTES", 1 << 20)
    files = dict(pristine(platform))
    if platform == "twitch":
        name = next(file for file in files if file.endswith(".gz"))
        files[name] = gzip.compress(b"[" + b" " * (16 << 20) + b"]")
    else:
        name = next(file for file in files if "like" in file)
        files[f"{name}.gz"] = gzip.compress(files.pop(name) + b"\n" * (16 << 20))
    summary = land_bytes(platform, files)
    assert summary is not None
    assert {"too_large", "unreadable_file"} & set(summary.reasons)
    assert summary.tables["rooms"].landed


def test_a_quotation_without_end_costs_one_line(monkeypatch):
    monkeypatch.setattr(csv_blocks, "MAX_ROW_BYTES", 4_000)
    monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 1_000)
    files = dict(pristine("kuailive_m3"))
    lines = files["live/live_like.csv"].split(b"\n")
    lines.insert(2, b'101,"9001,2025-05-05 20:00:00.000')
    lines.insert(4, b"1," + b"9" * 9_000)
    files["live/live_like.csv"] = b"\n".join(lines)
    before, summary = undamaged("kuailive_m3"), land_bytes("kuailive_m3", files)
    assert summary is not None
    assert summary.tables["likes"].landed == before.tables["likes"].landed
    assert summary.tables["likes"].reasons == {"unclosed_quote": 1, "row_too_long": 1}


@FEW
@given(st.lists(st.lists(st.text(alphabet='ab,"\n\r ', max_size=5), min_size=3, max_size=3), max_size=12), st.integers(1, 30))
def test_blocks_of_any_size_cut_between_rows_only(tmp_path_factory, rows, block):
    path = tmp_path_factory.mktemp("blocks") / "x.csv"
    make.write_csv(path, ["a", "b", "c"], rows)
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(csv_blocks, "BLOCK_BYTES", block)
        pieces = list(csv_blocks.read_blocks(path))
    assert all(isinstance(piece, csv_blocks.Rows) for piece in pieces)
    assert b"".join(piece.data for piece in pieces) == path.read_bytes()
    for piece in pieces:
        assert piece.data.count(b'"') % 2 == 0
        assert piece.data.endswith(b"\n")


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
def test_inspection_survives_what_landing_does(platform, tmp_path):
    for number, kind in enumerate(("truncate", "flip")):
        folder = tmp_path / kind
        for i, (name, content) in enumerate(pristine(platform).items()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            spoilt = damage(content, kind, 0.7, b"") if i % 3 == number else content
            (folder / name).write_bytes(spoilt)
        with contextlib.suppress(LiveAlignError):
            assert inspect_archive(folder).files


def test_ids_of_63_bits_land_and_one_more_bit_is_rejected():
    files = dict(pristine("kuailive"))
    files["like.csv"] += f"{2**63 - 1},9001,71,{make.NOON}\n{2**63},9001,71,{make.NOON}\n-1,9001,71,{make.NOON}\n".encode()
    before, summary = undamaged("kuailive"), land_bytes("kuailive", files)
    assert summary is not None
    assert summary.tables["likes"].landed == before.tables["likes"].landed + 1
    assert summary.tables["likes"].reasons == {"wrong_type": 1, "id_out_of_range": 1}


def test_vectors_with_nan_or_of_another_length_are_rejected_each():
    files = dict(pristine("kuailive_m3"))
    name = "live/live_emb_64.parquet"
    rows = pq.read_table(io.BytesIO(files[name]))
    vectors = [np.full(64, np.nan, np.float32), np.zeros(63, np.float32), np.zeros(64, np.float32), np.zeros(64, np.float32)]
    sink = io.BytesIO()
    pq.write_table(rows.set_column(1, "embedding", pa.array(vectors, pa.list_(pa.float32()))), sink)
    files[name] = sink.getvalue()
    summary = land_bytes("kuailive_m3", files)
    assert summary is not None
    assert summary.tables["content_vectors"].reasons == {"not_finite": 1, "wrong_dimension": 1, "room_still_live": 1}
