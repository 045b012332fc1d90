"""Evaluation on a planted day: the order of planted models, ceilings, slices and the files that people and machines read."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from livealign.config import EvaluationConfig
from livealign.days import DAY_MS, midnight, partition
from livealign.errors import EvaluationError
from livealign.evaluation.ceilings import place_effect, without_place
from livealign.evaluation.frame import EvaluationFrame, standard_slices
from livealign.evaluation.html import Section, render_report, write_report
from livealign.evaluation.markdown import variants_table
from livealign.evaluation.report import evaluate
from livealign.operation_config import PromotionConfig
from livealign.release.promotion import decide
from livealign.retrain.champion import release_metrics
from livealign.simulation.truth import log_odds_of, read_truth

CONFIG = EvaluationConfig(bootstrap_samples=100)
DAY = date(2025, 3, 8)
MIDNIGHT = midnight(DAY)
N, USERS, AUTHORS = 8_000, 200, 40


@pytest.fixture(scope="module")
def planted() -> dict:
    """A day whose clicks follow user × author taste and, as much, the moment; and scores that know parts of it."""
    rng = np.random.default_rng(0)
    user, author = rng.integers(0, USERS, N), (AUTHORS * rng.random(N) ** 2).astype(int)
    static = rng.normal(size=(USERS, AUTHORS))[user, author]
    moment = rng.normal(size=N)
    p_static, p = (1 / (1 + np.exp(1.2 - x)) for x in (static, static + moment))
    click = (rng.random(N) < p).astype(np.float32)
    like = np.where(rng.random(N) < 0.1, np.nan, click * (rng.random(N) < 0.3)).astype(np.float32)
    train_author = rng.permutation((AUTHORS * rng.random(30_000) ** 2).astype(int))
    slices = standard_slices(
        author,
        user,
        train_author[train_author < 35],
        rng.integers(0, 180, 30_000),
        rng.integers(0, 200, N) * (rng.random(N) < 0.9),
        rng.uniform(0, 60, N),
        CONFIG,
    )
    frame = EvaluationFrame(
        user, author, MIDNIGHT + rng.integers(0, DAY_MS, N), {"click": click, "like": like}, np.arange(N) // 10, slices
    )
    scores = {
        "popularity": p_static.mean() + 0.0 * p,
        "id_only": p_static,
        "aligned_codes": 1 / (1 + np.exp(1.2 - static - 0.8 * moment)),
        "worse": np.stack([static + 3 * rng.normal(size=N) for _ in range(3)]),
    }
    return {"frame": frame, "scores": scores, "truth": {"p_click": p, "p_click_static": p_static}, "p": p}


@pytest.fixture(scope="module")
def report(planted):
    tasks = {"like": {"aligned_codes": planted["scores"]["aligned_codes"]}}
    return evaluate(planted["scores"], planted["frame"], CONFIG, planted["truth"], tasks)


def test_variants_come_out_in_their_planted_order(report, planted):
    gaucs = {name: metrics.gauc for name, metrics in (report.variants | report.oracle).items()}
    assert gaucs["popularity"] == 0.5
    assert gaucs["worse"] < gaucs["id_only"] < gaucs["aligned_codes"] <= gaucs["oracle"]
    assert gaucs["oracle_static"] == gaucs["id_only"]
    label = planted["frame"].labels["click"]
    assert report.variants["id_only"].auc == pytest.approx(roc_auc_score(label, planted["scores"]["id_only"]))
    assert report.variants["id_only"].n_impressions == N
    assert report.variants["id_only"].n_users + report.variants["id_only"].n_users_dropped == USERS


def test_differences_to_id_only_have_intervals_on_the_right_side_of_zero(report):
    assert "id_only" not in report.differences
    assert report.differences["aligned_codes"].low > 0 > report.differences["worse"].high
    shares = report.ceiling_shares()
    assert shares["id_only"] == 0
    assert 0.8 < shares["aligned_codes"] <= 1.05


def test_what_a_source_adds_is_the_paired_difference_of_the_method_with_and_without_it(planted):
    scores = {name: planted["scores"][name] for name in ("id_only", "aligned_codes", "worse")}
    pairs = {"llm": ("aligned_codes", "id_only"), "lexical": ("worse", "aligned_codes"), "unmeasured": ("id_only", "absent")}
    report = evaluate(scores, planted["frame"], CONFIG, source_pairs=pairs)
    assert set(report.source_gains) == {"llm", "lexical"}
    assert report.source_gains["llm"] == report.differences["aligned_codes"]
    assert report.source_gains["lexical"].high < 0
    assert report.to_summary()["source_gains"]["llm"] == report.source_gains["llm"]._asdict()


def test_scores_that_are_no_probabilities_have_no_ne_and_seeds_give_a_spread(report):
    assert report.variants["worse"].ne is None
    assert report.variants["worse"].gauc_seed_std > 0
    assert report.variants["aligned_codes"].gauc_seed_std is None
    assert report.oracle["oracle"].ne < report.variants["id_only"].ne < report.variants["popularity"].ne + 1e-9
    assert report.oracle["oracle"].ece < 0.02
    assert set(report.reliability) == {"popularity", "id_only", "aligned_codes"}


def test_slices_cover_all_rows_and_new_ids_are_unseen(report, planted):
    slices = planted["frame"].slices
    assert set(slices["author_popularity"][planted["frame"].author >= 35]) == {"unseen"}
    assert set(slices["user_activity"][planted["frame"].user >= 180]) == {"new"}
    for name, values in report.slices.items():
        assert sum(row["id_only"].n_impressions for row in values.values()) == N, name
    assert list(report.slices["author_popularity"]) == ["head", "torso", "tail", "unseen"]
    assert report.slices["author_popularity"]["tail"]["aligned_codes"].against_baseline.difference > 0
    assert report.slices["author_popularity"]["tail"]["id_only"].against_baseline is None


def test_head_authors_hold_their_share_of_training_impressions():
    train = np.repeat([1, 2, 3, 4], [50, 30, 15, 5])
    one = np.ones(5, int)
    args = (one, np.array([1]), np.zeros(5), np.zeros(5), CONFIG)
    slices = standard_slices(np.array([1, 2, 3, 4, 9]), args[0], train, *args[1:])
    assert slices["author_popularity"].tolist() == ["head", "torso", "tail", "tail", "unseen"]


def test_rows_without_a_list_are_ranked_within_their_users_day():
    shown = np.array([0, 5, DAY_MS, 7, 8])
    frame = EvaluationFrame(np.array([1, 1, 1, 2, 2]), np.zeros(5, int), shown, {}, None)
    lists = frame.lists()
    assert lists[0] == lists[1] != lists[2]
    assert lists[3] == lists[4] != lists[0]
    frame = EvaluationFrame(np.array([1, 1, 1, 2, 2]), np.zeros(5, int), shown, {}, np.array([4, 4, 9, -1, -1]))
    lists = frame.lists()
    assert lists[0] == lists[1]
    assert len(set(lists.tolist())) == 3  # a list of one (request 9) and no list (-1) fall back to user-days
    assert lists[3] == lists[4]


def test_the_other_tasks_use_observed_labels_only(report, planted):
    like = planted["frame"].labels["like"]
    assert report.tasks["like"]["aligned_codes"].n_impressions == int((~np.isnan(like)).sum())


def test_scores_of_another_length_are_refused(planted):
    with pytest.raises(EvaluationError, match="variant 'id_only'"):
        evaluate({"id_only": np.zeros(3)}, planted["frame"], CONFIG)


def test_a_day_without_clicks_gives_none_and_not_nan():
    frame = EvaluationFrame(np.arange(4), np.arange(4), np.zeros(4, int), {"click": np.zeros(4)}, None)
    summary = evaluate({"id_only": np.arange(4) / 4, "aligned": np.arange(4) / 5}, frame, CONFIG).to_summary()
    assert summary["variants"]["id_only"]["gauc"] is None
    assert summary["oracle"] is None
    json.dumps(summary, allow_nan=False)


def test_the_summary_is_json_with_the_keys_that_machines_read(report):
    summary = json.loads(json.dumps(report.to_summary(), allow_nan=False))
    wanted = {"auc", "uauc", "gauc", "ndcg@10", "n_impressions", "n_users"}
    assert all(wanted <= set(metrics) for metrics in summary["variants"].values())
    assert set(summary["oracle"]) == {"oracle", "oracle_static"}


def test_the_way_to_a_ceiling_starts_at_the_best_without_the_moment(planted):
    truth = {**planted["truth"], "p_click_text": 0.5 * (planted["p"] + planted["truth"]["p_click_static"])}
    measured = evaluate(planted["scores"], planted["frame"], EvaluationConfig(bootstrap_samples=20), truth)
    top, text, static = (measured.oracle[name].gauc for name in ("oracle", "oracle_text", "oracle_static"))
    assert static < text < top
    name, gauc = "aligned_codes", measured.variants["aligned_codes"].gauc
    assert measured.ways()[name] == pytest.approx((gauc - static) / (top - static))
    assert measured.ways("oracle_text")[name] == pytest.approx((gauc - static) / (text - static))
    assert measured.to_summary()["ways"]["oracle_text"] == measured.ways("oracle_text")


def test_ceilings_of_any_place_are_compared_with_each_other(planted):
    place = np.random.default_rng(3).normal(size=N)
    placeless = {f"{column}_any_place": without_place(p, place) for column, p in planted["truth"].items()}
    measured = evaluate(
        planted["scores"], planted["frame"], EvaluationConfig(bootstrap_samples=20), planted["truth"] | placeless
    )
    assert set(measured.oracle) == {"oracle", "oracle_static", "oracle_any_place", "oracle_static_any_place"}
    top, static = (measured.oracle[f"{name}_any_place"].gauc for name in ("oracle", "oracle_static"))
    gauc = measured.variants["aligned_codes"].gauc
    assert measured.ways("oracle_any_place")["aligned_codes"] == pytest.approx((gauc - static) / (top - static))
    assert set(measured.to_summary()["ways"]) == {"oracle", "oracle_any_place"}
    assert "of any place" in render_report(measured, {})


def test_the_place_is_taken_out_of_a_probability_as_log_odds():
    def sigmoid(logit: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-logit))

    logit, place = np.array([-2.0, 0.0, 1.5]), np.array([0.3, -0.7, 0.0])
    np.testing.assert_allclose(without_place(sigmoid(logit + place), place), sigmoid(logit))


def test_the_effect_of_the_place_is_what_the_archive_was_made_with(tmp_path):
    (tmp_path / "simulator.json").write_text(json.dumps({"config": {"position": -0.5}}))
    effect = place_effect(*log_odds_of(tmp_path, "position"), np.array([0.0, 1.0, 3.0]))
    np.testing.assert_allclose(effect - effect[0], [0.0, -0.5 * np.log(2), -0.5 * np.log(4)])
    assert effect.mean() == pytest.approx(0.0)
    (tmp_path / "simulator.json").write_text(json.dumps({"config": {}}))
    with pytest.raises(EvaluationError, match="does not say what position did to clicks"):
        log_odds_of(tmp_path, "position")


def _write_truth(archive: Path, ids: np.ndarray, p: np.ndarray) -> Path:
    file = partition(archive / "truth", "impressions", DAY)
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table({"impression_id": ids, "p_click": p, "p_click_static": p / 2}), file)
    return file


def test_truth_is_read_in_the_order_of_the_impressions(tmp_path):
    ids = np.array([30, 10, 20])
    _write_truth(tmp_path, ids, np.array([0.3, 0.1, 0.2]))
    truth = read_truth(tmp_path, np.array([10, 30]), DAY)
    np.testing.assert_allclose(truth["p_click"], [0.1, 0.3])
    np.testing.assert_allclose(truth["p_click_static"], [0.05, 0.15])


def test_a_platform_without_truth_has_none_and_a_damaged_truth_is_an_error(tmp_path):
    assert read_truth(tmp_path, np.array([1]), DAY) is None
    file = _write_truth(tmp_path, np.array([1, 2]), np.array([0.1, 0.2]))
    with pytest.raises(EvaluationError, match="1 of 2 impressions have no truth"):
        read_truth(tmp_path, np.array([1, 3]), DAY)
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns("p_click_static"), file)
    with pytest.raises(EvaluationError, match="no column p_click_static; make the archive again"):
        read_truth(tmp_path, np.array([1]), DAY)
    file.write_bytes(b"PAR1 nothing")
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_truth(tmp_path, np.array([1]), DAY)
    file.unlink()
    with pytest.raises(EvaluationError, match="simulate"):
        read_truth(tmp_path, np.array([1]), DAY)


def test_release_metrics_feed_the_promotion(planted):
    champion = release_metrics(planted["scores"]["id_only"], planted["frame"], DAY)
    better = release_metrics(planted["scores"]["aligned_codes"], planted["frame"], DAY)
    diverged = release_metrics(np.full(N, np.nan), planted["frame"], DAY)
    config = PromotionConfig(bootstrap_samples=100)
    assert decide(champion, better, {}, config, 20).rule == "not_worse"
    assert decide(better, champion, {}, config, 20).rule == "worse"
    assert decide(champion, diverged, {}, config, 20).rule == "not_finite"
    assert decide(champion, champion, {}, config, 20).rule == "tie"
    assert "author_popularity=tail" in decide(champion, better, {}, config, 20).numbers["slices"]


def test_the_html_report_is_one_file_and_escapes_every_text(report, tmp_path):
    nasty = "<script>alert(1)</script>"
    sections = [Section(nasty, (nasty, "b"), [(nasty, 1)], nasty)]
    html = render_report(report, {nasty: b"\x89PNG"}, nasty, {nasty: nasty}, sections)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "http" not in html
    assert "aligned_codes" in html
    assert "oracle_static" in html
    assert f"{report.variants['aligned_codes'].gauc:.4f}" in html
    path = tmp_path / "reports" / "report.html"
    write_report(report, {}, path)
    assert path.read_text().startswith("<!doctype html>")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_markdown_table_has_a_row_for_each_variant_with_both_intervals(report):
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in variants_table(report).splitlines()]
    assert head[:3] == ["variant", "gain over id_only", "GAUC"]
    assert [row[0].strip("`") for row in rows] == [*report.variants, *report.oracle]
    for row in rows:
        assert len(row) == len(head)
        name, metrics = row[0].strip("`"), {**report.variants, **report.oracle}[row[0].strip("`")]
        interval = report.intervals.get(name)
        bounds = f"[{interval.low:.3f}, {interval.high:.3f}] " if interval else ""
        assert row[2].replace("\xa0", " ") == f"{bounds}{metrics.gauc:.3f}"
    gain = next(row[1] for row in rows if row[0] == "`aligned_codes`")
    assert gain.endswith(f"{report.differences['aligned_codes'].difference:+.3f}")
    assert " " not in gain
