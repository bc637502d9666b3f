"""The line by which a model introduces itself."""

from dataclasses import replace

import pytest

from transformer.config import ModelConfig, Variant
from transformer.ladder import build_model
from transformer.ladder.describe import describe, describe_model
from transformer.machine.shapes import shapes_only

LLAMA = Variant(
    positions="rotary", norm="rms", bias=False, feed_forward="swiglu", n_kv_heads=3,
    embedding_scale=1.0,
)  # fmt: skip
FAMILIES = {
    "GPT-2 small": (
        ModelConfig(
            50_257, 768, 12, 12, 3072, 1024, 0.0,
            variant=Variant(positions="learned", feed_forward="gelu_tanh", embedding_scale=1.0),
        ),
        "12 blocks of 12 heads, width 768, learned positions, LayerNorm, GELU (tanh), "
        "tied embeddings, context 1,024, vocabulary 50,257: 124 M parameters",
    ),
    "SmolLM2 135M": (
        ModelConfig(49_152, 576, 9, 30, 1536, 8192, 0.0, variant=replace(LLAMA, rotary_base=1e5)),
        "30 blocks of 9 heads (3 of keys and values), width 576, rotary positions (base 100,000), "
        "RMSNorm, 1,536 SwiGLU neurons, no biases, tied embeddings, context 8,192, "
        "vocabulary 49,152: 135 M parameters",
    ),
    "Qwen3 0.6B": (
        ModelConfig(
            151_936, 1024, 16, 28, 3072, 40_960, 0.0,
            variant=replace(
                LLAMA, n_kv_heads=8, head_size=128, qk_norm="gain", rotary_base=1e6, norm_eps=1e-6
            ),
        ),
        "28 blocks of 16 heads (8 of keys and values, 128 wide), width 1,024, rotary positions "
        "(base 1,000,000), RMSNorm, QK-norm with gains, 3,072 SwiGLU neurons, no biases, "
        "tied embeddings, context 40,960, vocabulary 151,936: 596 M parameters",
    ),
    "nanochat d20": (
        ModelConfig(
            65_536, 1280, 10, 20, 5120, 2048, 0.0,
            variant=Variant(
                positions="rotary", norm="rms", norm_gain=False, bias=False, feed_forward="relu2",
                qk_norm="plain", qk_scale=1.0, embedding_norm=True, embedding_scale=1.0,
                tied_embeddings=False, logit_softcap=15.0,
            ),
        ),
        "20 blocks of 10 heads, width 1,280, rotary positions (base 10,000), RMSNorm without "
        "gain, QK-norm, ReLU², no biases, untied embeddings, a norm after the embedding, "
        "softcap 15, context 2,048, vocabulary 65,536: 561 M parameters",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_real_model_introduces_itself(name: str) -> None:
    """With as many parameters as are published of it."""
    config, line = FAMILIES[name]
    with shapes_only():
        model = build_model(config)
    assert describe_model(model) == line


def test_what_a_beginner_trains() -> None:
    small = ModelConfig(1024, 128, 4, 1, 512, 256)
    assert describe(small, 362_944) == (
        "1 block of 4 heads, width 128, sinusoidal positions, LayerNorm, GELU, tied embeddings, "
        "context 256, vocabulary 1,024: 362,944 parameters"
    )


def test_every_change_of_the_ladder_that_is_more_than_a_number_is_said() -> None:
    plain = ModelConfig(1024, 128, 4, 2, 512, 256)
    changes = {
        "position_scale": 0.0, "rotary_base": 500.0, "embedding_norm": True,
        "tied_embeddings": False, "norm": "rms", "norm_gain": False, "bias": False,
        "feed_forward": "relu2", "qk_norm": "plain", "n_kv_heads": 2, "head_size": 8, "window": 9,
        "value_embeddings": True, "input_skip": True, "logit_softcap": 2.5,
        "positions": "learned",
    }  # fmt: skip
    silent = {"embedding_scale", "norm_eps", "qk_scale", "zero_init"}
    assert changes.keys() | silent == vars(Variant()).keys()
    lines = set()
    for name, value in changes.items():
        more = {"positions": "rotary"} if name == "rotary_base" else {}
        lines.add(describe(replace(plain, variant=Variant(**{name: value, **more})), 1))
    assert len(lines) == len(changes)
    assert describe(plain, 1) not in lines
