"""`land`, `inspect`, `validate` and `simulate` on archives as people have them: what is printed, how they end, what stays."""

import gzip
import json
import os
import re
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tests.planted.kuaishou_archives as make
from livealign.cli import main as cli
from livealign.console import PlainConsole, styled, table
from livealign.events.log import EventLog
from livealign.home import Home
from livealign.platforms.registry import land
from livealign.simulation.config import MANIFEST
from tests.platforms.test_inspect import write_broadcast

DAY = "2025-09-22"
NOON = 1_758_542_400_000
ISO = "2025-09-22T{:02d}:00:00{}"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVEALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LIVEALIGN_PLATFORM", raising=False)
    return tmp_path / "home"


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command line and returns (exit status, what was printed), as a terminal of this width has it."""

    def command(*arguments: str, columns: int = 200) -> tuple[int, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["livealign", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out + captured.err

    return command


def write_parquet_logs(archive: Path, days: dict[str, list]) -> None:
    """Logs in the columns of the landing tables; the times of each day are those given, one for each row."""
    for day, times in days.items():
        n = len(times)
        who = {name: list(range(1, n + 1)) for name in ("user_id", "author_id")} | {"room_id": [7] * n}
        first = times[:1]
        tables = {
            "rooms": {"room_id": [7], "author_id": [1], "started_at": first},
            "plays": {**who, "play_id": [int(day[-2:]) * 1_000 + i for i in range(n)], "entered_at": times},
            "comments": {
                **who,
                "comment_id": [int(day[-2:]) * 100 + i for i in range(n)],
                "sent_at": times,
                "text": ["hi"] * n,
                "is_bot": [False] * n,
            },
        }
        for name, columns in tables.items():
            file = archive / f"dt={day}" / f"{name}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), file)
    (archive / MANIFEST).write_text('{"format": 1}')


@pytest.mark.parametrize(("zone", "hour"), [("Z", 12), ("+08:00", 20), ("", 12), ("-05:00", 7)])
def test_iso_texts_land_at_their_instant(tmp_path, run, zone, hour):
    write_parquet_logs(tmp_path / "a", {DAY: [ISO.format(hour, zone)] * 4})
    assert run("land", "--archive", str(tmp_path / "a"))[0] == 0
    rows = make.landed(Home(tmp_path / "home", "simulator").landing, "comments")
    assert [row["sent_at"].isoformat() for row in rows] == ["2025-09-22T12:00:00"] * 4


def test_three_days_of_which_nothing_lands_fail_with_share_reason_and_remedy(tmp_path, run, home):
    days = {f"2025-09-{day}": [NOON // 1_000 - (22 - day) * 86_400] * 4 for day in (20, 21, 22)}
    write_parquet_logs(tmp_path / "a", days)
    status, said = run("land", "--archive", str(tmp_path / "a"))
    assert status == 1
    assert "plays: 100.0% of 12 rows were rejected: wrong_time_unit 12 (entered_at looks like seconds since 1970" in said
    assert "multiply it by 1,000" in said
    landing = home / "platforms" / "simulator" / "landing"
    assert len(make.rejects(landing, "plays")) == 12  # nothing is lost: the days are there, with their rejects
    status, said = run("validate", str(landing))
    assert status == 1
    assert "nothing of the archive landed" in said
    status, said = run("inspect", str(tmp_path / "a"))
    assert re.search(r"plays\s*│\s*no\s*│\s*0\s*│\s*12 \(100.0%\)", said)


def test_a_share_that_may_be_rejected_is_a_setting(tmp_path, run):
    write_parquet_logs(tmp_path / "a", {DAY: [NOON] * 7 + [-1] * 3})
    status, said = run("land", "--archive", str(tmp_path / "a"))
    assert status == 1
    assert "30.0%" in said
    assert run("land", "--archive", str(tmp_path / "a"), "--max-rejected", "0.3")[0] == 0
    assert run("land", "--archive", str(tmp_path / "a"), "--set", "landing.max_rejected_share=0.3")[0] == 0
    status, said = run("land", "--archive", str(tmp_path / "a"), "--max-rejected", "1.3")
    assert (status, "--max-rejected 1.3" in said) == (1, True)


def test_the_settings_in_force_reach_land_and_inspect(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "livealign.toml").write_text("[landing]\nmax_rejected_share = 0.4\nnegatives_per_play = 0\n")
    write_parquet_logs(tmp_path / "a", {DAY: [NOON] * 7 + [-1] * 3})
    assert run("land", "--archive", str(tmp_path / "a"))[0] == 0
    assert "were rejected" not in run("inspect", str(tmp_path / "a"))[1]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "100k.csv").write_text("".join(f"{user},{user},s{user},3,5\n" for user in range(4)))
    monkeypatch.setenv("LIVEALIGN_LIVEREC_START", "2019-04-01")
    impressions = r"impressions\s*│\s*partly\s*│\s*(\d+)"
    assert re.search(impressions, run("inspect", str(tmp_path / "b"))[1])[1] == "4"
    flags = ("--set", "landing.negatives_per_play=2")
    assert re.search(impressions, run("inspect", str(tmp_path / "b"), *flags)[1])[1] == "12"


def test_the_start_of_liverecs_steps_is_an_option_before_the_variable_before_the_file(tmp_path, run, home, monkeypatch):
    monkeypatch.setenv("LIVEALIGN_LIVEREC_START", "2019-04-02")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "100k.csv").write_text("1,2,alpha,3,5\n4,2,alpha,4,6\n")
    (tmp_path / "a" / "liverec.json").write_text('{"start": "2019-04-03"}')
    assert run("land", "--archive", str(tmp_path / "a"), "--start", "2019-04-01T00:00Z")[0] == 0
    (first, _) = make.landed(home / "platforms" / "liverec" / "landing", "plays")
    assert first["entered_at"].isoformat() == "2019-04-01T00:30:00"
    monkeypatch.setenv("LIVEALIGN_LIVEREC_START", "2019-04-02")
    assert "2019-04-02 to 2019-04-02" in run("inspect", str(tmp_path / "a"))[1]
    monkeypatch.delenv("LIVEALIGN_LIVEREC_START")
    assert "2019-04-03 to 2019-04-03" in run("inspect", str(tmp_path / "a"))[1]
    assert "2019-04-05 to 2019-04-05" in run("inspect", str(tmp_path / "a"), "--start", "2019-04-05")[1]


def test_a_start_for_an_archive_of_another_platform_is_an_error(tmp_path, run):
    write_parquet_logs(tmp_path / "a", {DAY: [NOON]})
    status, said = run("land", "--archive", str(tmp_path / "a"), "--start", "2019-04-01")
    assert (status, "only files of platform liverec count from a start, not those of simulator" in said) == (1, True)


def test_a_truncated_file_asks_for_the_file_and_never_for_a_simulation(tmp_path, run):
    write_parquet_logs(tmp_path / "a", {DAY: [NOON] * 4})
    file = tmp_path / "a" / f"dt={DAY}" / "comments.parquet"
    file.write_bytes(file.read_bytes()[:-40])
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    status, said = run("land", "--archive", str(tmp_path / "a"))
    assert status == 1
    assert "fetch the file again" in said
    assert "simulate" not in said
    for out in (tmp_path / "a", tmp_path / "missing" / ".." / "a", tmp_path / "a" / "missing" / ".." / ".." / "a"):
        status, said = run("simulate", "--out", str(out), "--users", "5", "--authors", "3", "--days", "1")
        assert status == 1
        assert f"✗ {tmp_path / 'a'} holds something that was not simulated" in said
    assert not (tmp_path / "missing").exists()
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("share", "recorded"), [((), 0.1), (("--new-words", "0"), None), (("--new-words", "0.9"), 0.9)])
def test_the_share_of_new_words_is_the_archives_and_zero_leaves_no_trace(tmp_path, run, share, recorded):
    status, said = run("simulate", "--out", str(tmp_path / "a"), "--users", "5", "--authors", "9", "--days", "1", *share)
    assert status == 0, said
    assert json.loads((tmp_path / "a" / MANIFEST).read_text())["config"].get("new_words") == recorded
    assert (tmp_path / "a" / "truth" / "members.parquet").exists() == (recorded is not None)
    assert "some topics have no member" not in said


def test_a_simulation_that_runs_out_of_new_members_says_from_which_day_on(tmp_path, run):
    long = ("--users", "1", "--authors", "40", "--days", "30", "--new-words", "1")
    status, said = run("simulate", "--out", str(tmp_path / "a"), *long)
    assert status == 0, said
    assert re.search(r"from 2025-06-\d\d on some topics have no member that was never said; the longest unsaid return", said)


ODD_TITLE = "[german] [bold]chill :tv: \x1b[31m {x}"


def test_names_are_printed_as_they_are(tmp_path, run):
    write_broadcast(tmp_path / "a", 1)
    (folder,) = (tmp_path / "a" / "channel1").iterdir()
    folder = folder.rename(folder.with_name(f"2025-08-01_20-00-22 - {ODD_TITLE} - 1"))
    (folder / "verbose_chat.json.gz").write_bytes(b"no gzip")
    (folder / "[notes] of mine.txt").write_text("hello")
    shown = ODD_TITLE.replace("\x1b", "\\x1b")
    for command in (["land", "--archive", str(tmp_path / "a")], ["inspect", str(tmp_path / "a")]):
        _, said = run(*command, columns=400)
        assert f"channel1/2025-08-01_20-00-22 - {shown} - 1/verbose_chat.json.gz" in said
        assert "[notes] of mine.txt" in said
        assert "\x1b[31m" not in said
    missing = tmp_path / "[red]none[/red] [/]"
    status, said = run("inspect", str(missing))
    assert (status, f"✗ {missing} is no folder" in said) == (1, True)


def test_a_message_is_no_markup_for_inspect(tmp_path, run):
    write_broadcast(tmp_path / "a", 1)
    file = next((tmp_path / "a").rglob("*.gz"))
    (message,) = json.loads(gzip.decompress(file.read_bytes()))
    bad = {**message, "[/bold]": 1, "id": "[/red]", "contentOffsetSeconds": "[link=file:///]"}
    file.write_bytes(gzip.compress(json.dumps([message, bad]).encode()))
    status, said = run("inspect", str(tmp_path / "a"))
    assert status == 1, "half of the messages are rejected: `land` would end with 1"
    assert "[/bold]" in said


def test_the_platform_is_recognised_and_files_that_nobody_reads_are_named(tmp_path, run, home):
    make.write_kuailive(tmp_path / "a")
    (tmp_path / "a" / "titles_renamed.npy").write_bytes(b"x")
    status, said = run("land", "--archive", str(tmp_path / "a"))
    assert status == 0
    assert "platform kuailive" in said
    assert "titles_renamed.npy" in said
    assert make.landed(home / "platforms" / "kuailive" / "landing", "plays")


def test_plays_of_unknown_length_are_clicks_in_the_landing(tmp_path):
    make.write_kuailive(tmp_path / "a")
    make.rewrite(tmp_path / "a" / "click.csv", lambda text: re.sub(r"(?m)^((?:\d+,){4})\d+$", r"\1-1", text, count=2))
    summary = land("kuailive", tmp_path / "a", tmp_path / "l")
    plays = make.landed(tmp_path / "l", "plays")
    assert sum(play["left_at"] is None for play in plays) == 2
    assert summary.tables["plays"].rejected == summary.tables["impressions"].rejected == 0


def test_only_days_that_were_asked_for_are_looked_at_for_files_not_read(tmp_path):
    write_parquet_logs(tmp_path / "a", {"2025-09-21": [NOON - 86_400_000], DAY: [NOON]})
    (tmp_path / "a" / ".hidden").write_text("")
    (tmp_path / "a" / "dt=2025-09-21" / "odd.csv").write_text("")
    summary = land("simulator", tmp_path / "a", tmp_path / "l", [make.date.fromisoformat(DAY)])
    assert summary.not_read == []


@pytest.mark.parametrize("text", ["[bold]x", "[/]", "a :smile: b", "[[", "\\[x]", "[link=x]y[/link]", "x\x07y", "\udcff"])
def test_the_console_prints_every_string_as_it_is(capsys, text):
    console = PlainConsole()
    shown = table("[head]", text, title=f"title {text}")
    shown.add_row(text, "cell")
    console.print(shown)
    console.say(text)
    console.say(styled((text, "bold"), text))
    said = capsys.readouterr().out
    plain = text.replace("\x07", "\\x07").replace("\udcff", "\\udcff")
    assert said.count(plain) == 6
    assert "[head]" in said


def test_without_an_archive_the_platforms_own_folder_is_landed_and_moved_links_are_said(tmp_path, run, home):
    write_parquet_logs(tmp_path / "a", {DAY: [ISO.format(12, "Z")] * 4})
    assert run("land", "--archive", str(tmp_path / "a"), "--platform", "simulator")[0] == 0
    assert "neither --archive nor --platform" in run("land")[1]
    code, said = run("land", "--platform", "served")
    assert code == 1
    assert str(home / "archive" / "served") in said
    with EventLog(home / "archive" / "served") as log:
        start = {
            "kind": "room_started",
            "event_id": "1",
            "at": NOON,
            "room_id": 1,
            "author_id": 2,
            "title": "hi",
            "category": "x",
        }
        log.append([json.dumps(start).encode()])
    code, said = run("land", "--platform", "served")
    assert code == 0
    assert f"links in {home} now lead to served, no longer to simulator" in " ".join(said.split())
    assert "1 days of platform served" in said
    assert "not read" not in said
    assert "now lead to" not in run("land", "--platform", "served")[1]


def test_an_archive_that_cannot_be_made_names_the_option_or_the_home(run, tmp_path, home):
    (tmp_path / "file").write_text("")
    small = ("--users", "20", "--authors", "10", "--days", "1")
    status, said = run("simulate", "--out", str(tmp_path / "file" / "archive"), *small)
    assert status == 1
    assert re.search(r"\n✗ .*/file/archive cannot be made \(.*\); name another folder by --out\n$", said)
    home.mkdir()
    (home / "archive").write_text("")
    status, said = run("simulate", *small)
    assert status == 1
    assert re.search(r"\n✗ .*/archive/simulator cannot be made \(.*\); name another folder by LIVEALIGN_HOME\n$", said)


PIPES = {
    "simulator": ["simulator.json"],
    "twitch": ["c/b/vod.json", "c/b/verbose_chat.json.gz", "c/b/chat.json"],
    "youtube": ["x.live_chat.json", "x.info.json"],
    "bilibili": ["r/2025-09-22.txt", "r/a.xml"],
    "kuailive": ["click.csv", "room.csv", "user.csv", "title_embeddings.npy"],
    "kuailive_m3": ["live_interaction.csv", "live_room_meta.parquet", "live_comment.csv"],
    "served": ["events-00000001.log"],
    "parquet": ["plays.parquet", "rooms/dt=2025-09-22/part-0.parquet"],
    "liverec": ["100k.csv", "liverec.json"],
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("platform", PIPES)
def test_pipes_in_an_archive_are_not_waited_for(run, tmp_path, platform):
    for name in PIPES[platform]:
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / "a" / name)
    status, said = run("land", "--archive", str(tmp_path / "a"), "--platform", platform)
    assert status == 1
    assert len([line for line in said.splitlines() if line.startswith("✗")]) >= 1
    assert "Traceback" not in said
    assert "Errno" not in said
