"""Step 1: token embeddings. A token's number says nothing; its vector is what the model knows.

    ids (B, T) ──▶ table (V, D) ──▶ row ids[b, t], times √D ──▶ (B, T, D)

Looking up row i is the product of the table with a vector that is 1 at i and 0 elsewhere, so
the table is learned like any other matrix: the rows of a step's tokens get a gradient.

Why √D: the same table is also the output projection (model.py), and there its rows must be
short, about 0.02 a number, so that untrained logits are near 0. As input such a vector would
drown in the positions, whose numbers are sines and cosines; the factor brings it near to them.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.4.
"""

import math

from torch import Tensor, nn

from transformer.config import ModelConfig


class TokenEmbedding(nn.Embedding):
    """(B, T) int64 -> (B, T, D), scaled by √D; `weight` is the table (V, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.vocab_size, config.d_model)

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * math.sqrt(self.embedding_dim)  # (B, T, D)
