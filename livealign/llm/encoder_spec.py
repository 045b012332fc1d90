"""All that another process needs to be the same encoder: paths and settings, never weights.

spec = EncoderSpec.of(encoder, adapter=folder, models=home.models)
spec.load()        # in the other process: an encoder that gives the same bits, or an error
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

import livealign
from livealign.config import EncoderConfig, SegmentConfig
from livealign.errors import BackboneError
from livealign.llm.backbone import load_backbone
from livealign.llm.backbone_names import TINY, can_be_fetched
from livealign.llm.encoder import Encoder


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder by name, with what a second one must agree on."""

    backbone: str  # its name, or its folder
    models: str
    adapter: str | None  # folder
    encoder: dict[str, Any]
    token_budget: int
    device: str
    dtype: str
    versions: tuple[str, str]  # `Encoder.version` of raw and tuned vectors
    code: str

    @classmethod
    def of(cls, encoder: Encoder, adapter: Path | None, models: Path) -> "EncoderSpec":
        """The spec of a loaded encoder, whose adapter lies in this folder."""
        backbone = encoder.backbone
        named = backbone.name == TINY or can_be_fetched(backbone.name)
        return cls(
            backbone=backbone.name if named else str(backbone.folder),
            models=str(models.absolute()),
            adapter=None if adapter is None else str(adapter.absolute()),
            encoder=asdict(encoder.config),
            token_budget=encoder.token_budget,
            device=backbone.device.type,
            dtype=str(backbone.dtype),
            versions=(encoder.version(False), encoder.version(True)),
            code=code_of_vectors(),
        )

    def load(self) -> Encoder:
        """Load the encoder in this process.

        Raises:
            BackboneError: this process has other code or another model, adapter or number type, so its vectors would differ.
        """
        if self.code != code_of_vectors():
            raise BackboneError(
                f"this worker has LiveAlign {livealign.__version__} with code {code_of_vectors()}, the retrain has {self.code}"
                "; install the same version of LiveAlign, torch and transformers on all machines"
            )
        dtype = getattr(torch, self.dtype.removeprefix("torch."))
        backbone = load_backbone(self.backbone, Path(self.models), self.device, dtype)
        adapter = None if self.adapter is None else Path(self.adapter)
        segments = SegmentConfig(token_budget=self.token_budget)
        encoder = Encoder.load(backbone, adapter, EncoderConfig(**self.encoder), segments)
        found = (encoder.version(False), encoder.version(True))
        if found != self.versions:
            raise BackboneError(
                f"this worker's encoder has the versions {', '.join(found)}, the retrain's {', '.join(self.versions)}; its "
                "backbone or adapter is not the retrain's: share LIVEALIGN_HOME, or set machines.store"
            )
        return encoder


@cache
def code_of_vectors() -> str:
    """A hash of LiveAlign's modules and the versions of the libraries that compute vectors."""
    package = Path(livealign.__file__).parent
    digest = hashlib.sha256(f"{torch.__version__} {transformers.__version__}\n".encode())
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]
