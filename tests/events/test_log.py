"""The event log keeps acknowledged records: torn writes, kill -9, full disks, two writers."""

import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from livealign.errors import EventLogError
from livealign.events.intake import EventIntake, RecentIds
from livealign.events.log import EventLog, Position
from livealign.events.log_files import file_number, log_files
from tests.support.disk_calls import Renamed, Synced, disk_calls

NOW = 1_750_000_000


class Clock:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def like(name: str, **changes: Any) -> dict[str, Any]:
    return {"kind": "like", "event_id": name, "at": NOW * 1000, "room_id": 1, "author_id": 2, "user_id": 3} | changes


def records(log: EventLog) -> list[bytes]:
    return [record for _, record in log.read()]


def test_records_come_back_in_order_and_from_any_position(tmp_path: Path) -> None:
    with EventLog(tmp_path, max_bytes=60) as log:
        sent = [b"record-%d" % i for i in range(20)]
        for one in sent:
            log.append([one])
        assert len(log_files(tmp_path)) > 3
        found = list(log.read())
        assert [record for _, record in found] == sent
        for i, (position, _) in enumerate(found):
            assert [record for _, record in log.read(position)] == sent[i + 1 :]
    with EventLog(tmp_path) as again:
        assert records(again) == sent


def test_a_file_is_closed_when_it_is_full_when_its_hour_is_over_and_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    log = EventLog(tmp_path, clock, max_bytes=100)
    log.append([b"a" * 100])
    assert log.closed_files() == []
    log.append([b"b"])
    assert [path.name for path in log.closed_files()] == ["events-00000001.log"]
    clock.now += 3_600
    assert len(log.closed_files()) == 2  # without any further event
    log.append([b"c"])
    log.close()
    assert [path.suffix for path in log_files(tmp_path)] == [".log"] * 3


@pytest.mark.parametrize("tail", [b"0000", b'12345678 {"half": ', b"00000000 wrong checksum\n", b"\n", b"\xff" * 5_000])
def test_a_torn_last_record_is_set_aside_and_everything_before_it_is_kept(tmp_path: Path, tail: bytes) -> None:
    log = EventLog(tmp_path)
    log.append([b"one", b"two"])
    whole = log_files(tmp_path)[0].read_bytes()
    log.close()
    log_files(tmp_path)[0].unlink()
    (tmp_path / "events-00000001.open").write_bytes(whole + tail)  # as a crash leaves it
    with EventLog(tmp_path) as again:
        assert records(again) == [b"one", b"two"]
        again.append([b"three"])
        assert records(again) == [b"one", b"two", b"three"]
    assert [path.read_bytes() for path in (tmp_path / "torn").iterdir()] == [tail]


def test_a_damaged_record_in_the_middle_costs_itself_only(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append([b"one", b"two", b"three"])
    path = log_files(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"two", b"twO"))
    with EventLog(tmp_path) as again:
        assert records(again) == [b"one", b"three"]


def test_a_second_writer_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    with pytest.raises(EventLogError, match="another process"):
        EventLog(tmp_path)
    log.close()
    with pytest.raises(EventLogError, match="closed"):
        log.append([b"late"])
    EventLog(tmp_path).close()


