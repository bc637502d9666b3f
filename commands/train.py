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
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from transformer.config import TrainingConfig
from transformer.errors import UserError
from transformer.machine.device import Machine, choose
from transformer.machine.interruptions import readable_errors
from transformer.machine.processes import SINGLE, Processes, from_environment, joined
from transformer.runs.find import find, find_group
from transformer.runs.run_folder import RunFolder, write_json
from transformer.runs.samples import sample_text
from transformer.terminal.command_line import INTERRUPTED, parse_flags, run_guarded
from transformer.terminal.progress import describe
from transformer.training import new_run
from transformer.training.presets import preset
from transformer.training.start import (
    build,
    check_left_to_train,
    check_resumable,
    description,
    load_checkpoint,
    saved_config,
)
from transformer.training.trainer import Trainer


@dataclass(frozen=True)
class RunFlags:
    """Which run."""

    name: str | None = None
    """Name of the run: the folder in --runs-dir. Without it, DATASET-1, DATASET-2, ..."""
    runs_dir: Path = Path("runs")
    """Where runs are kept."""
    resume: tuple[Path, ...] | None = None
    """Go on with a run or checkpoint; without a path with --name, else the newest run."""
    overwrite: bool = False
    """Replace a run of the same name."""
    new_schedule: bool = False
    """When resuming with more --epochs or --steps: spread the learning rate over all of them
    instead of staying at its lowest value."""


@dataclass(frozen=True)
class Flags:
    """Train a transformer on stories, on your own text or on FineWeb."""

    run: RunFlags = field(default_factory=RunFlags)
    training: TrainingConfig = field(default_factory=TrainingConfig)


def parse(
    args: list[str], processes: Processes = SINGLE
) -> tuple[Flags, RunFolder | None, Path | None]:
    """Read the command line twice: to learn which run or preset is meant, and then with its
    values as the defaults, so that every explicit flag wins. Processes that torchrun has
    started again go on with the run that they were training."""
    markers = (tyro.conf.OmitArgPrefixes,)
    first = parse_flags(Flags, args=args, config=markers)
    check_run_flags(first.run)
    folder, checkpoint, defaults = None, None, preset(first.training)
    if processes.restarts:
        folder = find_group(first.run.runs_dir, processes.group)
    if folder is None and first.run.resume is not None:
        path = first.run.resume[0] if first.run.resume else None
        folder, checkpoint = find(first.run.runs_dir, first.run.name, path)
    if folder is not None:
        defaults = saved_config(folder)
    flags = parse_flags(Flags, args=args, config=markers, default=Flags(RunFlags(), defaults))
    if folder is not None:
        check_resumable(defaults, flags.training)
    return flags, folder, checkpoint


def check_run_flags(run: RunFlags) -> None:
    """
    Raises:
        UserError: flags that contradict each other.
    """
    if run.resume is None and run.new_schedule:
        raise UserError("--new-schedule goes with --resume: a new run has a new schedule anyway")
    if run.resume is None:
        return
    if run.overwrite:
        raise UserError("--resume goes on with a run, --overwrite replaces it: give one of them")
    if len(run.resume) > 1:
        paths = ", ".join(map(str, run.resume))
        raise UserError(f"--resume takes one run or checkpoint, but got {paths}")
    if run.resume and run.name is not None:
        raise UserError(f"--resume {run.resume[0]} names the run; leave out --name {run.name}")


def main(args: list[str]) -> int:
    processes = from_environment()
    flags, resumed, checkpoint = parse(args, processes)
    if processes.is_main and "auto" in (flags.training.precision, flags.training.compile):
        print("Measuring what is fastest here: precision, compilation …", flush=True)
    machine = choose(flags.training)
    config = machine.settle(flags.training)
    with (
        readable_errors(),
        joined(processes, machine.torch_device(processes.local_rank)),
        opened(flags, resumed, processes) as folder,
    ):
        is_resumed, schedule = resumed is not None, flags.run.new_schedule
        trainer = build(
            config, machine, folder, processes, is_resumed=is_resumed, new_schedule=schedule
        )
        notes = []
        if is_resumed:
            notes = [*load_checkpoint(trainer, checkpoint), *check_left_to_train(trainer)]
        if config.compile == "off" and flags.training.compile == "on":
            notes.append("torch.compile does not work here: going on without it")
        processes.wait()  # all are ready: only now the folder becomes this run's
        if processes.is_main:
            print("\n".join([*notes, describe_start(trainer, machine)]), flush=True)
            if is_resumed:
                write_json(folder.config, description(trainer))
            else:
                new_run.begin(folder, description(trainer))
        with told_how_to_go_on(trainer):
            reason = trainer.train()
        if processes.is_main:
            print(describe_end(trainer, reason))
    return INTERRUPTED if reason == "interrupted" else 0


@contextmanager
def opened(flags: Flags, resumed: RunFolder | None, processes: Processes) -> Iterator[RunFolder]:
    """The folder of the run, locked by rank 0: of the one that is resumed, or of a new one."""
    if resumed is not None:
        if processes.is_main:
            with resumed.lock():
                yield resumed
        else:
            yield resumed
    elif processes.is_main:
        run = flags.run
        named = (run.runs_dir, run.name, flags.training.dataset, run.overwrite)
        with new_run.new_folder(*named) as folder:
            processes.share(str(folder.path))
            yield folder
    else:
        yield RunFolder(Path(processes.share("")))


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
