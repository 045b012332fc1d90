"""The Redis log survives kill -9 of its server; its export writes every record once."""

import itertools
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from livealign.cli import main as cli
from livealign.errors import EventLogError, LiveAlignError
from livealign.events.intake import EventIntake
from livealign.events.log import START, EventLog, Position
from livealign.events.log_files import log_files
from livealign.events.redis_export import STATE, RedisExport
from livealign.events.redis_log import RedisLog
from livealign.files import replace_json
from livealign.platforms.registry import archive_days, land
from tests.events.test_log import like
from tests.support.redis_server import DURABLE, INSTALLED, RedisServer

redis = pytest.importorskip("redis", reason="the optional extra `redis` is not installed")
pytestmark = pytest.mark.skipif(not INSTALLED, reason="redis-server is not installed (a Debian package)")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start(*DURABLE)
    yield server
    server.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


numbers = itertools.count()


@pytest.fixture
def log(shared: RedisServer) -> Iterator[RedisLog]:
    log = RedisLog.open(shared.url, f"stream-{next(numbers)}")
    yield log
    log.close()


def records(log: Any, after: Position = START) -> list[bytes]:
    return [record for _, record in log.read(after)]


def test_records_come_back_in_order_and_from_any_position(log: RedisLog) -> None:
    sent = [b"record-%d" % i for i in range(2_500)]  # more than a page
    for start in range(0, len(sent), 100):
        log.append(sent[start : start + 100])
    found = list(log.read(START))
    assert [record for _, record in found] == sent
    positions = [position for position, _ in found]
    assert positions == sorted(set(positions))
    for place in (0, 999, 1_000, 2_499):
        assert records(log, positions[place]) == sent[place + 1 :]


def test_two_processes_see_each_others_records_in_the_same_order(log: RedisLog, shared: RedisServer) -> None:
    others = [RedisLog.open(shared.url, log.stream) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda i=i, one=one: [one.append([b"%d-%d" % (i, j)]) for j in range(100)])
        for i, one in enumerate(others)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = records(log)
    assert seen == records(others[0]) == records(others[1])
    for i in range(2):
        assert [one for one in seen if one.startswith(b"%d-" % i)] == [b"%d-%d" % (i, j) for j in range(100)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((), "appendonly is no"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "appendfsync is everysec; set appendfsync always"),
        ((*DURABLE, "--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"), "set maxmemory-policy noeviction"),
    ],
)
def test_a_server_that_could_lose_events_is_refused(own: RedisServer, settings: tuple[str, ...], said: str) -> None:
    own.start(*settings)
    with pytest.raises(EventLogError, match=said):
        RedisLog.open(own.url)
    RedisLog.open(own.url, require_durable=False).append([b"a trial"])


def test_a_server_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(EventLogError, match="no Redis server answers") as caught:
        RedisLog.open("redis://:secret@127.0.0.1:1/0")
    assert "secret" not in str(caught.value)


def test_kill_9_of_the_server_loses_nothing_that_was_acknowledged(own: RedisServer) -> None:
    log = RedisLog.open(own.start(*DURABLE).url)
    acknowledged: list[bytes] = []

    def write() -> None:
        for i in itertools.count():
            batch = [b"%d-%d" % (i, j) for j in range(10)]
            try:
                log.append(batch)
            except EventLogError:
                return
            acknowledged.extend(batch)

    writer = threading.Thread(target=write)
    writer.start()
    while len(acknowledged) < 300:
        time.sleep(0.001)
    own.kill()
    writer.join()
    own.start(*DURABLE)
    kept = records(RedisLog.open(own.url))
    assert kept[: len(acknowledged)] == acknowledged
    assert len(kept) in (len(acknowledged), len(acknowledged) + 10)  # the last may have been kept whole without a reply


def test_a_full_server_acknowledges_nothing_and_forgets_nothing(own: RedisServer) -> None:
    log = RedisLog.open(own.start(*DURABLE, "--maxmemory", "4mb").url)
    log.append([b"before"])
    kept, refusal = 1, ""
    while not refusal and kept < 10_000:
        try:
            log.append([b"x" * 10_000] * 10)
            kept += 10
        except EventLogError as error:
            refusal = str(error)
    assert "10 events were not acknowledged" in refusal
    assert len(records(log)) == kept
    assert records(log)[0] == b"before"


def test_a_reader_that_was_trimmed_away_is_told(log: RedisLog) -> None:
    log.append([b"%d" % i for i in range(10)])
    positions = [position for position, _ in log.read(START)]
    assert log.trim(positions[4]) == 5
    assert records(log) == [b"5", b"6", b"7", b"8", b"9"]
    assert records(log, positions[4]) == [b"5", b"6", b"7", b"8", b"9"]
    with pytest.raises(EventLogError, match="exported and trimmed"):
        records(log, positions[3])


def test_an_export_writes_each_record_once_through_stops_at_any_place(log: RedisLog, tmp_path: Path) -> None:
    sent: list[bytes] = []
    for stop in range(4):
        sent += (news := [b"%d-%d" % (stop, i) for i in range(50)])
        log.append(news)
        export = RedisExport.open(log, tmp_path)
        state = (tmp_path / STATE).read_bytes() if (tmp_path / STATE).exists() else None
        export.step()
        export.close()
        if stop % 2 and state is not None:
            (tmp_path / STATE).write_bytes(state)  # as if it had died after the records and before the note
    export = RedisExport.open(log, tmp_path)
    assert export.step().written == 0
    export.close()
    with EventLog(tmp_path) as files:
        assert records(files) == sent


