"""Runs to begin with, and texts to continue on, for the tests of `train.py --from`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training_tools import continue_training, train, write_text

from transformer.data.text.files import TextCorpus, TextFilesSource
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file

OLD = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")
NEW = ("--dataset", "text", "--text", "new.txt")


def write_texts(folder: Path) -> None:
    """The old one, another of the same kind, and one that is foreign."""
    text = write_text(folder / "text.txt").read_text()
    (folder / "near.txt").write_text("\n".join(reversed(text[:9000].split("\n"))))
    words = ("ripe", "plums", "fell", "where", "nobody", "saw", "wasps")
    lines = (" ".join(words[(i * k) % 7] for k in range(1, 9)) for i in range(600))
    numbered = (f"{line} {i}." for i, line in enumerate(lines))
    (folder / "new.txt").write_text("\n\n".join(numbered))


def train_in(folder: Path, *args: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_texts(folder)
        pace = ("--learning-rate", "0.02", "--steps", "40", "--eval-every", "20")
        assert train(*OLD, *pace, *args) == 0
    return folder / "runs/text-1"


def tune(model: Path, *flags: str) -> int:
    """Three steps of `model` on the new text, unless `flags` have other wishes."""
    return continue_training("--from", model, *NEW, "--steps", "3", *flags)


def config_of(run: Path) -> dict[str, Any]:
    saved: dict[str, Any] = json.loads((run / "config.json").read_text())
    return saved


def before_after(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "before_after.json").read_text())
    return found


def weights(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(path / "model.safetensors")
    return loaded


def validation(run: Path, text: str, seq_length: int) -> TextFilesSource:
    tokenizer = read_model_file(find_model_file(run)).tokenizer
    corpus = TextCorpus(Path(text))
    return TextFilesSource(corpus, tokenizer, seq_length=seq_length, eval_tokens=600)
