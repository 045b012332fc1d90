"""A folder with a language model: its completeness, its identity and its loading.

Nothing that is missing is made up: a folder whose weights or tokenizer are incomplete is refused, with what is missing.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from livealign.errors import BackboneError, reason_of
from livealign.files import FIRST_FORMAT, plain_file, refuse_newer
from livealign.llm.layers import layers_path
from livealign.llm.vision_language import text_part

CONFIG, RECORD, INDEX = "config.json", "backbone.json", "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
IDENTIFYING = (".json", ".model", ".txt")  # files beside the weights that decide what a text's vector is
NOT_IDENTIFYING = (RECORD, "generation_config.json")
LFS_POINTER = b"version https://git-lfs"
HERE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}  # no network, no code of the model's
UNUSED_PARTS = ("pooler.", "lm_head.", "embeddings.position_ids")  # may be missing: no layer reads them
SAMPLE = "minute 10 | host: welcome back, today we cook noodles with garlic 2025"


@dataclass(frozen=True)
class Identity:
    """Hashes of a model's files: what it is, wherever it lies."""

    sha256: str
    weights_sha256: str  # by which releases of 1.x name the model of a person's own folder

    def is_called(self, sha256: str) -> bool:
        """Whether a release names this model by that hash."""
        return sha256 in (self.sha256, self.weights_sha256)


