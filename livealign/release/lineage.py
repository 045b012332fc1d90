"""The lineage of a release, and the differences of two releases.

The chain of a release is: data days → adapter → codebook → ranker → Bento.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livealign.home import Home
from livealign.release.bundle import ADAPTER, ALIGNMENT, RANKER, read_manifest
from livealign.release.decisions import read_decision
from livealign.release.registry import read_champion

ADAPTER_WEIGHTS = f"{ADAPTER}/adapter_model.safetensors"
SHOWN = 12  # hex digits of a hash


@dataclass(frozen=True)
class Lineage:
    """The data and models that a release was made from, step by step.

    A hash is the first `SHOWN` digits of the SHA-256 of a file in the bundle.
    """

    release_id: str
    trained_on: tuple[str, str]  # first and last day, YYYY-MM-DD
    held_out: str  # the day it was measured on
    backbone: str
    adapter: str
    alignment: str
    codebook: str  # its version, which the ranker names
    ranker: str
    bento: Path | None  # None if it was not built, or was removed
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # setting → {"value": …, "from": …}

    def steps(self) -> str:
        """The chain in one line."""
        first, last = self.trained_on
        bento = "Bento" if self.bento else "no Bento"
        made = f"{first}..{last} → adapter {self.adapter} → codebook {self.codebook} → ranker {self.ranker} → {bento}"
        return f"{made}; set: {self.set_by_hand()}" if self.settings else made

    def set_by_hand(self) -> str:
        """Settings that differ from the profile: "finetune.steps = 400 (livealign.toml)"."""
        return ", ".join(f"{name} = {setting['value']} ({setting['from']})" for name, setting in self.settings.items())


@dataclass(frozen=True)
class ReleaseDifference:
    """One property that differs between two releases; None where a release does not have it."""

    what: str
    first: Any
    second: Any


def bento_of(home: Home, release_id: str) -> Path | None:
    """Folder of the release's Bento, or None if there is none."""
    path = home.bento(release_id)
    return path if path.is_dir() else None


def lineage_of(manifest: Mapping[str, Any], home: Home) -> Lineage:
    """The lineage that a bundle's manifest records, and the Bento in the workspace."""
    window = manifest["data_window"]
    return Lineage(
        release_id=manifest["release_id"],
        trained_on=(window["start"], window.get("train_end", window["end"])),
        held_out=window["end"],
        backbone=f"{manifest['backbone']['id']} {manifest['backbone']['sha256'][:SHOWN]}",
        adapter=_hash_of(manifest, ADAPTER_WEIGHTS),
        alignment=_hash_of(manifest, ALIGNMENT),
        codebook=str(manifest["codebook_version"])[:SHOWN],
        ranker=_hash_of(manifest, RANKER),
        bento=bento_of(home, manifest["release_id"]),
        settings=manifest.get("settings", {}),  # releases of 0.1 do not record them
    )


def explain(releases: Path, first: str, second: str) -> list[ReleaseDifference]:
    """All differences between two releases of a folder.

    Compared are data, code, settings, metrics, decision, and the hash of every file.

    Raises:
        BundleError: one of them is not a release of this folder, or its manifest is damaged.
    """
    mine, theirs = (_facts(releases, release_id) for release_id in (first, second))
    names = list(dict.fromkeys([*mine, *theirs]))
    return [ReleaseDifference(name, mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)]


def _facts(releases: Path, release_id: str) -> dict[str, Any]:
    """The properties of a release as flat names → plain values, the most asked-for first."""
    decision = read_decision(releases, release_id)
    manifest = read_manifest(releases / release_id)
    files = {f"file {name}": entry["sha256"][:SHOWN] for name, entry in manifest["files"].items()}
    decided = {name: decision[name] for name in ("decision", "rule", "reason", "against")} if decision else {}
    return {
        "champion": read_champion(releases) == release_id,
        **_flat("data", manifest["data_window"]),
        "code": manifest["livealign"],
        **_flat("backbone", manifest["backbone"]),
        **_flat("seeds", manifest["seeds"]),
        **_flat("settings", manifest.get("config", {})),
        **{f"set by: {name}": setting["from"] for name, setting in manifest.get("settings", {}).items()},
        "platform": manifest["platform"],
        "profile": manifest["profile"],
        "codebook": manifest["codebook_version"],
        **_flat("metric", manifest["metrics"]),
        **{f"decided: {name}": value for name, value in decided.items()},
        **files,
    }


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {name: value}
    return {key: leaf for inner, part in value.items() for key, leaf in _flat(f"{name}.{inner}", part).items()}


def _hash_of(manifest: Mapping[str, Any], name: str) -> str:
    entry = manifest["files"].get(name)
    return entry["sha256"][:SHOWN] if entry else "none"
