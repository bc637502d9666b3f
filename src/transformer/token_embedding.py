"""Step 1: token embeddings. A token's id says nothing; its vector is what the model knows of it.

    ids (B, T) ──▶ table (V, D) ──▶ row ids[b, t], times √D ──▶ (B, T, D)

Looking up row i is multiplying the table by a vector that is 1 at i and 0 elsewhere, so the
table is learned like any other matrix: as input, the rows of a step's tokens get a gradient.

Why √D: one table has two tasks (model.py). As the output projection its rows must be short, so
that untrained logits are near 0: entries of about 0.5/√D make rows of length 0.5, whatever D is. As
input a row must be long, or it is lost in the position added to it, whose length is √(D/2), 11.3 at
D = 256. The factor √D brings it to 0.5 · √D = 8. Trainings begin with positions half as long, 5.7:
at their full length they drown the tokens, and the first hundreds of steps go into undoing that
(docs/experiments.md, "How large tokens and positions start").

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
