"""`make retrain` in a fork of this process.

Everything is imported before: a small retrain then takes half the time.
"""

import os
import sys
from pathlib import Path

import torch  # noqa: F401  imported before the fork
import typer

from livealign.cli.command import run_command
from orchestration import retrain

CRASHED = 99  # exit code of an error that `retrain` did not catch


def forked_retrain(home: Path, log: Path, *arguments: str) -> tuple[int, str]:
    """Run `orchestration.retrain` with the arguments; returns its exit code and output."""
    child = os.fork()
    if child == 0:
        code = CRASHED
        try:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")  # pytest has replaced both
            for name in [name for name in os.environ if name.startswith(("LIVEALIGN_", "DAGSTER_"))]:
                del os.environ[name]
            os.environ |= {"LIVEALIGN_HOME": str(home), "DAGSTER_DISABLE_TELEMETRY": "1", "COLUMNS": "200"}
            os.environ["BENTOML_DO_NOT_TRACK"] = "true"
            code = _run(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")


def _run(arguments: tuple[str, ...]) -> int:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(retrain.main)
    sys.argv = ["retrain", *arguments]
    try:
        run_command(app)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
