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

from dataclasses import dataclass
from typing import Literal, get_args

from transformer.errors import UserError

AttentionPath = Literal["auto", "fused", "explicit"]


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

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_seq_len"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, but is {value!r}")
        if self.d_model % self.n_heads:
            raise UserError(
                f"d_model must be divisible by n_heads, but {self.d_model} / {self.n_heads} "
                f"leaves {self.d_model % self.n_heads}; try d_model="
                f"{self.d_model // self.n_heads * self.n_heads or self.n_heads}"
            )
        if self.d_model % 2:
            raise UserError(f"d_model must be even (sine and cosine pairs), but is {self.d_model}")
        if not isinstance(self.dropout, (int, float)) or not 0.0 <= self.dropout < 1.0:
            raise UserError(f"dropout must be at least 0 and below 1, but is {self.dropout!r}")
        if self.attention not in get_args(AttentionPath):
            choices = " or ".join(map(repr, get_args(AttentionPath)))
            raise UserError(f"attention must be {choices}, but is {self.attention!r}")

    @property
    def head_size(self) -> int:
        """K: width of one head."""
        return self.d_model // self.n_heads
