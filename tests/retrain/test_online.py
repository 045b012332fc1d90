"""The day's report of served releases, from what has landed of a core's event log."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from livealign.config import LiveConfig
from livealign.days import partition
from livealign.evaluation.off_policy import OffPolicyValue
from livealign.evaluation.shown_lists import shown_impressions
from livealign.home import Home
from livealign.platforms.registry import land
from livealign.release.challengers import point_of, serve
from livealign.release.registry import promote
from livealign.retrain.online import FILE, report_online_day, tables
from tests.planted.live_release import plant_live_releases
from tests.support.live_stage import Stage


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[str], str]:
    """The landed day of a core that served two releases; all users of the challenger clicked. Marts hold the clicks."""
    root = tmp_path_factory.mktemp("served")
    first, second = plant_live_releases(root / "planted", 2)
    releases = [first.bundle.name, second.bundle.name]
    folder = root / "champions"
    for one in (first, second):
        shutil.copytree(one.bundle, folder / one.bundle.name)
    promote(folder, releases[0])
    stage = Stage.open(first, root / "stage")
    stage.start_rooms(1, 2, 3, 4)
    stage.core.recommend(7, 2)  # before the experiment
    about = serve(folder, releases[1], 0.5)
    stage.core.follow_challengers(folder)
    clicked = set()
    for user in range(1_000, 1_300):
        answer = stage.core.recommend(user, 4)
        if point_of(about.salt, user) < 0.5:
            clicked.add((user, answer.rooms[0].room_id))
    stage.core.stop()
    home = Home(root / "home", "served")
    summary = land("served", stage.folder / "log", home.landing)
    assert summary.rejected == 0
    day = datetime.fromtimestamp(stage.clock.now, UTC).date()
    shown = pq.ParquetFile(partition(home.landing, "impressions", day)).read()
    marks = [int((row["user_id"], row["room_id"]) in clicked) for row in shown.to_pylist()]
    columns = ("impression_id", "user_id", "room_id", "request_id", "position")
    mart = partition(home.marts, "interactions", day)
    mart.parent.mkdir(parents=True)
    labels = {name: pa.array(marks, pa.int8()) for name in ("click", "long_view")}
    pq.write_table(
        pa.table({**{name: shown[name] for name in columns}, **labels, "gift": pa.nulls(len(shown), pa.int8())}), mart
    )
    return home, releases, about.experiment


def day_of(home: Home) -> str:
    (path,) = (home.marts / "interactions").glob("dt=*")
    return path.name[3:]


def test_the_day_has_each_arm_and_decides(served: tuple[Home, list[str], str], tmp_path: Path) -> None:
    home, (champion, challenger), experiment = served
    day = datetime.fromisoformat(day_of(home)).date()
    report = report_online_day(home, day, LiveConfig(), tmp_path)
    assert report.arms.keys() == {experiment, ""}
    arms = {arm.release_id: arm for arm in report.arms[experiment]}
    assert [arm.challenger for arm in report.arms[experiment]] == [False, True]
    assert sum(arm.users for arm in arms.values()) == 300
    assert arms[challenger].counts["clicks"] == arms[challenger].counts["lists"] == arms[challenger].users > 100
    assert arms[challenger].metrics["ctr"].value == 0.25
    assert arms[champion].metrics["ctr"].value == 0.0
    assert report.arms[""][0].counts == {"lists": 1, "impressions": 2, "clicks": 0, "long_views": 0, "gifts": 0}
    decided = {one.metric: one.decided for one in report.differences[experiment]}
    assert decided == {"ctr": True, "long_views_per_list": True, "gifts_per_list": False}
    assert report.values[challenger].value == pytest.approx(0.25)
    assert report.values[champion].value == 0.0
    written = json.loads((tmp_path / FILE).read_text())
    assert written["format"] == 1
    assert written["differences"][experiment][0]["decided"] is True
    shown = tables(report)
    assert challenger in shown["arms"]
    assert "| yes |" in shown["differences"]
    assert challenger in shown["off_policy"]


def test_a_day_without_lists_has_an_empty_report(served: tuple[Home, list[str], str], tmp_path: Path) -> None:
    home, *_ = served
    day = datetime.fromisoformat(day_of(home)).date()
    other = Home(tmp_path, "other")
    shutil.copytree(home.marts, other.marts)
    assert len(shown_impressions(other.landing, other.marts, day)) == 0  # landed before there were lists
    report = report_online_day(other, day, LiveConfig(), tmp_path / "out")
    assert (report.impressions, report.arms, report.differences, report.values) == (0, {}, {}, {})
    assert "| experiment |" in tables(report)["arms"]


def test_a_number_without_an_interval_stands_alone_and_a_missing_one_is_a_dash(
    served: tuple[Home, list[str], str], tmp_path: Path
) -> None:
    home, *_ = served
    report = report_online_day(home, datetime.fromisoformat(day_of(home)).date(), LiveConfig(), tmp_path)
    nan = float("nan")
    report.values.clear()
    report.values["none"] = OffPolicyValue(nan, nan, nan, 0.0, 0)
    report.values["alone"] = OffPolicyValue(0.25, nan, nan, 1.0, 1)
    report.values["half"] = OffPolicyValue(0.25, 0.125, nan, 1.0, 1)
    report.values["whole"] = OffPolicyValue(0.25, 0.125, 0.5, 1_234.4, 2_000)
    assert tables(report)["off_policy"].splitlines()[2:] == [
        "| none | – | 0 | 0 |",
        "| alone | 0.2500 | 1 | 1 |",
        "| half | 0.2500 | 1 | 1 |",
        "| whole | 0.1250 to 0.5000, 0.2500 | 1,234 | 2,000 |",
    ]
