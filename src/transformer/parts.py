"""What is built in each place of the model: the one seam where it can be changed.

    ids ─ embedding ─ positions ─▶ block ─▶ block ─▶ … ─▶ norm ─▶ output ─▶ logits, loss
                                     │
                                     └─ norm ─ attention ─ + ─ norm ─ feed_forward ─ +

`CLASSIC` is the model of this folder's files, and they know no other. Another attention, say,
is a function of the configuration that returns a module:

    parts = replace(CLASSIC, attention=MyAttention)
    model = DecoderOnlyTransformer(config, parts)

Shapes are the classic ones in every place; what a part does between them is its own affair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from transformer.attention import MultiHeadAttention
from transformer.block import Block, layer_norm
from transformer.config import ModelConfig
from transformer.feed_forward import FeedForward
from transformer.loss import TiedOutput
from transformer.positional_encoding import SinusoidalPositions
from transformer.token_embedding import TokenEmbedding

Part = Callable[[ModelConfig], Any]  # a module


@dataclass(frozen=True)
class Parts:
    """Each field builds what is in one place of the model."""

    embedding: Part = TokenEmbedding
    """`(ids)` -> (B, T, D). Its `weight` (V, D) is handed to `output`."""
    positions: Part = SinusoidalPositions
    """`(x, places)`: x (B, T, D) with what says where each token is."""
    norm: Part = layer_norm
    """`(x)` -> the same shape, each vector brought to one size."""
    attention: Part = MultiHeadAttention
    """`(x, cache)` -> (B, T, D)."""
    feed_forward: Part = FeedForward
    """`(x)` -> (B, T, D)."""
    block: Callable[[ModelConfig, "Parts"], nn.Module] = Block
    """`(x, cache, extras)` -> (B, T, D); `extras` is a `block.Extras`."""
    output: Part = TiedOutput
    """`.logits(hidden, table)` and `.loss(hidden, table, targets)`."""


CLASSIC = Parts()
