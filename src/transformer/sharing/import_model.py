"""A published model becomes one of ours: the same logits, in a model file like any other.

    config.json ─▶ family ─▶ ModelConfig ─▶ names and shapes that it implies ─┐
    *.safetensors ──────────────────────────▶ read, renamed, joined ─────────▶ model.safetensors
    tokenizer.json ─▶ HfTokenizer ─────────────────────────────────────────────┘

Weights become float32, whatever they were. Where the tables have more rows than the tokenizer has
ids (they are padded to a round number), those rows are left out: no text ever uses them, and what
is not there is never sampled.

Where the configuration says that input and output share a table, but the file has another one for
the output (fine-tuning can part them), the file counts, as in the library transformers.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from transformer.config import ModelConfig
from transformer.data.hf_tokenizer import HfTokenizer
from transformer.errors import UserError
from transformer.machine.files import whole_folder
from transformer.runs.implied_tensors import check_sizes, tensor_shapes
from transformer.runs.model_file import FILE_NAME, save_weights
from transformer.runs.run_folder import IMPORTED
from transformer.sharing.families.family import Family
from transformer.sharing.families.known import read_family
from transformer.sharing.published import CONFIG, TOKENIZER, Tensors

LONGEST = 2048  # positions, unless more are asked for
OUTPUT = "lm_head.weight"  # their name of the output's table
TABLES = ("token_embedding.weight", "output.weight")


@dataclass(frozen=True)
class Imported:
    """What was imported: `parameters` numbers; `rows` of its tables had no token."""

    config: ModelConfig
    architecture: str
    parameters: int
    rows: int


def import_model(
    folder: Path,
    output: Path,
    *,
    seq_length: int | None = None,
    source: str = "",
    name: str = "",
) -> Imported:
    """Read the model in `folder` and write the run folder `output`.

    Args:
        seq_length: positions that the model can look at; None: theirs, at most 2,048.
        source: where the model came from, and
        name: what it is called, for people.

    Raises:
        UserError: it has something that this program does not, or is damaged.
    """
    check_output(output)
    family, saved = read_family(folder / CONFIG)
    theirs = family.read_config(saved)
    length = _context(theirs.max_seq_len, seq_length)
    has_table = theirs.variant.positions != "rotary"  # of all their positions
    check_sizes(folder / CONFIG, theirs if has_table else replace(theirs, max_seq_len=length))
    tensors = Tensors(folder, family.prefix)
    if theirs.variant.tied_embeddings and has_own_output(family, tensors):
        theirs = replace(theirs, variant=replace(theirs.variant, tied_embeddings=False))
    tokenizer = HfTokenizer.from_file(folder / TOKENIZER, name)
    if tokenizer.vocab_size > theirs.vocab_size:
        raise UserError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size} ids, but its table only "
            f"{theirs.vocab_size} rows"
        )
    config = replace(theirs, vocab_size=tokenizer.vocab_size, max_seq_len=length)
    check_tensors(family, theirs, tensors, folder)
    weights = {name: cut(name, t, config) for name, t in family.gathered(theirs, tensors.read)}
    with whole_folder(output) as unfinished:
        save_weights(unfinished / FILE_NAME, config, weights, tokenizer, 0)
        origin = {"imported": source or str(folder), "config": saved.values}
        (unfinished / IMPORTED).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    parameters = sum(tensor.numel() for tensor in weights.values())
    return Imported(config, family.architecture, parameters, theirs.vocab_size - config.vocab_size)


def check_output(output: Path) -> None:
    """
    Raises:
        UserError: something else is there.
    """
    if output.exists() and not (output / IMPORTED).is_file():
        raise UserError(f"{output} is there already, and not an imported model; choose another")


def _context(theirs: int, wanted: int | None) -> int:
    if wanted is None:
        return min(LONGEST, theirs)
    if not 2 <= wanted <= theirs:
        raise UserError(f"--seq-length must be from 2 to this model's {theirs}, but is {wanted}")
    return wanted


def has_own_output(family: Family, tensors: Tensors) -> bool:
    """Whether the file has a table for the output that is not that of the tokens."""
    if not {OUTPUT, family.embedding} <= tensors.names:
        return False
    if tensors.shape(OUTPUT) != tensors.shape(family.embedding):
        return True
    return not torch.equal(tensors.read(OUTPUT), tensors.read(family.embedding))


def cut(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    """The rows that are used: tokens that exist, positions that are looked at."""
    if name in TABLES:
        return tensor[: config.vocab_size].contiguous()
    if name == "positions.table.weight":
        return tensor[: config.max_seq_len].contiguous()
    return tensor


def check_tensors(family: Family, config: ModelConfig, tensors: Tensors, folder: Path) -> None:
    """Names and shapes, before any of them is read.

    Raises:
        UserError: names the tensor that is missing, of another shape, or unknown.
    """
    if config.n_layers > len(tensors.names):
        raise UserError(
            f"{folder}: {len(tensors.names)} tensors cannot make {config.n_layers} blocks"
        )
    shapes = tensor_shapes(config)
    used = {OUTPUT}
    for place in family.all_places(config):
        used.update(place.theirs)
        found = [tensors.shape(name) for name in place.theirs]
        whole = [sum(shape[0] for shape in found), *found[0][1:]] if all(found) else []
        unlike = len({tuple(shape[1:]) for shape in found if shape}) > 1  # parts of one tensor
        if unlike or (whole[::-1] if place.transposed else whole) != shapes[place.ours]:
            implied = shapes[place.ours][:: -1 if place.transposed else 1]
            raise UserError(
                f"{folder}: {' + '.join(place.theirs)} has shape {found if unlike else whole}, "
                f"but its configuration implies {implied}"
            )
    unknown = sorted(
        name
        for name in tensors.names
        if name not in used and not re.fullmatch(family.ignored, name)
    )
    if unknown:
        raise UserError(
            f"{folder} has a tensor that a {family.architecture} of this program does not: "
            f"{unknown[0]} ({len(unknown)} such)"
        )
