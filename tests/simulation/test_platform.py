"""The simulated platform against its own design: who clicks on what, when, and what the truth says about it."""

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from livealign.days import DAY_MS
from livealign.errors import ArchiveError, LiveAlignError
from livealign.landing.schema import TABLES
from livealign.metrics import gauc, user_auc
from livealign.simulation.archive import SimulationSummary, simulate
from livealign.simulation.config import SimulationConfig
from livealign.simulation.world import TREND_TOPIC, make_authors, make_users, users_on

MINUTE = 60_000
WINDOW = 30_000


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate(SimulationConfig(), tmp_path_factory.mktemp("laptop") / "archive")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SimulationSummary:
    return simulate(SimulationConfig.tiny(), tmp_path_factory.mktemp("tiny") / "archive")


@pytest.fixture(scope="module")
def shown(laptop: SimulationSummary) -> dict[str, np.ndarray]:
    """Every impression of the laptop archive with its truth and whether it was clicked; times in ms since 1970."""
    impressions = read(laptop, "impressions").join(read_truth(laptop, "impressions"), "impression_id").sort_by("impression_id")
    columns = columns_of(impressions)
    plays = columns_of(read(laptop, "plays").filter(ds.field("source") == "feed"))
    columns["click"] = np.isin(columns["impression_id"], plays["impression_id"]).astype(np.float64)
    return columns


def read(summary: SimulationSummary, table: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(summary.out.glob(f"dt=*/{table}.parquet")))


def read_truth(summary: SimulationSummary, table: str) -> pa.Table:
    return pa.concat_tables(pq.ParquetFile(path).read() for path in sorted(summary.out.glob(f"truth/{table}/dt=*/*.parquet")))


def columns_of(table: pa.Table) -> dict[str, np.ndarray]:
    return {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_numpy()
        for name, column in zip(table.schema.names, table.columns, strict=True)
    }


def day_of(milliseconds: np.ndarray) -> np.ndarray:
    days = milliseconds // DAY_MS
    return days - days.min()


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tiny: SimulationSummary, tmp_path: Path) -> None:
    again = digests(simulate(SimulationConfig.tiny(), tmp_path / "again").out)
    assert again == digests(tiny.out)
    other = digests(simulate(SimulationConfig.tiny(seed=18), tmp_path / "other").out)
    assert other["dt=2025-06-02/speech.parquet"] != again["dt=2025-06-02/speech.parquet"]


def test_a_longer_run_begins_like_a_shorter_one(tiny: SimulationSummary, tmp_path: Path) -> None:
    two_days = replace(SimulationConfig.tiny(), days=2, broadcasts=42)
    shorter = digests(simulate(two_days, tmp_path / "shorter").out)
    day = {name: digest for name, digest in digests(tiny.out).items() if "dt=2025-06-02" in name}
    assert day.items() <= shorter.items()


def test_a_simulation_replaces_an_archive_but_never_another_folder(tmp_path: Path) -> None:
    archive = simulate(SimulationConfig.tiny(), tmp_path / "archive").out
    (archive / "dt=2025-06-02" / "rooms.parquet").unlink()
    simulate(SimulationConfig.tiny(), archive)
    assert (archive / "dt=2025-06-02" / "rooms.parquet").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(ArchiveError, match="photos"):
        simulate(SimulationConfig.tiny(), tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.png").read_bytes() == b"cat"


@pytest.mark.parametrize("manifest", ["{}", '{"format": 1}', "copied", "copied, with truth"])
def test_a_simulation_never_replaces_a_users_logs_whatever_their_manifest(tmp_path: Path, manifest: str) -> None:
    logs = simulate(SimulationConfig.tiny(), tmp_path / "logs").out
    if manifest.startswith("copied"):  # a simulated archive was the pattern for a user's own
        table = pq.read_table(logs / "dt=2025-06-02" / "comments.parquet")
        pq.write_table(table.slice(1), logs / "dt=2025-06-02" / "comments.parquet")
        if manifest == "copied":
            shutil.rmtree(logs / "truth")
    else:
        (logs / "simulator.json").write_text(manifest)
    before = digests(logs)
    with pytest.raises(ArchiveError, match="would be overwritten; choose another folder"):
        simulate(SimulationConfig.tiny(), logs)
    assert digests(logs) == before
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_a_simulation_that_is_interrupted_leaves_the_old_archive(tmp_path: Path) -> None:
    archive = simulate(SimulationConfig.tiny(), tmp_path / "archive").out
    before = digests(archive)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(SimulationConfig.tiny(seed=99), archive, interrupt)
    assert digests(archive) == before
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    "wrong", [{"users": 0}, {"days": 0}, {"min_minutes": 1}, {"max_minutes": 300}, {"broadcasts": 5_000}, {"broadcasts": 3}]
)
def test_a_platform_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(LiveAlignError):
        SimulationConfig(**wrong)


