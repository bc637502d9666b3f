"""commands/train.py under torchrun, leaving notes about its inside.

After each optimiser step a process appends three hashes to the file `rank-N.txt` in the working
folder: of the gradients after the exchange, of the weights after the update, and of the inputs
of its micro-batches. With DIE="RANK STEP" in the environment, that rank kills itself in its
step number STEP (0: while the run is set up), unless torchrun has restarted it already.
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from torch import Tensor
from training_tools import load_command

from transformer.machine.processes import from_environment
from transformer.training_utils import GradientAccumulator, StepResult

PROCESSES = from_environment()
STEP = GradientAccumulator.step
NUMBERS = count(1)


def die(step: int) -> None:
    """If the environment says so."""
    if os.environ.get("DIE") == f"{PROCESSES.rank} {step}" and not PROCESSES.restarts:
        os.kill(os.getpid(), signal.SIGKILL)


def bits(tensors: Sequence[Tensor]) -> str:
    content = b"".join(tensor.detach().contiguous().numpy().tobytes() for tensor in tensors)
    return hashlib.sha256(content).hexdigest()


def observed_step(
    accumulator: GradientAccumulator,
    micro_batches: Sequence[tuple[Tensor, Tensor]],
    before_each: Callable[[int], Any],
) -> StepResult:
    """Replaces `GradientAccumulator.step`: calls it, and takes the notes."""
    die(next(NUMBERS))
    update = STEP(accumulator, micro_batches, before_each)
    parameters = list(accumulator.model.parameters())
    gradients = [p.grad for p in parameters if p.grad is not None]
    assert len(gradients) == len(parameters)
    inputs = [inputs for inputs, _ in micro_batches]
    with Path(f"rank-{PROCESSES.rank}.txt").open("a") as file:
        file.write(f"{bits(gradients)} {bits(parameters)} {bits(inputs)}\n")
    return update


if __name__ == "__main__":
    GradientAccumulator.step = observed_step  # type: ignore[assignment,method-assign]
    train = load_command("train")
    build = train.build_trainer
    train.build_trainer = lambda run: die(0) or build(run)  # type: ignore[attr-defined]
    train.run_guarded(lambda: train.main(sys.argv[1:]))
