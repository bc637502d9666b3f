"""The ladder's block: the classic one, which may also look back at the embedding.

2024: input skip and residual scalars. Each block starts from a learned mixture of the stream and of
the embedding from before the first block:

    x ← λ₁ · x + λ₂ · x₀                λ₁ = 1, λ₂ = 0 at the start, learned, two numbers per block

The stream is a sum, and what it held first is buried under what came later. λ₂ brings the token
back where a block wants it; λ₁ lets a block forget.

Pitfall: λ₁ moves everything at once, so its learning rate is a hundredth of λ₂'s.

Source: the speed runs of modded-nanogpt; Zhu et al., "Hyper-Connections" (2024), go further.
"""

import torch
from torch import Tensor, nn

from transformer.block import Block, Extras, Sublayers
from transformer.config import ModelConfig
from transformer.kv_cache import LayerCache


class VariantBlock(Block):
    """(B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig, parts: Sublayers) -> None:
        super().__init__(config, parts)
        skips = config.variant.input_skip
        self.keep = nn.Parameter(torch.ones(1)) if skips else None  # λ₁
        self.skip = nn.Parameter(torch.zeros(1)) if skips else None  # λ₂

    def forward(
        self, x: Tensor, cache: LayerCache | None = None, extras: Extras | None = None
    ) -> Tensor:
        assert extras is not None, "this block needs the ids and the embedding"
        if self.keep is not None and self.skip is not None:
            # expand: the gradient is summed over places first, then over D. Compiled, summing
            # all at once took a quarter of a step (docs/experiments.md).
            keep, skip = self.keep.expand(x.size(-1)), self.skip.expand(x.size(-1))  # (D,)
            x = keep * x + skip * extras.embedded  # (B, T, D)
        x = x + self.dropout(self.attention(self.attention_norm(x), cache, extras.ids))
        x = self.residual_middle(x)  # (B, T, D)
        x = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))  # (B, T, D)
        return self.residual(x)
