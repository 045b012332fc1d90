"""Texts about planted subjects, as pairs and as marts: what tuning should find is known."""

import numpy as np
import pyarrow as pa

from livealign.config import EncoderConfig, FinetuneConfig, SegmentConfig
from livealign.tuning.pairs import NO_USER, TextPairs

ENCODER = EncoderConfig(exit_layer=2, first_adapted_layer=1)
SEGMENTS = SegmentConfig()
CONFIG = FinetuneConfig(steps=60, batch_size=16, learning_rate=5e-3, validate_every=20, validation_share=0.2, temperature=0.1)
SUBJECTS = {
    "noodles": "garlic chili boil salt egg soup",
    "chess": "knight bishop mate endgame rook pawn",
    "squats": "sets straight breathe weight rest back",
    "guitar": "chorus strings tune verse chord song",
    "travel": "train lake temple market ferry hotel",
    "makeup": "lipstick shades brush powder blush skin",
    "fishing": "rod hook bait river trout worm",
    "coding": "loop compile branch merge bug test",
    "garden": "seed soil roses prune compost shade",
    "racing": "lap pit tyre brake corner engine",
    "pottery": "clay wheel glaze kiln bowl spin",
    "space": "orbit rocket comet moon crater probe",
}
FILLER = "the and so now you we stream lol hello everyone today again that very just let go"


def sentence(subject: str, rng: np.random.Generator) -> str:
    """Three words about the subject among six that are about nothing."""
    words = [*rng.choice(SUBJECTS[subject].split(), 3), *rng.choice(FILLER.split(), 6)]
    return " ".join(rng.permutation(words))


def planted_pairs(count: int = 1_000, seed: int = 3) -> TextPairs:
    """Both sides of a pair are about one subject, in words drawn apart."""
    rng = np.random.default_rng(seed)
    subjects = rng.choice(list(SUBJECTS), count)
    rooms = np.arange(count)
    zeros = np.zeros(count, np.int64)
    left, right = ([sentence(subject, rng) for subject in subjects] for _ in range(2))
    return TextPairs(left, right, rooms, rooms, zeros, zeros, np.full(count, NO_USER))


def planted_marts(rooms: int = 12, windows: int = 20) -> tuple[pa.Table, pa.Table]:
    """Segments and interactions of rooms about one subject each.

    Users 0..3 each love one subject and watch its rooms; user 77 watches no room for long.
    """
    rng = np.random.default_rng(1)
    names = list(SUBJECTS)[:4]
    rows, views = [], []
    for room in range(rooms):
        subject = names[room % 4]
        for window in range(windows):
            words = sentence(subject, rng)
            chat = "\n".join([f"{subject} 666", sentence(subject, rng)])
            rows.append((room * 1_000 + window, room, 50 + window, window, f"title of {subject}", "live", words, chat))
        views.append((room % 4, room, room * 1_000 + windows - 1, room * 60_000, 1))
        views.append((77, room, room * 1_000, room * 60_000, 0))
    segments = ["segment_id", "room_id", "window", "segment_index", "title", "category", "speech_text", "chat_text"]
    interactions = ["user_id", "room_id", "segment_id", "shown_at", "long_view"]
    table = pa.table(dict(zip(segments, map(list, zip(*rows, strict=True)), strict=True)))
    shown = pa.table(dict(zip(interactions, map(list, zip(*views, strict=True)), strict=True)))
    return table, shown.set_column(3, "shown_at", shown["shown_at"].cast(pa.timestamp("ms")))
