"""Step 1: token embeddings. A token's id says nothing; its vector is what the model knows of it.

    ids (B, T) ──▶ table (V, D) ──▶ row ids[b, t], times √D ──▶ (B, T, D)

Looking up row i is multiplying the table by a vector that is 1 at i and 0 elsewhere, so the
table is learned like any other matrix: as input, the rows of a step's tokens get a gradient.

Why √D: one table has two tasks (model.py). As the output projection its rows must be short, so
that untrained logits are near 0: its entries start at about 0.02, a row at length 0.02 · √D. As
input a row must be long: with length 0.32 at D = 256 it would be lost in the position added to it,
whose length is √(D/2) = 11.3. The factor √D brings it to 0.02 · D = 5.1.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.4.
"""

from torch import Tensor, nn

from transformer.config import ModelConfig


class TokenEmbedding(nn.Embedding):
    """(B, T) int64 -> (B, T, D), scaled by √D; `weight` is the table (V, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.vocab_size, config.d_model)
        self.scale = config.embedding_scale  # √D, unless a variant says otherwise

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * self.scale  # (B, T, D)
