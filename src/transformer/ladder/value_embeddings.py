"""2024: value embeddings. What a token contributes to attention, looked up instead of computed.

    values = W_v x + λ · E_v[id]              E_v (V, n_kv_heads · K), one table for each block

After a few blocks the stream has become "what comes next" and says less of what the token is, but
a head that copies needs exactly that. A table in each block hands it over, past all blocks
before it. λ is learned, one number per block.

Pitfall: a table of V rows for each block. With 1,024 tokens that is little, with 50,000 it is more
than all the rest of a small model.

Source: Zhou et al., "Value Residual Learning" (2024); the speed runs of modded-nanogpt.
"""

import torch
from torch import Tensor, nn

from transformer.config import ModelConfig

START = 0.5  # λ


class ValueEmbedding(nn.Embedding):
    """Adds to values (B, n_kv_heads, T, K) what the table says of the tokens `ids` (B, T)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.vocab_size, config.n_kv_heads * config.head_size)
        self.heads = config.n_kv_heads
        self.share = nn.Parameter(torch.tensor([START]))

    def add_to(self, values: Tensor, ids: Tensor) -> Tensor:
        looked_up = self(ids).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H_kv, T, K)
        return values + (self.share * looked_up).to(values.dtype)
