"""Accumulation 1, 16, 32: at equal tokens, at equal steps, and the noise of the gradient.

uv run python benchmarks/experiments/accumulation.py
"""

from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from trainings import report, train

from transformer.data.batch import Batch
from transformer.data.bpe import make_tokenizer
from transformer.data.toy.source import ToyStoriesSource, tokenizer_stories
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file
from transformer.terminal.command_line import run
from transformer.training_utils import GradientAccumulator

COUNTS = (1, 16, 32)
STEPS = 64  # at equal steps; at equal tokens, this many for accumulation 16


def gradient(model: nn.Module, batches: list[Batch]) -> Tensor:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    accumulator = GradientAccumulator(model, optimizer, len(batches))
    accumulator.accumulate([(batch.inputs, batch.targets) for batch in batches])
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def noise(runs_dir: Path, name: str, repeats: int = 6, reference: int = 256) -> None:
    """Length of (gradient - reference gradient), for gradients of 1, 16 and 32 micro-batches."""
    model = read_model_file(find_model_file(runs_dir / name)).model
    source = ToyStoriesSource(make_tokenizer("bpe:1024", tokenizer_stories()), seq_length=160)
    batches = source.train_batches(batch_size=4)
    truth = gradient(model, list(islice(batches, reference)))
    for count in COUNTS:
        errors = [
            float((gradient(model, list(islice(batches, count))) - truth).norm())
            for _ in range(repeats)
        ]
        mean = sum(errors) / len(errors)
        # the reference has noise of its own: its variance is that of `reference` micro-batches
        print(f"{count:3d} micro-batches: error {mean:.4f}, gradient {float(truth.norm()):.4f}")


def main(runs_dir: Path = Path("runs/experiments")) -> None:
    """Train, compare, measure.

    Args:
        runs_dir: where the runs are kept; those already there are not repeated.
    """
    at_equal_tokens = {n: STEPS * 16 // n for n in COUNTS}
    for title, steps in (("tokens", at_equal_tokens), ("steps", dict.fromkeys(COUNTS, STEPS))):
        runs = [
            train(
                runs_dir,
                f"accumulation-{n}-{steps[n]}",
                *("--accumulation-steps", str(n), "--steps", str(steps[n])),
                *("--eval-every", str(max(1, steps[n] // 8))),
            )
            for n in COUNTS
        ]
        report(f"Accumulation at equal {title}", runs, runs_dir / f"accumulation_{title}.png")
    noise(runs_dir, f"accumulation-16-{STEPS}")


if __name__ == "__main__":
    run(main)
