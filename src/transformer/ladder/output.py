"""2019 and 2024: an output table of its own, and logits that cannot run away.

**Untied** (`tied_embeddings=False`): as input a row says what a token *means for what follows*, as
output *when it comes*. One table does both at half the memory; two can differ, and each can have
the learning rate that suits it. It pays where the vocabulary is small.

**Softcap** (`logit_softcap=c`): z becomes c · tanh(z / c), so no logit leaves −c … c. Small ones
hardly change. It keeps a model from being certain too early.

Pitfall: both in float32. And the cap is in the logits *and* in the loss; else generation would draw
from another distribution than the one that was trained.

Sources: Press and Wolf (2016), for the other side; Gemma Team, "Gemma 2" (2024), for the cap.
"""

from functools import partial

import torch
from torch import Tensor, nn

from transformer.config import ModelConfig
from transformer.loss import Exponentials, TiedOutput, linear_cross_entropy, row_exponentials


def softcapped(logits: Tensor, cap: float) -> Tensor:
    """c · tanh(z / c) in float32 at least.

    >>> softcapped(torch.tensor([0.1, 15.0, 1000.0]), cap=15.0)
    tensor([ 0.1000, 11.4239, 15.0000])
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return cap * torch.tanh(precise / cap)


def capped_with_slope(logits: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """c · tanh(z / c) and its derivative, 1 − tanh²(z / c)."""
    capped = softcapped(logits, cap)
    return capped, 1 - (capped / cap).square()


class VariantOutput(TiedOutput):
    """`TiedOutput` with a table of its own, or a cap, or both."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.cap = cap = config.variant.logit_softcap
        self.squash = None if cap is None else partial(capped_with_slope, cap=cap)
        tied = config.variant.tied_embeddings
        self.weight = None if tied else nn.Parameter(torch.empty(config.vocab_size, config.d_model))

    def _table(self, embedding: Tensor) -> Tensor:
        return embedding if self.weight is None else self.weight  # (V, D)

    def logits(self, hidden: Tensor, table: Tensor) -> Tensor:
        z = super().logits(hidden, self._table(table))  # (..., V)
        return z if self.cap is None else softcapped(z, self.cap)

    def loss(
        self,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        exponentials: Exponentials = row_exponentials,
    ) -> Tensor:
        return linear_cross_entropy(hidden, self._table(table), targets, exponentials, self.squash)