def test_every_table_meets_the_contract_and_stays_within_its_day(tiny: SimulationSummary) -> None:
    for folder in sorted(tiny.out.glob("dt=*")):
        for path in folder.glob("*.parquet"):
            table, contract = pq.ParquetFile(path).read(), TABLES[path.stem]
            assert table.schema.equals(contract.schema), path
            keys = table.select(contract.primary_key)
            assert len(keys.group_by(contract.primary_key).aggregate([])) == len(table), path
            times = columns_of(table.select([contract.time_column]))[contract.time_column]
            assert np.all(times.astype("datetime64[ms]").astype("datetime64[D]") == np.datetime64(folder.name[3:])), path
            if contract.time_column != "observed_at":
                assert np.all(np.diff(times) >= 0) or path.stem == "rooms", path


def test_only_rooms_that_are_live_are_shown_and_nobody_is_in_two_of_them(
    laptop: SimulationSummary, shown: dict[str, np.ndarray]
) -> None:
    rooms = columns_of(read(laptop, "rooms"))
    row = np.searchsorted(rooms["room_id"], shown["room_id"])
    assert np.all(rooms["room_id"][row] == shown["room_id"])
    assert np.all(rooms["author_id"][row] == shown["author_id"])
    assert np.all((rooms["started_at"][row] <= shown["shown_at"]) & (shown["shown_at"] < rooms["ended_at"][row]))
    plays = columns_of(read(laptop, "plays").filter(ds.field("source") == "feed"))
    impression = np.searchsorted(shown["impression_id"], plays["impression_id"])
    wait = plays["entered_at"] - shown["shown_at"][impression]
    assert 0 <= wait.min() <= wait.max() <= 60_000
    order = np.lexsort((plays["entered_at"], plays["user_id"]))
    same_user = plays["user_id"][order][1:] == plays["user_id"][order][:-1]
    assert np.all(plays["entered_at"][order][1:][same_user] >= plays["left_at"][order][:-1][same_user])


