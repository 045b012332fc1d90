"""Serve the champion: which Bento it is, and how its server is started."""

import os
from pathlib import Path
from typing import NoReturn

from bentos.build import bento_path, bentoml_command, bentoml_environment
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.releases import champion_path


def champion_bento(home: Home) -> Path:
    """The Bento of the release that the champion pointer names.

    Raises:
        LiveAlignError: there is no champion yet, or its Bento is gone.
    """
    path = bento_path(home.bento_store, champion_path(home.releases).name)
    if not path.is_dir():
        raise LiveAlignError(f"{path} is missing: the champion has no Bento; run `make retrain` again")
    return path


def serve(home: Home, host: str, port: int) -> NoReturn:
    """Become the BentoML server of the champion: this process is replaced by it."""
    command = bentoml_command("serve", str(champion_bento(home)), "--host", host, "--port", str(port))
    os.execve(command[0], command, bentoml_environment(home.bento_store))  # noqa: S606  an argument list, no shell
