"""Findings of the checks before a retrain: what is wrong, and the remedy of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from livealign.errors import LiveAlignError


@dataclass(frozen=True)
class Finding:
    """One thing that is not as a retrain needs it, and the remedy."""

    what: str
    remedy: str
    stops: bool = True  # False: the retrain runs, and may fail

    def __str__(self) -> str:
        """One line, as an error of ours has it."""
        return str(LiveAlignError(f"{self.what}; {self.remedy}" if self.remedy else self.what))


def finding_of(error: LiveAlignError | OSError) -> Finding:
    """The finding that an error reports.

    The last part of an error of ours is the remedy. One of the system is about a file.
    """
    if isinstance(error, OSError):
        where = f"{str(error.filename)[:200]} cannot be read" if error.filename is not None else "a file cannot be read"
        return Finding(f"{where} ({error.strerror or error})", "name another file or folder, or change its permissions")
    what, _, remedy = str(error).rpartition("; ")
    return Finding(what, remedy) if what else Finding(remedy, "")


def raised(check: Callable[[], object]) -> Iterator[Finding]:
    """The finding of the error that a check raises, if it does."""
    try:
        check()
    except (LiveAlignError, OSError) as error:
        yield finding_of(error)


def refuse_findings(findings: list[Finding], say: Callable[[str], object]) -> None:
    """Say what may go wrong, and end the retrain on what will.

    Raises:
        LiveAlignError: a finding stops the retrain; the message has a line for each.
    """
    for finding in findings:
        if not finding.stops:
            say(str(finding))
    stopping = [str(finding) for finding in findings if finding.stops]
    if len(stopping) == 1:
        raise LiveAlignError(stopping[0])
    if stopping:
        raise LiveAlignError(f"{len(stopping)} things keep the retrain from starting:", *stopping)
