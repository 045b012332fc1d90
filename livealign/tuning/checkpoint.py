"""Save and resume a tuning run.

A checkpoint holds weights, optimizer state and progress; it is written whole or not at all.
"""

import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from livealign.files import replace_json, replaced_directory
from livealign.tuning.loop import TuningLoop, TuningProgress

logger = logging.getLogger(__name__)

WEIGHTS, PROGRESS = "state.safetensors", "progress.json"
ADAM_STATE = ("exp_avg", "exp_avg_sq", "step")  # as torch's AdamW names them


class TuningCheckpoint:
    """The checkpoint folder of one run.

    `identity` is the hash of the run's input; a checkpoint of another run is not read.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder, self.identity = folder, identity

    def save(self, loop: TuningLoop, done: TuningProgress) -> None:
        tensors = {"whitening": loop.whitening} if loop.whitening is not None else {}
        for index, (parameter, best) in enumerate(zip(loop.parameters, loop.best, strict=True)):
            state = loop.optimizer.state[parameter]
            tensors |= {f"weight.{index}": parameter.detach(), f"best.{index}": best}
            tensors |= {f"{name}.{index}": state[name] for name in ADAM_STATE}
        with replaced_directory(self.folder) as folder:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
            replace_json(folder / PROGRESS, {"identity": self.identity, "progress": asdict(done)})

    def restore(self, loop: TuningLoop, done: TuningProgress) -> int:
        """Restore a killed run's state; returns its number of steps, 0 without a checkpoint."""
        try:
            saved = json.loads((self.folder / PROGRESS).read_text())
            tensors = load_file(self.folder / WEIGHTS, device=str(loop.backbone.device))
        except FileNotFoundError:
            return 0
        except (ValueError, OSError, SafetensorError) as error:
            logger.warning("%s is damaged and is not used, tuning starts from the beginning (%s)", self.folder, error)
            return 0
        if saved["identity"] != self.identity:
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
