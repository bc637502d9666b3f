"""From a configuration to a trainer that is ready to go: a new run, or an old one resumed.

flags ──▶ folder ──▶ data and tokenizer ──▶ model on its device ──▶ Trainer
            ▲
            └── resumed: config.json is read first, before anything is built
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from transformer.config import ModelConfig, TrainingConfig, flag
from transformer.data.batch import BatchSource
from transformer.errors import UserError
from transformer.machine.device import Machine
from transformer.machine.memory import check_training
from transformer.machine.processes import Processes
from transformer.machine.saved_values import read_saved
from transformer.model import DecoderOnlyTransformer
from transformer.runs.checkpoint import Checkpoints, checkpoint_step
from transformer.runs.run_folder import RunFolder, config_from_json, config_to_json
from transformer.terminal.progress import Reporter
from transformer.training.data_sources import open_source
from transformer.training.objective import LossModule
from transformer.training.parallel import in_parallel
from transformer.training.scheduler import Plan
from transformer.training.trainer import Trainer

MAY_CHANGE = {
    *("device", "mps", "workers", "cache_dir", "hub_endpoint", "max_cached_shards", "text"),
    *("eval_every", "checkpoint_every", "keep", "patience", "epochs", "steps"),
    *("parallel", "tensorboard"),
}
"""What a resumed run may be told anew; everything else would make it another run."""


def saved_config(folder: RunFolder) -> TrainingConfig:
    """The configuration of a run, what `auto` chose included."""
    return config_from_json(read_saved(folder.config).section("training"))


def check_resumable(saved: TrainingConfig, given: TrainingConfig) -> None:
    """
    Raises:
        UserError: `given` differs from `saved` in what must stay; shows both values.
    """
    differing = [
        f"{flag(field.name)} {getattr(given, field.name)} (the run has "
        f"{getattr(saved, field.name)})"
        for field in fields(TrainingConfig)
        if field.name not in MAY_CHANGE and getattr(saved, field.name) != getattr(given, field.name)
    ]
    if differing:
        raise UserError(
            f"a resumed run keeps its settings, but got {', '.join(differing)}; "
            "leave these flags out, or start a new run"
        )


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


def build(
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
    objective = LossModule(model.to(device), bf16=machine.bf16, compiled=machine.compiled)
    wrapped = in_parallel(objective, config.parallel, processes)
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
