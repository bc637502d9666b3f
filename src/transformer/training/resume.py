"""Where a training run begins: at step 0, or at a checkpoint.

Until all processes have built their parts, an older run in the folder is as it was.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from transformer.errors import UserError
from transformer.runs.checkpoint import Checkpoints, checkpoint_step
from transformer.runs.run_folder import write_json
from transformer.training import new_run
from transformer.training.config import config_to_json
from transformer.training.forgetting import describe_before, measure_before
from transformer.training.start import Run
from transformer.training.trainer import Trainer


def begin(run: Run, trainer: Trainer) -> list[str]:
    """All is built: take over the checkpoint of a resumed run, and make the folder this run's.

    Returns:
        Notes for the reader.
    """
    notes = list(run.notes)
    if run.is_resumed:
        notes = [*load_checkpoint(trainer, run.checkpoint), *check_left_to_train(trainer), *notes]
    elif run.origin is not None:
        trainer.origin = measure_before(trainer, run.origin)
        V = trainer.model.config.vocab_size
        notes.append(describe_before(trainer.origin, run.config.dataset, V))
    run.processes.wait()  # all are ready: only now the folder becomes this run's
    if run.processes.is_main and trainer.step < trainer.plan.total_steps:
        run.folder.before_after.unlink(missing_ok=True)  # of an earlier end
    if run.processes.is_main and run.is_resumed:
        write_json(run.folder.config, description(trainer))
    elif run.processes.is_main:
        new_run.begin(run.folder, description(trainer))
    return notes


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
        "yours": trainer.mine.hashes,
        **({"from": trainer.origin.to_json()} if trainer.origin is not None else {}),
        "threads": torch.get_num_threads(),
        "group": trainer.processes.group,
    }


def load_checkpoint(trainer: Trainer, chosen: Path | None) -> list[str]:
    """Restore the newest whole checkpoint, or the one that was named.

    Returns:
        Warnings about damaged checkpoints that were passed over, or which later ones go.
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
        gone = ", ".join(checkpoints.folder(s).name for s in checkpoints.steps() if s > step)
        return [f"back to step {step:,}; later checkpoints are removed: {gone}"] if gone else []
    found = checkpoints.read_newest()
    if found is None:
        return ["no checkpoint yet: starting from the beginning"]
    snapshot, state, warnings = found
    trainer.restore(snapshot, state)
    return warnings


def check_left_to_train(trainer: Trainer) -> list[str]:
    """A note where a resumed run is at its end already.

    Raises:
        UserError: it is beyond the end that was asked for, or later checkpoints would be removed
            for nothing.
    """
    step, total = trainer.step, trainer.plan.total_steps
    if step < total:
        return []
    more = "--steps" if trainer.config.steps else "--steps or --epochs"  # steps win over epochs
    is_newest = trainer.checkpoints.steps()[-1] == step
    path = trainer.folder.path if is_newest else trainer.checkpoints.folder(step)
    told = f"{path} is at step {step:,} already: of {total:,} steps nothing is left to train"
    if step > total or not is_newest:
        raise UserError(f"{told}; ask for more with {more}")
    return [f"{told} (more: {more})"]
