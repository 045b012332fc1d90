"""The end of a test run: what would keep all of its objects alive is let go."""

import typing


def pytest_unconfigure() -> None:
    """Empty the registry of typing overloads, so that the process can free DuckDB's objects.

    torch's C++ keeps its decompositions until after Python's shutdown, and through their module `typing` this registry. It
    holds functions of pytest plugins (anyio, faker), whose loader is pytest's assertion rewriting, which holds the session with
    all test modules, and so `duckdb`. DuckDB's binding (nanobind) then reports its types as leaked.
    """
    typing.clear_overloads()
