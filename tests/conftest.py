"""The end of a test run: what would keep all of its objects alive is let go."""

import sys

from _pytest.assertion.rewrite import AssertionRewritingHook


def pytest_unconfigure() -> None:
    """Cut the assertion rewriting from the session, so that the process can free DuckDB's objects.

    pytest's rewriting loads some modules of packages, because their names look like tests (`torch._inductor.test_operators`,
    `scipy.stats._page_trend_test`) or because they are plugins (anyio, hypothesis). torch's C++ and `gc.callbacks` hold
    functions of theirs until after Python's shutdown, and through their loader the session, all test modules and so `duckdb`.
    Its binding (nanobind) then reports its types as leaked.
    """
    for finder in sys.meta_path:
        if isinstance(finder, AssertionRewritingHook):
            finder.session = None
            finder.config = None  # type: ignore[assignment]
