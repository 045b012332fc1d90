"""The spec of an encoder for another process: paths, hashes, settings, no weights.

    spec = EncoderSpec.of(encoder, folder_of_its_adapter, home.models, store)
    spec.load()        # in the other process: an encoder that gives the same bits, or an error

With a store, the other process may run on a machine that shares nothing else: it fetches backbone and adapter by their hash.
"""

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

import livealign
from livealign.config import EncoderConfig, SegmentConfig
from livealign.errors import BackboneError
from livealign.llm.backbone import Backbone, choose_device, load_backbone
from livealign.llm.backbone_names import TINY, can_be_fetched
from livealign.llm.encoder import Encoder
from livealign.store import HOME, Store

BACKBONES, ADAPTERS = "backbones", "adapters"  # kinds of folders in the store


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone by name and hash, with what a second one must agree on."""

    name: str  # or its folder
    sha256: str
    models: str
    store: str  # "home": its folder is on this machine too
    device: str
    dtype: str
    code: str

    @classmethod
    def of(cls, backbone: Backbone, models: Path, store: Store | None) -> "BackboneSpec":
        """The spec of a loaded backbone; the store gets its folder, unless it has it."""
        if store is not None and backbone.folder is not None:
            store.put_folder(BACKBONES, backbone.sha256, backbone.folder)
        named = backbone.name == TINY or can_be_fetched(backbone.name)
        return cls(
            name=backbone.name if named else str(backbone.folder),
            sha256=backbone.sha256,
            models=str(models.absolute()),
            store=HOME if store is None else store.where,
            device=backbone.device.type,
            dtype=str(backbone.dtype),
            code=code_of_vectors(),
        )

    def load(self, whole: bool = True) -> Backbone:
        """Load the backbone in this process, in the number type of the other.

        Args:
            whole: whether its weights go to its device; otherwise they stay on the CPU, to be shared out.

        Raises:
            BackboneError: this process has other code or another model, so its vectors would differ.
        """
        if self.code != code_of_vectors():
            raise BackboneError(
                f"this worker has LiveAlign {livealign.__version__} with code {code_of_vectors()}, the retrain has {self.code}"
                "; install the same version of LiveAlign, torch and transformers on all machines"
            )
        name, store = self.name, Store.open(self.store)
        if store is not None and name != TINY:
            folder = fetched_folder(BACKBONES, self.sha256)
            store.fetch_folder(BACKBONES, self.sha256, folder)
            name = str(folder)
        dtype = getattr(torch, self.dtype.removeprefix("torch."))
        backbone = load_backbone(name, Path(self.models), self.device if whole else "cpu", dtype)
        if backbone.sha256 != self.sha256:
            raise BackboneError(
                f"this worker's {self.name} is {backbone.sha256[:12]}, the retrain's {self.sha256[:12]}; share LIVEALIGN_HOME, "
                "or set machines.store"
            )
        return replace(backbone, device=choose_device(self.device))


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder: backbone, adapter and settings, and the versions of its vectors."""

    backbone: BackboneSpec
    adapter: str | None  # folder
    adapter_sha256: str | None
    encoder: dict[str, Any]
    token_budget: int
    versions: tuple[str, str]  # `Encoder.version` of raw and tuned vectors

    @classmethod
    def of(cls, encoder: Encoder, adapter: Path | None, models: Path, store: Store | None = None) -> "EncoderSpec":
        """The spec of a loaded encoder, whose adapter lies in this folder.

        The store gets what it lacks.
        """
        if store is not None and adapter is not None and encoder.adapter_sha256 is not None:
            store.put_folder(ADAPTERS, encoder.adapter_sha256, adapter)
        return cls(
            backbone=BackboneSpec.of(encoder.backbone, models, store),
            adapter=None if adapter is None else str(adapter.absolute()),
            adapter_sha256=encoder.adapter_sha256,
            encoder=asdict(encoder.config),
            token_budget=encoder.token_budget,
            versions=(encoder.version(False), encoder.version(True)),
        )

    def load(self) -> Encoder:
        """Load the encoder in this process.

        Raises:
            BackboneError: this process has other code or another model, adapter or number type, so its vectors would differ.
        """
        backbone, store = self.backbone.load(), Store.open(self.backbone.store)
        adapter = None if self.adapter is None else Path(self.adapter)
        if store is not None and self.adapter_sha256 is not None:
            adapter = fetched_folder(ADAPTERS, self.adapter_sha256)
            store.fetch_folder(ADAPTERS, self.adapter_sha256, adapter)
        segments = SegmentConfig(token_budget=self.token_budget)
        encoder = Encoder.load(backbone, adapter, EncoderConfig(**self.encoder), segments)
        found = (encoder.version(False), encoder.version(True))
        if found != self.versions:
            raise BackboneError(
                f"this worker's encoder has the versions {', '.join(found)}, the retrain's {', '.join(self.versions)}; its "
                "adapter, number type or settings are not the retrain's: share LIVEALIGN_HOME, or set machines.store"
            )
        return encoder


def fetched_folder(kind: str, sha256: str) -> Path:
    """A worker's folder for what it fetches: in LIVEALIGN_HOME, else in its user's cache."""
    home = os.environ.get("LIVEALIGN_HOME")
    return (Path(home).absolute() if home else Path.home() / ".cache" / "livealign") / "fetched" / kind / sha256


@cache
def code_of_vectors() -> str:
    """A hash of LiveAlign's modules and the versions of the libraries that compute vectors."""
    package = Path(livealign.__file__).parent
    digest = hashlib.sha256(f"{torch.__version__} {transformers.__version__}\n".encode())
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]
