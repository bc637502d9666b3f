"""A model in one line, so that an imported one introduces itself.

The sizes, and each choice by its usual name. Not said is what is usual: D / H numbers in a head,
as many heads of keys and values as of queries, 4 · D neurons, biases together with LayerNorm.
Nor are the small numbers: scales and ε.
"""

from torch import nn

from transformer.config import ModelConfig, Variant

NEURONS = {"gelu": "GELU", "gelu_tanh": "GELU (tanh)", "relu2": "ReLU²", "swiglu": "SwiGLU"}
NORMS = {"layer": "LayerNorm", "rms": "RMSNorm"}
QK_NORMS = {"plain": "QK-norm", "gain": "QK-norm with gains"}


def describe(config: ModelConfig, parameters: int) -> str:
    """What a model is, for people.

    >>> print(describe(ModelConfig(vocab_size=50_281), 17_611_008))
    6 blocks of 4 heads, width 256, sinusoidal positions, LayerNorm, GELU, tied embeddings, \
context 128, vocabulary 50,281: 17.6 M parameters
    """
    variant = config.variant
    said = [
        f"{_counted(config.n_layers, 'block')} of {_heads(config)}",
        f"width {config.d_model:,}",
        _positions(variant),
        *([f"window {variant.window:,}"] if variant.window else []),
        NORMS[variant.norm] + ("" if variant.norm_gain else " without gain"),
        *([QK_NORMS[variant.qk_norm]] if variant.qk_norm != "none" else []),
        _neurons(config),
        *_biases(variant),
        ("tied" if variant.tied_embeddings else "untied") + " embeddings",
        *(["a norm after the embedding"] if variant.embedding_norm else []),
        *(["value embeddings"] if variant.value_embeddings else []),
        *(["input skip"] if variant.input_skip else []),
        *([f"softcap {_number(variant.logit_softcap)}"] if variant.logit_softcap else []),
        f"context {config.max_seq_len:,}",
        f"vocabulary {config.vocab_size:,}",
    ]
    return f"{', '.join(said)}: {rounded(parameters)} parameters"


def describe_model(model: nn.Module) -> str:
    """The same line, from the model itself; shared tables count once."""
    config = model.config
    assert isinstance(config, ModelConfig)
    return describe(config, sum(parameter.numel() for parameter in model.parameters()))


def rounded(count: int) -> str:
    """Three digits of a large number.

    >>> [rounded(n) for n in (9_999, 999_600, 1_362_944, 124_439_808, 999_999_999)]
    ['9,999', '1 M', '1.36 M', '124 M', '1 B']
    """
    three = int(float(f"{count:.3g}"))
    for unit, letter in ((10**9, "B"), (10**6, "M")):
        if three >= unit:
            return f"{three / unit:g} {letter}"
    return f"{count:,}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _heads(config: ModelConfig) -> str:
    details = []
    if config.n_kv_heads != config.n_heads:
        details.append(f"{config.n_kv_heads:,} of keys and values")
    if config.head_size * config.n_heads != config.d_model:
        details.append(f"{config.head_size:,} wide")
    return _counted(config.n_heads, "head") + (f" ({', '.join(details)})" if details else "")


def _positions(variant: Variant) -> str:
    if variant.positions == "rotary":
        return f"rotary positions (base {_number(variant.rotary_base)})"
    has_none = variant.positions == "sinusoidal" and variant.position_scale == 0
    return "no positions" if has_none else f"{variant.positions} positions"


def _neurons(config: ModelConfig) -> str:
    kind = NEURONS[config.variant.feed_forward]
    usual = config.d_ff == 4 * config.d_model
    return (
        kind if usual else f"{config.d_ff:,} {kind} {'neuron' if config.d_ff == 1 else 'neurons'}"
    )


def _biases(variant: Variant) -> list[str]:
    """They go with LayerNorm: said is what goes against that."""
    if not variant.bias:
        return ["no biases"]
    return [] if variant.norm == "layer" else ["biases"]


def _number(value: float) -> str:
    return f"{value:,}".removesuffix(".0")
