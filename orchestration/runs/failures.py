"""A failure as one line, and the file that keeps its stack trace."""

import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dagster import AssetCheckSeverity, DagsterEvent, DagsterEventType

from livealign.files import replace_bytes
from orchestration.runs.dagster_private import DagsterExecutionInterruptedError, SerializableErrorInfo

OURS = "livealign."  # the names of all errors that a person can act on begin with it
INTERRUPTIONS = (DagsterExecutionInterruptedError, KeyboardInterrupt)
TOLD_TO_END = "the run was told to end; start it again to continue"


def failed_run(job: str, run_id: str, events: Sequence[DagsterEvent], log: Path) -> str:
    """One line that names what failed and why.

    The stack traces of the steps are written to the file `log`, which the line names. An error of ours needs no stack: its
    text has the remedy.
    """
    findings = [finding for event in events if (finding := _finding(event))]
    stopped = {step for step, _ in findings}
    errors = [event for event in events if event.is_step_failure and event.step_key not in stopped]
    reasons = [reason for _, reason in findings]
    reasons += [f"{event.step_key}: {one_line(root_cause(event.step_failure_data.error))}" for event in errors]
    stacks = [f"{event.step_key}\n{event.step_failure_data.error_display_string}" for event in errors]
    saved = save_stacks(log, stacks) if stacks else ""
    place = "" if all(_is_ours(event.step_failure_data.error) for event in errors) else f"{saved}; "
    return f"{job} failed in {'; '.join(reasons) or 'its set-up'} ({place}run {run_id}; `make ui` shows its log)"


def unexpected_error(error: BaseException, log: Path) -> str:
    """One line: the error's name and text, and the file `log`, which gets its stack trace."""
    saved = save_stacks(log, ["".join(traceback.format_exception(error))])
    return f"{one_line(f'{type(error).__name__}: {error}')} ({saved})"


def save_stacks(log: Path, stacks: Sequence[str]) -> str:
    """Write the stack traces over those of an earlier failure; returns a clause about the file."""
    text = "\n\n".join([datetime.now(UTC).isoformat(timespec="seconds"), *stacks])
    try:
        replace_bytes(log, text.encode())
    except OSError as error:  # the failure itself may be a full disk: its line must still be seen
        return f"its stack could not be written to {log}: {error.strerror}"
    return f"its stack is in {log}"


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def root_cause(error: SerializableErrorInfo | None) -> str:
    """The text of the first error of ours in the chain of causes, else of the original error."""
    while error and error.cause and not error.message.startswith(OURS):
        error = error.cause
    if error is None:
        return "unknown"
    text = error.message.strip()
    if error.cls_name in {kind.__name__ for kind in INTERRUPTIONS}:
        return TOLD_TO_END
    return text.partition(": ")[2] if text.startswith(OURS) else text


def _is_ours(error: SerializableErrorInfo | None) -> bool:
    """Whether an error that a person can act on is among the causes."""
    while error and not error.message.startswith(OURS):
        error = error.cause
    return error is not None


def _finding(event: DagsterEvent) -> tuple[str | None, str] | None:
    """(step, description) of a failed blocking check: Dagster's own error has only the check's name."""
    if event.event_type is not DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    check = event.asset_check_evaluation_data
    if check.passed or check.severity is not AssetCheckSeverity.ERROR or not check.description:
        return None
    return event.step_key, f"the check {check.check_name}: {check.description}"