def test_many_threads_write_every_record_once(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        threads = [threading.Thread(target=lambda i=i: [log.append([b"%d-%d" % (i, j)]) for j in range(50)]) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = records(log)
    assert sorted(found) == sorted(b"%d-%d" % (i, j) for i in range(8) for j in range(50))
    for i in range(8):  # each thread's own in its order
        assert [one for one in found if one.startswith(b"%d-" % i)] == [b"%d-%d" % (i, j) for j in range(50)]


def test_a_full_disk_acknowledges_nothing_and_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    intake = EventIntake.open(EventLog(tmp_path, max_bytes=1 << 30), clock=lambda: NOW)
    intake.ingest([like("before")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = records(intake.log)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        for _ in range(3):
            with pytest.raises(EventLogError, match="nothing was kept"):
                intake.ingest([like(f"lost{i}") for i in range(100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert records(intake.log) == before
    assert len(log_files(tmp_path)) == 1
    report = intake.ingest([like(f"lost{i}") for i in range(100)])  # sent again, they are no duplicates
    assert (len(report.accepted), report.duplicate) == (100, 0)
    assert len(records(intake.log)) == 101


WRITER = """
import sys
from pathlib import Path
from livealign.events.intake import EventIntake
from livealign.events.log import EventLog
intake = EventIntake.open(EventLog(Path(sys.argv[1]), max_bytes=20_000), clock=lambda: 1_750_000_000)
for batch in range(1_000_000):
    items = [{"kind": "share", "event_id": f"{batch}-{i}", "at": 1_750_000_000_000, "room_id": 1, "author_id": 2, "user_id": 3}
             for i in range(20)]
    intake.ingest(items)
    print(batch, flush=True)
"""


def test_kill_9_during_ingestion_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 30:
                process.send_signal(signal.SIGKILL)
                break
        acknowledged = 30 + sum(1 for _ in process.stdout)
    intake = EventIntake.open(EventLog(tmp_path), clock=lambda: NOW)
    items = [like(f"{batch}-{i}", kind="share") for batch in range(acknowledged + 1) for i in range(20)]
    assert intake.ingest(items).duplicate == len(items)
    positions = [position for position, _ in intake.log.read(Position())]
    assert positions == sorted(set(positions))


def test_an_event_counts_once_in_a_batch_across_batches_and_after_a_restart(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    intake = EventIntake.open(log, clock=lambda: NOW)
    first = intake.ingest([like("a", count=1), like("b"), like("a", count=2), like("late", at=1), {}])
    assert [(event.event_id, getattr(event, "count", None)) for event in first.accepted] == [("a", 1), ("b", 1)]
    assert (first.duplicate, [one.reason for one in first.rejected]) == (1, ["too_late", "invalid"])
    assert intake.ingest([like("b"), like("c")]).duplicate == 1
    log.close()
    again = EventIntake.open(EventLog(tmp_path), clock=lambda: NOW)
    assert again.ingest([like("a"), like("b"), like("c"), like("d")]).duplicate == 3


def test_the_oldest_ids_are_forgotten_first() -> None:
    known = RecentIds(3)
    known.add("abcd")
    assert [one in known for one in "abcd"] == [False, True, True, True]
    assert len(known) == 3


def test_a_clock_that_jumps_closes_files_and_keeps_every_record_in_order(tmp_path: Path) -> None:
    clock = Clock()
    with EventLog(tmp_path, clock) as log:
        for number, jump in enumerate((0, 10 * 365 * 86_400, -20 * 365 * 86_400, 0, 7_200, -7_200)):
            clock.now += jump
            log.append([b"%d" % number])
        assert records(log) == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert len(log.closed_files()) == 4
    with EventLog(tmp_path, clock) as again:
        assert records(again) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_events_during_a_clock_jump_are_refused_to_the_sender_and_taken_afterwards(tmp_path: Path) -> None:
    clock = Clock()
    intake = EventIntake.open(EventLog(tmp_path, clock), clock)
    for jump, reason in ((365 * 86_400, "too_late"), (-365 * 86_400, "in_future")):
        clock.now = NOW + jump
        report = intake.ingest([like("one")])
        assert [one.reason for one in report.rejected] == [reason]
    clock.now = NOW
    assert len(intake.ingest([like("one")]).accepted) == 1


def test_append_returns_after_the_bytes_and_the_names_of_the_files_are_on_disk(tmp_path: Path) -> None:
    first, second = (tmp_path / f"events-0000000{number}.open" for number in (1, 2))
    folder = Synced(tmp_path, 0)
    with EventLog(tmp_path, max_bytes=60) as log:
        with disk_calls() as calls:
            log.append([b"a" * 60])
        assert calls == [folder, Synced(first, first.stat().st_size)]
        with disk_calls() as calls:
            log.append([b"b"])  # the first file is full and is closed
        assert calls == [Renamed(first, first.with_suffix(".log")), folder, folder, Synced(second, second.stat().st_size)]
        with disk_calls() as calls:
            log.append([b"c"])
        assert calls == [Synced(second, second.stat().st_size)]
        with disk_calls() as calls:
            log.close()
    assert calls == [Renamed(second, second.with_suffix(".log")), folder]


def test_recovery_has_cut_a_torn_write_off_on_disk_before_it_closes_the_file(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append([b"one"])
    closed = tmp_path / "events-00000001.log"
    whole, left_open = closed.stat().st_size, closed.rename(closed.with_suffix(".open"))
    with left_open.open("ab") as file:
        file.write(b"torn")
    with disk_calls() as calls:
        EventLog(tmp_path).close()
    aside, kept, *rest = calls
    assert isinstance(aside, Synced)
    assert (aside.path.parent, aside.bytes) == (tmp_path / "torn", 4)
    assert isinstance(kept, Renamed)
    assert kept.new.parent == tmp_path / "torn"
    assert rest == [Synced(left_open, whole), Renamed(left_open, closed), Synced(tmp_path, 0)]


def test_a_torn_write_is_not_cut_off_before_it_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_open = tmp_path / "events-00000001.open"
    left_open.write_bytes(b"torn")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("livealign.events.log_files.replace_bytes", full)
    with pytest.raises(EventLogError, match="free some space and start again"):
        EventLog(tmp_path)
    assert left_open.read_bytes() == b"torn"


def test_a_number_is_not_used_again_when_its_file_is_gone(tmp_path: Path) -> None:
    ends = []
    for number in (1, 2, 3):
        with EventLog(tmp_path) as log:
            log.append([b"landed and pruned"])
            ends.append(log.end())
        (path,) = log_files(tmp_path)
        assert file_number(path) == number
        path.unlink()
    assert ends == sorted(set(ends))
