"""A model on disk: one .safetensors file that is enough by itself.

    8 bytes   length of the header
    header    JSON: name, dtype, shape and byte range of every tensor, and the metadata
                format "transformer" · version "1" · config · tokenizer · step · sha256
    data      the tensors, one after the other

Nothing in the file is code and nothing is unpickled. A file is still not trusted: its names and
shapes are compared with those that its configuration implies before anything is built or read.
A file that claims a width of a billion is refused, not allocated. The hash (older files have
none and are read without) shows that the weights are the bytes that were written, and no more:
if another program stored a square matrix transposed, the shapes are right and nothing here can
tell.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from transformer.config import ModelConfig, Variant
from transformer.data.tokenizer import Tokenizer, tokenizer_from_metadata
from transformer.errors import UserError
from transformer.ladder.build import build_model
from transformer.machine.files import written_whole
from transformer.machine.shapes import unfilled
from transformer.model import DecoderOnlyTransformer
from transformer.runs.implied_tensors import check_sizes, check_tensors

FORMAT, VERSION = "transformer", "1"
FILE_NAME = "model.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """What a model file holds; the model is on the CPU, in evaluation mode."""

    model: DecoderOnlyTransformer
    tokenizer: Tokenizer
    step: int
    path: Path


def write_model_file(
    path: Path,
    model: DecoderOnlyTransformer,
    tokenizer: Tokenizer | None,
    step: int,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the model so that `path` is either the old file or the whole new one.

    Raises:
        UserError: it cannot be written, for example because the disk is full.
    """
    with written_whole(path) as temporary:
        save_model(temporary, model, tokenizer, step, weights)


def save_model(
    path: Path,
    model: DecoderOnlyTransformer,
    tokenizer: Tokenizer | None,
    step: int,
    weights: Mapping[str, Tensor] | None = None,
    yours: Mapping[str, str] | None = None,
) -> None:
    """Write the model into a file that nobody reads yet; otherwise use `write_model_file`.

    `weights` replaces `model.state_dict()` where the model's own are spread over several
    processes. `yours`: which parts a learner wrote, and the SHA-256 of each file. Without a
    tokenizer the file is only a model, which `read_model` reads and the commands refuse.
    """
    weights = model.state_dict() if weights is None else weights
    save_weights(path, model.config, weights, tokenizer, step, yours)


def save_weights(
    path: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer | None,
    step: int,
    yours: Mapping[str, str] | None = None,
) -> None:
    """The same, where there is no model but its weights."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(asdict(config)),
        "step": str(step),
    }
    if tokenizer is not None:
        metadata["tokenizer"] = json.dumps(tokenizer.to_metadata())
    if yours:
        metadata["yours"] = json.dumps(dict(yours))
    metadata["sha256"] = tensors_hash(tensors)
    save_file(tensors, path, metadata)


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over name, type, shape and bytes of every tensor, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_model_file(path: Path) -> LoadedModel:
    """Read a file that `write_model_file` wrote, trusting nothing in it.

    Raises:
        UserError: there is no such file, it is cut short or damaged, it was written by
            another program, or its tensors do not fit its own configuration or tokenizer.
    """
    model, metadata = read_model(path)
    tokenizer = tokenizer_from_metadata(read_object(path, metadata, "tokenizer"))
    if tokenizer.vocab_size != model.config.vocab_size:
        raise UserError(
            f"{path}: the tokenizer has {tokenizer.vocab_size} ids, "
            f"the model {model.config.vocab_size}; they do not belong together"
        )
    return LoadedModel(model, tokenizer, _read_step(path, metadata), path)


def read_model(path: Path) -> tuple[DecoderOnlyTransformer, dict[str, str]]:
    """The model alone, read with the same care, and the file's metadata as it is."""
    with opened(path) as file:
        metadata = file.metadata() or {}
        config = read_config(path, metadata)
        dtype = check_tensors(path, file, config)
        names = list(file.keys())
    weights = {name: _read_tensor(path, name) for name in names}
    written = metadata.get("sha256")
    if written is not None and written != tensors_hash(weights):
        raise UserError(
            f"{path} is damaged: its weights are not those that were written; "
            "copy or download it again"
        )
    broken = [name for name, tensor in weights.items() if not _is_finite(tensor)]
    if broken:
        raise UserError(f"{path}: {broken[0]} holds values that are not finite numbers")
    with unfilled():
        model = build_model(config).to(dtype)
    model.load_state_dict(weights, assign=True)  # not copied again
    return model.eval(), metadata


def _read_tensor(path: Path, name: str) -> Tensor:
    """A copy, for what `safe_open` gives is the file itself: it would change with the file. Opened
    for each tensor, because all that was read of an open file takes memory."""
    with opened(path) as file:
        tensor: Tensor = file.get_tensor(name).clone()
        return tensor


def read_header(path: Path) -> tuple[ModelConfig, dict[str, str]]:
    """What a model file says of itself, without its weights."""
    with opened(path) as file:
        metadata = file.metadata() or {}
        return read_config(path, metadata), metadata


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise UserError(f"there is no model file at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, RecursionError) as error:
        raise UserError(
            f"{path} is not a readable safetensors file ({error}); "
            "it may be cut short: copy or download it again"
        ) from error


def _is_finite(tensor: Tensor) -> bool:
    low, high = tensor.aminmax()  # NaN if any value is: one pass, no second tensor
    return math.isfinite(low) and math.isfinite(high)


def read_config(path: Path, metadata: dict[str, str], expected: str = FORMAT) -> ModelConfig:
    """A field that the file does not have takes its default: it is older than the field."""
    if metadata.get("format") == "pt":
        raise UserError(
            f"{path} is a model as the library transformers has it; open it first: "
            f"uv run python commands/import_hf.py {path.parent}"
        )
    if metadata.get("format") != expected:
        raise UserError(
            f"{path} was not written by this program (format {metadata.get('format')!r}, "
            f"expected {expected!r}); its architecture may differ, so it is not loaded"
        )
    if metadata.get("version") != VERSION:
        raise UserError(
            f"{path} has version {metadata.get('version')!r} of the format; "
            f"this program reads version {VERSION!r}"
        )
    values = read_object(path, metadata, "config")
    variant = values.get("variant", {})
    if not isinstance(variant, dict):
        raise UserError(f"{path}: the variant in its configuration is not a JSON object")
    unknown = sorted(
        name
        for given, kind in ((values, ModelConfig), (variant, Variant))
        for name in given.keys() - {field.name for field in fields(kind)}
    )
    if unknown:
        raise UserError(
            f"{path}: its configuration has fields that this program does not know: "
            f"{', '.join(unknown)}"
        )
    if "vocab_size" not in values:
        raise UserError(f"{path}: its configuration lacks vocab_size")
    if "variant" not in values and values.get("attention") == "fused":
        values["attention"] = "auto"  # its name when the file was written
    try:
        config = ModelConfig(**{**values, "variant": Variant(**variant)})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    check_sizes(path, config)
    return config


def read_object(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata[key])
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata has no readable {key!r}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: its metadata field {key!r} is not a JSON object")
    return value


def _read_step(path: Path, metadata: dict[str, str]) -> int:
    step = metadata.get("step", "")
    if not (step.isascii() and step.isdigit() and len(step) <= 18):
        raise UserError(f"{path}: its step {step[:40]!r} is not a whole number")
    return int(step)
