"""Model files: what is written is read back, and nothing in a file is trusted."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import END_OF_TEXT, BytePairTokenizer
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer
from transformer.runs.implied_tensors import tensor_shapes
from transformer.runs.model_file import read_model_file, write_model_file

TOKENIZER = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)
CONFIG = ModelConfig(vocab_size=257, d_model=16, n_heads=2, n_layers=2, d_ff=24, max_seq_len=12)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    write_model_file(path, DecoderOnlyTransformer(CONFIG), TOKENIZER, step=7)
    return path


def split(path: Path) -> tuple[dict[str, Any], bytes]:
    """A safetensors file taken apart by hand: its JSON header and its data."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(path: Path, header: dict[str, Any], data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_model_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype) -> None:
    model = DecoderOnlyTransformer(CONFIG).to(dtype).eval()
    write_model_file(tmp_path / "m.safetensors", model, TOKENIZER, step=1234)
    before = torch.random.get_rng_state()
    loaded = read_model_file(tmp_path / "m.safetensors")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert loaded.step == 1234
    assert loaded.model.config == CONFIG
    assert not loaded.model.training
    assert loaded.tokenizer.fingerprint == TOKENIZER.fingerprint
    ids = torch.randint(257, (2, 12))
    assert torch.equal(loaded.model(ids), model(ids))


def test_the_shapes_that_are_expected_are_those_of_the_model() -> None:
    state = DecoderOnlyTransformer(CONFIG).state_dict()
    assert tensor_shapes(CONFIG) == {name: list(tensor.shape) for name, tensor in state.items()}


def test_the_metadata_is_what_the_format_promises(written: Path) -> None:
    metadata = split(written)[0]["__metadata__"]
    assert metadata.keys() == {"format", "version", "config", "tokenizer", "step", "sha256"}
    assert (metadata["format"], metadata["version"], metadata["step"]) == ("transformer", "1", "7")
    assert json.loads(metadata["config"])["d_ff"] == 24
    assert json.loads(metadata["tokenizer"])["special_tokens"] == {END_OF_TEXT: 256}


