"""2018: learned positions. A table with one vector for each place, learned like the token's.

    x = embedding[id] + table[place]            table (max_seq_len, D)

Nothing is assumed about how places relate, so everything about it has to be learned, and a place
that training never reached has a vector that means nothing. GPT-1 to GPT-3 had it; it is needed to
read their weights.

Pitfall: the table ends. A model cannot look further than max_seq_len, however it is run.

Source: Radford et al., "Improving Language Understanding by Generative Pre-Training" (2018).
"""

from torch import Tensor, nn

from transformer.config import ModelConfig


class LearnedPositions(nn.Module):
    """Adds the learned vector of each place: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.max_seq_len, config.d_model)

    def forward(self, x: Tensor, places: Tensor | slice) -> Tensor:
        return x + self.table.weight[places]  # (B, T, D) + (T, D) or (B, T, D)
