"""Archives damaged on purpose: what is damaged is lost alone, with its reason."""

import contextlib
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests.planted.kuaishou_archives as make
from livealign.errors import LiveAlignError
from livealign.platforms import csv_blocks
from livealign.platforms.chat import json_text
from livealign.platforms.inspect import inspect_archive
from livealign.platforms.registry import PLATFORMS
from tests.planted.small_archives import pristine
from tests.support.damaged_landing import damage, land_bytes, undamaged


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
