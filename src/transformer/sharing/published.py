"""A folder as other programs publish a model: its configuration, its tensors, nothing that runs.

    config.json
    model.safetensors                 or several, named in model.safetensors.index.json
    tokenizer.json  tokenizer_config.json

Tensors are read one at a time, so that a model is never held twice. A pickle
(`pytorch_model.bin`) is refused: reading one runs the code that is in it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from transformer.errors import UserError
from transformer.machine.saved_values import read_saved

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
DTYPES = ("F32", "F16", "BF16")


class Tensors:
    """The tensors of a folder, by name."""

    def __init__(self, places: Mapping[str, tuple[Any, str]], where: Path) -> None:
        self._places = places  # name -> the open file that has it, and its name there
        self._where = where

    @property
    def names(self) -> set[str]:
        return set(self._places)

    def shape(self, name: str) -> list[int]:
        """
        Raises:
            UserError: there is no such tensor, or it is of a type that is not read.
        """
        if name not in self._places:
            raise UserError(f"{self._where} lacks the tensor {name}")
        file, there = self._places[name]
        tensor = file.get_slice(there)
        dtype = tensor.get_dtype()
        if dtype not in DTYPES:
            raise UserError(f"{self._where}: {name} is of type {dtype}, not {' or '.join(DTYPES)}")
        shape: list[int] = tensor.get_shape()
        return shape

    def read(self, name: str) -> Tensor:
        """In float32, which holds every number of the smaller types.

        Raises:
            UserError: not all of its values are finite.
        """
        file, there = self._places[name]
        tensor: Tensor = file.get_tensor(there).to(torch.float32)
        if tensor.numel() and not all(map(math.isfinite, tensor.aminmax())):
            raise UserError(f"{self._where}: {name} holds values that are not finite numbers")
        return tensor


@contextmanager
def opened_tensors(folder: Path, prefix: str) -> Iterator[Tensors]:
    """All tensors of a folder; where names lack the prefix, they are found with it.

    Raises:
        UserError: there are no weights in safetensors, or they cannot be read.
    """
    with ExitStack() as stack:
        try:
            paths = _shards(folder)
            files = [stack.enter_context(safe_open(path, "pt")) for path in paths]
            places = {name: (file, name) for file in files for name in file.keys()}  # noqa: SIM118
            whole = (prefix, "lm_head.")
            yield Tensors(
                {n if n.startswith(whole) else prefix + n: place for n, place in places.items()},
                folder,
            )
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{folder} holds no safetensors that can be read ({error}); it may be cut short: "
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
