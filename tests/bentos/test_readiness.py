"""The moment from which a service is ready."""

from pathlib import Path

from livealign.release.challengers import serve
from livealign.release.registry import promote
from tests.planted.live_release import plant_live_releases
from tests.support.service_client import service_client


def test_a_service_is_ready_when_its_challengers_are_loaded_and_its_warm_up_counts_for_nothing(tmp_path: Path) -> None:
    champion, challenger = plant_live_releases(tmp_path / "live", 2)
    releases = champion.bundle.parent
    promote(releases, champion.bundle.name)
    serve(releases, challenger.bundle.name, 0.5)
    with service_client(champion.bundle, tmp_path, LIVEALIGN_RELEASES=str(releases)) as client:
        found = client.get("/experiments").json()  # the client waits for /readyz
        assert [one["loaded"] for one in found["challengers"]] == [True]
        assert found["begun"]
