"""`make retrain` in a fork of a process that has imported everything and done nothing.

It takes half the time of a new process. A fork of the test's own process would inherit what the tests before it left: locks
that their threads held, and the thread pools of torch without their threads.
"""

import multiprocessing
import os
import sys
from pathlib import Path
from pkgutil import iter_modules

import typer

from livealign.cli.command import run_command
from orchestration import assets, retrain

GRAPH = [f"orchestration.assets.{name.name}" for name in iter_modules(assets.__path__)]  # what it imports
CRASHED = 99  # exit code of an error that `retrain` did not catch
LONGEST_SECONDS = 900.0


def forked_retrain(home: Path, log: Path, *arguments: str) -> tuple[int, str]:
    """Run `orchestration.retrain` with the arguments; returns its exit code and output."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "evidently", *GRAPH, __name__])
    child = context.Process(target=_retrain, args=(home, log, arguments))
    child.start()
    child.join(LONGEST_SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
        raise AssertionError(f"no end after {LONGEST_SECONDS:.0f} s; the end of its output:\n{log.read_text()[-3000:]}")
    return child.exitcode or 0, log.read_text(errors="replace")


def _retrain(home: Path, log: Path, arguments: tuple[str, ...]) -> None:
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    for name in [name for name in os.environ if name.startswith(("LIVEALIGN_", "DAGSTER_"))]:
        del os.environ[name]
    os.environ |= {"LIVEALIGN_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "200"}
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    code = CRASHED
    try:
        code = _run(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: tuple[str, ...]) -> int:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(retrain.main)
    sys.argv = ["retrain", *arguments]
    try:
        run_command(app)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
