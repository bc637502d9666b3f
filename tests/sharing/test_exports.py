"""Our logits, computed by other people's programs."""

from pathlib import Path

import onnxruntime
import pytest
import torch
from transformers import GPT2LMHeadModel
from variant_tools import VARIANTS, model_of

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.generation import generate
from transformer.model import DecoderOnlyTransformer
from transformer.sharing.hugging_face import export_model
from transformer.sharing.onnx import export_onnx

V = 258
CONFIG = ModelConfig(V, d_model=32, n_heads=4, n_layers=3, d_ff=64, max_seq_len=16)


@pytest.fixture
def model() -> DecoderOnlyTransformer:
    model = DecoderOnlyTransformer(CONFIG).eval()
    for parameter in model.parameters():  # biases and norms too: none is left at 0 or 1
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@torch.no_grad()
def test_transformers_computes_our_logits(model: DecoderOnlyTransformer, tmp_path: Path) -> None:
    ranks = {bytes([i]): i for i in range(256)} | {b"th": 256}
    export_model(model, BytePairTokenizer("bpe", "few", ranks, end_of_text=257), tmp_path)
    theirs, info = GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(V, (3, 16))
    torch.testing.assert_close(theirs(ids).logits, model(ids), rtol=0, atol=1e-5)
    written = theirs.generate(ids[:, :4], max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert torch.equal(written, generate(model, ids[:, :4], 12, temperature=0.0))


@torch.no_grad()
def assert_onnx_gives_our_logits(model: DecoderOnlyTransformer, path: Path) -> None:
    """In one piece, and in chunks of which each gets what the ones before it left."""
    export_onnx(model, path)
    session = onnxruntime.InferenceSession(str(path))
    config = model.config
    heads, K = config.n_kv_heads, config.head_size
    for batch, chunks in ((1, [16]), (3, [5, 1, 1, 4, 5]), (2, [1, 15])):
        ids = torch.randint(config.vocab_size, (batch, 16))
        expected = model(ids)
        keys = values = torch.zeros(config.n_layers, batch, heads, 0, K).numpy()
        done = 0
        for size in chunks:
            chunk = ids[:, done : done + size]
            inputs = {"ids": chunk.numpy(), "past_keys": keys, "past_values": values}
            logits, keys, values = session.run(["logits", "keys", "values"], inputs)
            torch.testing.assert_close(
                torch.from_numpy(logits), expected[:, done : done + size], rtol=0, atol=1e-4
            )
            done += size
        assert keys.shape == values.shape == (config.n_layers, batch, heads, 16, K)


@pytest.mark.slow
def test_onnxruntime_computes_our_logits_chunk_by_chunk(
    model: DecoderOnlyTransformer, tmp_path: Path
) -> None:
    assert_onnx_gives_our_logits(model, tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", list(VARIANTS))
def test_onnxruntime_computes_every_variant(name: str, tmp_path: Path) -> None:
    """Rotary and learned positions and the window need the places that follow the past ones."""
    model = model_of(name, dtype=torch.float32, max_seq_len=16)
    assert_onnx_gives_our_logits(model, tmp_path / "model.onnx")
