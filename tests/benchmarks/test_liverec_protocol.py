"""LiveRec's protocol has the values that theory has: of chance, of a scorer that knows, of planted repeats."""

import numpy as np
import pyarrow.compute as pc
import pytest

from benchmarks.quality import liverec_protocol as protocol
from benchmarks.quality.liverec_towers import tower_scorer
from benchmarks.quality.liverec_world import write_world
from livealign.config import AlignmentConfig
from livealign.dataset.columns import ints, milliseconds
from livealign.dataset.marts import read_mart
from livealign.days import midnight
from livealign.errors import LandingError, LiveAlignError
from livealign.platforms.registry import land
from tests.planted.marts import plant_marts


def views_of(rows):
    user, author, start, stop = (np.array(column) for column in zip(*rows, strict=True))
    return protocol.Views(user, author, start, stop, np.arange(user.max() + 1), np.arange(author.max() + 1), 0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("liverec")
    write_world(folder / "a", users=150, streamers=200, days=6, repeat=0.7)
    summary = land("liverec", folder / "a", folder / "l")
    assert summary.rejected == 0
    views = protocol.read_views(folder / "l")
    _, test, end = protocol.pivots(views)
    return views, protocol.find_targets(views, test, end)


def test_a_perfect_scorer_has_one_everywhere_and_chance_has_its_known_value(world):
    views, targets = world
    perfect, absent = protocol.evaluate(
        views, targets, lambda rows, live: (live == targets.author[rows][:, None]).astype(float)
    )
    assert absent == 0
    assert all(value == 1 for group in perfect.values() for name, value in group.items() if name != "targets")
    chance, _ = protocol.evaluate(views, targets, protocol.baselines(views, targets)["chance"])
    live = np.array([len(np.unique(views.author[(views.start <= step) & (views.stop > step)])) for step in targets.step])
    for k in protocol.KS:
        assert chance["all"][f"HR@{k}"] == pytest.approx(np.minimum(1, k / live).mean())
    gains = np.array([(1 / np.log2(np.arange(min(10, count)) + 2)).sum() / count for count in live])
    assert chance["all"]["NDCG@10"] == pytest.approx(gains.mean())


def test_planted_repeats_are_found_by_the_repeat_baseline_and_new_streamers_are_not(world):
    views, targets = world
    scorers = protocol.baselines(views, targets)
    repeat, _ = protocol.evaluate(views, targets, scorers["repeat (times seen)"])
    popular, _ = protocol.evaluate(views, targets, scorers["popularity"])
    chance, _ = protocol.evaluate(views, targets, scorers["chance"])
    assert 0.4 < targets.repeat.mean() < 0.95
    assert repeat["repeat"]["HR@1"] > 2 * popular["repeat"]["HR@1"]
    assert repeat["repeat"]["HR@1"] > 0.5
    assert repeat["new"]["HR@1"] <= chance["new"]["HR@1"] + 0.02
    assert popular["all"]["HR@5"] > chance["all"]["HR@5"]


def test_without_planted_repeats_fewer_targets_are_repeats(tmp_path, world):
    write_world(tmp_path / "a", users=150, streamers=200, days=6, repeat=0.0)
    land("liverec", tmp_path / "a", tmp_path / "l")
    views = protocol.read_views(tmp_path / "l")
    _, test, end = protocol.pivots(views)
    assert protocol.find_targets(views, test, end).repeat.mean() < world[1].repeat.mean() - 0.1


def test_the_target_is_the_latest_row_that_ends_in_the_part_and_the_history_is_what_came_before():
    rows = [(0, 1, 10, 12), (0, 2, 20, 22), (0, 1, 30, 32), (0, 3, 600, 601)]  # user 0: target begins at 600
    rows += [(1, 1, 5, 6), (1, 1, 590, 999)]  # ends too late: the latest row that counts is before the part
    rows += [(2, 2, 600, 601)]  # nothing came before
    rows += [(3, 1, 10, 12), (3, 2, 13, 15), (3, 1, 640, 650)]
    targets = protocol.find_targets(views_of(rows), 500, 700)
    assert targets.user.tolist() == [0, 3]
    assert targets.author.tolist() == [3, 1]
    assert targets.step.tolist() == [600, 640]
    assert targets.history[0].tolist() == [-1] * 13 + [1, 2, 1]
    assert targets.repeat.tolist() == [False, True]


def test_only_the_latest_fifteen_make_a_repeat():
    rows = [(0, 5, 0, 1), *((0, 1, 10 + i, 11 + i) for i in range(15)), (0, 5, 600, 601)]
    assert protocol.find_targets(views_of(rows), 500, 700).repeat.tolist() == [False]
    assert protocol.find_targets(views_of(rows[1:]), 500, 700).repeat.tolist() == [False]
    assert protocol.find_targets(views_of([*rows[:1], *rows[2:]]), 500, 700).repeat.tolist() == [True]


@pytest.mark.parametrize(
    ("scores", "place", "hits"),
    [
        ([3.0, 2.0, 1.0], 0, [1, 1, 1]),
        ([3.0, 2.0, 1.0], 2, [0, 1, 1]),
        ([1.0] * 4, 0, [1 / 4, 1, 1]),
        ([2.0, *[1.0] * 9], 3, [0, 4 / 9, 1]),
        ([1.0] * 20, 7, [1 / 20, 5 / 20, 10 / 20]),
    ],
)
def test_equal_scores_share_their_ranks(scores, place, hits):
    found = protocol.expected_metrics(np.array([scores]), np.array([place]))[0]
    assert found[:3] == pytest.approx(hits)
    assert found[0] == pytest.approx(found[3])  # the gain of the first place is 1


def test_an_archive_of_twenty_rows_runs(tmp_path):
    steps = [(user, streamer, 150 + user + 6 * streamer) for user in range(1, 6) for streamer in range(4)]
    rows = [f"{user},{streamer},s{streamer},{step},{step + 2}" for user, streamer, step in steps]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "100k.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "a" / "liverec.json").write_text('{"start": "2019-04-01"}')
    land("liverec", tmp_path / "a", tmp_path / "l")
    views = protocol.read_views(tmp_path / "l")
    assert (len(views.user), views.start.min()) == (20, 0)
    _, test, end = protocol.pivots(views)
    targets = protocol.find_targets(views, test, end)
    found, _ = protocol.evaluate(views, targets, protocol.baselines(views, targets)["popularity"])
    assert "| popularity | all (5) |" in protocol.table({"popularity": found})


def test_towers_of_ids_find_better_than_chance_and_score_strangers_too(tmp_path):
    planted = plant_marts(tmp_path, users=60, authors=12, days=4, requests_per_day=600, steady_authors=12, taste_scale=2.0)
    shown = read_mart(tmp_path, "interactions", planted.days, ["user_id", "author_id", "shown_at", "click"])
    clicks = shown.filter(pc.equal(shown["click"].cast("int8"), 1))
    user_ids, user = np.unique(ints(clicks, "user_id"), return_inverse=True)
    author_ids, author = np.unique(ints(clicks, "author_id"), return_inverse=True)
    origin = midnight(planted.days[0])
    start = (milliseconds(clicks, "shown_at") - origin) // protocol.STEP_MS
    user_ids[-1] = 10**9  # nobody that the marts know
    views = protocol.Views(user, author, start, start + 3, user_ids, author_ids, origin)
    last_day = 144 * (len(planted.days) - 1)
    targets = protocol.find_targets(views, last_day, last_day + 144)
    assert len(targets.user) > 40
    config = AlignmentConfig(epochs=20, dim=16, hidden=16)
    scorer = tower_scorer(tmp_path, views, targets, config, until=midnight(planted.days[-1]))
    towers, _ = protocol.evaluate(views, targets, scorer)
    chance, _ = protocol.evaluate(views, targets, protocol.baselines(views, targets)["chance"])
    assert towers["all"]["NDCG@5"] > 1.1 * chance["all"]["NDCG@5"]


def test_an_empty_landing_and_a_full_folder_are_errors(tmp_path):
    with pytest.raises(LandingError, match="no plays"):
        protocol.read_views(tmp_path)
    (tmp_path / "x").write_text("mine")
    with pytest.raises(LiveAlignError, match="not empty"):
        write_world(tmp_path)
