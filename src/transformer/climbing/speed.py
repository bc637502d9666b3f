"""How long a step of each rung takes, when all rungs take turns in one process.

Trainings of a study run at different times, on a machine that is never quite idle, so their clocks
do not compare. Here whatever slows the machine down for a while slows a whole round, and compiling
is over before the first round that counts.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from transformer.climbing.study import Study, Training
from transformer.data.bpe import count_ids
from transformer.loss import LossModule
from transformer.machine.device import Machine, choose_machine
from transformer.machine.files import written_whole
from transformer.machine.saved_values import read_saved
from transformer.machine.turns import interleave
from transformer.training.config import TrainingConfig
from transformer.training.optimizer import make_optimizer
from transformer.training.start import initial_model, settled
from transformer.training_utils import GradientAccumulator

WARMUP, ROUNDS = 3, 7


def step_of(config: TrainingConfig, vocab_size: int, machine: Machine) -> Callable[[], object]:
    """One optimiser step (forward, backward, clipping, update) on random tokens."""
    if machine.compiled:  # PyTorch compiles a function for 8 different models, and no more
        torch._dynamo.config.recompile_limit = 64
    config = settled(config, machine)
    device = machine.torch_device()
    model = initial_model(config, vocab_size).to(device)
    loss_module = LossModule(model, bf16=machine.bf16, compiled=machine.compiled)
    accumulator = GradientAccumulator(
        loss_module, make_optimizer(model, config), config.accumulation_steps
    )
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (config.batch_size, config.seq_length + 1), generator=generator)
    pair = (ids[:, :-1].contiguous().to(device), ids[:, 1:].contiguous().to(device))

    def step() -> None:
        accumulator.step([pair] * config.accumulation_steps)
        if device.type != "cpu":
            torch.accelerator.synchronize()

    return step


def kept_speeds(study: Study, path: Path, notify: Callable[[str], object]) -> dict[str, float]:
    """Seconds of a step of each rung: the median of `ROUNDS`, measured once and kept in a file, for
    this data set, tokenizer and order and for no other."""
    trainings = {rung: Training(study.path(rung)) for rung in study.rungs}
    asked = [
        study.dataset,
        study.base.tokenizer,
        study.compile,
        [t.name for t in trainings.values()],
    ]
    kept = read_saved(path).values if path.is_file() else {}
    if kept.get("asked") == asked:
        return {rung: float(kept["seconds"][rung]) for rung in study.rungs}
    machine = choose_machine("auto", "auto", study.compile)
    size = count_ids(study.base.tokenizer)
    steps = {
        rung: step_of(study.config(training), size, machine) for rung, training in trainings.items()
    }
    notify(f"Measuring a step of {len(steps)} rungs, in turns ({machine}) …")
    seconds = interleave(steps, rounds=ROUNDS, warmup=WARMUP)
    found = {rung: statistics.median(each) for rung, each in seconds.items()}
    with written_whole(path) as temporary:
        saved = {"asked": asked, "seconds": found}
        temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    return found
