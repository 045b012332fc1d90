"""Makers of chat archives of every format as documented, and readers of what landed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pyarrow.parquet as pq

START = 1_758_571_200  # 2025-09-22 20:00:00 UTC
START_MS = START * 1_000
HOST, FAN = "UC" + "9" * 22, "UC" + "0" * 21


def read(root: Path, name: str) -> list[dict[str, Any]]:
    """All days of a table, rows in order."""
    return [row for path in sorted(root.glob(f"{name}/dt=*/*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]


def rejects(root: Path) -> list[tuple[str, int, str]]:
    """(file, line, reason) of everything that was rejected."""
    return [(row["file"], row["line"], row["reason"]) for row in read(root, "rejects/*")]


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# TwitchDownloader


def td_comment(number: int, offset: float, name: str, body: str, bits: int = 0, **changes: Any) -> dict[str, Any]:
    message = {"body": body, "bits_spent": bits, "fragments": [{"text": body, "emoticon": None}], "user_badges": []}
    return {
        "_id": f"td{number}",
        "created_at": f"2025-09-22T20:{int(offset) // 60:02}:{int(offset) % 60:02}Z",
        "channel_id": "9",
        "content_type": "video",
        "content_id": "101",
        "content_offset_seconds": offset,
        "commenter": {"display_name": name.upper(), "_id": str(700 + len(name)), "name": name, "logo": None},
        "message": message | {"user_color": "#00FF7F", "emoticons": []},
    } | changes


def td_chat(comments: Sequence[Any], video: Mapping[str, Any] | None = None) -> dict[str, Any]:
    whole = {"title": "a stream", "description": None, "id": "101", "created_at": "2025-09-22T20:00:00Z", "start": 0}
    whole |= {"end": 3_600, "length": 3_600, "viewCount": 12, "game": "Some Game", "chapters": []}
    return {
        "FileInfo": {"Version": {"Major": 1, "Minor": 4, "Patch": 0}, "CreatedAt": "2025-09-22T20:00:00Z"},
        "streamer": {"name": "Hostone", "login": "hostone", "id": 207179209},
        "video": whole | (video or {}),
        "comments": list(comments),
        "embeddedData": {"thirdParty": [{"id": "x", "data": 'ab"{\\['}], "firstParty": []},
    }


def chapter(start_ms: int, game: str) -> dict[str, Any]:
    return {"id": game, "startMilliseconds": start_ms, "lengthMilliseconds": 1, "_type": "GAME_CHANGE"} | {
        "description": game,
        "gameDisplayName": game,
    }


# yt-dlp


def yt_line(offset_ms: Any, renderer: Mapping[str, Any], kind: str = "liveChatTextMessageRenderer") -> dict[str, Any]:
    action = {"addChatItemAction": {"item": {kind: renderer}, "clientId": "c"}}
    return {"replayChatItemAction": {"actions": [action], "videoOffsetTimeMsec": str(offset_ms)}}


def yt_text(number: int, offset_ms: int, text: str, who: str = "1", **changes: Any) -> dict[str, Any]:
    return {
        "message": {"runs": [{"text": text}]},
        "authorName": {"simpleText": f"V{who}"},
        "id": f"id{number}",
        "timestampUsec": str((START_MS + offset_ms) * 1_000),
        "authorExternalChannelId": FAN + who,
        "timestampText": {"simpleText": "0:10"},
    } | changes


def write_yt(folder: Path, lines: Sequence[Any], info: Mapping[str, Any] | None, name: str = "A [tag] [abcdefghijk]") -> Path:
    if info is not None:
        whole = {"id": "abcdefghijk", "title": "A stream", "channel_id": HOST, "duration": 600, "was_live": True}
        write(folder / f"{name}.info.json", json.dumps(whole | {"release_timestamp": START} | dict(info)))
    return write(folder / f"{name}.live_chat.json", "".join(json.dumps(line) + "\n" for line in lines))


# chat-downloader


def cd_message(number: int, offset: float | None, user: str, text: str | None, **changes: Any) -> dict[str, Any]:
    at = None if offset is None else round((START + offset) * 1e6)
    return {
        "author": {"id": user, "name": f"v{user[-1]}", "display_name": f"V{user[-1]}"},
        "message": text,
        "message_id": f"m{number}",
        "message_type": "text_message",
        "time_in_seconds": offset,
        "timestamp": at,
    } | changes


# Bilibili


def danmaku(offset: float, text: str, uid: str, user: str, unix_ms: int | None = None) -> str:
    sent = round(START_MS + offset * 1_000) if unix_ms is None else unix_ms
    return f'<d p="{offset},1,25,16777215,{sent},0,{uid},0" user={quoteattr(user)}>{escape(text)}</d>'


def recorder_xml(elements: Sequence[str], **info: str) -> str:
    whole = {"roomid": "12345", "shortid": "0", "name": "host", "title": "a title", "areanameparent": "game"}
    whole |= {"areanamechild": "chess", "start_time": "2025-09-23T04:00:00.0000000+08:00"} | info
    header = "".join(f" {key}={quoteattr(value)}" for key, value in whole.items())
    body = "\n".join(elements)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<?xml-stylesheet type="text/xsl" href="#s"?>\n<i><chatserver>x</chatserver>'
        f'<BililiveRecorder version="2.8.0" /><BililiveRecorderRecordInfo{header} />\n{body}</i>'
    )


def write_every_format(archive: Path) -> None:
    """One small broadcast of each format but twitch-archiver's: two messages of two viewers."""
    comments = [td_comment(i, 10 + 20 * i, name, f"line {i}", bits=i) for i, name in enumerate(("v", "ww"))]
    write(archive / "td" / "a.json", json.dumps(td_chat(comments, {"id": "301"})))
    write_yt(archive / "yt", [yt_line(1_000 * i, yt_text(i, 1_000 * i, f"line {i}", str(i))) for i in range(2)], {})
    lines = [json.dumps(cd_message(i, 5.0 + i, FAN + str(i), f"line {i}")) for i in range(2)]
    write(archive / "cd" / "stream [zyxwvutsrqp].jsonl", "\n".join(lines) + "\n")
    write(archive / "cd" / "202.json", json.dumps([cd_message(i, 5.0 + i, f"55{i}", f"line {i}") for i in range(2)]))
    spoken = [danmaku(10.5 + i, f"line {i}", f"100{i}", f"u{i}") for i in range(2)]
    gift = '<gift ts="40.1" user="u1" uid="1001" giftname="g" giftcount="2" price="0.5" />'
    write(archive / "12345-host" / "rec-12345.xml", recorder_xml([*spoken, gift]))
    write(archive / "777" / "2025-09-22.txt", "".join(f"{START_MS + 1_000 * i}:88{i}:line {i}\n" for i in range(2)))
