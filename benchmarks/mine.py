"""What a learner's own parts cost: a training step with all of them, against ours.

    uv run python benchmarks/mine.py                    the solutions of the exercises as "mine"
    uv run python benchmarks/mine.py --compile off --parts attention adamw

The toy preset's sizes; both take turns in one process. The solutions are the plain forms: no fused
attention, a loss that holds all logits, AdamW weight by weight.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from side_by_side import print_ratios

sys.path.insert(0, str(Path(__file__).parents[1]))

from exercises.contents import EXERCISES
from exercises.judging.judge import load
from transformer.loss import LossModule
from transformer.machine.device import Switch, choose_machine
from transformer.machine.turns import interleave
from transformer.terminal.command_line import run
from transformer.training.config import TOY
from transformer.training.mine import NOTHING, TRAINED, Mine
from transformer.training.start import initial_model

VOCAB = 1024


def step_of(mine: Mine, compile: Switch) -> Callable[[], object]:
    """One optimiser step on random tokens."""
    machine = choose_machine("cpu", "auto", compile)
    model = initial_model(TOY, VOCAB, mine)
    loss_module = LossModule(model, bf16=machine.bf16, compiled=machine.compiled)
    accumulator = mine.accumulator(loss_module, mine.optimizer(model, TOY), 1)
    ids = torch.randint(VOCAB, (TOY.batch_size, TOY.seq_length + 1))
    pair = (ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    return lambda: accumulator.step([pair])


def main(parts: tuple[str, ...] = TRAINED, compile: Switch = "on", rounds: int = 15) -> None:
    """Let both take turns.

    Args:
        parts: names of exercises; all that train, unless told otherwise.
        compile: whether torch.compile fuses operations.
        rounds: of one step each.
    """
    modules = {name: load(EXERCISES[name].folder / "solution.py", name) for name in parts}
    steps = {name: step_of(m, compile) for name, m in (("ours", NOTHING), ("mine", Mine(modules)))}
    seconds = interleave(steps, rounds=rounds, warmup=3)
    work = TOY.batch_size * TOY.seq_length
    print_ratios(seconds, "ours", title=f"compilation {compile}", work=work, unit="tokens")


if __name__ == "__main__":
    run(main)
