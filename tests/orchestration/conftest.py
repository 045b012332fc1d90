"""dbt's manifest, made once for all tests of the graph: parsing the project takes seconds."""

from pathlib import Path

import pytest

from tests.support.parsed_project import parsed_project


@pytest.fixture(scope="session")
def dbt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`Home.dbt` of a workspace whose manifest is there; a test copies it into its own home."""
    return parsed_project(tmp_path_factory.mktemp("parsed"), "simulator")
