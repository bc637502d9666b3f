"""A film of a training: its weights at N steps, in half precision, in one file.

    runs/NAME/film/00000112.safetensors    while it trains: one file for each frame
    runs/NAME/film.safetensors             at the end: each tensor with the frames as its first axis
        metadata   format "transformer film" · version "1" · config · tokenizer
                   · film: the optimiser step of each frame, and what training measured (`thinned`)

Frame i of 0 … N − 1 is taken after step S · (i / (N − 1))² of S, so that frames are dense early,
where much happens in a few steps, and sparse late. Frame 0 is the random beginning.

Frames are kept as checkpoints are: a run that was killed drops what came after its checkpoint and
takes those frames again, with the same weights. The page plays the film (Step 7).
"""

import json
import math
import os
import shutil
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from transformer.config import ModelConfig
from transformer.data.tokenizer import Tokenizer, tokenizer_from_metadata
from transformer.errors import UserError
from transformer.machine.files import whole_folder, written_whole
from transformer.runs.implied_tensors import tensor_shapes
from transformer.runs.metrics import Record, is_evaluation
from transformer.runs.model_file import VERSION, opened, read_config, read_object

FORMAT = "transformer film"
POINTS = 300  # of the curves that go with a film


def film_steps(total: int, frames: int) -> list[int]:
    """The steps after which a frame is taken: no step twice, so fewer frames for a short training.

    >>> film_steps(1800, frames=6)
    [0, 72, 288, 648, 1152, 1800]
    >>> film_steps(100, frames=21)[:6]
    [0, 1, 2, 3, 4, 6]
    """
    steps = [0]
    for i in range(1, frames):
        steps.append(max(steps[-1] + 1, round(total * (i / (frames - 1)) ** 2)))
    return [step for step in steps if step <= total]


def thinned(records: Sequence[Record], total: int) -> dict[str, list[list[float | None]]]:
    """Of metrics.jsonl what is drawn behind the film: some steps, chosen like frames, as [step,
    loss, learning rate, length of the gradient], and all evaluations, as [step, loss]."""
    chosen: Container[int] = set(film_steps(total, POINTS))
    steps = ("step", "train_loss", "learning_rate", "grad_norm")
    return {
        "train": [
            [r[name] for name in steps]
            for r in records
            if not is_evaluation(r) and r["step"] in chosen
        ],
        "validation": [[r["step"], r["val_loss"]] for r in records if is_evaluation(r)],
    }


class FilmRecorder:
    """Takes the frames of a run, and makes one file of them."""

    def __init__(self, run: Path, total: int, frames: int) -> None:
        self.folder, self.path = run / "film", run / "film.safetensors"
        self.rest = run / ".unfinished-film"
        self.total, self.steps = total, frozenset(film_steps(total, frames))

    def begin(self, step: int) -> None:
        """A run starts or is resumed at `step`: later frames will be taken again."""
        shutil.rmtree(self.rest, ignore_errors=True)  # killed while it removed them
        if step == self.total:
            return
        if self.path.exists():
            if not self.folder.exists():
                self._unfold()
            self.path.unlink()
        for frame in self._frames():
            if int(frame.stem) > step:
                frame.unlink()

    def take(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Keep these weights as the frame of `step`."""
        with written_whole(self.folder / f"{step:08d}.safetensors") as temporary:
            halves = {name: w.to(torch.float16).contiguous() for name, w in weights.items()}
            save_file(halves, temporary)

    def finish(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer,
        records: Sequence[Record],
        yours: Mapping[str, str] | None = None,
    ) -> None:
        """Make one file of the frames."""
        frames = self._frames()
        if not frames:
            return  # it was made before
        metadata = {
            "format": FORMAT,
            "version": VERSION,
            "config": json.dumps(asdict(config)),
            "tokenizer": json.dumps(tokenizer.to_metadata()),
            "film": json.dumps(
                {"steps": [int(f.stem) for f in frames], **thinned(records, self.total)}
            ),
            **({"yours": json.dumps(dict(yours))} if yours else {}),
        }
        with written_whole(self.path) as temporary:
            _write_stacked(temporary, frames, metadata)
        os.replace(self.folder, self.rest)  # at once: a part of them would be taken for the film
        shutil.rmtree(self.rest)

    def _frames(self) -> list[Path]:
        return sorted(self.folder.glob("*.safetensors"))

    def _unfold(self) -> None:
        """The frames of a film, as files again, for a run that goes on."""
        film = read_film(self.path)
        with whole_folder(self.folder, self.path.stat().st_size) as unfinished:
            for i, step in enumerate(film.steps):
                save_file(film.weights(i), unfinished / f"{step:08d}.safetensors")


def _write_stacked(path: Path, frames: Sequence[Path], metadata: Mapping[str, str]) -> None:
    """The format of safetensors (the length of a JSON header, the header, the bytes of the
    tensors), one frame after the other: a whole film need not fit into memory."""
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    with safe_open(frames[0], framework="pt") as first:
        for name in first.keys():  # noqa: SIM118
            shape = [len(frames), *first.get_slice(name).get_shape()]
            start, end = end, end + 2 * math.prod(shape)
            header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        data = file.write(len(text).to_bytes(8, "little") + text)  # where it begins
        for i, frame in enumerate(frames):
            for name, tensor in load_file(frame).items():
                file.seek(data + header[name]["data_offsets"][0] + i * tensor.nbytes)
                file.write(tensor.numpy().tobytes())


@dataclass(frozen=True)
class Film:
    """A film.safetensors whose names and shapes are those that its configuration implies."""

    path: Path
    config: ModelConfig
    steps: list[int]
    metadata: dict[str, str]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return tokenizer_from_metadata(read_object(self.path, self.metadata, "tokenizer"))

    def weights(self, frame: int) -> dict[str, Tensor]:
        """The weights of one frame, in float16; for `load_state_dict` as those of a model."""
        with opened(self.path) as file:
            names = list(file.keys())
            return {name: file.get_slice(name)[frame].clone() for name in names}


def read_film(path: Path) -> Film:
    """
    Raises:
        UserError: there is no such file, it is damaged, or it is no film.
    """
    with opened(path) as file:
        metadata = file.metadata() or {}
        config = read_config(path, metadata, FORMAT)
        found = {
            name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118
        }
    steps = read_object(path, metadata, "film").get("steps")
    if not (isinstance(steps, list) and steps and all(type(step) is int for step in steps)):
        raise UserError(f"{path}: its steps must be whole numbers, but are {str(steps)[:60]}")
    for name, shape in tensor_shapes(config).items():
        if found.pop(name, None) != ("F16", [len(steps), *shape]):
            raise UserError(
                f"{path}: {name} must be {len(steps)} frames of {shape} in half precision"
            )
    if found:
        raise UserError(f"{path} has a tensor that the model does not: {min(found)}")
    return Film(path, config, steps, metadata)
