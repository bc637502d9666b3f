"""What is built in each place of the model: the one seam where it can be changed.

    ids ─ embedding ─ positions ─▶ block ─▶ block ─▶ … ─▶ norm ─▶ output ─▶ logits, loss
                                     │
                                     └─ norm ─ attention ─ + ─ norm ─ feed_forward ─ +

`CLASSIC` is the model built from this folder's files, the only one they know. Another
attention, for example, is a function of the configuration that returns a module:

    parts = replace(CLASSIC, attention=MyAttention)
    model = DecoderOnlyTransformer(config, parts)

A part keeps the classic shapes of its place; what it computes between them is up to it.
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
    """`(ids)` -> (B, T, D). Its `weight` (V, D) is passed to `output`."""
    positions: Part = SinusoidalPositions
    """`(x, places)` -> (B, T, D): x with the position of each token worked in."""
    norm: Part = layer_norm
    """`(x)` -> the same shape, each vector scaled to a fixed size."""
    attention: Part = MultiHeadAttention
    """`(x, cache)` -> (B, T, D)."""
    feed_forward: Part = FeedForward
    """`(x)` -> (B, T, D)."""
    block: Callable[[ModelConfig, "Parts"], nn.Module] = Block
    """`(x, cache, extras)` -> (B, T, D); `extras` is a `block.Extras`."""
    output: Part = TiedOutput
    """`.logits(hidden, table)` and `.loss(hidden, table, targets)`."""


CLASSIC = Parts()
