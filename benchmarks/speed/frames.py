"""Speed of the image encoder, compared with the same network layer by layer.

    livealign backbone fetch efficientnet-lite0
    OMP_NUM_THREADS=1 python -m benchmarks.speed.frames --pictures 64

Prints one row (JSON): pictures a second of EfficientNet-Lite0 as the retrain and the service run it, beside its layers one
after another in float32, batch norms apart, on the same pictures; how far the features of both are apart; and decoding and
writing alone.
Pictures are scenes of the simulator.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.rows import comparison, cost_of, in_turns, show
from livealign.frames.decode import decode, webp_of
from livealign.frames.efficientnet import STAGES, same_padding
from livealign.home import Home
from livealign.llm.image_encoder import load_image_encoder
from livealign.simulation.config import SimulationConfig
from livealign.simulation.frames import frame_rows
from livealign.simulation.members import choose_members, never_introduced
from livealign.simulation.moments import Day, make_rooms
from livealign.simulation.world import make_authors, make_users

EPSILON = 1e-3


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    out = JsonRows(arguments.json, 17)
    encoder = load_image_encoder("efficientnet-lite0", arguments.models)
    weights = load_file(arguments.models / "efficientnet-lite0" / "model.safetensors")
    data = scenes(arguments.pictures)
    pixels = np.stack([decode(picture) for picture in data])
    mine, theirs = encoder.encode(pixels), layer_by_layer(weights, torch.from_numpy(pixels)).numpy()
    centred = mine - theirs.mean(axis=0), theirs - theirs.mean(axis=0)
    cosine = (centred[0] * centred[1]).sum(1) / np.linalg.norm(centred[0], axis=1) / np.linalg.norm(centred[1], axis=1)
    decoding = min(cost_of(lambda: [decode(picture) for picture in data]).cpu for _ in range(arguments.repeats))
    writing = min(cost_of(lambda: [webp_of(picture) for picture in pixels]).cpu for _ in range(arguments.repeats))
    costs = in_turns(
        lambda: cost_of(lambda: encoder.encode(pixels)),
        lambda: cost_of(lambda: layer_by_layer(weights, torch.from_numpy(pixels))),
        arguments.repeats,
    )
    ours = float(np.median([cost.cpu for cost in costs[0]]))
    facts = {
        "pictures a CPU second": (len(pixels) / ours, "pictures/s"),
        "decoded a CPU second": (len(pixels) / decoding, "pictures/s"),
        "written a CPU second, as they land": (len(pixels) / writing, "pictures/s"),
        "cosine to float32, median": (float(np.median(cosine)), "cosine"),
    }
    work = (float(len(pixels)), float(len(pixels)), "pictures/s")
    show(comparison("image encoder ÷ layer by layer", "at least 1.5", *costs, work, facts=facts), out)
    out.write()


def scenes(count: int) -> list[bytes]:
    """Pictures of a small simulated day."""
    config = SimulationConfig(users=8, authors=40, days=1, broadcasts=8, shift_day=2, frames=True)
    authors = make_authors(config)
    rooms = make_rooms(config, authors, 0)
    members = choose_members(config, 0, rooms.talked_of, never_introduced())
    pictures = frame_rows(Day(config, 0, authors, make_users(config, authors), rooms, members))["bytes"]
    return [picture.as_py() for picture in pictures[:count]]


@torch.inference_mode()
def layer_by_layer(weights: dict[str, Tensor], pixels: Tensor, batch: int = 8) -> Tensor:
    """The features [n, 1280] by the network as its authors wrote it, in float32."""

    def layer(x: Tensor, name: str, norm: str, stride: int = 1, cut: bool = True) -> Tensor:
        weight = weights[f"{name}.weight"]
        x = F.pad(x, same_padding(x.shape[-2], x.shape[-1], weight.shape[-1], stride))
        x = F.conv2d(x, weight, stride=stride, groups=len(weight) if weight.shape[1] == 1 else 1)
        mean, variance, scale, shift = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = F.batch_norm(x, mean, variance, scale, shift, eps=EPSILON)
        return F.relu6(x) if cut else x

    parts = []
    for start in range(0, len(pixels), batch):
        x = ((pixels[start : start + batch].permute(0, 3, 1, 2).float() - 127) / 128).contiguous()
        x, number = layer(x, "_conv_stem", "_bn0", 2), 0
        for stage in STAGES:
            for first in [True, *[False] * (stage.blocks - 1)]:
                at, before = f"_blocks.{number}.", x
                if number:
                    x = layer(x, f"{at}_expand_conv", f"{at}_bn0")
                x = layer(x, f"{at}_depthwise_conv", f"{at}_bn1", stage.stride if first else 1)
                x = layer(x, f"{at}_project_conv", f"{at}_bn2", cut=False)
                x, number = x if first else x + before, number + 1
        parts.append(layer(x, "_conv_head", "_bn1").mean(dim=(2, 3)))
    return torch.cat(parts)


if __name__ == "__main__":
    main()
