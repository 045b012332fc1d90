"""A dbt-duckdb plugin that lets SQL make folders: DuckDB writes files, but makes no folders."""

from pathlib import Path

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection


class Plugin(BasePlugin):
    """The plugin that dbt-duckdb loads (dbt_project/profiles.yml)."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Give SQL the function `make_folder(path)`, which returns the path."""
        conn.create_function("make_folder", _make_folder, ["VARCHAR"], "VARCHAR", side_effects=True)


def _make_folder(path: str) -> str:
    Path(path).mkdir(parents=True, exist_ok=True)
    return path
