"""Two ranks that tune together: the gradient, the losses and the adapter of one process that tunes alone."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from safetensors.torch import load_file

from livealign.config import FinetuneConfig
from livealign.errors import TrainingError
from livealign.llm.backbone import load_backbone
from livealign.llm.pooling import Pooling
from livealign.tuning.adapted_model import adapter_parameters, with_adapter
from livealign.tuning.adapter import tune_adapter
from livealign.tuning.batches import batches_of
from livealign.tuning.descriptions import Descriptions
from livealign.tuning.loop import TuningLoop
from livealign.tuning.ranks import Ranks
from tests.planted.text_pairs import CONFIG, ENCODER, SEGMENTS, planted_pairs

STEPS = replace(CONFIG, steps=4, validate_every=2, save_every=1, description_weight=0.5, description_texts=5)
PAIRS = planted_pairs(90)


def descriptions() -> Descriptions:
    """Windows of unlike lengths, so that ranks have unlike numbers of tokens."""
    said = [text[: 10 + 3 * row] for row, text in enumerate(PAIRS.left)]
    return Descriptions(said, [f"about {text[: 4 + row]}" for row, text in enumerate(PAIRS.right)])


def ready_loop(folder: Path, config: FinetuneConfig, sharded: bool = False) -> TuningLoop:
    """A loop before its first step, with an adapter whose weights are not zero."""
    backbone = load_backbone("tiny", folder, device="cpu")
    model = with_adapter(backbone, ENCODER, config, None)
    parameters = adapter_parameters(model)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    pooling = Pooling.of("mean", None, backbone.device)
    return TuningLoop(backbone, model, parameters, SEGMENTS, ENCODER, config, pooling, sharded=sharded)


def gradient(loop: TuningLoop) -> np.ndarray:
    """The gradient of one step, [weights], and behind it the two losses."""
    packed = loop._fit_whitening(PAIRS)
    losses = [loop._contrast(next(batches_of(PAIRS, loop.config)), packed[0]), loop._describe(descriptions(), 0)]
    loop.ranks.sum_gradients(loop.parameters)
    flat = [parameter.grad.flatten() for parameter in loop.parameters if parameter.grad is not None]
    return np.append(torch.cat(flat), losses)


def tuned(folder: Path, config: FinetuneConfig, sharded: bool = False) -> np.ndarray:
    """The losses of a short tuning whose second rank is killed at the third step, once."""
    backbone, dead = load_backbone("tiny", folder, device="cpu"), folder / "dead"

    if not Ranks().is_first and not dead.exists():
        taken, contrast = [], TuningLoop._contrast

        def mortal(loop: TuningLoop, batch: object, chunks: object) -> float:
            taken.append(1)
            if len(taken) == 3:
                dead.touch()
                os._exit(9)
            return contrast(loop, batch, chunks)  # type: ignore[arg-type]

        TuningLoop._contrast = mortal  # type: ignore[method-assign,assignment]
    report = tune_adapter(
        *(backbone, PAIRS, SEGMENTS, ENCODER, config, folder / "adapter"), descriptions=descriptions(), sharded=sharded
    )
    return np.array([report.resumed_at, *report.losses, *report.description_losses, *report.validation_losses])


def on_ranks(work: Callable[[Path, FinetuneConfig], np.ndarray], folder: Path, config: FinetuneConfig, world: int = 2) -> list:
    """What each of `world` processes returns."""
    folder.mkdir(exist_ok=True)
    multiprocessing.spawn(_rank, (work, folder, config, world), nprocs=world)
    return [np.load(folder / f"{rank}.npy") for rank in range(world)]


def _rank(
    rank: int, work: Callable[[Path, FinetuneConfig], np.ndarray], folder: Path, config: FinetuneConfig, world: int
) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    np.save(folder / f"{rank}.npy", work(folder, config))
    dist.destroy_process_group()


def gradients(folder: Path, config: FinetuneConfig, world: int) -> list[np.ndarray]:
    """The gradient by each of `world` ranks, which are threads with a process group (gloo) of their own."""
    loops = [ready_loop(folder, config) for _ in range(world)]  # in turn: they seed torch's own generator
    store = dist.HashStore()

    def step(rank: int) -> np.ndarray:
        torch.set_num_threads(1)
        loops[rank].ranks = Ranks(dist.ProcessGroupGloo(store, rank, world, timedelta(seconds=60)))
        return gradient(loops[rank])

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(step, range(world)))


@pytest.mark.parametrize(("world", "chunk_tokens"), [(2, 8_192), (3, 64)], ids=["two", "three that read in chunks"])
def test_the_gradient_of_ranks_is_that_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int, chunk_tokens: int
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    alone = gradient(ready_loop(tmp_path, STEPS))
    together = gradients(tmp_path, replace(STEPS, chunk_tokens=chunk_tokens), world)
    np.testing.assert_array_equal(together[0], together[-1])  # all ranks hold the same bits
    assert np.linalg.norm(together[0] - alone) / np.linalg.norm(alone) < 1e-5
    assert np.abs(alone[:-2]).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_a_killed_rank_resumes_to_the_bits_of_a_calm_run(tmp_path: Path, sharded: bool) -> None:
    on_both = partial(tuned, sharded=sharded)
    (tmp_path / "calm").mkdir()
    (tmp_path / "calm" / "dead").touch()  # it has died already
    calm = on_ranks(on_both, tmp_path / "calm", STEPS)[0]
    with pytest.raises(Exception, match="exit code 9"):
        on_ranks(on_both, tmp_path / "killed", STEPS)
    (tmp_path / "killed" / "meeting").unlink(missing_ok=True)
    killed = on_ranks(on_both, tmp_path / "killed", STEPS)[0]
    assert (calm[0], killed[0]) == (0, 2)
    np.testing.assert_array_equal(calm[1:], killed[1:])
    one, other = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("calm", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    alone = tmp_path / "alone"
    alone.mkdir()
    np.testing.assert_allclose(tuned(alone, STEPS)[1:], calm[1:], rtol=1e-4)
    assert not (tmp_path / "killed" / "adapter.checkpoint").exists()


def test_what_ranks_cannot_share_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = Ranks()
    assert ranks.share(5) == slice(0, 5)
    ranks.world = 8
    with pytest.raises(TrainingError, match=r"a batch of 5 texts is too small for 8 ranks; lower machines.ranks"):
        ranks.share(5)
    assert [ranks._share_of(rank, 11) for rank in (0, 7)] == [slice(0, 1), slice(9, 11)]
    monkeypatch.setattr(Ranks, "alone", False)
    backbone = load_backbone("tiny", tmp_path, device="cpu")
    with pytest.raises(TrainingError, match="ranks would not agree; set it to 0"):
        tune_adapter(backbone, PAIRS, SEGMENTS, ENCODER, replace(CONFIG, dropout=0.1), tmp_path / "adapter")
