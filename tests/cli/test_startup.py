"""The command line starts in the time of its own imports: torch and scikit-learn take seconds, and few commands need them."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("livealign.cli.main", ("torch", "transformers", "sklearn", "scipy.stats")),
        ("livealign.codes.names", ("torch", "sklearn", "scipy.stats")),
        ("livealign.llm.lexical", ("torch", "sklearn", "scipy.stats")),
    ],
)
def test_a_module_starts_without_what_only_some_of_its_uses_need(module: str, without: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(*sorted(set(sys.modules) & set({without!r})))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
