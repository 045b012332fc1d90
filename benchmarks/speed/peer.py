"""sentence-transformers on the same weights, as a process of the peers' environment.

`make peers` builds the environment; `Peer` in benchmarks/speed/rows.py starts the process and each measurement.

.venv-peers/bin/python benchmarks/speed/peer.py embed '{"model": …, "layers": 8, "texts": file, "batch": 0, "tokens": 64}'
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import TrainerCallback

BATCHES = (8, 16, 32)


def main() -> None:
    """Run the task that the arguments name."""
    task, settings = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(settings["threads"])
    {"embed": embed, "tune": tune}[task](settings)


def embed(settings: dict) -> None:
    """`encode` of the texts, with the batch size that is best on some of them."""
    model, texts = load_model(settings), json.loads(Path(settings["texts"]).read_text())
    few = texts[:32]
    model.encode(few[:8])
    best = min(BATCHES, key=lambda size: seconds_of(lambda: model.encode(few, batch_size=size)))
    np.save(settings["vectors"], model.encode(few, batch_size=best), allow_pickle=False)
    report(batch=best)
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), time.process_time()
        model.encode(texts, batch_size=best)
        report(wall=time.perf_counter() - started, cpu=time.process_time() - cpu)


def tune(settings: dict) -> None:
    """The trainer with MultipleNegativesRankingLoss and LoRA; one step for each input line."""
    from datasets import Dataset

    model, pairs = load_model(settings), json.loads(Path(settings["texts"]).read_text())
    lora = LoraConfig(
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        target_modules=settings["targets"],
        layers_to_transform=settings["adapted"],
        layers_pattern="layers",
    )
    model.add_adapter(lora)

    class OnCommand(TrainerCallback):
        """Waits for a line of input before each step, and reports the step's cost."""

        def on_step_begin(self, *_: object, **__: object) -> None:
            """Wait for a line of input; end the process at the end of the input."""
            if not sys.stdin.readline():
                sys.exit(0)
            self.started = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: object, **__: object) -> None:
            """Report the step's seconds."""
            report(wall=time.perf_counter() - self.started[0], cpu=time.process_time() - self.started[1])

    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            folder,
            per_device_train_batch_size=settings["batch"],
            max_steps=settings["steps"],
            learning_rate=5e-4,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            dataloader_drop_last=True,
            disable_tqdm=True,
            logging_strategy="no",
        )
        data = Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]})
        report(trainable=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad))
        trainer = SentenceTransformerTrainer(
            model, arguments, data, loss=MultipleNegativesRankingLoss(model), callbacks=[OnCommand()]
        )
        trainer.train()


def load_model(settings: dict) -> SentenceTransformer:
    """The backbone with mean pooling, cut to `layers` without the final norm if fewer."""
    plain = Path(tempfile.mkdtemp())
    for file in Path(settings["model"]).iterdir():
        if file.name != "chat_template.jinja":  # else every text would be wrapped into a conversation
            (plain / file.name).symlink_to(file.resolve())
    transformer = Transformer(str(plain), max_seq_length=settings["tokens"], model_kwargs={"dtype": settings["dtype"]})
    body = transformer.auto_model
    if settings["layers"] < len(body.layers):
        body.layers = body.layers[: settings["layers"]]
        body.norm = torch.nn.Identity()
    return SentenceTransformer(modules=[transformer, Pooling(body.config.hidden_size, "mean")], device="cpu")


def seconds_of(work) -> float:
    """Seconds that the work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def report(**facts) -> None:
    """Print facts as one line of JSON, with the peak memory so far."""
    print(json.dumps(facts | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024}), flush=True)


if __name__ == "__main__":
    main()
