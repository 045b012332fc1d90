"""dbt's manifest, made once: parsing the project takes seconds."""

from pathlib import Path

import pytest

from livealign.home import Home
from orchestration.dbt.project import dbt_environment, prepared_project


def parsed_project(folder: Path, platform: str) -> Path:
    """`Home.dbt` of a workspace whose manifest is there; a test copies it into its own home."""
    home = Home(folder / "home", platform)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LIVEALIGN_LANDING", "LIVEALIGN_WAREHOUSE_FILE", "DBT_TARGET_PATH", "DBT_LOG_PATH"):
            patch.setenv(name, "")
        dbt_environment(home)
        prepared_project(home)
    return home.dbt
