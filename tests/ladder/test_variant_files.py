"""Variants in files: written, read, exported where an equal exists, refused where none does."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_variants import name  # noqa: F401  (a fixture)
from variant_tools import model_of, some_ids

from transformer.config import ModelConfig, Variant
from transformer.errors import UserError
from transformer.runs.model_file import read_model, write_model_file


@torch.no_grad()
def test_what_is_read_is_what_was_written(tmp_path: Path, name: str) -> None:  # noqa: F811
    path = tmp_path / "model.safetensors"
    model = model_of(name, dtype=torch.float32)
    write_model_file(path, model, None, step=3)
    read, metadata = read_model(path)
    assert read.config == model.config
    assert torch.equal(read(some_ids()), model(some_ids()))
    saved = json.loads(metadata["config"])["variant"]
    assert saved.keys() == Variant.__dataclass_fields__.keys()


def rewrite(path: Path, **variant: object) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    config = json.loads(metadata["config"])
    metadata["config"] = json.dumps({**config, "variant": {**config["variant"], **variant}})
    save_file(load_file(path), path, metadata)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rotery": True}, "fields that this program does not know: rotery"),
        ({"positions": "learned"}, "lacks the tensor"),
        ({"norm": 3}, "norm must be one of"),
        ({"head_size": 2**40}, "head_size is 1099511627776, more than"),
        ({"n_kv_heads": 1}, "qkv_projection.* has shape"),
        ({"qk_norm": "gain"}, "27 tensors cannot make 2 blocks of 14"),
    ],
)
def test_a_variant_that_does_not_fit_its_file_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "model.safetensors"
    write_model_file(path, model_of("rotary", dtype=torch.float32), None, step=3)
    rewrite(path, **change)
    with pytest.raises(UserError, match=said):
        read_model(path)


def test_the_fields_of_a_classic_model_are_the_page_s() -> None:
    """page/config.js has its own list of them."""
    text = (Path(__file__).parents[2] / "page/config.js").read_text()
    listed = text.split("const CLASSIC_VARIANT = {")[1].split("};")[0]
    pairs = dict(
        pair.split(": ", 1) for pair in listed.replace("\n", " ").split(", ") if ":" in pair
    )
    found = {key.strip(): json.loads(value.strip(" ,")) for key, value in pairs.items()}
    assert found == json.loads(json.dumps(vars(Variant())))
    assert ModelConfig(5, variant=replace(Variant(), position_scale=2.0)).variant.is_classic
