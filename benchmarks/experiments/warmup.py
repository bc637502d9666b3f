"""Warm-up on and off, at a usual and at a high learning rate.

uv run python benchmarks/experiments/warmup.py
"""

from pathlib import Path

from trainings import report, train

from transformer.runs.metrics import is_evaluation
from transformer.terminal.command_line import run

FLAGS = ("--steps", "150", "--eval-every", "30", "--accumulation-steps", "2")


def main(runs_dir: Path = Path("runs/experiments")) -> None:
    """Train four times; print the largest gradient of each.

    Args:
        runs_dir: where the runs are kept; those already there are not repeated.
    """
    runs = []
    for rate in ("3e-3", "2e-2"):
        for share in ("0.05", "0"):
            name = f"rate-{rate}-warmup-{share}"
            runs.append(train(runs_dir, name, *FLAGS, "--learning-rate", rate, "--warmup", share))
    report("Warm-up", runs, runs_dir / "warmup.png")
    for one in runs:
        norms = [r["grad_norm"] for r in one.records if not is_evaluation(r)]
        largest = max(norms)
        print(f"{one.name}: largest gradient {largest:.2f} at step {norms.index(largest) + 1}")


if __name__ == "__main__":
    run(main)
