"""Build a release bundle into a Bento.

    built = build_bento(bundle, home.bento_store)
    smoke = smoke_test(built.path)

A Bento holds the code (`livealign`, `bentos`), the bundle (`bundle/`) and exact package versions, so it runs anywhere from its
path alone. BentoML keeps its store in `BENTOML_HOME`; ours is in the workspace, never in the user's home.
"""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import bentos
import livealign
from livealign.errors import LiveAlignError
from livealign.files import replaced_directory
from livealign.home import BENTOS
from livealign.release.bundle import open_bundle

NAME = BENTOS.name
SERVICE = "bentos.live_recommender.service:LiveRecommender"
BUILD_TIMEOUT = 300  # seconds


class BentoError(LiveAlignError):
    """A Bento could not be built, or it gave a wrong answer."""


@dataclass(frozen=True)
class BuiltBento:
    """A Bento on disk. Its version is the release id of the bundle in it."""

    tag: str
    path: Path


def _bento_in(store: Path, release_id: str) -> Path:
    """The folder of a release's Bento below a BENTOML_HOME, which need not be a workspace's (`Home.bento`)."""
    return store / BENTOS / release_id


def build_bento(bundle: Path, store: Path, backbone: Path | None = None) -> BuiltBento:
    """Build the Bento of a bundle into the BENTOML_HOME `store`, over an earlier one.

    The backbone is the same for all releases and much larger than they are. It is packed only if `backbone` names its folder;
    else the service finds it in `LIVEALIGN_MODELS`.

    `bentoml build` runs as a process of its own: it imports the service from a copy of the code, which this process may
    have imported from elsewhere.

    Raises:
        BundleError: the bundle is damaged.
        BentoError: `bentoml build` failed; the message holds the end of its output.
    """
    release_id = open_bundle(bundle).release_id
    target = _bento_in(store, release_id)
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=store) as folder:
        context, staging = Path(folder) / "context", Path(folder) / "home"
        _write_context(context, bundle, backbone)
        _run_build(context, staging, release_id)
        with replaced_directory(target) as temporary:
            for child in _bento_in(staging, release_id).iterdir():
                child.rename(temporary / child.name)
    return BuiltBento(f"{NAME}:{release_id}", target)


def bentoml_command(*arguments: str) -> list[str]:
    """The command line of this environment's BentoML, as an argument list."""
    return [sys.executable, "-m", "bentoml", *arguments]


def bentoml_environment(store: Path) -> dict[str, str]:
    """The environment of a BentoML process: this one's, and `bentoml_settings`."""
    return {**os.environ, **bentoml_settings(store)}


def bentoml_settings(store: Path) -> dict[str, str]:
    """The variables of a BentoML process: its home is `store`, and it sends no usage data."""
    return {"BENTOML_HOME": str(store), "BENTOML_DO_NOT_TRACK": "true"}


def requirements() -> list[str]:
    """The packages that `livealign` needs, at the versions of this environment.

    A Bento then runs with the versions that it was tried with. BentoML adds itself. `redis` is there if it is installed: a
    reader or ranker (docs/live.md) needs it.
    """
    names = [
        re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        for requirement in importlib.metadata.requires("livealign") or ()
        if "extra ==" not in requirement
    ]
    names += ["redis"] if find_spec("redis") else []
    # A local version such as 2.13.0+cpu is one machine's build; the container takes the public one.
    return sorted(f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in names)


def _write_context(context: Path, bundle: Path, backbone: Path | None) -> None:
    """The build context: a copy of the code that serves, the bundle and perhaps a backbone beside it, the requirements."""
    caches = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(Path(livealign.__path__[0]), context / "livealign", ignore=caches)
    source = Path(bentos.__path__[0])
    shutil.copytree(source / NAME, context / "bentos" / NAME, ignore=caches)
    shutil.copy(source / "__init__.py", context / "bentos")
    shutil.copytree(bundle, context / "bundle")
    if backbone is not None:
        shutil.copytree(backbone, context / "models" / backbone.name)
    (context / "requirements.txt").write_text("\n".join(requirements()) + "\n")


def _run_build(context: Path, staging: Path, release_id: str) -> None:
    command = bentoml_command("build", SERVICE, "--version", release_id, "--output", "tag")
    try:
        done = subprocess.run(
            command,
            cwd=context,
            env=bentoml_environment(staging),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BentoError(
            f"`bentoml build` of {release_id} took more than {BUILD_TIMEOUT} s; run `make retrain` again"
        ) from error
    if done.returncode != 0 or not _bento_in(staging, release_id).is_dir():
        text = f"`bentoml build` of {release_id} failed (exit {done.returncode}):"
        raise BentoError(text, *done.stdout[-3000:].splitlines())
