"""From a configuration to a trainer that is ready to go: a new run, or an old one resumed.

flags ──▶ folder ──▶ data and tokenizer ──▶ model on its device ──▶ Trainer
            ▲
            └── resumed: config.json is read first, before anything is built
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from transformer.checkpoint import Checkpoints
from transformer.config import ModelConfig, TrainingConfig, flag
from transformer.device import Machine
from transformer.errors import UserError
from transformer.memory import check_training
from transformer.model import DecoderOnlyTransformer
from transformer.objective import LossModule
from transformer.parallel import in_parallel
from transformer.processes import Processes
from transformer.progress import Reporter
from transformer.run_folder import (
    RunFolder,
    config_from_json,
    config_to_json,
    read_json,
    write_json,
)
from transformer.sources import Source, open_source
from transformer.trainer import Plan, Trainer

MAY_CHANGE = {
    *("device", "mps", "workers", "cache_dir", "hub_endpoint", "max_cached_shards", "text"),
    *("eval_every", "checkpoint_every", "keep", "patience", "epochs", "steps"),
    *("parallel", "tensorboard"),
}
"""What a resumed run may be told anew; everything else would make it another run."""


def saved_config(folder: RunFolder) -> TrainingConfig:
    """The configuration of a run, what `auto` chose included."""
    try:
        return config_from_json(read_json(folder.config)["training"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder.config} is damaged: {error}") from error


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


def make_plan(config: TrainingConfig, source: Source, schedule_steps: int | None = None) -> Plan:
    """Steps of an epoch and of the training; `schedule_steps` is that of a resumed run."""
    tokens = config.tokens_per_epoch
    if tokens is None:  # one pass, where the data has an end
        tokens = getattr(source, "tokens_per_epoch", 100_000_000)
    steps_per_epoch = -(-tokens // config.tokens_per_step)
    total = config.steps or config.epochs * steps_per_epoch
    return Plan(steps_per_epoch, total, schedule_steps or total)


def build(
    config: TrainingConfig,
    machine: Machine,
    folder: RunFolder,
    processes: Processes,
    *,
    new_schedule: bool = False,
) -> Trainer:
    """Everything a training needs, and config.json written: what resumes or repeats it."""
    config.check_data()
    if config.accumulation_steps % processes.world_size:
        raise UserError(
            f"--accumulation-steps {config.accumulation_steps} counts the micro-batches of all "
            f"processes, so it must be divisible by their number, {processes.world_size}"
        )
    device = machine.torch_device(processes.local_rank)
    check_training(config, device, processes=processes.world_size)
    reporter = Reporter(speaks=processes.is_main)
    with processes.main_first():
        source = open_source(config, folder.tokenizer, reporter.notice)
    before = read_json(folder.config) if folder.config.exists() else {}
    kept = None if new_schedule else before.get("plan", {}).get("schedule_steps")
    plan = make_plan(config, source, kept)
    vocab_size = source.tokenizer.vocab_size
    check_training(config, device, vocab_size, processes.world_size)
    model = build_model(config, vocab_size)
    objective = LossModule(model.to(device), bf16=machine.bf16, compiled=machine.compiled)
    wrapped = in_parallel(objective, config.parallel, processes)
    if processes.is_main:
        write_json(folder.config, _description(config, plan, source, model, processes))
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


def _description(
    config: TrainingConfig,
    plan: Plan,
    source: Source,
    model: DecoderOnlyTransformer,
    processes: Processes,
) -> dict[str, Any]:
    return {
        "training": config_to_json(config),
        "model": asdict(model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "plan": asdict(plan),
        "data": {"fingerprint": source.fingerprint, "floor": source.floor},
        "tokenizer": {"name": source.tokenizer.name, "fingerprint": source.tokenizer.fingerprint},
        "versions": {"torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "group": processes.group,
    }


def load_checkpoint(trainer: Trainer, chosen: Path | None) -> list[str]:
    """Restore the newest whole checkpoint, or the one that was named.

    Returns:
        Warnings about damaged checkpoints that were passed over.
    """
    checkpoints = Checkpoints(trainer.folder.path)
    if chosen is not None:
        trainer.restore(*checkpoints.read(int(chosen.name.removeprefix("checkpoint-"))))
        return []
    found = checkpoints.read_newest()
    if found is None:
        return ["no checkpoint yet: starting from the beginning"]
    snapshot, state, warnings = found
    trainer.restore(snapshot, state)
    return warnings
