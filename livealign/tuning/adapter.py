"""Tune a LoRA adapter, or copy the previous one; save it with its report.

Tuning moves the vectors of texts that belong together towards each other. Only the layers between `first_adapted_layer` and
`exit_layer` carry adapters. `livealign.tuning.loop` takes the steps; this module prepares their inputs and saves the result.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel
from peft.helpers import disable_input_dtype_casting

from livealign.config import EncoderConfig, FinetuneConfig, SegmentConfig
from livealign.errors import TrainingError
from livealign.files import read_json, replace_json, replaced_directory
from livealign.llm.adapter_folder import ADAPTER_FILES, OWN_FILES, adapter_sha256
from livealign.llm.backbone import Backbone
from livealign.llm.fitting import with_layers
from livealign.llm.pooling import TELLING, Pooling, telling_weights, write_token_weights
from livealign.llm.prefix import OwnTokens, Projector, tokenize
from livealign.tuning.adapted_model import adapter_parameters, save_weights, with_adapter
from livealign.tuning.checkpoint import TuningCheckpoint
from livealign.tuning.descriptions import Descriptions, can_describe
from livealign.tuning.loop import TuningLoop, TuningProgress
from livealign.tuning.pairs import TextPairs, first_window_of_last_day
from livealign.tuning.ranks import Ranks

Progress = Callable[[int, int], None]  # (steps done, steps in all)

RECORD = "finetune.json"


@dataclass
class TuneReport:
    """The report of one tuning run. Losses are nats; chance is log(2·batch_size − 1)."""

    losses: list[float] = field(default_factory=list)  # of each step
    description_losses: list[float] = field(default_factory=list)  # of each step, nats per token; empty without descriptions
    validation_steps: list[int] = field(default_factory=list)  # steps taken before each validation; 0 is the start
    validation_losses: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)  # share of texts whose partner is the nearest of its batch
    validated_on: str = ""  # "last day", "rooms" or "nothing"
    best_step: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    trainable_parameters: int = 0
    adapter_sha256: str = ""
    warm_started: bool = False
    resumed_at: int = 0  # the step from which a killed run was resumed


def tune_adapter(
    backbone: Backbone,
    pairs: TextPairs,
    segment_config: SegmentConfig,
    encoder: EncoderConfig,
    config: FinetuneConfig,
    out: Path,
    warm_start: Path | None = None,
    progress: Progress | None = None,
    descriptions: Descriptions | None = None,
    sharded: bool = False,
) -> TuneReport:
    """Tune on `pairs` and save the adapter of the best validation to the folder `out`.

    `out` is written whole or not at all. It holds peft's adapter_model.safetensors and adapter_config.json, the token weights
    if the pooling has any (`livealign.llm.pooling`), the projector if the pairs have pictures (`livealign.llm.prefix`), and
    finetune.json (configs, backbone, report). While tuning runs,
    `<out>.checkpoint` lies beside it; after a kill, a run with the same input resumes from there. Of several ranks
    (`livealign.tuning.ranks`) the first one writes and reports progress.

    Args:
        warm_start: an earlier adapter folder with the same rank and layers, to continue from for `config.warm_steps`.
        descriptions: windows and their descriptions, for the second objective; required if `config.description_weight` is
            not 0.
        sharded: whether the ranks share out the backbone's weights (`livealign.tuning.sharding`).

    Raises:
        TrainingError: too few pairs, an adapter that does not fit, or a loss that is not finite.
        BackboneError: the backbone lacks these layers.
    """
    encoder = with_layers(backbone, encoder)
    if warm_start is not None:
        config = replace(config, steps=min(config.steps, config.warm_steps))
    train, validation, validated_on = split_for_validation(pairs, segment_config, config)
    if train.n_groups < 2:
        raise TrainingError(f"{pairs.n_groups} pairs leave {train.n_groups} to train on; land more days of the archive")
    if config.description_weight and not descriptions:
        raise TrainingError("finetune.description_weight is not 0, but there is no window to describe; set it to 0")
    if config.description_weight and not can_describe(backbone):
        raise TrainingError(
            f"'{backbone.name}' cannot describe: it is not causal, or has output weights of its own, which are not loaded; set "
            "finetune.description_weight to 0"
        )
    if config.dropout and not Ranks().alone:
        raise TrainingError("finetune.dropout is drawn anew in each reading, so ranks would not agree; set it to 0")
    if sharded and train.pictures is not None:
        raise TrainingError("machines.shard: an LLM that reads pictures is tuned whole; set frames.prefix_tokens to 0")
    model = with_adapter(backbone, encoder, config, warm_start)
    parameters, projector = adapter_parameters(model), _projector(backbone, train, config, warm_start)
    if projector is not None:
        of_projector = list(projector.parameters())
        if of_projector and config.frozen:
            raise TrainingError("finetune.frozen leaves the projector of pictures untrained; set frames.prefix_tokens to 0")
        parameters += of_projector
    pooling = _pooling(backbone, train, segment_config, encoder, warm_start)
    loop = TuningLoop(backbone, model, parameters, segment_config, encoder, config, pooling, descriptions, projector, sharded)
    done = TuningProgress()
    checkpoint = TuningCheckpoint(
        out.with_name(f"{out.name}.checkpoint"),
        _identity(backbone, pairs, segment_config, encoder, config, warm_start, descriptions),
    )
    resumed_at = checkpoint.restore(loop, done)
    started = time.perf_counter() - done.seconds
    with disable_input_dtype_casting(model):  # autocast already gives every matrix its type; casting twice costs 7 %
        for steps in loop.fit(train, validation, done):
            done.seconds = time.perf_counter() - started
            if steps % config.save_every == 0:
                checkpoint.save(loop, done)
            if progress and loop.ranks.is_first:
                progress(steps, config.steps)
    report = TuneReport(
        losses=done.losses,
        description_losses=done.description_losses,
        validation_steps=done.validation_steps,
        validation_losses=done.validation_losses,
        validation_accuracy=done.validation_accuracy,
        validated_on=validated_on,
        best_step=done.best_step,
        seconds=done.seconds,
        tokens_per_second=done.tokens / max(done.seconds, 1e-9),
        trainable_parameters=sum(parameter.numel() for parameter in parameters),
        warm_started=warm_start is not None,
        resumed_at=resumed_at,
    )
    if loop.ranks.is_first:
        _save(out, model, pooling, projector, backbone, report, segment_config, encoder, config)
        checkpoint.remove()
    return report


def _save(
    out: Path,
    model: PeftModel,
    pooling: Pooling,
    projector: Projector | None,
    backbone: Backbone,
    report: TuneReport,
    segments: SegmentConfig,
    encoder: EncoderConfig,
    config: FinetuneConfig,
) -> None:
    """Write the adapter, its token weights, its projector and its record; the report gains the adapter's hash."""
    with replaced_directory(out) as folder:
        save_weights(model, folder)
        if pooling.weights is not None:
            write_token_weights(pooling.weights, folder)
        if projector is not None:
            projector.save(folder)
        report.adapter_sha256 = adapter_sha256(folder)
        record = {
            "backbone": backbone.name,
            "backbone_sha256": backbone.sha256,
            "segments": asdict(segments),
            "encoder": asdict(encoder),
            "finetune": asdict(config),
            "report": asdict(report),
        }
        replace_json(folder / RECORD, record, version=1)


