"""The choice of device, precision and compilation, and what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = Path(__file__).parents[2] / "commands/train.py"


@pytest.mark.slow
def test_compiled_steps_on_several_threads_repeat_exactly(tmp_path: Path) -> None:
    """Without deterministic algorithms the third to fifth step differs in the last digits."""
    losses = []
    for name in ("first", "second", "third"):
        words = [sys.executable, str(TRAIN), "--dataset", "toy", "--steps", "6", "--name", name]
        words += ["--compile", "on", "--precision", "bf16", "--eval-tokens", "2000"]
        threads = {**os.environ, "OMP_NUM_THREADS": "2"}
        subprocess.run(
            words, cwd=tmp_path, env=threads, check=True, capture_output=True, timeout=240
        )
        lines = (tmp_path / "runs" / name / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["train_loss"] for line in lines])
    assert losses[0] == losses[1] == losses[2]
