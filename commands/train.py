"""Train a transformer.

    uv run python commands/train.py --dataset toy                       minutes on a laptop
    uv run python commands/train.py --dataset text --text my/notes      your own files
    uv run python commands/train.py --quick                             FineWeb, small
    uv run python commands/train.py                                     FineWeb
    uv run python commands/train.py --resume                            go on where it stopped

What happens
------------
    flags ─▶ preset ─▶ configuration ─▶ runs/NAME/config.json
                                             │
    data set ─▶ tokenizer ─▶ batches         │        transformer (d_model, n_layers, ...)
                               │             ▼             │
                               └──────▶  Trainer  ◀────────┘
                                             │
        ┌────────────────────────────────────┴──────────────────────────────┐
        │ for each step:                                                    │
        │     for each of --accumulation-steps micro-batches:               │
        │         loss = how surprised the model is by the next tokens      │
        │         gradient += its share                                     │
        │     shorten the gradient to length 1, set the learning rate       │
        │     AdamW moves every weight                                      │
        │ now and then: validate, write a sample, draw the curves, save     │
        └───────────────────────────────────────────────────────────────────┘

What you see
------------
At the start the loss is about ln(vocabulary): the model finds every token equally likely (10.8
for 50,281 tokens, 6.9 for 1,024). Within some dozen steps it learns which tokens are frequent at
all, then pairs, then words and grammar. The line after each validation reads like this:

    step 400, epoch 0.80: train 1.4302, validation 1.4517 nats/token, perplexity 4.27
      learning: validation loss falls: keep going

*train* is the mean loss since the last validation, on text the model learns from; *validation*
is measured on text it never learns from. Their distance is what it has learned by heart.
Perplexity is exp(loss): 4.27 means as undecided as between 4.27 equally likely tokens. On the toy
stories there is also a *floor*, the loss of one who knows the grammar that wrote them: nobody can
do better, and "104 %" says how close the model has come. The status in the second line compares
the trends of both curves (learning, underfitting, overfitting, ...); src/transformer/
training_utils.py explains it, and how accumulation makes a large batch out of small ones.

Which flags matter
------------------
    --learning-rate       too low: slow; too high: the loss jumps or becomes nan. The first to try
    --batch-size          what fits into memory; lower it when memory runs out ...
    --accumulation-steps  ... and raise this in turn: the product is what the optimiser sees
    --d-model --n-layers  the size: more of both learns more from more text, and is slower
    --seq-length          how far back the model can look
    --dropout             against learning by heart, when the text is read many times
    --precision --compile auto measures and decides; fp32 and off are the plain way

A run is a folder: runs/NAME. Ctrl-C saves and prints the command that goes on; after a crash or a
power cut `--resume` goes on from the last checkpoint, and the result is the same, bit for bit,
as if nothing had happened. Several processes: see README.md.
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from transformer.machine.device import Machine, choose_machine
from transformer.machine.interruptions import readable_errors
from transformer.machine.processes import from_environment
from transformer.runs.samples import sample_text
from transformer.terminal.command_line import INTERRUPTED, run_guarded
from transformer.terminal.progress import describe
from transformer.training.flags import parse
from transformer.training.start import started
from transformer.training.trainer import Trainer


def main(args: list[str]) -> int:
    processes = from_environment()
    flags, resumed, checkpoint = parse(args, processes)
    wanted = flags.training
    if processes.is_main and "auto" in (wanted.precision, wanted.compile):
        print("Measuring what is fastest here: precision, compilation …", flush=True)
    device = "mps" if wanted.mps else wanted.device
    machine = choose_machine(device, wanted.precision, wanted.compile)
    with (
        readable_errors(),
        started(flags, resumed, checkpoint, machine, processes) as (trainer, notes),
    ):
        if processes.is_main:
            print("\n".join([*notes, describe_start(trainer, machine)]), flush=True)
        with told_how_to_go_on(trainer):
            reason = trainer.train()
        if processes.is_main:
            print(describe_end(trainer, reason))
    return INTERRUPTED if reason == "interrupted" else 0


@contextmanager
def told_how_to_go_on(trainer: Trainer) -> Iterator[None]:
    """Whatever stops the training, the last good checkpoint is named."""
    try:
        yield
    except BaseException:
        steps = trainer.checkpoints.steps()
        if steps and trainer.processes.is_main:
            path = trainer.checkpoints.folder(steps[-1])
            print(
                f"The last checkpoint is {path}. Go on with:\n"
                f"  {command()} --resume {trainer.folder.path}",
                file=sys.stderr,
            )
        raise


def describe_start(trainer: Trainer, machine: Machine) -> str:
    config, plan = trainer.config, trainer.plan
    parameters = sum(p.numel() for p in trainer.model.parameters())
    return (
        f"Training {trainer.folder.path}: {parameters:,} parameters on {config.dataset}, "
        f"{plan.total_steps:,} steps of {config.tokens_per_step:,} tokens "
        f"({plan.total_steps / plan.steps_per_epoch:.1f} epochs), from step {trainer.step}.\n"
        f"{machine}"
    )


def describe_end(trainer: Trainer, reason: str) -> str:
    path = trainer.folder.path
    quoted = shlex.quote(str(path))
    if reason == "interrupted":
        return f"Saved at step {trainer.step}. Go on with:\n  {command()} --resume {quoted}"
    best = trainer.history.best
    lines = []
    if best is not None:
        lines.append(f"Best {describe(best)}")
    if not trainer.is_sharded:
        sample = sample_text(trainer.model, trainer.source.tokenizer, trainer.config.seed + 1)
        lines.append(f"\nIt writes:\n\n{sample.strip()}\n")
    lines.append(f"Everything lies in {path}; curves.png shows how it learned.")
    lines.append(f'Next: uv run python commands/generate.py {quoted} --prompt "Once upon a time"')
    return "\n".join(lines)


def command() -> str:
    return f"uv run python {shlex.quote(sys.argv[0])}"


if __name__ == "__main__":
    run_guarded(lambda: main(sys.argv[1:]))
