"""The beginning and the end of a test run: the width of consoles, and what would keep all objects alive."""

import os
import sys
import typing

import hypothesis
from _pytest.assertion.rewrite import AssertionRewritingHook

# Set in the processes of `make test`, not in a run of one process: a console that a module makes at its import would keep it.
os.environ.pop("COLUMNS", None)

# No test asserts a timing: on a busy machine one example may take any time.
hypothesis.settings.register_profile("without_deadline", deadline=None)
hypothesis.settings.load_profile("without_deadline")


def pytest_unconfigure() -> None:
    """Cut what torch keeps alive from all that the tests loaded, so that the process can free DuckDB's objects.

    torch's C++ and `gc.callbacks` hold functions until after Python's shutdown. They reach `duckdb` in two ways, and then its
    binding (nanobind) reports its types as leaked:

    - By the loader of their module. pytest's rewriting loads some modules of packages, because their names look like tests
      (`torch._inductor.test_operators`) or because they are plugins (anyio), and it holds the session with all test modules.
    - By the module `typing`, whose registry of overloads holds functions of Hypothesis, which caches modules of ours.
    """
    typing.clear_overloads()
    for finder in sys.meta_path:
        if isinstance(finder, AssertionRewritingHook):
            finder.session = None
            finder.config = None  # type: ignore[assignment]
