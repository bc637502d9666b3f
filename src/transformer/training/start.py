"""From flags to a trainer that is ready to go: a new run, or an old one resumed.

flags ──▶ folder ──▶ data and tokenizer ──▶ model on its device ──▶ Trainer
            ▲
            └── resumed: config.json is read first, before anything is built
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from transformer.config import ModelConfig
from transformer.data.batch import BatchSource
from transformer.errors import UserError
from transformer.loss import LossModule
from transformer.machine.device import Machine
from transformer.machine.processes import Processes, joined
from transformer.machine.saved_values import read_saved
from transformer.model import DecoderOnlyTransformer
from transformer.runs.checkpoint import Checkpoints, checkpoint_step
from transformer.runs.run_folder import RunFolder, write_json
from transformer.terminal.progress import Reporter
from transformer.training import new_run
from transformer.training.config import TrainingConfig, config_to_json
from transformer.training.data_sources import open_source
from transformer.training.flags import Flags
from transformer.training.memory import check_training
from transformer.training.parallel import wrap_parallel
from transformer.training.scheduler import Plan
from transformer.training.trainer import Trainer


@contextmanager
def started(
    flags: Flags,
    resumed: RunFolder | None,
    checkpoint: Path | None,
    machine: Machine,
    processes: Processes,
) -> Iterator[tuple[Trainer, list[str]]]:
    """The trainer, with its folder locked and its config.json written, and notes for the reader.

    Until all processes have built theirs, an older run in the folder is as it was.
    """
    config = settled(flags.training, machine)
    is_resumed, schedule = resumed is not None, flags.run.new_schedule
    with (
        joined(processes, machine.torch_device(processes.local_rank)),
        opened(flags, resumed, processes) as folder,
    ):
        trainer = build_trainer(
            config, machine, folder, processes, is_resumed=is_resumed, new_schedule=schedule
        )
        notes = []
        if is_resumed:
            notes = [*load_checkpoint(trainer, checkpoint), *check_left_to_train(trainer)]
        if config.compile == "off" and flags.training.compile == "on":
            notes.append("torch.compile does not work here: going on without it")
        processes.wait()  # all are ready: only now the folder becomes this run's
        if processes.is_main and is_resumed:
            write_json(folder.config, description(trainer))
        elif processes.is_main:
            new_run.begin(folder, description(trainer))
        yield trainer, notes


def settled(config: TrainingConfig, machine: Machine) -> TrainingConfig:
    """`config` with every `auto` replaced by what was chosen."""
    return replace(
        config,
        device=machine.device,
        mps=False,
        precision="bf16" if machine.bf16 else "fp32",
        compile="on" if machine.compiled else "off",
    )


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


def make_plan(
    config: TrainingConfig, source: BatchSource, schedule_steps: int | None = None
) -> Plan:
    """Steps of an epoch and of the training; `schedule_steps` is that of a resumed run.

    Raises:
        UserError: an epoch is one pass, but its length is unknown.
    """
    tokens = config.tokens_per_epoch or source.tokens_per_epoch
    if tokens is None:
        raise UserError(
            f"--tokens-per-epoch None means one pass, but nobody knows how many tokens one pass of "
            f"--dataset {config.dataset} has; give a number, such as 100000000"
        )
    steps_per_epoch = -(-tokens // config.tokens_per_step)
    total = config.steps or config.epochs * steps_per_epoch
    return Plan(steps_per_epoch, total, schedule_steps or total)


def build_trainer(
    config: TrainingConfig,
    machine: Machine,
    folder: RunFolder,
    processes: Processes,
    *,
    is_resumed: bool = False,
    new_schedule: bool = False,
) -> Trainer:
    """Everything a training needs. Of the run's folder only the tokenizer is written: a new one
    under its own name in a resumed run (if it has none), aside in a new run."""
    config.check_data()
    if config.accumulation_steps % processes.world_size:
        raise UserError(
            f"--accumulation-steps {config.accumulation_steps} counts the micro-batches of all "
            f"processes, so it must be divisible by their number, {processes.world_size}"
        )
    device = machine.torch_device(processes.local_rank)
    check_training(config, device, processes=processes.world_size)
    reporter = Reporter(speaks=processes.is_main)
    tokenizer_file = folder.tokenizer if is_resumed else folder.new_tokenizer
    with processes.main_first():
        source = open_source(config, tokenizer_file, reporter.notice)
    kept = None
    if is_resumed and not new_schedule:
        saved_plan = read_saved(folder.config).section("plan")
        kept = saved_plan.take("schedule_steps", int, least=1)
    plan = make_plan(config, source, kept)
    vocab_size = source.tokenizer.vocab_size
    check_training(config, device, vocab_size, processes.world_size)
    model = build_model(config, vocab_size)
    loss_module = LossModule(model.to(device), bf16=machine.bf16, compiled=machine.compiled)
    wrapped = wrap_parallel(loss_module, config.parallel, processes)
    return Trainer(config, plan, source, wrapped, model, folder, processes, reporter)


def build_model(config: TrainingConfig, vocab_size: int) -> DecoderOnlyTransformer:
    """A fresh model; the same seed gives the same weights."""
    torch.manual_seed(config.seed)
    return DecoderOnlyTransformer(
        ModelConfig(
            vocab_size=vocab_size,
            d_model=config.d_model,
            n_heads=config.n_heads,
            n_layers=config.n_layers,
            d_ff=config.d_ff,
            max_seq_len=config.seq_length,
            dropout=config.dropout,
        )
    )


def description(trainer: Trainer) -> dict[str, Any]:
    """config.json: what resumes or repeats the run."""
    model, source = trainer.model, trainer.source
    return {
        "training": config_to_json(trainer.config),
        "model": asdict(model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "plan": asdict(trainer.plan),
        "data": {"fingerprint": source.fingerprint, "floor": source.floor},
        "tokenizer": {"name": source.tokenizer.name, "fingerprint": source.tokenizer.fingerprint},
        "versions": {"torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "group": trainer.processes.group,
    }


def load_checkpoint(trainer: Trainer, chosen: Path | None) -> list[str]:
    """Restore the newest whole checkpoint, or the one that was named.

    Returns:
        Warnings about damaged checkpoints that were passed over.
    """
    checkpoints = Checkpoints(trainer.folder.path)
    if chosen is not None:
        step = checkpoint_step(chosen)
        if step is None:
            raise UserError(
                f"--resume {chosen}: a run's checkpoints have names like checkpoint-00000100; "
                "give the copy the name of its step, then it can be resumed"
            )
        trainer.restore(*checkpoints.read(step))
        return []
    found = checkpoints.read_newest()
    if found is None:
        return ["no checkpoint yet: starting from the beginning"]
    snapshot, state, warnings = found
    trainer.restore(snapshot, state)
    return warnings


def check_left_to_train(trainer: Trainer) -> list[str]:
    """A note where a resumed run is at its end already.

    Raises:
        UserError: it is beyond the end that was asked for.
    """
    step, total = trainer.step, trainer.plan.total_steps
    if step < total:
        return []
    path = trainer.folder.path
    told = f"{path} is at step {step:,} already: of {total:,} steps nothing is left to train"
    if step > total:
        raise UserError(f"{told}; ask for more with --steps or --epochs")
    return [f"{told} (more: --steps or --epochs)"]
