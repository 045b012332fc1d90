"""The champion by way of the store: another machine gets all of it, verified, or keeps what it has."""

from dataclasses import replace
from pathlib import Path

import pytest

from livealign.errors import BundleError, LiveAlignError
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.release.bundle import open_bundle, write_bundle
from livealign.release.challengers import read_challengers, serve, stop
from livealign.release.registry import CHALLENGERS, promote, read_champion, read_history, rollback
from livealign.release.shared_champion import follow_challengers, follow_champion, put_champion
from livealign.store import Store
from tests.planted.room_texts import saved_model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(str(tmp_path / "store"))
    assert opened is not None
    return replace(opened, waits=(0.0,))


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Home, Home]:
    """The machine that retrains, with a model, and the one that serves, with nothing."""
    homes = Home(tmp_path / "retrains", "simulator"), Home(tmp_path / "serves", "simulator")
    for home in homes:
        home.activate()
    saved_model(homes[0].models / "planted")
    return homes


def release(home: Home, content: bytes, model: str = "planted") -> str:
    """Write a bundle and its Bento, and promote it."""
    backbone = load_backbone(str(home.models / model), home.models, device="cpu")
    fields = {
        "data_window": {"start": "2025-06-01", "end": "2025-06-07"},
        "platform": "simulator",
        "profile": "tiny",
        "backbone": backbone.reference(),
        "seeds": {},
        "metrics": {},
        "codebook_version": "c1",
    }
    bundle = write_bundle(home.releases, {"codebook.npz": content, "adapter/weights": content * 2}, fields)
    home.bento(bundle.name).mkdir(parents=True)
    (home.bento(bundle.name) / "bento.yaml").write_text("name: live_recommender\n")
    promote(home.releases, bundle.name)
    return bundle.name


def test_another_machine_follows_promotions_and_rollbacks(store: Store, homes: tuple[Home, Home]) -> None:
    here, there = homes
    first = release(here, b"first")
    assert put_champion(store, here) == first
    assert follow_champion(store, there) == first
    assert follow_champion(store, there) is None
    assert read_champion(there.releases) == first
    assert open_bundle(there.releases / first).manifest == open_bundle(here.releases / first).manifest
    assert (there.bento(first) / "bento.yaml").read_text() == "name: live_recommender\n"
    wanted = open_bundle(here.releases / first).manifest["backbone"]["sha256"]
    assert load_backbone(str(there.models / wanted), there.models, device="cpu").sha256 == wanted
    second = release(here, b"second")
    put_champion(store, here)
    assert follow_champion(store, there) == second
    assert rollback(here.releases) == first
    put_champion(store, here)
    assert follow_champion(store, there) == first
    assert [move["reason"] for move in read_history(there.releases)] == [f"from {store.where}"] * 3


def test_a_store_that_is_empty_damaged_or_points_nowhere_leaves_the_champion(store: Store, homes: tuple[Home, Home]) -> None:
    here, there = homes
    with pytest.raises(BundleError, match=r"has no champion of simulator; run `livealign store put`"):
        follow_champion(store, there)
    first = release(here, b"first")
    put_champion(store, here)
    follow_champion(store, there)
    second = release(here, b"second")
    put_champion(store, here)
    archive = Path(store.where) / "releases" / f"{second}.tar"
    archive.write_bytes(archive.read_bytes().replace(b"secondsecond", b"sec0ndsecond"))
    with pytest.raises(LiveAlignError, match=rf"{second}\.tar is damaged"):
        follow_champion(store, there)
    for pointer in (b"", b'{"release": "../../etc", "backbone": {"id": "x", "sha256": "ab"}}', b'{"release": []}'):
        store.put("champions/simulator.json", pointer)
        with pytest.raises(BundleError, match="names no release"):
            follow_champion(store, there)
    assert read_champion(there.releases) == first
    assert not (there.releases / second).exists()


def test_a_platform_follows_its_own_champion(store: Store, homes: tuple[Home, Home], tmp_path: Path) -> None:
    release(homes[0], b"first")
    put_champion(store, homes[0])
    with pytest.raises(BundleError, match="has no champion of twitch"):
        follow_champion(store, Home(tmp_path / "serves", "twitch"))


def test_another_machine_serves_the_same_challengers_to_the_same_users(store: Store, homes: tuple[Home, Home]) -> None:
    here, there = homes
    saved_model(here.models / "other")
    weights = here.models / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))  # another model than the champion's
    first, second = release(here, b"first", "other"), release(here, b"second")  # the second is the champion
    put_champion(store, here)
    follow_champion(store, there)
    assert not follow_challengers(store, there)
    served = serve(here.releases, first, 0.3)
    put_champion(store, here)
    assert follow_champion(store, there) is None
    assert follow_challengers(store, there)
    assert not follow_challengers(store, there)
    assert read_challengers(there.releases) == served == read_challengers(here.releases)
    assert open_bundle(there.releases / first).manifest == open_bundle(here.releases / first).manifest
    wanted = open_bundle(here.releases / first).manifest["backbone"]["sha256"]
    assert load_backbone(str(there.models / wanted), there.models, device="cpu").sha256 == wanted
    stop(here.releases)
    put_champion(store, here)
    assert follow_challengers(store, there)
    assert read_challengers(there.releases) is None
    assert read_champion(there.releases) == second
    (here.releases / CHALLENGERS).write_text("{")
    assert put_champion(store, here) == second  # a promotion must reach the others all the same
    assert not follow_challengers(store, there)


class StoreOfABusyMachine(Store):
    """A store to which copying takes so long that somebody changes the challengers meanwhile."""

    home: Home

    def put_folder(self, kind: str, name: str, folder: Path) -> None:
        super().put_folder(kind, name, folder)
        stop(self.home.releases)


def test_the_store_names_the_challengers_that_were_copied_whatever_changes_meanwhile(
    store: Store, homes: tuple[Home, Home]
) -> None:
    here, there = homes
    first, _ = release(here, b"first"), release(here, b"second")
    served = serve(here.releases, first, 0.3)
    busy = StoreOfABusyMachine(store.where, store.filesystem, store.root, store.waits)
    object.__setattr__(busy, "home", here)
    put_champion(busy, here)
    assert read_challengers(here.releases) is None
    follow_champion(store, there)
    assert follow_challengers(store, there)
    assert read_challengers(there.releases) == served


def test_challengers_of_another_champion_and_damaged_ones_change_nothing(store: Store, homes: tuple[Home, Home]) -> None:
    here, there = homes
    first, second = release(here, b"first"), release(here, b"second")
    serve(here.releases, first, 0.3)
    put_champion(store, here)
    follow_champion(store, there)
    whole = store.get("challengers/simulator.json")
    assert whole is not None
    for content, says in (
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"format": 99}', "has format '99'"),
        (whole.replace(b"0.3", b"7.0"), "names"),
        (whole.replace(first.encode(), b"../../etc"), "names"),
    ):
        store.put("challengers/simulator.json", content)
        with pytest.raises(BundleError, match=says):
            follow_challengers(store, there)
    of_another = whole.replace(f'"champion": "{second}"'.encode(), b'"champion": "2025-01-01-000000000000"')
    store.put("challengers/simulator.json", of_another)
    assert not follow_challengers(store, there)
    assert read_challengers(there.releases) is None
    store.put("challengers/simulator.json", whole)
    assert follow_challengers(store, there)
