"""LoRA tuning of the language model on live segments: pairs of texts that belong together are drawn together.

Only the layers between `first_adapted_layer` and `exit_layer` carry adapters, so everything below runs without a graph. The
loss (`livealign.contrastive`) is computed in float32.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.helpers import disable_input_dtype_casting
from torch import Tensor, nn

from livealign.backbone import Backbone
from livealign.config import EncoderConfig, FinetuneConfig, SegmentConfig
from livealign.contrastive import contrastive_loss, false_negatives, whitening
from livealign.embed import adapter_sha256, check_layers, pad, pool, tokenize
from livealign.errors import TrainingError
from livealign.files import replace_json, replaced_directory
from livealign.layers import LayerStack, copy_with_own_layers, quiet_adapters
from livealign.pairs import TextPairs

Progress = Callable[[int, int], None]  # (steps done, steps in all)

ENCODER_TARGETS = ("query", "key", "value")  # what BERT calls its projections
RECORD = "finetune.json"
WHITENING_TEXTS = 1_024


@dataclass
class TuneReport:
    """What one tuning run did. Losses are nats; chance is log(2·batch_size − 1)."""

    losses: list[float] = field(default_factory=list)  # one a step
    validation_steps: list[int] = field(default_factory=list)  # steps taken before each validation; 0 is the start
    validation_losses: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)  # share of texts whose partner is the nearest of its batch
    best_step: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    trainable_parameters: int = 0
    adapter_sha256: str = ""
    warm_started: bool = False


def tune_adapter(
    backbone: Backbone,
    pairs: TextPairs,
    segment_config: SegmentConfig,
    encoder: EncoderConfig,
    config: FinetuneConfig,
    out: Path,
    warm_start: Path | None = None,
    progress: Progress | None = None,
) -> TuneReport:
    """Tune on `pairs` and save the adapter of the best validation to the folder `out`, whole or not at all.

    `out` holds peft's adapter_model.safetensors and adapter_config.json, and finetune.json (configs, backbone, report).
    `warm_start` is an earlier adapter folder, with the same rank and layers, to go on from.

    Raises:
        TrainingError: too few pairs, an adapter that does not fit, or a loss that is not finite.
        BackboneError: layers that the backbone does not have.
    """
    check_layers(backbone, encoder)
    train, validation = split_by_room(pairs, config)
    if len(train) < 2:
        raise TrainingError(f"{len(pairs)} pairs leave {len(train)} to train on; land more days of the archive")
    model = _with_adapter(backbone, encoder, config, warm_start)
    trainer = _Trainer(backbone, model, segment_config, encoder, config)
    report = TuneReport(trainable_parameters=sum(p.numel() for p in trainer.parameters), warm_started=warm_start is not None)
    started = time.perf_counter()
    with disable_input_dtype_casting(model):  # autocast already gives every matrix its type; casting twice costs 7 %
        trainer.fit(train, validation, report, progress)
    report.seconds = time.perf_counter() - started
    report.tokens_per_second = trainer.tokens / max(report.seconds, 1e-9)
    with replaced_directory(out) as folder:
        _save_adapter(model, folder)
        report.adapter_sha256 = adapter_sha256(folder)
        record = {
            "backbone": backbone.name,
            "backbone_sha256": backbone.sha256,
            "segments": asdict(segment_config),
            "encoder": asdict(encoder),
            "finetune": asdict(config),
            "report": asdict(report),
        }
        replace_json(folder / RECORD, record)
    return report


def read_report(adapter: Path) -> TuneReport:
    """The report saved beside an adapter.

    Raises:
        TrainingError: the folder has none.
    """
    file = adapter / RECORD
    if not file.is_file():
        raise TrainingError(f"{adapter} has no {RECORD}; tune the adapter again")
    return TuneReport(**json.loads(file.read_text())["report"])


def split_by_room(pairs: TextPairs, config: FinetuneConfig) -> tuple[TextPairs, TextPairs]:
    """(training pairs, validation pairs): no room of a validation pair is in training; rooms are drawn by the seed."""
    held_out = np.zeros(len(pairs), np.int64)
    for rooms in (pairs.left_room, pairs.right_room):
        distinct, place = np.unique(rooms, return_inverse=True)
        held_out += np.array([_is_held_out(int(room), config) for room in distinct], bool)[place]
    return pairs.take(np.flatnonzero(held_out == 0)), pairs.take(np.flatnonzero(held_out == 2))


class _Trainer:
    """The loop: batches, steps, validations, and the best adapter so far."""

    def __init__(
        self, backbone: Backbone, model: PeftModel, segments: SegmentConfig, encoder: EncoderConfig, config: FinetuneConfig
    ) -> None:
        self.backbone, self.model, self.segments, self.encoder, self.config = backbone, model, segments, encoder, config
        self.frozen, self.adapted = LayerStack(backbone.model), LayerStack(model.get_base_model())
        self.parameters = _adapter_parameters(model)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.tokens = 0
        self.whitening = torch.eye(backbone.hidden_size, device=backbone.device)

    def fit(self, train: TextPairs, validation: TextPairs, report: TuneReport, progress: Progress | None) -> None:
        config = self.config
        self._fit_whitening(train)
        best = self._validate(validation, 0, report)
        best_weights, worse = [p.detach().clone() for p in self.parameters], 0
        for step, batch in enumerate(_batches(train, config)):
            for group in self.optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_factor(step, config)
            loss, _ = self._loss(batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise TrainingError(f"the tuning loss is {value} at step {step}; lower FinetuneConfig.learning_rate")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, config.max_gradient_norm)
            self.optimizer.step()
            report.losses.append(value)
            if progress:
                progress(step + 1, config.steps)
            last = step + 1 == config.steps
            if len(validation) and (last or (step + 1) % config.validate_every == 0):
                current = self._validate(validation, step + 1, report)
                worse = 0 if current < best else worse + 1
                if current < best:
                    best, report.best_step = current, step + 1
                    best_weights = [p.detach().clone() for p in self.parameters]
                if worse >= config.patience:
                    break
        if not len(validation):
            report.best_step = len(report.losses)
            return
        with torch.no_grad():
            for parameter, kept in zip(self.parameters, best_weights, strict=True):
                parameter.copy_(kept)

    def _fit_whitening(self, train: TextPairs) -> None:
        """The linear map [hidden, hidden] under which frozen vectors have even spread; the loss looks through it.

        A few directions of a language model are huge and the same for every text, and what tells texts apart lies in small
        ones: in a plain cosine all texts are alike.
        """
        rows = np.random.default_rng(self.config.seed).permutation(len(train))[: WHITENING_TEXTS // 2]
        sample = train.take(rows)
        texts, size = [*sample.left, *sample.right], 2 * self.config.batch_size
        with torch.inference_mode(), self.model.disable_adapter():
            vectors = torch.cat([self._vectors(texts[start : start + size]) for start in range(0, len(texts), size)])
        self.whitening = whitening(vectors).clone()

    def _validate(self, validation: TextPairs, step: int, report: TuneReport) -> float:
        """Mean loss over the validation pairs, in batches of the training size."""
        size = self.config.batch_size
        losses, accuracies = [], []
        with torch.inference_mode():
            for start in range(0, len(validation), size):
                batch = validation.take(np.arange(start, min(start + size, len(validation))))
                if len(batch) == size or start == 0:  # a smaller last batch would have an easier loss
                    loss, accuracy = self._loss(batch)
                    losses.append(float(loss))
                    accuracies.append(float(accuracy))
        if not losses:
            return math.inf
        report.validation_steps.append(step)
        report.validation_losses.append(float(np.mean(losses)))
        report.validation_accuracy.append(float(np.mean(accuracies)))
        return report.validation_losses[-1]

    def _loss(self, batch: TextPairs) -> tuple[Tensor, Tensor]:
        vectors = self._vectors([*batch.left, *batch.right])
        # Centred by the batch itself: against a fixed centre, moving all texts away together is the easy way down.
        vectors = (vectors - vectors.mean(dim=0)) @ self.whitening
        mask = false_negatives(batch, self.config.near_windows).to(vectors.device)
        left, right = vectors.chunk(2)
        return contrastive_loss(left, right, mask, self.config.temperature)

    def _vectors(self, texts: list[str]) -> Tensor:
        """Texts → float32 [n, hidden]; the graph begins at the first adapted layer."""
        tokens = tokenize(self.backbone, texts, self.segments.token_budget)
        self.tokens += sum(map(len, tokens))
        ids, lengths = pad(tokens, self.backbone)
        first, last = self.encoder.first_adapted_layer, self.encoder.exit_layer
        with torch.no_grad():
            shared = self.frozen.run(self.frozen.embed(ids), lengths, 0, first)
        with torch.autocast(self.backbone.device.type, self.backbone.dtype, enabled=self.backbone.dtype != torch.float32):
            hidden = self.adapted.run(shared, lengths, first, last)
        return pool(hidden, lengths, self.encoder.pooling)


def learning_rate_factor(step: int, config: FinetuneConfig) -> float:
    """Linear warm-up, then a cosine to zero: the share of the full rate at a step counted from 0."""
    warmup = max(1, round(config.warmup_share * config.steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, config.steps - warmup)))


def _with_adapter(backbone: Backbone, encoder: EncoderConfig, config: FinetuneConfig, warm_start: Path | None) -> PeftModel:
    """The backbone's layers up to the exit with LoRA in the adapted ones; nothing else can learn."""
    own = copy_with_own_layers(backbone.model, encoder.first_adapted_layer, encoder.exit_layer)
    layers = list(range(encoder.first_adapted_layer, encoder.exit_layer))
    names = {name.rsplit(".", 1)[-1] for name, _ in own.named_modules()}
    targets = [name for name in config.target_modules if name in names] or [name for name in ENCODER_TARGETS if name in names]
    if not targets:
        raise TrainingError(f"'{backbone.name}' has no module named {' or '.join(config.target_modules)}; set target_modules")
    if warm_start is not None:
        try:
            with quiet_adapters():
                model = PeftModel.from_pretrained(own, str(warm_start), is_trainable=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise TrainingError(f"the adapter in {warm_start} does not fit: {error}; tune without warm start") from error
        before: Any = model.peft_config["default"]
        if before.r != config.rank or sorted(before.layers_to_transform or []) != layers:
            raise TrainingError(
                f"the adapter in {warm_start} has rank {before.r} and layers {before.layers_to_transform}, not rank "
                f"{config.rank} and layers {layers}; tune without warm start"
            )
        return model.train()
    with torch.random.fork_rng(devices=[]), quiet_adapters():
        torch.manual_seed(config.seed)
        lora = LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=targets,
            layers_to_transform=layers,
            layers_pattern="layers" if LayerStack(own).causal else "layer",
        )
        return get_peft_model(own, lora).train()


