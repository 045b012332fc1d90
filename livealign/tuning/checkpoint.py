"""Save and resume a tuning run.

A checkpoint holds weights, optimizer state and progress; it is written whole or not at all. Where several ranks tune, the first
one writes it, and all continue from that one: ranks that resumed at different steps would wait for each other for ever.
"""

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from livealign.files import FIRST_FORMAT, replace_json, replaced_directory
from livealign.tuning.loop import TuningLoop, TuningProgress

logger = logging.getLogger(__name__)

WEIGHTS, PROGRESS = "state.safetensors", "progress.json"
FORMAT = 1  # a checkpoint of another one is not used
ADAM_STATE = ("exp_avg", "exp_avg_sq", "step")  # as torch's AdamW names them


class TuningCheckpoint:
    """The checkpoint folder of one run.

    `identity` is the hash of the run's input; a checkpoint of another run is not read.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def save(self, loop: TuningLoop, done: TuningProgress) -> None:
        """Write the state of the run; only the first rank does."""
        if not loop.ranks.is_first:
            return
        tensors = {"whitening": loop.whitening} if loop.whitening is not None else {}
        for index, (parameter, best) in enumerate(zip(loop.parameters, loop.best, strict=True)):
            state = loop.optimizer.state[parameter]
            tensors |= {f"weight.{index}": parameter.detach(), f"best.{index}": best}
            tensors |= {f"{name}.{index}": state[name] for name in ADAM_STATE}
        with replaced_directory(self.folder) as folder:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
            replace_json(folder / PROGRESS, {"identity": self.identity, "progress": asdict(done)}, version=FORMAT)

    def restore(self, loop: TuningLoop, done: TuningProgress) -> int:
        """Restore a killed run's state; returns its number of steps, 0 without a checkpoint."""
        ranks, device = loop.ranks, loop.backbone.device
        progress, weights = self._read() if ranks.is_first else (b"", b"")
        progress, weights = ranks.from_first(progress, device), ranks.from_first(weights, device)
        if not progress:
            return 0
        try:
            saved, tensors = json.loads(progress), {name: tensor.to(device) for name, tensor in load(weights).items()}
        except (ValueError, SafetensorError) as error:
            logger.warning("%s is damaged and is not used, tuning starts from the beginning (%s)", self.folder, error)
            return 0
        if saved.get("format", FIRST_FORMAT) != FORMAT or saved["identity"] != self.identity:
            return 0
        loop.whitening = tensors["whitening"]
        loop.best = [tensors[f"best.{index}"] for index in range(len(loop.parameters))]
        with torch.no_grad():
            for index, parameter in enumerate(loop.parameters):
                parameter.copy_(tensors[f"weight.{index}"])
                loop.optimizer.state[parameter] = {name: tensors[f"{name}.{index}"] for name in ADAM_STATE}
        for name, value in saved["progress"].items():
            setattr(done, name, value)
        return done.steps

    def remove(self) -> None:
        """Delete the checkpoint of a finished run."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _read(self) -> tuple[bytes, bytes]:
        """The files of the checkpoint, empty without one."""
        try:
            return (self.folder / PROGRESS).read_bytes(), (self.folder / WEIGHTS).read_bytes()
        except FileNotFoundError:
            return b"", b""
        except OSError as error:
            logger.warning("%s is damaged and is not used, tuning starts from the beginning (%s)", self.folder, error)
            return b"", b""
