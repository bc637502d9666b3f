"""A trained model as the page's scripts carry it.

A page opened from disk may not read other files, but it may run scripts. So what it shows is
written as scripts that assign data:

    page/model.data.js      the model: a safetensors file (half precision) in base64
    page/samples.data.js    held-out stories and songs, and how FineWeb is cut and split
    page/curves.data.js     what real runs logged, with the commands that made them
    page/p50k_base.data.js  the table of p50k_base, for models trained with it

The model file inside is the same kind that `write_model_file` writes; the page reads it with
the code that reads a file that a visitor drops.
"""

import base64
import json
import struct
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.runs.model_file import LoadedModel, write_model_file
from transformer.training.config import TrainingConfig, flag, preset

LARGEST_MODEL = 3_000_000  # characters of base64
POINTS = 200  # of a training curve, at most
BYTES = 256
MACHINE = ("device", "mps", "precision", "compile", "cache_dir")


def model_script(loaded: LoadedModel, name: str, prompt: str) -> str:
    """The model in half precision, 16 bits a weight.

    Raises:
        UserError: it is too large for a page, or a weight does not fit 16 bits.
    """
    weights = {key: half(key, value) for key, value in loaded.model.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_model_file(path, loaded.model, loaded.tokenizer, loaded.step, weights)
        encoded = base64.b64encode(path.read_bytes()).decode()
    if len(encoded) > LARGEST_MODEL:
        raise UserError(
            f"{loaded.path} would make a script of {len(encoded) / 1e6:.1f} MB, more than "
            f"{LARGEST_MODEL / 1e6:.0f} MB; export a smaller model (the toy preset fits), "
            "or drop the file on the page: that works up to 128 MB"
        )
    return script("modelData", {"name": name, "prompt": prompt, "base64": encoded})


def half(name: str, weight: Tensor) -> Tensor:
    """float16, refused where a value would become infinite."""
    rounded = weight.to(torch.float16)
    if not bool(rounded.isfinite().all()):
        largest = float(weight.abs().max())
        raise UserError(f"{name} holds {largest:.3g}, too large for half precision")
    return rounded


def script(name: str, value: Any) -> str:
    """A classic script that assigns JSON to a field of the page's one global."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("</", "<\\/")
    return f'"use strict";\n(window.Page ??= {{}}).{name} = {text};\n'


def rank_pairs(tokenizer: Tokenizer) -> dict[str, str]:
    """A BPE table in four bytes a token: each joins two tokens that came before it.

    >>> from transformer.data.tokenizer import load_tokenizer
    >>> table = rank_pairs(load_tokenizer("p50k_base"))
    >>> len(base64.b64decode(table["pairs"])) == 4 * (50_280 - 256)
    True
    """
    tokens = sorted(tokenizer.ranks, key=lambda token: tokenizer.ranks[token])
    place = {token: index for index, token in enumerate(tokens)}
    pairs = bytearray()
    for index, token in enumerate(tokens[BYTES:], start=BYTES):
        cuts = ((place.get(token[:cut]), place.get(token[cut:])) for cut in range(1, len(token)))
        earlier = [(a, b) for a, b in cuts if a is not None and b is not None and max(a, b) < index]
        if not earlier:
            raise UserError(f"token {token!r} is not made of two earlier tokens")
        pairs += struct.pack("<HH", *earlier[0])
    head = b"".join(tokens[:BYTES])
    return {"bytes": base64.b64encode(head).decode(), "pairs": base64.b64encode(pairs).decode()}


def read_curve(run: Path) -> dict[str, Any]:
    """What a run logged, thinned to `POINTS` lines; values are as logged, not averaged.

    Returns:
        {"command", "floor" (or null), "train": [[step, tokens, loss, gradient norm]],
        "validation": [[step, train loss, validation loss, status, induction score or null]]}

    Raises:
        UserError: the run has no readable log.
    """
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        command = training_command(config["training"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run} holds no readable metrics.jsonl and config.json: {error}") from None
    training = [record for record in records if "grad_norm" in record]
    validation = [record for record in records if "val_loss" in record]
    if not training or not validation:
        raise UserError(f"{run}/metrics.jsonl lacks training steps or evaluations")
    stride = max(1, -(-len(training) // POINTS))
    floors = [record["floor"] for record in validation if record.get("floor") is not None]
    return {
        "command": command,
        "floor": floors[0] if floors else None,
        "train": [
            [r["step"], r["tokens"], rounded(r["train_loss"]), rounded(r["grad_norm"])]
            for r in training[stride - 1 :: stride]
        ],
        "validation": [
            [
                r["step"],
                rounded(r["train_loss"]),
                rounded(r["val_loss"]),
                r["status"],
                rounded(r.get("induction")),
            ]
            for r in validation
        ],
    }


def training_command(flags: dict[str, Any]) -> str:
    """The command that makes such a run: the flags that differ from the data set's preset.

    What was chosen for the machine (device, precision, compilation) is left out.

    >>> training_command({"dataset": "toy", "stories": 200, "device": "cpu"})
    'uv run commands/train.py --dataset toy --stories 200'
    """
    base = asdict(preset(TrainingConfig(dataset=flags["dataset"])))
    words = ["uv run commands/train.py", "--dataset", str(flags["dataset"])]
    for name, value in flags.items():
        unchanged = value is None or value == [] or value == base.get(name)
        if not unchanged and name not in (*MACHINE, "dataset"):
            words += [flag(name), str(value)]
    return " ".join(words)


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
