"""Step 5: the block. Attention, then feed-forward, each added to what was there.

    residual ──┬──────────────────────▶ + ──┬─────────────────────────▶ + ──▶ residual
               └─ norm ─ attention ─────┘   └─ norm ─ feed-forward ─────┘
                                      residual_middle

The *residual stream* is a bus of D wires that runs through all blocks. Nothing overwrites
it: each sublayer reads a normalised copy and adds its result. So the final vector is the
embedding plus everything every sublayer wrote. The derivative of x + f(x) is 1 + f′(x): of
the gradient that reaches the first block, one summand has come through the plus signs alone,
a product of ones that no sublayer can shrink, however many blocks there are.

LayerNorm is applied before each sublayer (pre-norm), not on the bus: it subtracts the mean of
the D values, divides by their standard deviation and rescales, so a sublayer sees inputs of
the same size however much has been added up. Pre-norm trains without the careful warm-up
that the original post-norm order needs.

Sources: He et al., "Deep Residual Learning" (2015); Ba et al., "Layer Normalization" (2016);
Xiong et al., "On Layer Normalization in the Transformer Architecture" (2020).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from transformer.config import ModelConfig
from transformer.kv_cache import LayerCache

LAYER_NORM_EPS = 1e-5


def layer_norm(config: ModelConfig) -> nn.LayerNorm:
    """γ · (x − mean) / √(variance + ε) + β over the D values of each position."""
    return nn.LayerNorm(config.d_model, eps=LAYER_NORM_EPS)


class Extras(NamedTuple):
    """What a variant may want in addition to the stream; the classic block ignores it."""

    ids: Tensor  # (B, T) int64
    embedded: Tensor  # (B, T, D), the stream before the first block
    places: Tensor | slice  # where in the text the T positions are


class Sublayers(Protocol):
    """What a block takes from `parts.Parts`."""

    @property
    def norm(self) -> Callable[[ModelConfig], nn.Module]: ...
    @property
    def attention(self) -> Callable[[ModelConfig], nn.Module]: ...
    @property
    def feed_forward(self) -> Callable[[ModelConfig], nn.Module]: ...


class Block(nn.Module):
    """One pre-LayerNorm transformer block: (B, T, D) -> (B, T, D).

    Dropout acts once on what each sublayer writes. It leaves the attention weights alone, so
    that the fused and the explicit path agree in training too.
    """

    def __init__(self, config: ModelConfig, parts: Sublayers) -> None:
        super().__init__()
        self.attention_norm = parts.norm(config)
        self.attention = parts.attention(config)
        self.feed_forward_norm = parts.norm(config)
        self.feed_forward = parts.feed_forward(config)
        self.dropout = nn.Dropout(config.dropout)
        self.residual_middle, self.residual = nn.Identity(), nn.Identity()  # taps

    def forward(
        self, x: Tensor, cache: LayerCache | None = None, extras: Extras | None = None
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), cache))  # (B, T, D)
        x = self.residual_middle(x)
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))  # (B, T, D)
        return self.residual(x)