def test_a_failed_write_leaves_the_old_file_and_no_other(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = written.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*: the disk is full"):
        write_model_file(written, DecoderOnlyTransformer(CONFIG), TOKENIZER, step=8)
    assert written.read_bytes() == old
    assert list(written.parent.iterdir()) == [written]


def test_a_flipped_bit_in_the_weights_is_damage(written: Path) -> None:
    content = bytearray(written.read_bytes())
    content[-100] ^= 1
    written.write_bytes(content)
    with pytest.raises(UserError, match="is damaged: its weights are not those that were written"):
        read_model_file(written)


def test_a_file_without_a_hash_is_read(written: Path) -> None:
    expected = read_model_file(written).model.state_dict()
    header, data = split(written)
    del header["__metadata__"]["sha256"]
    join(written, header, data)
    found = read_model_file(written).model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


def metadata_with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"].update(changes)

    return change


def config_with(**changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(header: dict[str, Any]) -> None:
        config = json.loads(header["__metadata__"]["config"])
        header["__metadata__"]["config"] = json.dumps({**config, **changes})

    return change


def reshaped(header: dict[str, Any]) -> None:
    header["final_norm.weight"]["shape"] = [4, 4]


def renamed(header: dict[str, Any]) -> None:
    header["final_norm.gamma"] = header.pop("final_norm.weight")


def integers(header: dict[str, Any]) -> None:
    header["final_norm.weight"]["dtype"] = "I32"


def enormous(header: dict[str, Any]) -> None:
    header["final_norm.weight"]["shape"] = [2**62]


def other_tokenizer(header: dict[str, Any]) -> None:
    ranks = {bytes([i]): i for i in range(256)} | {b"ab": 256}
    bigger = BytePairTokenizer("bpe", "bigger", ranks, end_of_text=257)
    header["__metadata__"]["tokenizer"] = json.dumps(bigger.to_metadata())


HOSTILE = {
    "another program": (metadata_with(format="tf"), "not written by this program"),
    "a published model": (metadata_with(format="pt"), "open it first: .*import_hf.py"),
    "a newer version": (metadata_with(version="2"), "version '2'"),
    "no configuration": (metadata_with(config="{"), "no readable 'config'"),
    "a list for an object": (metadata_with(config="[]"), "not a JSON object"),
    "deep JSON": (metadata_with(config="[" * 100_000), "no readable 'config'"),
    "an unknown field": (config_with(rotary=True), "rotary"),
    "text for a number": (config_with(d_model="16"), "d_model"),
    "width of a billion": (config_with(d_model=2**30, max_seq_len=1), "more than"),
    "context of a billion": (config_with(max_seq_len=2**30), "more than"),
    "long position table": (config_with(max_seq_len=2**25), "max_seq_len · d_model"),
    "many layers": (config_with(n_layers=2**27), "cannot make"),
    "another depth": (config_with(n_layers=1), "has a tensor that the model does not"),
    "a missing layer": (config_with(n_layers=3), "cannot make 3 blocks of 12"),
    "another width": (config_with(d_ff=23), "implies"),
    "a reshaped tensor": (reshaped, "final_norm.weight has shape"),
    "a renamed tensor": (renamed, "lacks the tensor: final_norm.weight"),
    "integer weights": (integers, "types"),
    "an absurd shape": (enormous, "not a readable safetensors file"),
    "a foreign tokenizer": (other_tokenizer, "do not belong together"),
    "no tokenizer": (metadata_with(tokenizer="null"), "'tokenizer' is not a JSON object"),
    "a step in words": (metadata_with(step="seven"), "step 'seven'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(written: Path, name: str) -> None:
    change, message = HOSTILE[name]
    header, data = split(written)
    change(header)
    join(written, header, data)
    with pytest.raises(UserError, match=message):
        read_model_file(written)


@pytest.mark.slow
def test_the_module_is_asked_without_memory_random_numbers_or_the_compiler() -> None:
    """The compiler's import takes seconds, and every command that reads a model would wait."""
    script = (
        "import sys, torch\n"
        "from transformer.config import ModelConfig\n"
        "from transformer.runs.implied_tensors import tensor_shapes\n"
        "before = torch.random.get_rng_state()\n"
        "assert len(tensor_shapes(ModelConfig(2**24, d_model=2**20, n_layers=3))) == 3 + 3 * 12\n"
        "assert torch.equal(torch.random.get_rng_state(), before)\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=240)
    assert done.returncode == 0, done.stderr.decode()


def configuration_without(header: dict[str, Any], *names: str) -> None:
    config = json.loads(header["__metadata__"]["config"])
    for name in names:
        del config[name]
    header["__metadata__"]["config"] = json.dumps(config)


def test_a_field_that_a_file_does_not_have_takes_its_default(tmp_path: Path) -> None:
    """So a file stays readable when a field is added after it was written."""
    names = (
        "d_model",
        "n_heads",
        "n_layers",
        "d_ff",
        "max_seq_len",
        "dropout",
        "attention",
        "variant",
    )
    path = tmp_path / "m.safetensors"
    model = DecoderOnlyTransformer(ModelConfig(257)).eval()
    write_model_file(path, model, TOKENIZER, step=7)
    ids = torch.randint(257, (1, 128))
    for name in names:
        header, data = split(path)
        configuration_without(header, name)
        join(path, header, data)
        read = read_model_file(path).model
        assert read.config == model.config
        assert torch.equal(read(ids), model(ids))
    configuration_without(header, "vocab_size")
    join(path, header, data)
    with pytest.raises(UserError, match="lacks vocab_size"):
        read_model_file(path)


def test_the_old_name_of_the_default_attention_is_understood(written: Path) -> None:
    header, data = split(written)
    config_with(attention="fused")(header)
    configuration_without(header, "variant")  # as old files are
    join(written, header, data)
    assert read_model_file(written).model.config.attention == "auto"


def test_an_intact_file_passes_the_same_way(written: Path) -> None:
    """The counter-test: taken apart and joined again without a change, the file is read."""
    join(written, *split(written))
    assert read_model_file(written).step == 7


@pytest.mark.parametrize("kept", [0, 7, 8, 200, -1, -4096])
def test_a_truncated_file_is_refused(written: Path, kept: int) -> None:
    written.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        read_model_file(written)


@pytest.mark.parametrize("length", [2**40, 2**64 - 1])
def test_a_header_length_beyond_the_file_is_refused(written: Path, length: int) -> None:
    written.write_bytes(struct.pack("<Q", length) + written.read_bytes()[8:])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        read_model_file(written)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused(written: Path, value: float) -> None:
    model = DecoderOnlyTransformer(CONFIG)
    model.blocks[1].feed_forward.expand.weight.data[3, 4] = value
    write_model_file(written, model, TOKENIZER, step=7)
    with pytest.raises(UserError, match=r"blocks.1.feed_forward.expand.weight .* not finite"):
        read_model_file(written)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model file at"):
        read_model_file(tmp_path / "absent.safetensors")
