"""The champion and its challengers in the store, which other machines follow.

    put_champion(store, home)        # after a promotion, a rollback, or another choice of challengers
    follow_champion(store, home)     # on a machine that shares no folder with it: its own pointer moves
    follow_challengers(store, home)  # and it serves the same challengers to the same users

    <store>/releases/<release id>.tar  bentos/<release id>.tar  backbones/<sha256>.tar
            champions/<platform>.json      the pointer: {"format": 1, "release": …, "backbone": {"id": …, "sha256": …}}
            challengers/<platform>.json    as challengers.json beside a champion pointer (livealign.release.challengers)

A release id holds the hash of its content, and the bundle proves itself when it is opened, so a machine that follows verifies
all of a release before it serves it. The service on such a machine follows its own pointer as ever (docs/live.md).
"""

import json
from collections.abc import Mapping
from typing import Any

from livealign.errors import BundleError, LiveAlignError
from livealign.files import exclusive, refuse_newer, replace_bytes, sync_directory
from livealign.home import Home
from livealign.llm.backbone_names import TINY
from livealign.llm.encoder_spec import BACKBONES
from livealign.llm.lookup import find_backbone
from livealign.release.bundle import LOCK, RELEASE_ID, open_bundle
from livealign.release.challengers import FORMAT as CHALLENGERS_FORMAT
from livealign.release.challengers import challengers_of, file_of, read_challengers, stop
from livealign.release.registry import CHALLENGERS, champion_path, promote, read_champion
from livealign.store import Store

RELEASES, BENTOS = "releases", "bentos"
FORMAT = 1  # of the pointer
NONE = b"{}\n"  # no challenger: an object of the store is replaced, never deleted


def put_champion(store: Store, home: Home) -> str:
    """Copy the champion and its challengers to the store, then move the store's pointer.

    Bundles, the champion's Bento and backbones are copied. What the store holds already is not written again. Challengers that
    cannot be read stay in the store as they are: they must not keep a promoted champion from it.

    Returns:
        The champion's release id.

    Raises:
        LiveAlignError: there is no champion, a part of a release is missing, or the store cannot be reached.
    """
    try:
        served, readable = read_challengers(home.releases), True
    except BundleError:
        served, readable = None, False
    bundle = open_bundle(champion_path(home.releases))
    challengers = [] if served is None else [open_bundle(home.releases / one.release) for one in served.challengers]
    for one in (*challengers, bundle):
        backbone = one.manifest["backbone"]
        if backbone["id"] != TINY:
            folder, _ = find_backbone(backbone["id"], backbone["sha256"], [home.models], backbone.get("path", ""))
            store.put_folder(BACKBONES, backbone["sha256"], folder)
        store.put_folder(RELEASES, one.release_id, one.path)
    release_id, backbone = bundle.release_id, bundle.manifest["backbone"]
    if home.bento(release_id).is_dir():
        store.put_folder(BENTOS, release_id, home.bento(release_id))
    pointer = {
        "format": FORMAT,
        "release": release_id,
        "backbone": {"id": backbone["id"], "sha256": backbone["sha256"]},
    }
    store.put(_pointer(home), json.dumps(pointer).encode() + b"\n")
    if readable:  # those whose bundles were copied; the file may name others by now
        store.put(_beside(home), NONE if served is None else file_of(served))
    return release_id


def follow_champion(store: Store, home: Home) -> str | None:
    """Fetch the store's champion and make it this machine's.

    Returns its release id if the pointer moved, else None.

    Raises:
        LiveAlignError: the store cannot be reached or holds no champion, or what it holds is damaged; the champion stays.
    """
    release_id, backbone = _read_pointer(store, home)
    if release_id == read_champion(home.releases):
        return None
    _fetch_backbone(store, home, backbone)
    store.fetch_folder(RELEASES, release_id, home.releases / release_id)
    if store.has(f"{BENTOS}/{release_id}.tar"):
        store.fetch_folder(BENTOS, release_id, home.bento(release_id))
    promote(home.releases, release_id, f"from {store.where}")
    return release_id


def follow_challengers(store: Store, home: Home) -> bool:
    """Serve the store's challengers beside the champion, to the same users.

    Returns whether that changed.
    A file that belongs to another champion than this machine's is left for the next look.

    Raises:
        LiveAlignError: the store cannot be reached, or what it holds is damaged; what is served stays.
    """
    content, file = store.get(_beside(home)), home.releases / CHALLENGERS
    if content is None or content == (file.read_bytes() if file.exists() else NONE):
        return False
    if content == NONE:
        stop(home.releases)
        return True
    where, remedy = f"{store.where}/{_beside(home)}", "run `livealign store put` again"
    try:
        decoded = json.loads(content)
        refuse_newer(where, decoded.pop("format", 1), CHALLENGERS_FORMAT, remedy, BundleError)
    except (ValueError, AttributeError, TypeError) as error:
        raise BundleError(f"{where} is damaged ({error}); {remedy}") from error
    served = challengers_of(decoded, where, remedy)
    if served.champion != read_champion(home.releases):
        return False
    for one in served.challengers:
        store.fetch_folder(RELEASES, one.release, home.releases / one.release)
        _fetch_backbone(store, home, open_bundle(home.releases / one.release).manifest["backbone"])
    with exclusive(home.releases / LOCK):
        replace_bytes(file, content)
        sync_directory(home.releases)
    return True


def _fetch_backbone(store: Store, home: Home, backbone: Mapping[str, Any]) -> None:
    if backbone["id"] == TINY:
        return
    try:
        find_backbone(backbone["id"], backbone["sha256"], [home.models])
    except LiveAlignError:
        store.fetch_folder(BACKBONES, backbone["sha256"], home.models / backbone["sha256"])


def _beside(home: Home) -> str:
    return f"challengers/{home.platform}.json"


def _pointer(home: Home) -> str:
    return f"champions/{home.platform}.json"


def _read_pointer(store: Store, home: Home) -> tuple[str, dict[str, Any]]:
    content = store.get(_pointer(home))
    if content is None:
        raise BundleError(f"{store.where} has no champion of {home.platform}; run `livealign store put` where it was promoted")
    try:
        pointer = json.loads(content)
        refuse_newer(
            f"{store.where}/{_pointer(home)}", pointer.get("format", 1), FORMAT, "run `livealign store put` again", BundleError
        )
        release_id, backbone = str(pointer["release"]), dict(pointer["backbone"])
        whole = RELEASE_ID.fullmatch(release_id) and {"id", "sha256"} <= backbone.keys() and str(backbone["sha256"]).isalnum()
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = None
    if not whole:
        raise BundleError(f"{store.where}/{_pointer(home)} names no release; run `livealign store put` where it was promoted")
    return release_id, backbone
