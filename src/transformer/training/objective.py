"""The model as training sees it: a module whose `forward(ids, targets)` is the loss.

DDP, FSDP and compilation act when a module is *called*. `model.loss(...)` is an ordinary
method and would slip past them, and past the exchange of gradients with it. So training
wraps the model in this thin module and calls that.

Mixed precision. bfloat16 keeps float32's range (8 bits of exponent) with 8 instead of 24
bits of precision. Matrix products in it are several times faster where the hardware knows
it, and autocast runs just these in bf16: weights, their gradients, AdamW's means, LayerNorm
and softmax stay in float32, because an update a thousand times smaller than its weight would
vanish in the rounding of bf16. No loss scaling is needed, which float16 with its small range
would need.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer.loss import Exponentials, linear_cross_entropy, row_exponentials
from transformer.model import DecoderOnlyTransformer


class LossModule(nn.Module):
    """`forward(ids, targets)`: mean cross-entropy in nats over targets that are not -100."""

    def __init__(
        self, model: DecoderOnlyTransformer, *, bf16: bool = False, compiled: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16
        self._hidden_states: Callable[[Tensor], Tensor] = model.hidden_states
        self._exponentials: Exponentials = row_exponentials
        if compiled:
            # fallback_random: dropout draws PyTorch's own random numbers, the same as without
            # compilation; those the compiler would generate took three times as long on a CPU.
            self._hidden_states = torch.compile(
                model.hidden_states, dynamic=False, options={"fallback_random": True}
            )
            self._exponentials = torch.compile(row_exponentials, dynamic=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """ids, targets (B, T) int64 -> a scalar."""
        # Compiled for one shape in training mode; validation runs as written, which spares it
        # a second compilation.
        hidden_states = self._hidden_states if self.training else self.model.hidden_states
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.bf16):
            hidden = hidden_states(ids).flatten(0, 1)  # (B·T, D)
            return linear_cross_entropy(
                hidden, self.model.token_embedding.weight, targets.flatten(), self._exponentials
            )
