"""Damaged Twitch archives: what does not fit is rejected alone, with its reason."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livealign.errors import ArchiveError, LiveAlignError
from livealign.landing.books import WARNINGS
from livealign.platforms.chat import json_text as messages_module
from livealign.platforms.chat.formats.twitch_archiver import read_messages
from livealign.platforms.chat.json_text import stream_array
from livealign.platforms.registry import archive_days, land
from tests.planted.twitch_archives import old_message, small_twitch_archive, twitch_user, write_broadcast, write_chat
from tests.support.twitch_landing import DAY, EVENING, NEXT, read


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"contentOffsetSeconds": None}, "missing_value"),
        ({"contentOffsetSeconds": "12"}, "wrong_type"),
        ({"contentOffsetSeconds": float("nan")}, "not_finite"),
        ({"contentOffsetSeconds": -5}, "before_start"),
        ({"contentOffsetSeconds": 12_000_000}, "after_end"),
        ({"contentOffsetSeconds": 10**400}, "not_finite"),
        ({"id": None}, "missing_value"),
        ({"commenter": []}, "wrong_type"),
        ({"commenter": {"login": "bob"}}, "missing_value"),
        ({"message": None}, "missing_value"),
        ({"message": {"fragments": "hi"}}, "wrong_type"),
        ({"message": {"fragments": [{}]}}, "wrong_type"),
        ({"message": {"body": "\ud800"}}, "invalid_utf8"),
        ({"message": {"body": "x" * (2 << 20)}}, "text_too_long"),
    ],
)
def test_one_bad_message_does_not_lose_the_others(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    chat = [old_message(1, "bob", "one"), old_message(2, "bob", "two") | change, old_message(3, "bob", "three")]
    write_broadcast(tmp_path / "a", "alice", EVENING, chat)
    summary = land("twitch", tmp_path / "a", tmp_path / "landing")
    assert [row["text"] for row in read(tmp_path / "landing", "comments")] == ["one", "three"]
    [reject] = read(tmp_path / "landing", "rejects/comments")
    assert (reject["line"], reject["reason"]) == (2, reason)
    assert summary.tables["comments"].read == 3


CHAT = json.dumps([old_message(1, "bob", "one"), old_message(2, "bob", "two")]).encode()


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(CHAT)[:-20],
        gzip.compress(CHAT)[:-8] + b"\0" * 8,
        b"",
        b"no gzip",
        gzip.compress(CHAT[:-30]),
        gzip.compress(CHAT + b"x"),
        gzip.compress(b'{"comments": []}'),
        gzip.compress(b"[" * 100_000),
        gzip.compress(b'[{"id": nul'),
    ],
    ids=["truncated", "checksum", "empty", "not gzip", "cut json", "goes on", "object", "nested", "broken"],
)
def test_a_chat_that_cannot_be_read_is_one_reject_and_its_room_stays(tmp_path: Path, content: bytes) -> None:
    folder = write_broadcast(tmp_path / "a", "alice", EVENING, [])
    (folder / "verbose_chat.json.gz").write_bytes(content)
    summary = land("twitch", tmp_path / "a", tmp_path / "landing")
    [reject] = read(tmp_path / "landing", "rejects/comments")
    assert (reject["line"], reject["reason"]) == (0, "unreadable_file")
    assert "verbose_chat.json.gz" in reject["detail"]
    assert summary.tables["rooms"].landed == 1
    assert (summary.tables["comments"].read, summary.tables["comments"].rejected) == (1, 1)


def test_a_zip_bomb_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages_module, "MAX_CHAT_BYTES", 4 << 20)
    write_chat(tmp_path, b"[" + b" " * (16 << 20) + b"]")
    with pytest.raises(ArchiveError, match=r"larger than 4,194,304 bytes .* remove it"):
        list(stream_array(tmp_path / "verbose_chat.json.gz"))


def test_bytes_that_are_not_utf8_cost_only_their_message(tmp_path: Path) -> None:
    write_chat(tmp_path, CHAT.replace(b"two", b"\xff\xfe"))
    good, bad, _ = read_messages(tmp_path / "verbose_chat.json.gz", 60)
    assert ([message.text for message in good], [message.reason for message in bad]) == (["one"], ["invalid_utf8"])


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 20])
def test_the_stream_does_not_depend_on_where_it_is_cut(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    elements = [{"a": [1, "]", '"', "ü😺"]}, 12, "x", None, [], {"b": {"c": -1.5e3}}, 7]
    monkeypatch.setattr(messages_module, "_CHUNK", chunk)
    write_chat(tmp_path, b" \n" + json.dumps(elements, indent=1, ensure_ascii=False).encode() + b"\n ")
    assert list(stream_array(tmp_path / "verbose_chat.json.gz")) == elements


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vod_id": "abc"}, "wrong_type"),
        ({"vod_id": str(2**63)}, "wrong_type"),
        ({"vod_id": None}, "missing_value"),
        ({"duration": -1}, "negative_duration"),
        ({"duration": "1h"}, "wrong_type"),
        ({"duration": 10**8}, "too_long"),
        ({"created_at": "1999-12-31T00:00:00Z"}, "time_before_2000"),
        ({"created_at": "2999-12-31T00:00:00Z"}, "time_in_future"),
        ({"created_at": "soon"}, "wrong_type"),
        ({"title": ["x"]}, "wrong_type"),
    ],
)
def test_a_broadcast_that_does_not_fit_is_rejected_with_its_chat(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    small_twitch_archive(tmp_path / "a")
    folder = write_broadcast(tmp_path / "a", "zoe", EVENING, [old_message(1, "bob", "one")], vod_id=103)
    vod = json.loads((folder / "vod.json").read_text())
    (folder / "vod.json").write_text(json.dumps(vod | change))
    summary = land("twitch", tmp_path / "a", tmp_path / "landing")
    [room] = read(tmp_path / "landing", "rejects/rooms")
    assert (room["file"], room["reason"]) == (f"zoe/{folder.name}/vod.json", reason)
    assert summary.tables["comments"].reasons["no_broadcast"] == 1
    assert summary.tables["rooms"].landed == 2


def test_missing_files_and_unknown_fields_are_told(tmp_path: Path) -> None:
    folder = write_broadcast(tmp_path / "a", "alice", EVENING, [old_message(1, "bob", "one") | {"mood": 1}])
    vod = json.loads((folder / "vod.json").read_text())
    (folder / "vod.json").write_text(json.dumps(vod | {"views": 3}))
    (write_broadcast(tmp_path / "a", "alice", EVENING, [], 2) / "verbose_chat.json.gz").unlink()
    (write_broadcast(tmp_path / "a", "alice", EVENING, [], 3) / "vod.json").unlink()
    land("twitch", tmp_path / "a", tmp_path / "landing")
    rejects = {
        (row["reason"], row["detail"])
        for name in ("rooms", "comments")
        for row in read(tmp_path / "landing", f"rejects/{name}")
    }
    assert rejects == {
        ("unknown_field", "mood"),
        ("unknown_field", "views"),
        ("missing_file", "there is no chat beside vod.json"),
        ("missing_file", "there is no vod.json"),
        ("no_broadcast", "its vod.json does not fit"),
    }


def test_a_folder_of_another_kind_is_refused_with_the_layout_that_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no Twitch broadcasts; expected CHANNEL/"):
        archive_days("twitch", tmp_path)
    with pytest.raises(ArchiveError, match="is no folder"):
        land("twitch", tmp_path / "nowhere", tmp_path / "landing")
    with pytest.raises(LiveAlignError, match="no platform 'tiktok'"):
        archive_days("tiktok", tmp_path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    elements=st.lists(
        st.one_of(
            st.none(),
            st.integers(),
            st.fixed_dictionaries(
                {
                    "id": st.one_of(st.sampled_from(["a", "b"]), st.none(), st.uuids().map(str)),
                    "contentOffsetSeconds": st.one_of(st.integers(-10, 9_000), st.floats(), st.integers(), st.text(max_size=2)),
                    "commenter": st.one_of(st.none(), st.just({}), st.sampled_from(["bob", "alice", "zed_9"]).map(twitch_user)),
                    "message": st.one_of(
                        st.none(), st.fixed_dictionaries({"body": st.text(max_size=5)}), st.just({"fragments": [1]})
                    ),
                }
            ),
        ),
        max_size=8,
    ),
    damage=st.one_of(st.none(), st.integers(0, 60)),
)
def test_no_chat_crashes_the_landing_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, elements: list[Any], damage: int | None
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    folder = write_broadcast(root / "a", "alice", EVENING, elements)
    if damage is not None:
        path = folder / "verbose_chat.json.gz"
        path.write_bytes(path.read_bytes()[:-damage] if damage else path.read_bytes() + b"junk")
    summary = land("twitch", root / "a", root / "landing", [DAY, NEXT])
    rejects = Counter(row["reason"] for row in read(root / "landing", "rejects/*") if row["reason"] not in WARNINGS)
    assert rejects == summary.reasons
    assert summary.read == summary.landed + summary.rejected
    messages = summary.tables["comments"].read + summary.tables["speech"].read
    assert messages == (1 if summary.reasons["unreadable_file"] else len(elements))
