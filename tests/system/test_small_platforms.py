"""A platform as small and odd as can be ends in a release, or in one sentence that says what it lacks."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from livealign.home import Home
from livealign.release.registry import read_champion
from tests.planted.small_platforms import SmallPlatform
from tests.support.forked_retrain import forked_retrain
from tests.support.parsed_project import parsed_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]

EXAMPLES = 5  # generated ones; each is a whole retrain
PLATFORMS = st.builds(
    SmallPlatform,
    users=st.sampled_from((1, 2, 12)),
    rooms=st.integers(1, 4),
    topics=st.integers(1, 3),
    days=st.integers(1, 4),
    windows=st.sampled_from((1, 2, 8)),
    lists=st.sampled_from((0, 1, 3)),
    click=st.sampled_from((0.0, 0.3, 1.0)),
    text=st.booleans(),
    categories=st.booleans(),
    empty_days=st.sets(st.integers(0, 3), max_size=2).map(lambda days: tuple(sorted(days))),
    seed=st.integers(0, 3),
)


@pytest.fixture(scope="module")
def dbt_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`Home.dbt` with its manifest: parsing the project takes as long as all other stages of a small platform."""
    return parsed_project(tmp_path_factory.mktemp("parsed"), "parquet")


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit,),  # generated ones take minutes each: add Phase.generate to look for more
    suppress_health_check=(HealthCheck.function_scoped_fixture, HealthCheck.too_slow),
)
@example(platform=SmallPlatform(users=1, rooms=1, topics=1, days=2))
@example(platform=SmallPlatform(click=0.0))
@example(platform=SmallPlatform(text=False, categories=False))
@example(platform=SmallPlatform(days=3, empty_days=(1, 2)))
@given(platform=PLATFORMS)
def test_a_small_platform_ends_in_a_release_or_in_a_sentence(platform: SmallPlatform, dbt_folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="livealign-small-") as folder:
        archive, home = Path(folder) / "archive", Home(Path(folder) / "home", "parquet")
        platform.write(archive)
        shutil.copytree(dbt_folder, home.dbt)
        code, said = forked_retrain(
            home.root, Path(folder) / "log", "--platform", "parquet", "--archive", str(archive), "--profile", "tiny"
        )
        refusals = [line for line in said.splitlines() if line.startswith("✗")]
        if code == 0:
            assert read_champion(home.releases) is not None
            assert refusals == []
            return
        assert code == 1, said[-3_000:]
        (refusal,) = refusals
        assert "its stack is in" not in refusal, said[-3_000:]
        assert "Traceback" not in said, said[-3_000:]
        assert read_champion(home.releases) is None
