"""Every variant of the model, small and with weights at random."""

from dataclasses import replace

import torch

from transformer.config import ModelConfig, Variant
from transformer.ladder import build_model
from transformer.model import DecoderOnlyTransformer

V, T = 40, 12
FULL = {
    "positions": "rotary", "norm": "rms", "norm_gain": False, "bias": False, "zero_init": True,
    "feed_forward": "relu2", "qk_norm": "gain", "tied_embeddings": False, "embedding_norm": True,
    "input_skip": True, "value_embeddings": True, "logit_softcap": 15.0,
}  # fmt: skip
# fmt: off
VARIANTS: dict[str, dict[str, object]] = {
    "scaled": {"position_scale": 0.25, "embedding_scale": 3.0},
    "learned": {"positions": "learned"},
    "rotary": {"positions": "rotary"},
    "rms": {"norm": "rms", "bias": False},
    "plain norms": {"norm_gain": False, "bias": False, "norm_eps": 0.05},
    "zero": {"zero_init": True},
    "relu2": {"feed_forward": "relu2"},
    "swiglu": {"feed_forward": "swiglu"},
    "gelu_tanh": {"feed_forward": "gelu_tanh"},
    "qk plain": {"positions": "rotary", "qk_norm": "plain"},
    "qk gain": {"positions": "rotary", "qk_norm": "gain"},
    "numbers": {
        "positions": "rotary", "rotary_base": 50.0, "qk_norm": "plain", "qk_scale": 0.8,
        "norm": "rms", "norm_eps": 0.1,
    },
    "untied": {"tied_embeddings": False},
    "embedding norm": {"embedding_norm": True},
    "skip": {"input_skip": True},
    "values": {"value_embeddings": True},
    "softcap": {"logit_softcap": 2.0},
    "grouped": {"n_kv_heads": 2},
    "multi-query": {"n_kv_heads": 1, "positions": "rotary"},
    "head size": {"head_size": 6},
    "window": {"window": 3},
    "all": FULL,
    "all, and the sides": {**FULL, "n_kv_heads": 2, "window": 5, "head_size": 10},
}
# fmt: on


def model_of(
    name: str, attention: str = "auto", dtype: torch.dtype = torch.float64, **sizes: int
) -> DecoderOnlyTransformer:
    """The variant with weights at random: what starts at zero would hide mistakes."""
    torch.manual_seed(0)
    variant = Variant(**VARIANTS[name])
    config = ModelConfig(V, 32, 4, 2, 48, T, dropout=0.0, attention=attention, variant=variant)
    model = build_model(replace(config, **sizes)).to(dtype).eval()
    for parameter in model.parameters():
        if parameter.numel() == 1:
            torch.nn.init.uniform_(parameter, 0.3, 0.9)
        else:
            torch.nn.init.normal_(parameter, mean=float(parameter.dim() == 1), std=0.3)
    return model


def some_ids(rows: int = 2, length: int = T) -> torch.Tensor:
    return torch.randint(V, (rows, length), generator=torch.Generator().manual_seed(1))
