"""torchrun on this machine's CPU, for tests."""

import os
import subprocess
import sys
from pathlib import Path

from training_tools import ROOT

PACE = (
    *("--batch-size", "2", "--accumulation-steps", "4", "--eval-every", "25"),
    *("--checkpoint-every", "25", "--eval-tokens", "600", "--compile", "off"),
    *("--precision", "fp32", "--device", "cpu", "--seq-length", "16", "--dropout", "0"),
    *("--dataset", "text", "--text", "text.txt"),
)
FLAGS = (
    *("--d-model", "16", "--n-heads", "2", "--n-layers", "2", "--d-ff", "32"),
    *("--tokenizer", "bpe:300", *PACE),
)
TRAIN = ROOT / "commands/train.py"
OBSERVED = ROOT / "tests/training/observed_train.py"


def torchrun(
    folder: Path,
    processes: int,
    *args: str,
    flags: tuple[str, ...] = FLAGS,
    script: Path = TRAIN,
    restarts: int = 0,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """torchrun of commands/train.py with `flags` and `args` in `folder`."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    return subprocess.run(
        [*command, str(script), *flags, *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=500,
    )
