"""A folder as other programs publish a model: its configuration, its tensors, nothing that runs.

    config.json
    model.safetensors                 or several, named in model.safetensors.index.json
    tokenizer.json  tokenizer_config.json

Tensors are read one at a time, so that a model is never held twice. A pickle
(`pytorch_model.bin`) is refused: reading one runs the code that is in it.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from transformer.errors import UserError
from transformer.machine.saved_values import read_saved

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
DTYPES = ("F32", "F16", "BF16")


class Tensors:
    """The tensors of a folder, by name; where names lack `prefix`, they are found with it.

    Raises:
        UserError: there are no weights in safetensors, or they cannot be read.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._places: dict[str, tuple[Path, str]] = {}  # name -> file, and the name in it
        self._headers: dict[str, tuple[str, list[int]]] = {}  # name -> type and shape
        for path in _shards(folder):
            with self._opened(path) as file:
                for there in file.keys():  # noqa: SIM118
                    whole = there.startswith((prefix, "lm_head."))
                    name = there if whole else prefix + there
                    header = file.get_slice(there)
                    self._places[name] = path, there
                    self._headers[name] = header.get_dtype(), header.get_shape()

    @property
    def names(self) -> set[str]:
        return set(self._places)

    def shape(self, name: str) -> list[int]:
        """
        Raises:
            UserError: there is no such tensor, or it is of a type that is not read.
        """
        if name not in self._headers:
            raise UserError(f"{self._folder} lacks the tensor {name}")
        dtype, shape = self._headers[name]
        if dtype not in DTYPES:
            raise UserError(f"{self._folder}: {name} is of type {dtype}, not {' or '.join(DTYPES)}")
        return shape

    def read(self, name: str) -> Tensor:
        """In float32, which holds every number of the smaller types.

        The file is closed again: while it is open, all that was read of it takes memory.

        Raises:
            UserError: not all of its values are finite.
        """
        path, there = self._places[name]
        with self._opened(path) as file:
            tensor: Tensor = file.get_tensor(there).to(torch.float32, copy=True)
        if tensor.numel() and not all(map(math.isfinite, tensor.aminmax())):
            raise UserError(f"{self._folder}: {name} holds values that are not finite numbers")
        return tensor

    @contextmanager
    def _opened(self, path: Path) -> Iterator[Any]:
        try:
            with safe_open(path, "pt") as file:
                yield file
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path} is no safetensors file that can be read ({error}); it may be cut short: "
                "copy or download it again"
            ) from error


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if index.is_file():
        found = shard_names(index)
        if missing := [name for name in found if not (folder / name).is_file()]:
            raise UserError(f"{folder} lacks {missing[0]}, which {INDEX} names")
        return [folder / name for name in found]
    if pickle := next((name for name in PICKLES if (folder / name).exists()), None):
        raise UserError(pickled(str(folder), pickle))
    raise UserError(f"{folder} has no {WEIGHTS} and no {INDEX}")


def pickled(where: str, name: str) -> str:
    """What to do about weights that only a pickle holds."""
    return (
        f"{where} has its weights as {name}, a pickle: reading it would run any code in it. Where "
        "you trust it, the library transformers writes the other form: "
        "AutoModelForCausalLM.from_pretrained(…).save_pretrained(FOLDER)"
    )


def shard_names(index: Path) -> list[str]:
    """The files that an index names.

    Raises:
        UserError: it is damaged, or names a file elsewhere.
    """
    places = read_saved(index).take("weight_map", dict)
    names = sorted(set(map(str, places.values())))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index} names {json.dumps(name)}, not a file beside it")
    return names
