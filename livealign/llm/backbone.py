"""A loaded language model, and the device and number type that it runs in.

Device, number type and thread count are chosen in this module only.
"""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from livealign.errors import BackboneError
from livealign.llm.backbone_names import TINY, can_be_fetched, folder_of, name_of
from livealign.llm.layers import LayerStack
from livealign.llm.model_folder import Identity, identity_of, load_folder, vocabulary_of
from livealign.llm.tiny_backbone import make_tiny_backbone

INT8_FLAGS = {"avx512_vnni", "amx_int8"}  # as /proc/cpuinfo names them
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # as /proc/cpuinfo names them on x86 and Arm


@dataclass(frozen=True)
class Backbone:
    """A loaded language model without its head, in evaluation mode, all weights frozen."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    name: str
    identity: Identity  # whatever is made with the model records it
    device: torch.device
    dtype: torch.dtype
    folder: Path | None = None  # None for the one that is made on the spot
    seeing: nn.Module | None = None  # the rest of a vision-language model, where it was asked for

    @property
    def sha256(self) -> str:
        """The model's identity, wherever it lies."""
        return self.identity.sha256

    def reference(self) -> dict[str, str]:
        """The record of it in a release: name and hash, and the folder if a person gave one."""
        reference = {"id": self.name, "sha256": self.sha256}
        if self.folder is not None and not can_be_fetched(self.name):
            reference["path"] = str(self.folder.absolute())
        return reference

    @property
    def n_layers(self) -> int:
        """Number of its layers."""
        return LayerStack(self.model).n_layers

    @property
    def hidden_size(self) -> int:
        """Length of one embedding."""
        return LayerStack(self.model).hidden_size

    @property
    def causal(self) -> bool:
        """Whether a token sees only the tokens before it."""
        return LayerStack(self.model).causal

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return vocabulary_of(self.tokenizer)


def load_backbone(
    name_or_path: str,
    models_dir: Path,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    seeing: bool = False,
) -> Backbone:
    """Load `tiny`, a backbone that was fetched by name, or a local Hugging Face folder.

    The folder may hold a decoder or an encoder. With `seeing`, the tower of a vision-language model is kept, for
    `load_image_encoder`.

    Raises:
        BackboneError: the model is missing or incomplete, or its files differ from those that were fetched.
    """
    if name_or_path == TINY:
        chosen, (model, tokenizer, sha256) = choose_device(device), make_tiny_backbone()
        # float32: tests compare with exact references.
        return _ready(model, tokenizer, TINY, Identity(sha256, sha256), None, chosen, dtype or torch.float32)
    folder = folder_of(name_or_path, models_dir)
    return load_identified(name_of(name_or_path), folder, identity_of(folder), device, dtype, seeing)


def load_identified(
    name: str,
    folder: Path,
    identity: Identity,
    device: str | None = None,
    dtype: torch.dtype | None = None,
    seeing: bool = False,
) -> Backbone:
    """Load the model of a folder whose identity is known; `seeing` as in `load_backbone`.

    Raises:
        BackboneError: the model is incomplete.
    """
    chosen = choose_device(device)
    dtype = dtype or choose_dtype(chosen)
    model, tokenizer, rest = load_folder(folder, dtype)
    backbone = _ready(model, tokenizer, name, identity, folder, chosen, dtype)
    return replace(backbone, seeing=rest) if seeing else backbone


def _ready(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    identity: Identity,
    folder: Path | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Backbone:
    use_physical_cores()
    model = model.to(device, dtype).eval().requires_grad_(False)
    return Backbone(model, tokenizer, name, identity, device, dtype, folder)


def choose_device(device: str | None = None) -> torch.device:
    """The requested device, else `LIVEALIGN_DEVICE`, else CUDA if available, else the CPU.

    Raises:
        BackboneError: CUDA is requested and not available, or no device has this name.
    """
    asked = device or os.environ.get("LIVEALIGN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise BackboneError(f"device '{asked}' was asked for, but this machine has no CUDA device; use LIVEALIGN_DEVICE=cpu")
    try:
        found = torch.device(asked)
    except RuntimeError:
        found = None
    if found is None or found.type not in ("cpu", "cuda"):  # "meta" has no values, and the layers know no other kind
        raise BackboneError(f"LIVEALIGN_DEVICE={asked[:40]!r}: there is no such device; use cpu or cuda")
    return found


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA and on CPUs that multiply it in hardware, else float32.

    On such a CPU bfloat16 is 3.4 times faster.
    """
    if device.type == "cuda" or not BFLOAT16_FLAGS.isdisjoint(_cpu_flags()):
        return torch.bfloat16
    return torch.float32


def int8_serves() -> bool:
    """Whether this processor multiplies int8 in hardware, and bfloat16 too."""
    flags = _cpu_flags()
    return not INT8_FLAGS.isdisjoint(flags) and not BFLOAT16_FLAGS.isdisjoint(flags) and torch.backends.mkldnn.is_available()


def choose_batch_tokens(device: torch.device, dtype: torch.dtype) -> int:
    """Tokens of one packed batch: many on CUDA, few on a CPU.

    On a CPU the activations between two products should fit its caches.
    """
    if device.type == "cuda":
        return 65_536
    return 2_048 if dtype == torch.bfloat16 else 512


def use_physical_cores() -> None:
    """Give torch one thread for each physical core that this process may use.

    Two hyperthreads share one matrix unit: a thread on each only adds contention. OMP_NUM_THREADS overrides this.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return
    allowed = allowed_cores()
    torch.set_num_threads(max(1, min(psutil.cpu_count(logical=False) or allowed, allowed)))


def allowed_cores() -> int:
    """Logical cores that this process may use."""
    return len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else psutil.cpu_count() or 1


def _cpu_flags() -> set[str]:
    cpu_info = Path("/proc/cpuinfo")
    if not cpu_info.is_file():
        return set()
    lines = (line for line in cpu_info.read_text().splitlines() if line.startswith(("flags", "Features")))
    return set(next(lines, "").split())
