"""The champion in the store: put there where it was promoted, followed by other machines.

    put_champion(store, home)       # after a promotion or a rollback
    follow_champion(store, home)    # on a machine that shares no folder with it: its own pointer moves

    <store>/releases/<release id>.tar  bentos/<release id>.tar  backbones/<sha256>.tar
            champions/<platform>.json      the pointer: {"format": 1, "release": …, "backbone": {"id": …, "sha256": …}}

A release id holds the hash of its content, and the bundle proves itself when it is opened, so a machine that follows verifies
all of a release before it serves it. The service on such a machine follows its own pointer as ever (docs/live.md).
"""

import json
from typing import Any

from livealign.errors import BundleError, LiveAlignError
from livealign.files import refuse_newer
from livealign.home import Home
from livealign.llm.backbone_names import TINY
from livealign.llm.encoder_spec import BACKBONES
from livealign.llm.lookup import find_backbone
from livealign.release.bundle import RELEASE_ID, open_bundle
from livealign.release.registry import champion_path, promote, read_champion
from livealign.store import Store

RELEASES, BENTOS = "releases", "bentos"
FORMAT = 1  # of the pointer


def put_champion(store: Store, home: Home) -> str:
    """Copy the champion to the store, then move the store's pointer; returns the release id.

    Bundle, Bento and backbone are copied. What the store holds already is not written again.

    Raises:
        LiveAlignError: there is no champion, a part of it is missing, or the store cannot be reached.
    """
    bundle = open_bundle(champion_path(home.releases))
    release_id, backbone = bundle.release_id, bundle.manifest["backbone"]
    if backbone["id"] != TINY:
        folder, _ = find_backbone(backbone["id"], backbone["sha256"], [home.models], backbone.get("path", ""))
        store.put_folder(BACKBONES, backbone["sha256"], folder)
    store.put_folder(RELEASES, release_id, bundle.path)
    if home.bento(release_id).is_dir():
        store.put_folder(BENTOS, release_id, home.bento(release_id))
    pointer = {
        "format": FORMAT,
        "release": release_id,
        "backbone": {"id": backbone["id"], "sha256": backbone["sha256"]},
    }
    store.put(_pointer(home), json.dumps(pointer).encode() + b"\n")
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
    if backbone["id"] != TINY:
        try:
            find_backbone(backbone["id"], backbone["sha256"], [home.models])
        except LiveAlignError:
            store.fetch_folder(BACKBONES, backbone["sha256"], home.models / backbone["sha256"])
    store.fetch_folder(RELEASES, release_id, home.releases / release_id)
    if store.has(f"{BENTOS}/{release_id}.tar"):
        store.fetch_folder(BENTOS, release_id, home.bento(release_id))
    promote(home.releases, release_id, f"from {store.where}")
    return release_id


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
