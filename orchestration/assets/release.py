"""[release] The challenger's bundle and Bento, the promotion, and retention."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import AssetCheckKey, AssetExecutionContext, AssetKey, AssetsDefinition, MaterializeResult, MetadataValue

from livealign.errors import LiveAlignError
from livealign.files import read_json, replace_json
from livealign.release.bundle import REFERENCE
from livealign.release.decisions import decision_file
from livealign.release.registry import read_champion
from livealign.release.retention import plan_pruning, prune
from livealign.release.shared_champion import put_champion
from livealign.retrain import release
from livealign.retrain.corpus import day_corpus
from livealign.retrain.summary import write_summary
from livealign.store import Store
from orchestration.check_results import guard_results
from orchestration.resources import Workspace
from orchestration.runs.daily_asset import daily_asset
from orchestration.runs.stage import day_of, stage

GROUP = "release"
BENTO_TIMEOUT_SECONDS = 600
ENDING_SECONDS = 30


@daily_asset(GROUP, kinds={"file"}, deps=[AssetKey("offline_report"), AssetKey("drift_report")])
def bundle(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """Everything that serving needs in one directory, with the hash of every file."""
    day = day_of(context)
    with stage(context, workspace, "bundle"):
        corpus = day_corpus(workspace.home, day, workspace.dataset)
        reference = workspace.artifacts(day).drift / REFERENCE
        built = release.build_bundle(corpus, workspace.home, workspace.profile, reference, workspace.settings)
    files = built.manifest["files"]
    return MaterializeResult(
        metadata={
            "release": built.release_id,
            "files": len(files),
            "bytes": sum(entry["bytes"] for entry in files.values()),
            "path": MetadataValue.path(str(built.path)),
            "manifest": MetadataValue.json({key: value for key, value in built.manifest.items() if key != "files"}),
        }
    )


@daily_asset(GROUP, kinds={"bentoml"}, deps=[bundle], retried=True)
def bento(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """The bundle packed with the code that serves it.

    It is smoke-tested: started as a process and asked for recommendations.
    """
    artifacts = workspace.artifacts(day_of(context))
    bundle_path = workspace.home.releases / read_json(artifacts.release / "bundle.json")["release_id"]
    with stage(context, workspace, "bento"):
        record = {**build_and_smoke_test(bundle_path, workspace), "release_id": bundle_path.name}
        replace_json(artifacts.release / "bento.json", record, version=1)
    return MaterializeResult(metadata={"tag": record["tag"], **record["smoke"], "path": MetadataValue.path(record["path"])})


def promotion(guards: Sequence[AssetCheckKey]) -> AssetsDefinition:
    """The asset `promotion`, which asks for the latest results of these checks from any run."""

    @daily_asset(GROUP, kinds={"file"}, deps=[bento])
    def promotion(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
        """Compares the challenger with the champion on the held-out day.

        The champion pointer moves only if the challenger is not worse and every check passed.
        """
        day, home = day_of(context), workspace.home
        artifacts = workspace.artifacts(day)
        with stage(context, workspace, "promotion"):
            corpus = day_corpus(home, day, workspace.dataset)
            challenger = home.releases / read_json(artifacts.release / "bundle.json")["release_id"]
            smoke_tested = read_json(artifacts.release / "bento.json")["release_id"] == challenger.name
            results = guard_results(context.instance, guards, day.isoformat())
            checks = {**results, "the Bento of this release answered": smoke_tested}
            decision = release.decide_promotion(corpus, challenger, home, workspace.dataset, workspace.profile, checks)
            store = Store.open(workspace.profile.machines.store)
            if store is not None and read_champion(home.releases) is not None:
                put_champion(store, home)
        summary = write_summary(home, day, workspace.profile)
        numbers = decision["numbers"]
        return MaterializeResult(
            metadata={
                **{name: decision[name] for name in ("decision", "rule", "reason", "release")},
                "champion": read_champion(home.releases) or "none",
                "slices": MetadataValue.md(slices_table(numbers.get("slices", {}))),
                "checks": len(numbers["checks"]),
                "numbers": MetadataValue.json(numbers),
                "kept_in": MetadataValue.path(str(decision_file(home.releases, challenger.name))),
                "summary": MetadataValue.path(str(summary)),
            }
        )

    return promotion


@daily_asset(GROUP, kinds={"file"}, deps=[AssetKey("promotion")])
def retention(context: AssetExecutionContext, workspace: Workspace) -> MaterializeResult:
    """Removes partitions, artifacts, bundles and Bentos that are older than the policy allows.

    What the champion or a rollback needs is never removed.
    """
    with stage(context, workspace, "retention"):
        planned = plan_pruning(workspace.home, workspace.profile.retention, workspace.archive)
        removed = prune(workspace.home, planned)
    return MaterializeResult(
        metadata={
            "removed": len(removed),
            "bytes": sum(item.bytes for item in removed),
            "protected_releases": ", ".join(planned.protected) or "none",
            "problems": "; ".join(planned.problems) or "none",
            "what": MetadataValue.md(
                "\n".join(f"- {item.kind}: `{item.path.name}`, {item.reason}" for item in removed) or "nothing"
            ),
        }
    )


def slices_table(slices: Mapping[str, Mapping[str, Any]]) -> str:
    """The guarded slices as a Markdown table."""
    rows = [
        f"| {name} | {part['difference']:+.4f} | {part['low']:+.4f} to {part['high']:+.4f} | {-part['margin']:+.4f} "
        f"| {part['n_users']:,} | {'worse' if part['worse'] else 'passes'} |"
        for name, part in slices.items()
    ]
    head = ["| slice | GAUC, challenger − champion | interval | margin | users | |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else "no slices were compared"


def build_and_smoke_test(bundle_path: Path, workspace: Workspace) -> dict:
    """Run `python -m bentos build` and return its last line of output, decoded from JSON.

    It is a process of its own because the graph imports no service.

    Raises:
        LiveAlignError: the Bento could not be built, or it failed its smoke test; it would fail again.
    """
    home = workspace.home
    command = [sys.executable, "-m", "bentos", "build", str(bundle_path), str(home.bento_store), "--models", str(home.models)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, said = process.communicate(timeout=BENTO_TIMEOUT_SECONDS)
        except BaseException:  # told to end, or out of time: the server that it tries ends with it, which a kill would leave
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=ENDING_SECONDS)
            process.kill()
            raise
    if process.returncode != 0:
        raise LiveAlignError(f"the Bento of {bundle_path.name} failed: {said.strip()[-2000:] or out.strip()[-2000:]}")
    return dict(json.loads(out.strip().splitlines()[-1]))
