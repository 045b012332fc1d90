"""`summary.json`: one retrain for machines, collected from the files of its stages."""

from datetime import date
from pathlib import Path
from typing import Any

from livealign.files import read_json, replace_json
from livealign.home import Home, replace_link
from livealign.profiles import Profile
from livealign.retrain.artifacts import DayArtifacts
from livealign.retrain.report_index import write_index
from livealign.retrain.series import write_series

SUMMARY = "summary.json"
STAGE_ORDER = (
    *("history", "landing", "warehouse", "marts", "llm_adapter", "segment_embeddings", "aligned_vectors", "semantic_codes"),
    *(
        "retriever",
        "ranker",
        "comparison",
        "offline_report",
        "online_report",
        "drift_report",
        "bundle",
        "bento",
        "promotion",
        "retention",
    ),
)


def reports_of(home: Home, day: date) -> Path:
    """Folder of the day's reports: `report.html`, `drift.html`, `drift.json`, `summary.json`."""
    return home.reports / day.isoformat()


def write_summary(home: Home, day: date, profile: Profile, total_seconds: float | None = None) -> Path:
    """Write the day's summary and series, and the index of all days; returns the summary's file.

    `reports/latest` points to the day.

    Args:
        total_seconds: wall-clock time of the whole retrain; without it, the sum of its stages.

    Raises:
        LiveAlignError: a stage has not run.
    """
    artifacts = DayArtifacts.of(home, day)
    evaluation = read_json(artifacts.evaluation / "evaluation.json")
    bundle, bento = read_json(artifacts.release / "bundle.json"), read_json(artifacts.release / "bento.json")
    stages = stage_costs(artifacts)
    summary: dict[str, Any] = {
        "platform": home.platform,
        "data_window": evaluation["data_window"],
        "profile": profile.name,
        "backbone": bundle["backbone"],
        "seed": profile.seed,
        "judged": {
            "days": evaluation.get("judged_days", [evaluation["data_window"]["end"]]),
            "not_judged": evaluation.get("not_judged", {}),
            "users": max((metrics["n_users"] for metrics in evaluation["variants"].values()), default=0),
            "least_users": profile.evaluation.least_users,
        },
        "variants": evaluation["variants"],
        "oracle": evaluation["oracle"],
        **({"reading": evaluation["reading"]} if "reading" in evaluation else {}),
        "differences_to_id_only": evaluation["differences"],
        "source_gains": evaluation.get("source_gains", {}),
        "share_of_the_moment_won": evaluation["ceiling_shares"],
        "slices": evaluation["slices"],
        "drift": read_json(artifacts.drift / "drift.json")["verdict"],
        "stages": stages,
        "total_seconds": total_seconds or sum(cost["seconds"] for cost in stages.values()),
        "promotion": read_json(artifacts.release / "promotion.json"),
        "bundle": bundle,
        "bento": bento,
    }
    target = reports_of(home, day) / SUMMARY
    replace_json(target, summary, version=1)
    replace_link(home.reports / "latest", Path(day.isoformat()))
    write_series(home, day, summary)
    write_index(home.reports)
    return target


def stage_costs(artifacts: DayArtifacts) -> dict[str, dict[str, float]]:
    """Seconds and peak memory of each stage that ran, in the order of the graph."""
    costs = {path.stem: read_json(path) for path in artifacts.stages.glob("[!.]*.json")}
    order = {name: place for place, name in enumerate(STAGE_ORDER)}
    return {name: costs[name] for name in sorted(costs, key=lambda name: order.get(name, len(order)))}
