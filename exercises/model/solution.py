"""The whole model: from token ids to a score for every possible next token.

    ids (B, T)
      │  token_embedding, + positions, dropout
      ▼
    residual stream (B, T, D) ──▶ block 0 ──▶ block 1 ──▶ … ──▶ final_norm = hidden states
      │  dot product with every token's embedding
      ▼
    logits (B, T, V)         softmax(logits[b, t]) is the model's belief about token t + 1

The parts are given; here they are joined. `parts` builds them from the configuration:

    parts.embedding(config)      ids (B, T) -> (B, T, D), with the factor √D already in it; its
                                 `.weight` is the table (V, D)
    parts.positions(config)      (x, places) -> x with the positions added
    parts.block(config, parts)   a new block at each call: (x, cache of this block) -> (B, T, D)
    parts.norm(config)           x -> (B, T, D)
    parts.output(config)         .logits(hidden, table) -> (B, T, V), where table is the table of
                                 the embedding: input and output share it

`places` says where in the text the T positions are: slice(0, T) for a text from its beginning. In
generation there is a cache of what was read before, and only new tokens are passed:

    cache.places(T)      the places of these T positions
    cache.layers(T)      a list: for each block, the cache that it is called with
    cache.advance(T)     called once, after the last block: T positions more are remembered

Without a cache each block is called with None.
"""

from typing import Any

from torch import Tensor, nn

from transformer.config import ModelConfig


class Transformer(nn.Module):
    """ids (B, T) -> logits (B, T, V).

    Its submodules are `token_embedding`, `positions`, `blocks` (an nn.ModuleList of
    config.n_layers blocks), `final_norm` and `output`.
    """

    def __init__(self, config: ModelConfig, parts: Any) -> None:
        """
        Args:
            config: passed to the parts; config.dropout is the share that dropout sets to 0.
            parts: builds what the model is made of, see above.
        """
        super().__init__()
        self.token_embedding = parts.embedding(config)
        self.positions = parts.positions(config)
        self.dropout = nn.Dropout(config.dropout)
        # A ModuleList, not a list: only then are the weights inside found, trained and saved. And
        # a new block each time: [block] * n would be one block, n times.
        self.blocks = nn.ModuleList(parts.block(config, parts) for _ in range(config.n_layers))
        self.final_norm = parts.norm(config)
        self.output = parts.output(config)

    def hidden_states(self, ids: Tensor, cache: Any = None) -> Tensor:
        """The residual stream after all blocks and the final norm.

        Args:
            ids: (B, T) int64.
            cache: of what was read before, see above; None if the text begins here.

        Returns:
            (B, T, D).
        """
        T = ids.size(1)
        if cache is None:
            places, layers = slice(0, T), [None] * len(self.blocks)
        else:
            # Asked for before anything is stored: the new places begin where the cache ends.
            places, layers = cache.places(T), cache.layers(T)
        x = self.positions(self.token_embedding(ids), places)  # (B, T, D)
        x = self.dropout(x)
        for block, layer in zip(self.blocks, layers, strict=True):
            x = block(x, layer)  # (B, T, D)
        if cache is not None:
            # Once, not in each block: all blocks have stored the same T positions.
            cache.advance(T)
        # The stream has grown with every block; the norm brings it to the size that the output
        # expects.
        return self.final_norm(x)  # (B, T, D)

    def forward(self, ids: Tensor, cache: Any = None) -> Tensor:
        """Logits for the token after each position: (B, T, V). Arguments as for hidden_states."""
        # No softmax: the loss and sampling begin with logits.
        table = self.token_embedding.weight  # (V, D)
        return self.output.logits(self.hidden_states(ids, cache), table)  # (B, T, V)