def test_the_laptop_archive_has_the_size_that_a_daily_retrain_can_afford(
    laptop: SimulationSummary, shown: dict[str, np.ndarray]
) -> None:
    assert np.bincount(day_of(shown["shown_at"])).min() > 20_000
    assert 300 <= laptop.rows["rooms"] <= 400
    decision = np.stack([shown["room_id"], shown["shown_at"] // WINDOW - 1], axis=1)
    assert 0.85 * 12_000 <= len(np.unique(decision, axis=0)) <= 1.15 * 12_000
    rooms = columns_of(read(laptop, "rooms"))
    moments = shown["shown_at"][:: len(shown["shown_at"]) // 2_000, None]
    live = ((rooms["started_at"] <= moments) & (moments < rooms["ended_at"])).sum(axis=1)
    assert np.quantile(live, 0.1) >= 12
    minutes = (rooms["ended_at"] - rooms["started_at"]) / MINUTE
    assert 20 <= minutes.min() <= minutes.max() <= 90


def test_the_true_click_probability_is_true(shown: dict[str, np.ndarray]) -> None:
    assert 0.12 <= shown["click"].mean() <= 0.20
    order = np.argsort(shown["p_click"])
    for part in np.array_split(order, 20):
        expected, standard_error = shown["p_click"][part].mean(), np.sqrt(np.mean(shown["p_click"][part]) / len(part))
        assert abs(shown["click"][part].mean() - expected) < 4 * standard_error


def test_the_moment_is_worth_much_beyond_what_user_and_author_tell(shown: dict[str, np.ndarray]) -> None:
    last = day_of(shown["shown_at"]) == 7
    oracle = gauc(user_auc(shown["p_click"][last], shown["click"][last], shown["user_id"][last]))
    static = gauc(user_auc(shown["p_click_static"][last], shown["click"][last], shown["user_id"][last]))
    assert 0.80 <= oracle <= 0.85
    assert 0.66 <= static <= 0.72


def test_higher_places_are_clicked_more_for_the_same_taste(shown: dict[str, np.ndarray]) -> None:
    rates = [shown["click"][shown["position"] == place].mean() for place in range(10)]
    assert rates[0] > 1.3 * rates[5]
    assert rates[5] > rates[9]


def test_viewers_leave_sooner_when_the_topic_turns(laptop: SimulationSummary) -> None:
    topic_at = _topic_lookup(laptop)
    plays = columns_of(read(laptop, "plays").filter(ds.field("source") == "feed"))
    left = {"stays": [0, 0], "turns": [0, 0]}  # leavings, half minutes
    for room, entered, leaves in zip(plays["room_id"], plays["entered_at"], plays["left_at"], strict=True):
        first = topic_at[room, entered // WINDOW]
        for window in range(entered // WINDOW + 1, leaves // WINDOW + 1):
            counts = left["stays" if topic_at[room, window] == first else "turns"]
            counts[0] += window == leaves // WINDOW
            counts[1] += 1
    assert left["turns"][0] / left["turns"][1] > 1.3 * left["stays"][0] / left["stays"][1]


def _topic_lookup(summary: SimulationSummary) -> dict[tuple[int, int], int]:
    truth = columns_of(read_truth(summary, "segments").select(["room_id", "window", "topic"]))
    keys = zip(truth["room_id"].tolist(), truth["window"].tolist(), strict=True)
    return dict(zip(keys, truth["topic"].tolist(), strict=True))


def test_rooms_stay_with_a_topic_for_six_to_ten_minutes_and_authors_have_several(laptop: SimulationSummary) -> None:
    truth = columns_of(read_truth(laptop, "segments"))
    changes = (np.diff(truth["topic"]) != 0) & (np.diff(truth["room_id"]) == 0)
    assert 16 <= len(truth["topic"]) / changes.sum() <= 40  # some steps of the chain come back to the same topic
    pairs = np.unique(np.stack([truth["room_id"], truth["topic"]], axis=1), axis=0)
    assert np.bincount(np.unique(pairs[:, 0], return_inverse=True)[1]).mean() > 2
    assert 0.05 < truth["highlight"].mean() < 0.2
    assert 0.02 < truth["low_quality"].mean() < 0.2


def test_a_new_topic_trends_from_the_sixth_day_on(laptop: SimulationSummary) -> None:
    truth = columns_of(read_truth(laptop, "segments"))
    trending = truth["topic"] == TREND_TOPIC
    day = day_of(truth["window"] * WINDOW)
    assert not trending[day < 5].any()
    assert trending[day >= 5].mean() > 1 / 24


def test_a_tenth_of_the_users_change_taste_on_the_sixth_day() -> None:
    config = SimulationConfig()
    before = make_users(config, make_authors(config))
    step = users_on(config, before, 1).taste - before.taste
    shift = users_on(config, before, config.shift_day).taste - before.taste
    others = np.arange(before.taste.shape[1]) != TREND_TOPIC
    moved = np.abs(shift[:, others]).max(axis=1) > 1.0
    assert np.abs(step).max() < 0.5
    assert 0.07 < moved.mean() < 0.13


def test_demand_and_broadcasts_grow_with_users_and_authors(laptop: SimulationSummary, tmp_path: Path) -> None:
    small = simulate(SimulationConfig(users=200, authors=100, days=3), tmp_path / "small").rows
    of_three_days = {name: count * 3 / 8 for name, count in laptop.rows.items()}
    assert small["impressions"] == pytest.approx(of_three_days["impressions"] / 2, rel=0.15)
    assert small["rooms"] == pytest.approx(of_three_days["rooms"] / 2, rel=0.05)
