"""What cannot fit into memory is refused before anything is built."""

import io
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from training_tools import load_command, train

from transformer.config import ModelConfig, Variant
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.data.toy.source import tokenizer_stories
from transformer.errors import UserError
from transformer.kv_cache import KVCache
from transformer.ladder import build_model
from transformer.machine.memory import memory_of
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file
from transformer.terminal.text_stream import check_generation
from transformer.training.config import TOY, TrainingConfig, preset
from transformer.training.memory import (
    STORY_BYTES,
    check_training,
    count_parameters,
    training_bytes,
)

CPU = torch.device("cpu")
ENORMOUS = {
    "seq_length": 10**12,
    "n_layers": 10**8,
    "batch_size": 10**11,
    "accumulation_steps": 10**11,
    "d_model": 2**50,
    "d_ff": 10**19,
    "stories": 10**12,
    "eval_tokens": 10**14,
}


def test_parameters_are_counted_as_they_are_built(tiny_config: ModelConfig) -> None:
    built = DecoderOnlyTransformer(tiny_config)
    assert count_parameters(tiny_config) == sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize("name", ENORMOUS)
def test_a_slip_of_the_finger_is_refused(name: str, tmp_path: Path) -> None:
    value = str(ENORMOUS[name])
    runs = ("--dataset", "toy", "--runs-dir", str(tmp_path))
    flag = "--" + name.replace("_", "-")
    with pytest.raises(UserError, match=rf"needs at least .* GB of memory.*{flag} "):
        load_command("train").main([*runs, "--compile", "off", flag, value])


def test_no_story_is_smaller_than_the_estimate_says() -> None:
    assert min(map(sys.getsizeof, islice(tokenizer_stories(), 200))) > STORY_BYTES


def test_every_preset_fits_into_a_small_machine() -> None:
    for config in (TOY, TrainingConfig(), preset(TrainingConfig(quick=True))):
        assert training_bytes(config, vocab_size=50_281) < 4e9
        check_training(config, CPU, vocab_size=50_281)


def test_the_estimate_is_below_what_training_takes() -> None:
    """Weights, gradients, moments and positions of a real model, counted tensor by tensor."""
    config = replace(TOY, batch_size=1, accumulation_steps=1, seq_length=2)
    model = DecoderOnlyTransformer(ModelConfig(300, 128, 4, 4, 512, 2))
    real = 4 * sum(p.nbytes for p in model.parameters()) + model.positions.table.nbytes
    assert real <= training_bytes(config, vocab_size=300) < 1.01 * real
    assert training_bytes(replace(config, parallel="fsdp"), 300, processes=4) < real / 3


def test_steps_without_end_start_like_any_other(tmp_path: Path) -> None:
    """A plan of 10^18 steps costs no memory and no time: the run stops where patience ends."""
    runs = ("--dataset", "toy", "--runs-dir", str(tmp_path), "--learning-rate", "1e-12")
    assert train(*runs, "--steps", str(10**18), "--patience", "1", "--eval-every", "1") == 0
    assert (tmp_path / "toy-1" / "latest").is_file()


@pytest.mark.parametrize("heads", [4, 1])
def test_samples_that_cannot_fit_are_refused(tiny_config: ModelConfig, heads: int) -> None:
    """As many as there is room for in caches, and one more."""
    config = replace(tiny_config, variant=Variant(n_kv_heads=heads, head_size=16))
    cache = KVCache(config, batch_size=1)
    room = (memory_of(CPU) or 0) // (cache.keys.nbytes + cache.values.nbytes)
    model = build_model(config)
    check_generation(model, room)
    with pytest.raises(UserError, match=rf"needs at least .* lower --samples {room + 1:,}"):
        check_generation(model, room + 1)


def test_generate_refuses_them_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    tokenizer = BytePairTokenizer(
        "bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256
    )
    model = DecoderOnlyTransformer(ModelConfig(257, 16, 2, 1, 32, 8))
    write_model_file(tmp_path / "model.safetensors", model, tokenizer, step=1)
    generate = load_command("generate")
    with pytest.raises(UserError, match="lower --samples"):
        generate.main(generate.Arguments(run=tmp_path, prompt="x", samples=10**12, json=True))
