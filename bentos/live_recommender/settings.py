"""The folders and addresses of the service, from its environment.

| variable | what it names | default |
|---|---|---|
| `LIVEALIGN_BUNDLE` | the release to start with | the one packed in the Bento |
| `LIVEALIGN_RELEASES` | a releases folder whose champion is followed while the service runs | none: the release stays |
| `LIVEALIGN_EVENT_LOG` | the folder of the event log, on a disk that lasts | `LIVEALIGN_HOME/archive/served` |
| `LIVEALIGN_REDIS_URL` | a Redis server that holds the event log instead | none |
| `LIVEALIGN_ROLE` | `reader`, `ranker` or `both`, where processes share a Redis log (docs/live.md) | `both` |
| `LIVEALIGN_MODELS` | a folder of backbones, looked through after those packed in the Bento | `LIVEALIGN_HOME/models` |
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.live.answers import ROLES, Role
from livealign.paths import path_in

ROOT = Path(__file__).resolve().parents[2]  # of the Bento's code, or of the source tree
PACKED_BUNDLE, PACKED_MODELS = ROOT / "bundle", ROOT / "models"
CHECKPOINT = "checkpoint"
ROLE_VARIABLE = "LIVEALIGN_ROLE"
_NO_LISTS = "this process is a reader and makes no lists; ask a ranker"
ELSEWHERE: dict[Role, dict[str, str]] = {
    "both": {},
    "reader": {"/recommend": _NO_LISTS, "/recommend/many": _NO_LISTS},
    "ranker": {"/embed": "this process is a ranker and has no language model; ask a reader"},
}
"""By role: the routes that processes of another role answer, and the error that a client gets."""


@dataclass(frozen=True)
class Settings:
    """Folders of one service process."""

    bundle: Path
    releases: Path | None
    event_log: Path  # with a Redis server it holds only the checkpoint
    redis_url: str | None
    models: tuple[Path, ...]  # in the order in which a backbone is looked up by its hash
    role: Role = "both"

    @property
    def checkpoint(self) -> Path:
        """The folder of the state's checkpoints, which shorten the replay of events at a start."""
        return self.event_log / CHECKPOINT

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings in the environment variables.

        Raises:
            LiveAlignError: no variable says where to keep events, a path begins with ~, or the role is none or needs a Redis
                server.
        """

        def named(variable: str) -> Path | None:
            path = path_in(environment, variable)
            return None if path is None else path.absolute()

        root = named("LIVEALIGN_HOME")
        event_log = named("LIVEALIGN_EVENT_LOG") or (None if root is None else Home(root, "served").archive)
        if event_log is None:
            raise LiveAlignError("nothing says where events are kept; set LIVEALIGN_EVENT_LOG to a folder on a disk that lasts")
        own = named("LIVEALIGN_MODELS") or (None if root is None else Home(root, "served").models)
        models = tuple(folder for folder in (PACKED_MODELS, own) if folder is not None)
        redis_url = environment.get("LIVEALIGN_REDIS_URL") or None
        role = _role(environment.get(ROLE_VARIABLE) or "both", redis_url)
        return cls(named("LIVEALIGN_BUNDLE") or PACKED_BUNDLE, named("LIVEALIGN_RELEASES"), event_log, redis_url, models, role)


def _role(text: str, redis_url: str | None) -> Role:
    role = next((role for role in ROLES if role == text), None)
    if role is None:
        raise LiveAlignError(f"{ROLE_VARIABLE} is {text[:40]!r}; set it to {', '.join(ROLES)}, or leave it out")
    if role != "both" and redis_url is None:
        raise LiveAlignError(
            f"{ROLE_VARIABLE} is {role}, and readers and rankers share a log in Redis; set LIVEALIGN_REDIS_URL too"
        )
    return role
