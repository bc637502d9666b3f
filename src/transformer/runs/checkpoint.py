"""Checkpoints: everything a run needs to continue as if nothing had happened.

    checkpoint-00001000/
      model.safetensors            the weights, enough by itself to generate with
      training_state.safetensors   AdamW's two means and step count for every weight, or
                                   Muon's momentum
      training_state.json          step, position in the data, hashes of the two files above

What is *not* there because it follows from the rest: the learning rate (a function of the
step) and the random states (dropout is seeded from seed, step and micro-batch; samples and
data have generators of their own). A checkpoint is taken between optimiser steps, where no
gradient is half accumulated.

A checkpoint is written whole or not at all: into a folder with another name, each file flushed
to the disk; then the folder is renamed, and then `latest` points to it. A process killed in
between leaves an unfinished folder that the next start removes. Nothing is ever unpickled.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.machine.files import hash_file, whole_folder
from transformer.machine.saved_values import Saved, read_saved
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import FILE_NAME as MODEL
from transformer.runs.model_file import save_model
from transformer.runs.run_folder import write_whole

MOMENTS, STATE = "training_state.safetensors", "training_state.json"
FOLDER = re.compile(r"checkpoint-(\d{8,16})", re.ASCII)
ADAMW, MUON = ("exp_avg", "exp_avg_sq", "step"), ("momentum",)
"""What the optimisers remember of a weight."""


@dataclass(frozen=True)
class Snapshot:
    """All of a run's state between two optimiser steps, on the CPU."""

    weights: dict[str, Tensor]
    moments: dict[str, Tensor]

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(t.nbytes for t in (*self.weights.values(), *self.moments.values()))


