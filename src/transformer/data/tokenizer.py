"""Which tokenizer is meant? From a name, a file or a model to the tokenizer."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from transformer.data.base_tokenizer import Tokenizer
from transformer.data.byte_pair_tokenizer import P50K_BASE, BytePairTokenizer, p50k_base
from transformer.data.hf_tokenizer import HfTokenizer
from transformer.errors import UserError

__all__ = ["Tokenizer", "load_tokenizer", "tokenizer_from_metadata"]

FILES = ("tokenizer.json", "model.safetensors")  # where a folder has its tokenizer


def tokenizer_from_metadata(metadata: object) -> Tokenizer:
    """The inverse of `to_metadata`, for every kind. The metadata may come from an untrusted file:
    everything in it is checked.

    Raises:
        UserError: says which part of the metadata is wrong.
    """
    fields = metadata if isinstance(metadata, dict) else {}
    if fields.get("kind") == "hf":
        return HfTokenizer.from_metadata(fields)
    return BytePairTokenizer.from_metadata(fields)


def load_tokenizer(spec: str | Path) -> Tokenizer:
    """The tokenizer that `spec` names: "p50k_base", a file written by `Tokenizer.save`, the
    `tokenizer.json` of another model, a trained model (`model.safetensors`), or the folder that
    holds one of them (a run, a checkpoint).

    Raises:
        UserError: there is no such tokenizer, or the file does not hold one.
    """
    if spec == P50K_BASE:
        return p50k_base()
    path = Path(spec)
    if path.is_dir():
        path = next(filter(Path.is_file, (path / name for name in FILES)), path)
    if not path.is_file():
        raise UserError(
            f"no tokenizer {str(spec)!r}; give p50k_base, the folder of a run or checkpoint, a "
            "saved tokenizer's file, or (when training) bpe:N, such as bpe:1024"
        )
    try:
        metadata = _read_metadata(path)
        if isinstance(metadata, dict) and "model" in metadata:  # as published with other models
            return HfTokenizer.from_file(path)
        return tokenizer_from_metadata(metadata)
    except (SafetensorError, ValueError, RecursionError) as error:  # UserError is a ValueError
        raise UserError(f"{path} holds no tokenizer that can be used: {error}") from None


def _read_metadata(path: Path) -> object:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("tokenizer", "null")
    else:
        text = path.read_text(encoding="utf-8")
    return json.loads(text)