def identity_of(folder: Path) -> Identity:
    """The identity of a model folder.

    A model that was fetched is known by its weights, and its other files are compared with the record; a person's own folder
    by all its files.

    Raises:
        BackboneError: there is no model, a file is missing or damaged, or a fetched file has changed.
    """
    weights = weight_files(folder)
    weights_sha256 = sha256_of(weights)
    others = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in IDENTIFYING and file.name not in NOT_IDENTIFYING and file.is_file()
    ]
    record = folder / RECORD
    if record.is_file():
        written = _json(record)
        refuse_newer(
            record, written.get("format", FIRST_FORMAT), FIRST_FORMAT, "delete the folder and fetch again", BackboneError
        )
        recorded = written.get("files", {})
        changed = [name for name, sha256 in recorded.items() if not _has(folder / name, sha256)]
        if written.get("sha256") != weights_sha256 or changed:
            what = f"{changed[0]} in {folder} is" if changed else f"the weights in {folder} are"
            raise BackboneError(f"{what} not what was fetched; delete the folder and fetch again")
        return Identity(weights_sha256, weights_sha256)
    digest = hashlib.sha256(weights_sha256.encode())
    for file in others:
        digest.update(f"\n{file.name} {sha256_of([file])}".encode())
    return Identity(digest.hexdigest(), weights_sha256)


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder's weights, sorted.

    Raises:
        BackboneError: there is no model in the folder, or a file of its weights is missing or is no weights.
    """
    if not (folder / CONFIG).is_file():
        raise BackboneError(f"there is no model in {folder}; give a folder with {CONFIG}, weights and a tokenizer")
    files = sorted(folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        shards = _json(folder / INDEX).get("weight_map", {})
        missing = sorted({name for name in shards.values() if not (folder / Path(name).name).is_file()})
        if missing or not shards:
            named = missing[0] if missing else "the list of shards"
            raise BackboneError(f"{folder} lacks {named}, a part of its weights; copy the whole model again")
    if not files:
        others = [file.name for pattern in ("*.bin", "*.gguf", "*.pt") for file in sorted(folder.glob(pattern))]
        found = f" ({others[0]} is not read)" if others else ""
        raise BackboneError(f"{folder} has no *.safetensors weights{found}; save the model in that format")
    for file in files:
        _check_weights(file)
    return files


def tokenizer_file(folder: Path) -> Path:
    """The first of a folder's tokenizer files.

    Raises:
        BackboneError: there is none.
    """
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            return folder / name
    raise BackboneError(f"{folder} has no tokenizer ({', '.join(TOKENIZER_FILES[:3])}, …); copy the model's tokenizer files")


def load_folder(folder: Path, dtype: torch.dtype) -> tuple[nn.Module, PreTrainedTokenizerBase, nn.Module | None]:
    """(model without its head, tokenizer, None), complete and fitting each other.

    Of a vision-language model whose parts run apart (`livealign.llm.vision_language`) the model is the text part, and the rest
    of it comes last.

    Raises:
        BackboneError: something is missing or damaged, or it is no model of text with layers that run one after another.
    """
    tokenizer_file(folder)
    transformers_logging.disable_progress_bar()
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # what it warns of is refused here, in a sentence
    try:
        config = AutoConfig.from_pretrained(folder, **HERE)
        if getattr(config, "is_encoder_decoder", False):
            raise BackboneError(f"{folder} holds a {config.model_type}, an encoder with a decoder; use a model of one stack")
        whole, found = _model(folder, dtype)
        model, rest = text_part(whole)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, **HERE)
    except BackboneError:
        raise
    except Exception as error:  # transformers raises errors of many kinds; each of them means that this folder cannot be read
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BackboneError(f"{folder} cannot be loaded as a language model: {reason}") from error
    finally:
        transformers_logging.set_verbosity(level)
    _check_loaded(folder, model, found)
    _check_tokenizer(folder, model, tokenizer)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # nothing is generated
    return model, tokenizer, rest


def vocabulary_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """Number of token ids, one more than the largest."""
    return max(max(tokenizer.get_vocab().values(), default=0) + 1, len(tokenizer))


def sha256_of(files: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, one after another."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _has(file: Path, sha256: str) -> bool:
    return file.is_file() and sha256_of([file]) == sha256


def _json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_bytes())
        if isinstance(content, dict):
            return content
    except (ValueError, RecursionError) as error:
        raise BackboneError(f"{file} is no JSON ({error}); copy the model again") from error
    raise BackboneError(f"{file} is no JSON object; copy the model again")


def _check_weights(file: Path) -> None:
    try:
        with plain_file(file).open("rb") as stream:
            if stream.read(len(LFS_POINTER)) == LFS_POINTER:
                raise BackboneError(f"{file} is a Git LFS pointer and not the weights; run `git lfs pull` in its repository")
        with safe_open(file, framework="pt") as weights:
            names = weights.keys()
    except (SafetensorError, OSError) as error:
        raise BackboneError(f"{file} is damaged or cut off ({reason_of(error)}); copy the model again") from error
    if not names:
        raise BackboneError(f"{file} holds no weights; copy the model again")


def _model(folder: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    options: dict[str, Any] = {"dtype": dtype, "output_loading_info": True, **HERE}
    try:
        return AutoModel.from_pretrained(folder, attn_implementation="sdpa", **options)
    except ValueError as error:
        if "attn_implementation" not in str(error) and "attention" not in str(error):
            raise
        return AutoModel.from_pretrained(folder, attn_implementation="eager", **options)  # DeBERTa and others know no other


def _check_loaded(folder: Path, model: Any, found: dict[str, Any]) -> None:
    """Refuse a model of which a weight was not in the files, has another shape, or is not finite."""
    missing = sorted(name for name in found.get("missing_keys", ()) if not name.startswith(UNUSED_PARTS))
    others = sorted(found.get("unexpected_keys", ()))
    if missing:
        renamed = next((name for name in others if any(name.endswith(lost) for lost in missing)), "")
        hint = (
            f"; the files have {renamed}: save the model itself, not the compiled one" if renamed else "; copy the whole model"
        )
        raise BackboneError(f"{folder} lacks {_several(missing)} of its weights{hint}")
    if mismatched := found.get("mismatched_keys", ()):
        name = sorted(str(one[0] if isinstance(one, tuple) else one) for one in mismatched)[0]
        raise BackboneError(f"{name} in {folder} has another shape than {CONFIG} says; copy the model and its {CONFIG} again")
    depth = getattr(model.config, "num_hidden_layers", None)
    layers: Any = model.get_submodule(layers_path(model))
    if depth != len(layers) or not hasattr(model.config, "hidden_size"):
        kind = type(model).__name__
        if hasattr(model.config, "vision_config"):
            raise BackboneError(
                f"{folder} holds a {kind}, a vision-language model of a kind that is not read; set a model of text as backbone "
                "and frames.backbone with frames.prefix_tokens"
            )
        raise BackboneError(f"{folder} holds a {kind}, whose layers are no single list; use a decoder or an encoder of text")
    extra = [name for name in others if (place := re.search(r"layers?\.(\d+)\.", name)) and int(place[1]) >= depth]
    if extra:
        raise BackboneError(f"{folder} has weights of more layers than {CONFIG} says ({extra[0]}); correct num_hidden_layers")
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise BackboneError(f"{name} in {folder} holds numbers that are not finite; copy the model again or use another")


def _check_tokenizer(folder: Path, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that makes nothing of a text, or ids that the embedding does not have."""
    ids = tokenizer(SAMPLE, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if len(set(ids)) < 5 or set(ids) <= {tokenizer.unk_token_id}:
        raise BackboneError(f"the tokenizer in {folder} is empty: it reads every text alike; copy the model's tokenizer files")
    rows = model.get_input_embeddings().weight.shape[0]
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    largest = max(number for token, number in tokenizer.get_vocab().items() if token not in special)
    if max(largest, *tokenizer("a")["input_ids"]) >= rows:
        raise BackboneError(
            f"the tokenizer in {folder} knows {largest + 1:,} tokens and the model {rows:,}; copy the tokenizer of this model"
        )


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} ({names[0]}, …)"
