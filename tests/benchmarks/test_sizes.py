"""The table of sizes: proportions, and the copy in the documentation."""

from pathlib import Path

import pytest

from benchmarks.speed.sizes import RATES, SIZES, Size, needs, rates, table

SCALING = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_page_has_the_table_that_the_command_prints() -> None:
    page = SCALING.read_text()
    assert table() in page
    assert rates() in page


def test_a_platform_of_twice_the_size_needs_twice_as_much() -> None:
    one, two = Size("one", 1_000, 9_000), Size("two", 2_000, 18_000)
    assert {row: 2 * value for row, value in needs(one).items()} == pytest.approx(needs(two))


def test_a_need_is_its_number_divided_by_its_rate() -> None:
    found = needs(Size("one", 2_880 * 2_250, 0))
    assert found["live refresh, cores"] == pytest.approx(2_250 / 30 / RATES["refresh"].value)
    assert found["reading a day's windows, core hours"] == pytest.approx(1_800 / RATES["reading"].value)
    assert found["towers trained from scratch, core hours"] == 0


def test_the_largest_size_is_the_platform_of_a_billion_impressions() -> None:
    assert (SIZES[-1].rooms, SIZES[-1].impressions) == (100_000, 1_000_000_000)
