"""Errors a person can act on: each names what is wrong, where, and the remedy."""


class LiveAlignError(Exception):
    """Base of all errors that LiveAlign raises on purpose.

    The message is one line for the user: what is wrong, the file (and line) it is in, and what to do about it. Further
    arguments are further lines. Line breaks inside, which come from a value or a name, are written out.
    """

    def __str__(self) -> str:
        return "\n  ".join(str(line).replace("\r", "\\r").replace("\n", "\\n") for line in self.args)


class ArchiveError(LiveAlignError):
    """A platform archive is missing, unreadable as a whole, or of another format."""


class LandingError(LiveAlignError):
    """The landing area is missing, incomplete, or does not meet the landing contract."""


class BackboneError(LiveAlignError):
    """The language model is absent, or is not the one that was pinned (SHA-256)."""


class TrainingError(LiveAlignError):
    """A training run cannot start or has diverged (a loss that is not finite)."""


class BundleError(LiveAlignError):
    """A release bundle is missing, incomplete, damaged, or of an unknown format."""


class EventLogError(LiveAlignError):
    """The event log cannot be written or read; no record of the call was acknowledged."""


class MartError(LiveAlignError):
    """A published mart is missing, damaged, or was built by other code."""


class EvaluationError(LiveAlignError):
    """The scores do not fit the held-out impressions, or a simulator's truth is damaged."""


def reason_of(error: BaseException) -> str:
    """What an error says, in at most 200 characters.

    An error of the system says it without its number and the path, which the message around it names.
    """
    return str(getattr(error, "strerror", None) or error)[:200]
