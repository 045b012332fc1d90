"""Find a backbone by what it is: the hash that a release names, wherever the folder lies."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from livealign.errors import BackboneError
from livealign.llm.backbone_names import can_be_fetched
from livealign.llm.model_folder import CONFIG, Identity, identity_of


def find_backbone(name: str, sha256: str, places: Sequence[Path], path: str = "") -> tuple[Path, Identity]:
    """The folder of the backbone with this hash, and its identity.

    Args:
        name: what the release calls it; a folder of that name is read first.
        places: folders of backbones, in the order in which they are looked through: the Bento's, then this machine's.
        path: where the folder lay when the release was made; the last place to look.

    Raises:
        BackboneError: no folder holds it; the message says what a folder of that name holds instead, or why it cannot be read.
    """
    unusable = ""
    for folder in _candidates(name, places, path):
        try:
            identity = identity_of(folder)
        except BackboneError as error:
            unusable = unusable or str(error)
            continue
        if identity.is_called(sha256):
            return folder, identity
        if folder.name == _folder_name(name):
            unusable = unusable or f"{folder} holds {identity.sha256[:12]}"
    searched = ", ".join(map(str, places))
    remedy = f"fetch it: livealign backbone fetch {name}" if can_be_fetched(name) else f"copy its folder into {places[-1]}"
    raise BackboneError(f"{name} {sha256[:12]} is not in {searched}" + (f" ({unusable})" if unusable else "") + f"; {remedy}")


def _candidates(name: str, places: Sequence[Path], path: str) -> Iterator[Path]:
    """Folders that may hold the backbone, each once; those of its name first, because a hash takes a second or two."""
    seen: set[Path] = set()
    inside = [folder for place in places if place.is_dir() for folder in sorted(place.iterdir())]
    for folder in (*(place / _folder_name(name) for place in places), *([Path(path)] if path else []), *inside):
        if folder.resolve() not in seen and (folder / CONFIG).is_file():
            seen.add(folder.resolve())
            yield folder


def _folder_name(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name.replace("/", "--")
