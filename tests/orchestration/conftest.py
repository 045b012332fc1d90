"""dbt's manifest, made once for all tests of the graph: parsing the project takes seconds."""

from pathlib import Path

import pytest

from livealign.home import Home
from orchestration.dbt.project import dbt_environment, prepared_project


@pytest.fixture(scope="session")
def dbt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`Home.dbt` of a workspace whose manifest is there; a test copies it into its own home."""
    home = Home(tmp_path_factory.mktemp("parsed") / "home", "simulator")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LIVEALIGN_LANDING", "LIVEALIGN_WAREHOUSE_FILE", "DBT_TARGET_PATH", "DBT_LOG_PATH"):
            patch.setenv(name, "")
        dbt_environment(home)
        prepared_project(home)
    return home.dbt
