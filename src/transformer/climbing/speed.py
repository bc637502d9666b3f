"""How long a step of each rung takes, when all rungs take turns in one process.

Trainings of a study run at different times, on a machine that is never quite idle, so their clocks
do not compare. Here whatever slows the machine down for a while slows a whole round, and compiling
is over before the first round that counts.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from transformer.climbing.study import Study, Training
from transformer.data.bpe import count_ids
from transformer.loss import LossModule
from transformer.machine.device import Machine, choose_machine
from transformer.machine.files import written_whole
from transformer.machine.saved_values import read_saved
from transformer.training.config import TrainingConfig
from transformer.training.optimizer import make_optimizer
from transformer.training.start import initial_model
from transformer.training_utils import GradientAccumulator

WARMUP, ROUNDS = 3, 7


def step_of(config: TrainingConfig, vocab_size: int, machine: Machine) -> Callable[[], object]:
    """One optimiser step (forward, backward, clipping, update) on random tokens."""
    # PyTorch compiles a function for 8 different models and runs it as it is for all others.
    torch._dynamo.config.recompile_limit = 64
    model = initial_model(config, vocab_size)
    loss_module = LossModule(model, bf16=machine.bf16, compiled=machine.compiled)
    accumulator = GradientAccumulator(
        loss_module, make_optimizer(model, config), config.accumulation_steps
    )
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab_size, (config.batch_size, config.seq_length + 1), generator=generator)
    pair = (ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    return lambda: accumulator.step([pair] * config.accumulation_steps)


def seconds_per_step(
    steps: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """The seconds of each counted round, for each rung."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(WARMUP + rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number >= WARMUP:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def kept_speeds(study: Study, path: Path, notify: Callable[[str], object]) -> dict[str, float]:
    """Seconds of a step of each rung: the median of `ROUNDS`, measured once and kept in a file."""
    kept = read_saved(path).values if path.is_file() else {}
    if set(study.rungs) <= kept.keys():
        return {rung: float(kept[rung]) for rung in study.rungs}
    machine = choose_machine("auto", "auto", study.compile)
    size = count_ids(study.base.tokenizer)
    steps = {
        rung: step_of(study.config(Training(study.path(rung))), size, machine)
        for rung in study.rungs
    }
    notify(f"Measuring a step of {len(steps)} rungs, in turns ({machine}) …")
    seconds = seconds_per_step(steps, ROUNDS)
    found = {rung: statistics.median(each) for rung, each in seconds.items()}
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found
