"""One tick of rooms with a picture each, beside the same rooms with their texts alone.

    livealign backbone fetch efficientnet-lite0
    python -m benchmarks.speed.seeing_tick --rooms 400                     # pictures as a source of content
    python -m benchmarks.speed.seeing_tick --rooms 400 --prefix-tokens 4   # pictures read by the LLM too

Every room has a new text and a new picture. Pictures are scenes of the simulator, as the service keeps them (WebP without a
loss); decoding them is part of the cost. Prints one row (JSON).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.json_rows import JsonRows, add_json_option
from benchmarks.speed.encoder import fresh_adapter, simulated_texts
from benchmarks.speed.frames import scenes
from benchmarks.speed.rows import comparison, cost_of, in_turns, show
from livealign.frames.decode import decode, webp_of
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.image_encoder import load_image_encoder
from livealign.llm.prefix import Pictures, Projector
from livealign.profiles import load_profile


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Home.from_environment("simulator").models)
    parser.add_argument("--images", default="efficientnet-lite0")
    parser.add_argument("--rooms", type=int, default=400)
    parser.add_argument("--prefix-tokens", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    add_json_option(parser)
    arguments = parser.parse_args()
    profile, rooms = load_profile("laptop"), arguments.rooms
    out = JsonRows(arguments.json, profile.seed)
    backbone = load_backbone(profile.backbone, arguments.models)
    images = load_image_encoder(arguments.images, arguments.models)
    with tempfile.TemporaryDirectory() as folder:
        adapter = fresh_adapter(backbone, profile, Path(folder))
        if arguments.prefix_tokens:
            seen = np.random.default_rng(profile.seed).random((8, images.width), np.float32)
            tokens, sha256 = arguments.prefix_tokens, images.identity.sha256
            Projector.fresh(backbone, seen, tokens, sha256, profile.seed).save(adapter)
        encoder = Encoder.load(backbone, adapter, profile.encoder, profile.segments)
    texts, data = simulated_texts(rooms, profile.seed), [webp_of(decode(picture)) for picture in scenes(rooms)]

    def with_pictures() -> None:
        features = images.encode(np.stack([decode(picture) for picture in data]))
        beside = Pictures(features, np.arange(rooms)) if arguments.prefix_tokens else None
        encoder.encode(texts, pictures=beside)

    ours, theirs = in_turns(lambda: cost_of(with_pictures), lambda: cost_of(lambda: encoder.encode(texts)), arguments.repeats)
    read = f"{arguments.prefix_tokens} tokens of the LLM" if arguments.prefix_tokens else "a source"
    facts = {
        "tick with pictures": (float(np.median([cost.wall for cost in ours])), "s"),
        "of a processor": (float(np.median([cost.cpu for cost in ours])), "s"),
        "tick of texts alone": (float(np.median([cost.wall for cost in theirs])), "s"),
    }
    name = f"tick of {rooms} rooms with pictures as {read} ÷ texts alone"
    show(comparison(name, "", ours, theirs, (rooms, rooms, "rooms/s"), facts=facts), out)
    out.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
