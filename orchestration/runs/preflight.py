"""The checks before a run that the daemon or the UI starts; `make retrain` has the same.

The first stage of a run asks once. Runs take turns by their locks (`orchestration.runs.locks`), so another run is no finding.
Assets that a person materializes alone are not checked: `retention` has to run on a full disk.
"""

from dagster import AssetExecutionContext

from livealign.retrain.backbone import ready_backbone
from livealign.retrain.findings import refuse_findings
from livealign.retrain.preflight import check_retrain
from orchestration.resources import Workspace
from orchestration.runs.instance import LAUNCHED_BY

READS_ARCHIVE = frozenset({"build_history", "daily_retrain"})  # jobs
READS_BACKBONE = frozenset({"daily_retrain", "retune_llm"})

_checked: set[str] = set()  # runs that this process has checked; a run has a process of its own


def check_run(context: AssetExecutionContext, workspace: Workspace) -> None:
    """Check what the run will need, at its first stage; fetch the backbone if it is read.

    Raises:
        LiveAlignError: the run would fail; the message has a line for each finding.
    """
    run = context.run
    reads_archive, reads_backbone = run.job_name in READS_ARCHIVE, run.job_name in READS_BACKBONE
    if run.tags.get(LAUNCHED_BY) == "retrain" or run.run_id in _checked or not (reads_archive or reads_backbone):
        return
    home, profile = workspace.home, workspace.profile
    archive, backbone = workspace.archive if reads_archive else None, profile.backbone if reads_backbone else None
    findings = check_retrain(home, archive, backbone, alone=False, store=profile.machines.store)
    refuse_findings(findings, context.log.warning)
    if reads_backbone:
        ready_backbone(profile, home.models, context.log.info)
    _checked.add(run.run_id)
