"""Step 0: the sizes of a model, and the legend of shapes that every file uses.

    B  batch          sequences processed together
    T  positions      tokens in a sequence; the queries, where keys are counted separately
    S  key positions  what queries can look at: the T positions, and the cached ones before them
    D  d_model        width of the residual stream
    H  n_heads        attention heads
    K  head size      D // H
    F  d_ff           width of the feed-forward layer
    V  vocab_size     tokens the model knows

Tensor-producing lines end in a comment with their shape: `# (B, H, T, K)`.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args, get_origin, get_type_hints

from transformer.errors import UserError

AttentionPath = Literal["auto", "fused", "explicit"]


@dataclass(frozen=True)
class Variant:
    """Where a model differs from the classic one of this folder: one step of the ladder each.

    The files that lie flat here know none of it but the two numbers of step 1. `ladder/` builds
    the rest, and tells why. A saved model without a field has its default, so defaults never
    change.
    """

    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    """Added to the embedding from a formula or a table, or worked into queries and keys."""
    position_scale: float = 1.0
    """Size of the sinusoids."""
    rotary_base: float = 10_000.0
    """The slowest rotary pair turns by base^(2/K) / base radians per position."""
    embedding_scale: float | None = None
    """Factor of the token embedding; None is √d_model."""
    embedding_norm: bool = False
    """RMS norm after the embedding."""
    tied_embeddings: bool = True
    """One table for input and output."""
    norm: Literal["layer", "rms"] = "layer"
    """LayerNorm, or RMS norm, which subtracts no mean."""
    norm_gain: bool = True
    """Whether norms have a learned factor for each of the D values."""
    norm_eps: float = 1e-5
    """ε under the root of every norm."""
    bias: bool = True
    """Whether linear layers and LayerNorm have biases."""
    feed_forward: Literal["gelu", "gelu_tanh", "relu2", "swiglu"] = "gelu"
    """What a neuron makes of its sum; swiglu has three matrices, each with d_ff neurons."""
    qk_norm: Literal["none", "plain", "gain"] = "none"
    """RMS norm of queries and keys: with the constant qk_scale, or gains that start there."""
    qk_scale: float = 1.2
    """Size of normed queries and keys."""
    n_kv_heads: int | None = None
    """Heads of keys and values, each shared by n_heads / n_kv_heads query heads."""
    head_size: int | None = None
    """Width of a head; None is d_model / n_heads."""
    window: int | None = None
    """How many positions a query sees: itself and window - 1 before."""
    zero_init: bool = False
    """Whether what writes into the residual stream starts at zero."""
    value_embeddings: bool = False
    """A second embedding of the token, added to the values of each block."""
    input_skip: bool = False
    """Each block starts from a learned mixture of the stream and the embedding."""
    logit_softcap: float | None = None
    """Logits z become c · tanh(z / c)."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Variant).items():
            value = getattr(self, name)
            choices = get_args(kind) if get_origin(kind) is Literal else None
            if choices and value not in choices:
                said = ", ".join(map(repr, choices))
                raise UserError(f"{name} must be one of {said}, but is {value!r}")
            wanted = next((k for k in (bool, int, float) if k in (kind, *get_args(kind))), None)
            if choices is None and value is not None and wanted is not None:
                _check_number(name, value, wanted)

    @property
    def is_classic(self) -> bool:
        """Whether the files of this folder build it by themselves."""
        sizes = ("position_scale", "embedding_scale")
        return all(
            getattr(self, field.name) == field.default
            for field in fields(Variant)
            if field.name not in sizes
        )


def _check_number(name: str, value: object, kind: type) -> None:
    """Flags are flags; counts are at least 1; factors are finite and above 0."""
    if kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{name} must be True or False, but is {value!r}")
    elif isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        raise UserError(f"{name} must be a number, but is {value!r}")
    elif kind is int and value < 1:
        raise UserError(f"{name} must be at least 1, but is {value!r}")
    elif name == "position_scale" and not 0 <= value < math.inf:  # 0: no positions
        raise UserError(f"{name} must be a finite number of at least 0, but is {value!r}")
    elif name != "position_scale" and not 0 < value < math.inf:
        raise UserError(f"{name} must be a finite number above 0, but is {value!r}")


CLASSIC_VARIANT = Variant()


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of a `DecoderOnlyTransformer`.

    The defaults (with p50k_base's 50,281 ids) make a model of 17.6 million parameters,
    12.9 million of which are the embedding table.

    Raises:
        UserError: a field has an impossible value; the message names field and value.
    """

    vocab_size: int
    """V: number of token ids."""
    d_model: int = 256
    """D: width of the residual stream; even, and divisible by n_heads."""
    n_heads: int = 4
    """H: attention heads in each block."""
    n_layers: int = 6
    """Number of blocks."""
    d_ff: int = 1024
    """F: width of the feed-forward layer, usually 4 · d_model."""
    max_seq_len: int = 128
    """The most positions the model can look at: its context."""
    dropout: float = 0.1
    """Share of values set to zero in training, 0 to below 1."""
    attention: AttentionPath = "auto"
    """"explicit": the hand-written lines, which hooks can watch; "fused": PyTorch's kernel;
    "auto": the one that is faster here. They agree within rounding."""
    variant: Variant = CLASSIC_VARIANT
    """Another than the classic one is built by `ladder.build_model`."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_seq_len"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, but is {value!r}")
        if self.variant.head_size is None and self.d_model % self.n_heads:
            unit = math.lcm(2, self.n_heads)
            raise UserError(
                f"d_model must be divisible by n_heads, but {self.d_model} / {self.n_heads} "
                f"leaves {self.d_model % self.n_heads}; try d_model="
                f"{self.d_model // unit * unit or unit}"
            )
        positions = self.variant.positions
        if positions == "sinusoidal" and self.d_model % 2:
            raise UserError(f"d_model must be even (sine and cosine pairs), but is {self.d_model}")
        if positions == "rotary" and self.head_size % 2:
            raise UserError(
                f"rotary positions turn pairs, so head_size must be even, but is {self.head_size} "
                f"(d_model {self.d_model}, n_heads {self.n_heads})"
            )
        if self.n_heads % self.n_kv_heads:
            raise UserError(
                f"n_heads must be divisible by n_kv_heads, but they are {self.n_heads} and "
                f"{self.n_kv_heads}"
            )
        if not isinstance(self.dropout, (int, float)) or not 0.0 <= self.dropout < 1.0:
            raise UserError(f"dropout must be at least 0 and below 1, but is {self.dropout!r}")
        if self.attention not in get_args(AttentionPath):
            choices = " or ".join(map(repr, get_args(AttentionPath)))
            raise UserError(f"attention must be {choices}, but is {self.attention!r}")

    @property
    def head_size(self) -> int:
        """K: width of one head."""
        return self.variant.head_size or self.d_model // self.n_heads

    @property
    def n_kv_heads(self) -> int:
        """Heads of keys and values; as many as there are query heads, in the classic model."""
        return self.variant.n_kv_heads or self.n_heads

    @property
    def embedding_scale(self) -> float:
        """What a token's vector is multiplied by."""
        return self.variant.embedding_scale or math.sqrt(self.d_model)
