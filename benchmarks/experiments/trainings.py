"""What the experiments share: small training runs on toy stories, and a table of the results."""

import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from transformer.runs.curves import RunSummary, draw_comparison, summarise
from transformer.runs.metrics import is_evaluation

TRAIN = Path(__file__).parents[2] / "commands/train.py"
SMALL = (
    *("--dataset", "toy", "--d-model", "64", "--n-layers", "2", "--d-ff", "256"),
    *("--seq-length", "160", "--batch-size", "4", "--eval-tokens", "8000"),
    *("--compile", "off", "--checkpoint-every", "1000000"),
)


def train(runs_dir: Path, name: str, *flags: str) -> RunSummary:
    """Train with `SMALL` and `flags`, unless that has been done before."""
    if not (runs_dir / name / "latest").exists():
        command = [sys.executable, str(TRAIN), *SMALL, *flags]
        command += ["--runs-dir", str(runs_dir), "--name", name, "--overwrite"]
        subprocess.run(command, check=True)
    return summarise(runs_dir / name)


def roughness(run: RunSummary) -> float:
    """How much the training loss jumps from step to step: std of the differences, over the
    second half of the run."""
    losses = [r["train_loss"] for r in run.records if not is_evaluation(r)]
    late = losses[len(losses) // 2 :]
    return statistics.stdev(b - a for a, b in pairwise(late))


def report(title: str, runs: list[RunSummary], picture: Path) -> None:
    """A table and curves."""
    table = Table("run", "steps", "tokens", "last val", "best val", "roughness", "status")
    table.title = title
    for run in runs:
        last = [r["val_loss"] for r in run.records if is_evaluation(r)][-1]
        table.add_row(
            run.name,
            str(run.steps),
            f"{run.tokens:,}",
            f"{last:.4f}",
            f"{run.best_loss:.4f}",
            f"{roughness(run):.4f}",
            run.status,
        )
    Console(width=110).print(table)
    draw_comparison(runs, picture)
    print(f"Drawn in {picture}")