def _save_adapter(model: PeftModel, folder: Path) -> None:
    """peft's own format, without what differs from machine to machine: the model's path and the order of a set.

    Without a path peft looks nothing up, neither on disk nor on a network; finetune.json says whose adapter it is.
    """
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a model card of placeholders
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = None
    settings["target_modules"] = sorted(settings["target_modules"])
    replace_json(folder / "adapter_config.json", settings)


def _adapter_parameters(model: PeftModel) -> list[nn.Parameter]:
    """The trainable parameters, which must be the adapter's and nobody else's."""
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    strangers = [name for name in trainable if "lora_" not in name]
    if strangers or not trainable:
        raise TrainingError(f"only adapter weights may train, but these would: {strangers[:3] or 'none at all'}")
    return list(trainable.values())


def _batches(pairs: TextPairs, config: FinetuneConfig) -> Iterator[TextPairs]:
    """`config.steps` batches, in a new seeded order each time the pairs are used up."""
    rng = np.random.default_rng(config.seed)
    size = min(config.batch_size, len(pairs))
    order = np.zeros(0, np.int64)
    for _ in range(config.steps):
        if len(order) < size:
            order = rng.permutation(len(pairs))
        yield pairs.take(order[:size])
        order = order[size:]


def _is_held_out(room: int, config: FinetuneConfig) -> bool:
    """By a hash of the room, so that the same rooms are held out however many there are."""
    digest = hashlib.blake2b(f"{config.seed}:{room}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < config.validation_share
