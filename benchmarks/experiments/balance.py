"""How large tokens, positions and matrices are when training begins: what is best?

    uv run python benchmarks/experiments/balance.py --text BOOKS --position-scale 0.25 --output FILE

trains once and adds a line of JSON to FILE: the settings, and the validation loss now and then.
A size is a factor of the start in model.py, 0.5/√D. (Tokens of std 0.02, as they were before, are
0.45 times that at D = 128, and 0.64 times at D = 256.)
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import tyro

from transformer.config import ModelConfig, Variant
from transformer.evaluation.validation import validation_loss
from transformer.ladder import build_model
from transformer.loss import LossModule
from transformer.machine.device import choose_machine
from transformer.machine.processes import SINGLE
from transformer.model import DecoderOnlyTransformer
from transformer.terminal.command_line import run
from transformer.training.config import TOY, TrainingConfig
from transformer.training.data_sources import open_source
from transformer.training.optimizer import adamw, prepare
from transformer.training.scheduler import make_schedule
from transformer.training_utils import GradientAccumulator

VALIDATIONS = 4


@dataclass(frozen=True)
class Settings:
    """One training."""

    text: tuple[Path, ...] = ()
    """Prose; without it, toy stories."""
    tokenizer: str = "bpe:1024"
    d_model: int = 128
    n_layers: int = 4
    steps: int = 400
    accumulation_steps: int = 1
    learning_rate: float = 3e-3
    seed: int = 0
    token_size: float = 1.0
    """Of the table, as input and output."""
    embedding_scale: float | None = None
    """Of the table as input only; None is √D."""
    position_scale: float = 1.0
    matrix_size: float = 1.0


def training_config(settings: Settings) -> TrainingConfig:
    sizes = {"d_model": settings.d_model, "d_ff": 4 * settings.d_model}
    if not settings.text:
        return replace(TOY, **sizes, seed=settings.seed)
    return TrainingConfig(
        dataset="text", text=settings.text, tokenizer=settings.tokenizer, **sizes,
        n_layers=settings.n_layers, batch_size=32, accumulation_steps=1, dropout=0.0,
        seed=settings.seed, eval_tokens=65_536,
    )  # fmt: skip


def start(settings: Settings, config: TrainingConfig, vocab_size: int) -> DecoderOnlyTransformer:
    """The model, its parts resized."""
    torch.manual_seed(settings.seed)
    variant = Variant(
        position_scale=settings.position_scale, embedding_scale=settings.embedding_scale
    )
    model = build_model(
        ModelConfig(
            vocab_size, config.d_model, config.n_heads, config.n_layers, config.d_ff,
            config.seq_length, dropout=0.0, variant=variant,
        )
    )  # fmt: skip
    with torch.no_grad():
        model.token_embedding.weight.mul_(settings.token_size)
        for parameter in model.blocks.parameters():
            if parameter.dim() == 2:
                parameter.mul_(settings.matrix_size)
    return model


def train(settings: Settings) -> dict[str, object]:
    config = training_config(settings)
    machine = choose_machine("auto", "auto", "on")
    with TemporaryDirectory() as folder:
        source = open_source(config, Path(folder) / "tokenizer.json")
    model = start(settings, config, source.tokenizer.vocab_size)
    loss_module = LossModule(model, bf16=machine.bf16, compiled=machine.compiled)
    optimizer = adamw(model, settings.learning_rate, config.weight_decay)
    schedule = make_schedule(settings.learning_rate, settings.steps, config.warmup)
    N = settings.accumulation_steps
    accumulator = GradientAccumulator(loss_module, optimizer, N)
    losses, began = {}, time.monotonic()
    batches = source.train_batches(batch_size=config.batch_size)
    for step in range(1, settings.steps + 1):
        prepare(optimizer, step, schedule(step))
        accumulator.step([(batch.inputs, batch.targets) for batch in islice(batches, N)])
        if step * VALIDATIONS % settings.steps == 0:
            device = torch.device("cpu")
            losses[step] = validation_loss(loss_module, source, config.batch_size, device, SINGLE)
    source.close()
    return {"losses": losses, "floor": source.floor, "seconds": time.monotonic() - began}


def main(settings: Annotated[Settings, tyro.conf.arg(name="")], output: Path) -> None:
    """Train once with these settings and append the result to `output`."""
    found = train(settings)
    line = json.dumps({**asdict(settings), **found}, default=str)
    with output.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line)


if __name__ == "__main__":
    run(main)
