"""Overfitting on purpose: the same 200 stories again and again, against new stories every time.

uv run python benchmarks/experiments/overfitting.py
"""

from pathlib import Path

from trainings import report, train

from transformer.runs.metrics import is_evaluation
from transformer.terminal.command_line import run

FLAGS = (
    *("--steps", "800", "--eval-every", "50", "--accumulation-steps", "2"),
    *("--d-model", "128", "--d-ff", "512", "--dropout", "0"),  # enough to learn them by heart
)


def main(runs_dir: Path = Path("runs/experiments")) -> None:
    """Train with few and with endless stories; print what the status said at each evaluation.

    Args:
        runs_dir: where the runs are kept; those already there are not repeated.
    """
    runs = [
        train(runs_dir, "stories-200", *FLAGS, "--stories", "200"),
        train(runs_dir, "stories-endless", *FLAGS),
    ]
    report("Few stories, many stories", runs, runs_dir / "overfitting.png")
    for one in runs:
        print(one.name)
        for record in filter(is_evaluation, one.records):
            losses = f"train {record['train_loss']:.3f}  validation {record['val_loss']:.3f}"
            print(f"  step {record['step']:4d}  {losses}  {record['status']}")


if __name__ == "__main__":
    run(main)
