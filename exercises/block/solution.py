"""The block: attention, then feed-forward, each of which adds to the stream and overwrites nothing.

    x ──┬───────────────────────────────── + ──┬──────────────────────────────────── + ──▶
        └─ norm ─ attention ─ dropout ─────┘   └─ norm ─ feed-forward ─ dropout ─────┘

The residual stream x runs straight through. Each sublayer reads a *normed copy* of it and adds its
result to the stream itself. So the gradient of the output reaches x through the plus signs alone,
however many blocks there are. In training dropout acts on what a sublayer writes, not on the
stream.

The sublayers are given. `parts` builds them from the configuration:

    parts.norm(config)            a new norm at each call: x (B, T, D) -> (B, T, D)
    parts.attention(config)       (x, cache) -> (B, T, D)
    parts.feed_forward(config)    x -> (B, T, D)
"""

from typing import Any

from torch import Tensor, nn

from transformer.config import ModelConfig


class Block(nn.Module):
    """(B, T, D) -> (B, T, D).

    It has four submodules with weights: `attention_norm`, `attention`, `feed_forward_norm` and
    `feed_forward`. The two norms are two modules, with weights of their own.
    """

    def __init__(self, config: ModelConfig, parts: Any) -> None:
        """
        Args:
            config: passed to the parts; config.dropout is the share that dropout sets to 0.
            parts: builds the sublayers, see above.
        """
        super().__init__()
        self.attention_norm = parts.norm(config)
        self.attention = parts.attention(config)
        self.feed_forward_norm = parts.norm(config)
        self.feed_forward = parts.feed_forward(config)
        # As a module it knows whether the model is in training: in evaluation it does nothing.
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cache: Any = None, extras: Any = None) -> Tensor:
        """x (B, T, D) -> (B, T, D).

        Args:
            cache: for attention alone; None if there are no earlier positions.
            extras: what some variants want; not used here.
        """
        # Attention reads the normed copy, but its result is added to x as it was.
        read = self.attention_norm(x)  # (B, T, D)
        written = self.attention(read, cache)  # (B, T, D)
        # Not `x += …`: that would change the tensor of whoever called.
        x = x + self.dropout(written)  # (B, T, D)
        # The second sublayer reads what the first has added already.
        read = self.feed_forward_norm(x)  # (B, T, D)
        written = self.feed_forward(read)  # (B, T, D)
        return x + self.dropout(written)  # (B, T, D)
