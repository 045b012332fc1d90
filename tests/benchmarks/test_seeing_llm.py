"""The benchmark of an LLM that reads pictures uses an adapter again only with the settings that made it."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from benchmarks.quality.seeing_llm import adapter_in
from livealign.profiles import load_profile


def test_another_number_of_tokens_or_another_day_is_another_adapter(tmp_path: Path) -> None:
    def adapter(tokens: int, day: date = date(2025, 6, 9)) -> Path:
        profile = load_profile("laptop")
        return adapter_in(tmp_path, replace(profile, frames=replace(profile.frames, prefix_tokens=tokens)), day)

    assert adapter(4) == adapter(4)
    assert len({adapter(4), adapter(8), adapter(4, date(2025, 6, 10))}) == 3
