"""Which tensors a configuration implies, so that nothing is built whose size a file only claims."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from transformer.config import ModelConfig
from transformer.errors import UserError
from transformer.ladder.build import parts_for
from transformer.machine.shapes import shapes_only
from transformer.model import DecoderOnlyTransformer

LARGEST = 2**28  # for any size in a configuration, and for the values of the position table:
# 1 GiB, the only memory of a model for which the file need not hold a tensor
DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def check_sizes(path: Path, config: ModelConfig) -> None:
    """Nothing is built whose size only the configuration claims.

    Raises:
        UserError: a size is impossible; names it.
    """
    given = {**vars(config.variant), **vars(config)}
    sizes = {name: value for name, value in given.items() if isinstance(value, int)}
    sizes["max_seq_len · d_model"] = config.max_seq_len * config.d_model
    sizes["max_seq_len · head_size"] = config.max_seq_len * config.head_size
    for name, value in sizes.items():
        if value > LARGEST:
            raise UserError(f"{path}: {name} is {value}, more than this program loads ({LARGEST})")


def tensor_shapes(config: ModelConfig) -> dict[str, list[int]]:
    """Name and shape of every tensor of a model, as the module itself makes them. The tables of
    sinusoids and rotations are computed and never stored, so they are not made here."""
    stored = parts_for(config)
    if config.variant.positions != "learned":
        stored = replace(stored, positions=lambda config: nn.Identity())
        config = replace(config, max_seq_len=1)
    with shapes_only():
        tensors = DecoderOnlyTransformer(config, stored).state_dict()
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def check_tensors(path: Path, file: Any, config: ModelConfig) -> torch.dtype:
    """Compare names, shapes and types in the header with what `config` implies."""
    found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    of_one = tensor_shapes(replace(config, n_layers=1))  # a million layers would take minutes
    per_block = sum(name.startswith("blocks.") for name in of_one)
    if config.n_layers * per_block > len(found):
        raise UserError(
            f"{path}: {len(found)} tensors cannot make {config.n_layers} blocks of {per_block}"
        )
    expected = tensor_shapes(config)
    for names, problem in (
        (expected.keys() - found.keys(), "lacks the tensor"),
        (found.keys() - expected.keys(), "has a tensor that the model does not"),
    ):
        if names:
            raise UserError(f"{path} {problem}: {min(names)} ({len(names)} such)")
    for name, shape in expected.items():
        seen = found[name].get_shape()
        if seen != shape:
            raise UserError(
                f"{path}: {name} has shape {seen}, but its configuration implies {shape}"
            )
    kinds = {found[name].get_dtype() for name in expected}
    if len(kinds) > 1 or not kinds <= DTYPES.keys():
        raise UserError(
            f"{path}: the weights must all be of one of the types {', '.join(DTYPES)}, "
            f"but are {', '.join(sorted(kinds))}"
        )
    return DTYPES[kinds.pop()]