def test_an_export_trims_only_what_is_old_and_in_the_files(log: RedisLog, tmp_path: Path) -> None:
    log.append([b"1", b"2"])
    export = RedisExport.open(log, tmp_path, keep_seconds=3_600)
    assert export.step() == (2, 0, 0)
    assert records(log) == [b"1", b"2"]
    export.keep_seconds = -1  # everything is old
    assert export.step().trimmed == 2
    assert export.step() == (0, 0, 0)
    log.append([b"3"])
    assert records(log) == [b"3"]
    export.close()
    export = RedisExport.open(log, tmp_path)
    assert export.step().written == 1
    export.close()
    with pytest.raises(EventLogError, match="export to another folder"):
        RedisExport.open(log, tmp_path / "another")


def test_an_export_keeps_what_it_wrote_for_the_seconds_asked(
    log: RedisLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([b"1"])
    now, export = log.now_ms(), RedisExport.open(log, tmp_path, keep_seconds=3_600)
    for later, trimmed in ((3_599_000, 0), (3_601_000, 1)):
        monkeypatch.setattr(RedisLog, "now_ms", lambda _, at=now + later: at)
        assert export.step().trimmed == trimmed
    export.close()


def test_a_second_exporter_and_foreign_files_are_refused(log: RedisLog, tmp_path: Path) -> None:
    log.append([b"1", b"2"])
    export = RedisExport.open(log, tmp_path)
    with pytest.raises(EventLogError, match="another process"):
        RedisExport.open(log, tmp_path)
    export.step()
    export.close()
    with EventLog(tmp_path) as files:
        files.append([b"not of the stream"])
    with pytest.raises(EventLogError, match="the stream does not have there"):
        RedisExport.open(log, tmp_path)


def test_what_was_exported_lands_like_what_was_logged_on_this_machine(log: RedisLog, tmp_path: Path) -> None:
    now = 1_750_000_000
    items = [like(f"e{i}", user_id=i % 7, kind="share") for i in range(200)]
    with EventLog(tmp_path / "here") as here:
        EventIntake.open(here, clock=lambda: now).ingest(items)
    EventIntake.open(log, clock=lambda: now).ingest(items)
    export = RedisExport.open(log, tmp_path / "there")
    export.step()
    export.close()
    assert [path.suffix for path in log_files(tmp_path / "there")] == [".log"]
    day = date(2025, 6, 15)
    assert archive_days("served", tmp_path / "there") == [day]
    for place in ("here", "there"):
        land("served", tmp_path / place, tmp_path / f"{place}-landed", [day])
    ours, theirs = (sorted((tmp_path / f"{place}-landed").rglob("*.parquet")) for place in ("here", "there"))
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]
    assert len(ours) > 10


def test_the_command_exports_what_the_environment_names(
    shared: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path))
    monkeypatch.delenv("LIVEALIGN_REDIS_URL", raising=False)
    with pytest.raises(LiveAlignError, match="LIVEALIGN_REDIS_URL is not set"):
        cli.app(["export-events", "--once"], standalone_mode=False)
    monkeypatch.setenv("LIVEALIGN_REDIS_URL", shared.url)
    log = RedisLog.from_environment()
    assert log is not None
    log.append([b"one", b"two"])
    cli.app(["export-events", "--once"], standalone_mode=False)
    assert "2 events written" in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in log_files(tmp_path / "archive" / "served")] == ["events-00000001.log"]


def test_a_damaged_note_names_its_file(log: RedisLog, tmp_path: Path) -> None:
    log.append([b"1"])
    export = RedisExport.open(log, tmp_path)
    export.step()
    export.close()
    (tmp_path / STATE).write_text("{")
    with pytest.raises(Exception, match=rf"{STATE} is damaged"):
        RedisExport.open(log, tmp_path)
    replace_json(tmp_path / STATE, {"stream": [0, 0], "file": [0, 0]})
    RedisExport.open(log, tmp_path).close()  # everything is compared again


def test_erased_records_are_gone_and_the_others_keep_their_places(log: RedisLog) -> None:
    log.append([b'{"number":%d}' % number for number in range(6)])
    before = dict(log.read())
    assert log.erase(lambda record: b"2" in record or b"5" in record) == 2
    assert log.erase(lambda record: b"2" in record) == 0
    kept = {position: record for position, record in before.items() if b"2" not in record and b"5" not in record}
    assert dict(log.read()) == kept


def test_every_call_to_a_server_that_is_gone_is_an_error_of_ours(own: RedisServer) -> None:
    log = RedisLog.open(own.start(*DURABLE).url)
    log.append([b"1"])
    end = log.end()
    own.kill()
    calls = (log.end, log.trimmed, log.now_ms, lambda: log.trim(end), lambda: records(log), lambda: log.append([b"2"]))
    for call in (*calls, lambda: log.erase(lambda _: True)):
        with pytest.raises(EventLogError):
            call()