def take_snapshot(model: nn.Module, optimizer: Optimizer) -> Snapshot:
    """Whole tensors, even where FSDP has cut them into pieces (then all ranks must call this)."""
    kinds = _kinds(optimizer)
    moments = {
        f"{kind}.{name}": _whole(optimizer.state[parameter][kind])
        for name, parameter in model.named_parameters()
        for kind in kinds.get(parameter, ())
        if kind in optimizer.state[parameter]
    }
    return Snapshot(whole_weights(model), moments)


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights alone, in the same way."""
    return {name: _whole(p) for name, p in model.named_parameters()}


def restore(model: nn.Module, optimizer: Optimizer, snapshot: Snapshot) -> None:
    """The inverse of `take_snapshot`.

    Raises:
        UserError: it was taken from a model with other tensors.
    """
    parameters = dict(model.named_parameters())
    kinds = _kinds(optimizer)
    _check_shapes({name: (p, kinds.get(p, ())) for name, p in parameters.items()}, snapshot)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(_like(parameter, snapshot.weights[name]))
            for kind in kinds.get(parameter, ()) if snapshot.moments else ():  # none before step 1
                saved = snapshot.moments[f"{kind}.{name}"]
                optimizer.state[parameter][kind] = (
                    saved.to(parameter.device) if kind == "step" else _like(parameter, saved)
                )


def _kinds(optimizer: Optimizer) -> dict[nn.Parameter, tuple[str, ...]]:
    """What is remembered of each weight: only Muon's groups have a momentum."""
    return {
        parameter: MUON if "momentum" in group else ADAMW
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def _check_shapes(
    parameters: dict[str, tuple[nn.Parameter, tuple[str, ...]]], snapshot: Snapshot
) -> None:
    expected = {name: list(parameter.shape) for name, (parameter, _) in parameters.items()}
    moments = {
        f"{kind}.{name}": [] if kind == "step" else expected[name]
        for name, (_, kinds) in parameters.items()
        for kind in kinds
    }
    for wanted, saved in ((expected, snapshot.weights), (moments, snapshot.moments)):
        if not saved and wanted is moments:
            continue
        for name in sorted(wanted.keys() | saved.keys()):
            ours = wanted.get(name, "nothing")
            found = list(saved[name].shape) if name in saved else "nothing"
            if found != ours:
                raise UserError(
                    f"the checkpoint does not fit the model that config.json describes: {name} has "
                    f"the shape {found} in the checkpoint, {ours} in the model"
                )


def _whole(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def _like(place: Tensor, saved: Tensor) -> Tensor:
    """`saved` on the device of `place`, and cut into pieces like it."""
    if isinstance(place, DTensor):
        return distribute_tensor(saved.to(place.device), place.device_mesh, place.placements)
    return saved.to(place.device)


class Checkpoints:
    """The checkpoint folders of one run."""

    def __init__(self, run: Path, keep: int = 2, yours: Mapping[str, str] | None = None) -> None:
        self.run = run
        self.keep = keep
        self.yours = yours  # parts that a learner wrote

    def folder(self, step: int) -> Path:
        return self.run / f"checkpoint-{step:08d}"

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, in order. Copies under other names do not count."""
        found = (checkpoint_step(path) for path in self.run.glob("checkpoint-*") if path.is_dir())
        return sorted(step for step in found if step is not None)

    def write(
        self,
        snapshot: Snapshot,
        model: DecoderOnlyTransformer,
        tokenizer: Tokenizer,
        state: dict[str, Any],
    ) -> None:
        """Write the checkpoint of `state["step"]`, then remove those no longer kept."""
        step = state["step"]
        final = self.folder(step)
        try:
            with whole_folder(final, snapshot.size) as unfinished:
                weights = snapshot.weights
                save_model(unfinished / MODEL, model, tokenizer, step, weights, self.yours)
                save_file(snapshot.moments, unfinished / MOMENTS)
                hashes = {name: hash_file(unfinished / name) for name in (MODEL, MOMENTS)}
                whole = json.dumps({"version": 1, **state, "sha256": hashes}, indent=2)
                (unfinished / STATE).write_text(whole + "\n", encoding="utf-8")
            self._point(state)
        except UserError as error:
            raise UserError(f"{error}; {self._what_remains()}") from error
        self._prune(state["best_step"])

    def _what_remains(self) -> str:
        steps = self.steps()
        if not steps:
            return f"{self.run} has no checkpoint yet"
        return (
            f"{self.folder(steps[-1])} is whole: continue from it with --resume "
            f"{quote(str(self.run))}"
        )

    def _point(self, state: dict[str, Any]) -> None:
        write_whole(self.run / "latest", self.folder(state["step"]).name + "\n")
        if state["best_step"] is not None:
            write_whole(self.run / "best", self.folder(state["best_step"]).name + "\n")

    def _prune(self, best_step: int | None) -> None:
        for step in self.steps()[: -self.keep]:
            if step != best_step:
                self._remove(step)

    def _remove(self, step: int) -> None:
        """Renamed first: a process killed in between leaves no half checkpoint."""
        folder = self.folder(step)
        if folder.is_symlink():
            folder.unlink()  # what it points to is not ours
            return
        unfinished = self.run / f".unfinished-{folder.name}"
        shutil.rmtree(unfinished, ignore_errors=True)
        os.replace(folder, unfinished)
        shutil.rmtree(unfinished)

    def read(self, step: int) -> tuple[Snapshot, dict[str, Any]]:
        """A checkpoint, its files compared with their hashes.

        Raises:
            UserError: it is damaged or incomplete.
        """
        folder = self.folder(step)
        saved = read_saved(folder / STATE)
        _check_state(saved, step)
        hashes = saved.section("sha256")
        for name in (MODEL, MOMENTS):
            expected = hashes.take(name, str)
            if not (folder / name).is_file() or hash_file(folder / name) != expected:
                raise UserError(f"{folder / name} is missing or damaged")
        try:
            return Snapshot(load_file(folder / MODEL), load_file(folder / MOMENTS)), saved.values
        except SafetensorError as error:
            raise UserError(f"{folder} is damaged: {error}") from error

    def read_newest(self) -> tuple[Snapshot, dict[str, Any], list[str]] | None:
        """The newest checkpoint that is whole, with a warning for each that is not.

        None if there is none at all.
        """
        warnings: list[str] = []
        for step in reversed(self.steps()):
            try:
                return *self.read(step), warnings
            except UserError as error:
                warnings.append(f"{error}; falling back to the checkpoint before it")
        if warnings:
            raise UserError("; ".join(warnings) + ": there is none")
        return None

    def truncate_after(self, step: int) -> None:
        """Remove what is unfinished, and checkpoints after `step`, which will be made again."""
        for path in self.run.glob(".unfinished-checkpoint-*"):
            shutil.rmtree(path)
        for path in self.run.glob(".*.part"):
            path.unlink()
        for later in (s for s in self.steps() if s > step):
            self._remove(later)


def checkpoint_step(folder: Path) -> int | None:
    """The step in the name of a checkpoint's folder; None where it is not named as one."""
    match = FOLDER.fullmatch(folder.name)
    return int(match[1]) if match and folder.name == f"checkpoint-{int(match[1]):08d}" else None


def _check_state(saved: Saved, step: int) -> None:
    """
    Raises:
        UserError: something that training needs in order to continue is missing or impossible.
    """
    if saved.take("version", int) != 1:
        raise UserError(
            f"{saved.where} has version {saved.values['version']}, this program reads 1"
        )
    if saved.take("step", int, least=0) != step:
        raise UserError(f"{saved.where} is of step {saved.values['step']}, its folder of {step}")
    for name in ("tokens", "skipped"):
        saved.take(name, int, least=0)
    saved.take("best_step", int | None, least=1)
    saved.take("best_loss", float | None, least=0, default=None)  # older ones do not have it
    saved.take("source_fingerprint", str)
    saved.take("source_state", dict if step else dict | None)