def copy_adapter(source: Path, out: Path) -> None:
    """Copy an adapter's weights and settings, but not its report.

    The embedding cache goes by weights and settings, so it stays valid.

    Raises:
        BackboneError: `source` holds no adapter.
    """
    adapter_sha256(source)
    with replaced_directory(out) as folder:
        for name in (*ADAPTER_FILES, *OWN_FILES):
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)


def read_report(adapter: Path) -> TuneReport:
    """The report saved beside an adapter.

    Raises:
        TrainingError: the folder has no report.
    """
    file = adapter / RECORD
    if not file.is_file():
        raise TrainingError(f"{adapter} has no {RECORD}; tune the adapter again")
    return TuneReport(**read_json(file, "tune the adapter again", error=TrainingError)["report"])


def split_for_validation(pairs: TextPairs, segments: SegmentConfig, config: FinetuneConfig) -> tuple[TextPairs, TextPairs, str]:
    """(training pairs, validation pairs, "last day", "rooms" or "nothing").

    Pairs of the last day are for validation. No pair crosses the beginning of that day, and no room is on both sides, because
    training would reveal what is said in it. With a single day, and for pairs of whole broadcasts (a day has few), rooms drawn
    by the seed are held out instead. Validation is at most a quarter.
    """
    begins = first_window_of_last_day(np.concatenate([pairs.left_window, pairs.right_window]), segments)
    late = (pairs.left_window >= begins).astype(int) + (pairs.right_window >= begins)
    train = np.flatnonzero(late == 0)
    if len(train) and pairs.windows == 1:
        train_rooms = np.union1d(pairs.left_room[train], pairs.right_room[train])
        unseen = ~np.isin(pairs.left_room, train_rooms) & ~np.isin(pairs.right_room, train_rooms)
        validation = np.flatnonzero((late == 2) & unseen)[: max(1, len(train) // 3)]
        if config.validation_share > 0 and len(validation):
            return pairs.take(train), pairs.take(validation), "last day"
    held_out = np.zeros(len(pairs), np.int64)
    for rooms in (pairs.left_room, pairs.right_room):
        distinct, place = np.unique(rooms, return_inverse=True)
        held_out += np.array([_is_held_out(int(room), config) for room in distinct], bool)[place]
    validation = np.flatnonzero(held_out == 2)
    return pairs.take(np.flatnonzero(held_out == 0)), pairs.take(validation), "rooms" if len(validation) else "nothing"


def _pooling(
    backbone: Backbone, train: TextPairs, segments: SegmentConfig, encoder: EncoderConfig, warm_start: Path | None
) -> Pooling:
    """The pooling of the encoder's config; token weights come from the training texts, or from the warm start's adapter."""
    if encoder.pooling != TELLING or warm_start is not None:
        return Pooling.of(encoder.pooling, warm_start, backbone.device)
    texts = [*train.left, *train.right]
    if train.windows > 1:  # a title is repeated for each window paired with it; that does not make its words common
        texts = list(dict.fromkeys(texts))
    tokens = tokenize(backbone, texts, segments.token_budget)
    weights = telling_weights(tokens, backbone.vocabulary, encoder.half_share)
    return Pooling(TELLING, weights.to(backbone.device))


def _projector(backbone: Backbone, train: TextPairs, config: FinetuneConfig, warm_start: Path | None) -> Projector | None:
    """The projector to train: the earlier adapter's, or a fresh one; None where the pairs have no pictures.

    A vision-language model that reads tokens of its own projector has nothing to train.

    Raises:
        TrainingError: the earlier adapter reads no pictures, or others.
    """
    pictures = train.pictures
    if pictures is None:
        return None
    if warm_start is None and pictures.images == backbone.sha256:
        return OwnTokens(pictures.features.shape[1], pictures.tokens, pictures.images)
    if warm_start is None:
        named = np.unique(train.picture[train.picture >= 0])
        features = pictures.features[named] if len(named) else pictures.features
        return Projector.fresh(backbone, features, pictures.tokens, pictures.images, config.seed)
    projector = Projector.load(warm_start, backbone.device)
    if projector is None or (projector.tokens, projector.images) != (pictures.tokens, pictures.images):
        raise TrainingError(f"the adapter in {warm_start} reads other pictures or none; tune without warm start")
    return projector.train().requires_grad_(True)


def _identity(backbone: Backbone, *inputs: Any) -> str:
    """Hash of all that a run depends on; only a checkpoint with the same hash is resumed."""
    digest = hashlib.blake2b(backbone.sha256.encode(), digest_size=16)
    for value in inputs:
        if isinstance(value, Path):
            digest.update(adapter_sha256(value).encode())
        elif isinstance(value, TextPairs):
            digest.update(json.dumps([list(value.left), list(value.right), value.windows]).encode())
            if value.pictures is not None:
                digest.update(repr((value.pictures.tokens, value.pictures.images)).encode())
                digest.update(value.pictures.features.tobytes() + value.picture.tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _is_held_out(room: int, config: FinetuneConfig) -> bool:
    """Whether a room is held out: by its hash, so the number of rooms does not change the choice."""
    digest = hashlib.blake2b(f"{config.seed}:{room}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < config.validation_share
