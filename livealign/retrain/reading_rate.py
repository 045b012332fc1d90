"""The rate at which an encoder reads here: measured once, and kept beside its vectors.

    rate = reading_rate(encoder, cache, texts, rooms, engine, pictures)     # texts in a second of one core
    windows_within(config, rate, cores)                                     # a reading budget as windows a day

A budget in seconds becomes a number of windows by this rate. So a rerun and the retrains of the next days choose the same
windows, whose vectors are cached, whatever else the machine does meanwhile. For the same reason processor seconds count, not
those of the clock. Delete the file to measure again, after a change of the machine.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from livealign.errors import LiveAlignError
from livealign.files import read_json, replace_json
from livealign.llm.encoder import Encoder
from livealign.llm.prefix import Pictures
from livealign.llm.ray_embedding import RayEmbedding
from livealign.operation_config import ReadingConfig

RATE = "rate.json"  # in the folder of the raw vectors' version
FIRST_TEXTS = 32  # which are not timed: the first passes compile their products


def windows_within(config: ReadingConfig, rate: float, cores: int) -> int:
    """The windows that are read of each day, within both settings; 0 for all.

    Args:
        rate: texts in a second of one core; cores: of this process, or actors of Ray.
    """
    if not config.seconds_per_day:
        return config.windows_per_day
    within = max(1, int(config.seconds_per_day * rate * cores))
    return min(within, config.windows_per_day) if config.windows_per_day else within


def reading_cores(encoder: Encoder, engine: RayEmbedding | None) -> int:
    """The cores that read at the same time; a GPU counts as one."""
    if engine is not None:
        return engine.machines.workers
    return torch.get_num_threads() if encoder.backbone.device.type == "cpu" else 1


def reading_rate(
    encoder: Encoder,
    cache: Path,
    texts: Sequence[str],
    rooms: NDArray[np.int64],
    engine: RayEmbedding | None = None,
    pictures: Pictures | None = None,
) -> float:
    """Texts that one core reads in a second, raw and tuned, as recorded or by these texts.

    Raises:
        LiveAlignError: the record is damaged, or there is no text to read.
    """
    file = cache / encoder.version(tuned=False) / RATE
    if file.is_file():
        return float(read_json(file, "retrain, which measures it again")["texts_in_a_second"])
    if not any(texts):
        raise LiveAlignError("no window has a text to measure the reading rate on; set reading.seconds_per_day to 0")
    distinct = len(set(texts))
    if engine is not None:
        before = engine.processor_seconds
        encoder.encode_raw_and_tuned(texts, rooms=rooms, engine=engine, pictures=pictures)
        seconds = engine.processor_seconds - before
    else:
        first = None if pictures is None else pictures.take(np.arange(min(len(texts), FIRST_TEXTS)))
        encoder.encode_raw_and_tuned(texts[:FIRST_TEXTS], pictures=first)
        clock = time.process_time if encoder.backbone.device.type == "cpu" else time.perf_counter
        began = clock()
        encoder.encode_raw_and_tuned(texts, rooms=rooms, pictures=pictures)
        seconds = clock() - began
    rate = distinct / seconds
    replace_json(file, {"texts_in_a_second": rate, "texts": distinct}, version=1)
    return rate
