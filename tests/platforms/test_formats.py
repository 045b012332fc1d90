"""The page of formats is true: every platform is there, with what it gives to each landing table."""

import re
from pathlib import Path

from livealign.landing.schema import TABLES
from livealign.platforms.inspect_tables import TABLES_OF
from livealign.platforms.registry import PLATFORMS

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_the_table_of_what_each_platform_gives_is_that_of_the_code():
    header, _, *lines = PAGE.partition("-->\n")[2].strip().splitlines()
    platforms = cells(header)[1:]
    assert sorted(platforms) == sorted(TABLES_OF)
    page = {cells(line)[0]: dict(zip(platforms, cells(line)[1:], strict=True)) for line in lines}
    assert page == {table: {platform: TABLES_OF[platform][table].can for platform in platforms} for table in TABLES}


def test_every_platform_has_a_format_and_every_format_a_platform():
    rows = [cells(line) for line in PAGE.partition("\n\nArchives of")[0].splitlines() if line.startswith("| ")][1:]
    assert all(len(row) == 5 and all(row) for row in rows)
    named = {platform for row in rows for platform in re.findall(r"`(\w+)`", row[1])}
    assert named | {"chat"} == set(PLATFORMS)  # chat: several formats in one folder
