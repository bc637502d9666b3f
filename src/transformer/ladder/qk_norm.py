"""2020: queries and keys of a fixed size.

    scores = (c · q/|q|) · (c · k/|k|) / √K          |·|: the root of the mean of squares

Without it scores can grow as long as training lasts, softmax saturates, and large learning rates
end in spikes. With it a score is a cosine times a constant: attention can only choose directions.

Pitfall: a cosine is bounded, so the scores are, by c² · √K. With K = 32 and c = 1 one key among
144 gets about 0.67 of the weight where the others score 0: not much for a head that wants to copy
from one place. So c is 1.2 here ("plain"), or learned, one gain for each of the K channels of
queries and of keys in each block ("gain", starting at 1.2). With rotary positions a single constant
may be applied before or after the rotation; gains per channel may not, for rotating mixes channels:
they come before.

Sources: Henry et al., "Query-Key Normalization for Transformers" (2020); Dehghani et al., "Scaling
Vision Transformers to 22 Billion Parameters" (2023).
"""

import torch
from torch import Tensor, nn

from transformer.config import ModelConfig
from transformer.ladder.rms_norm import rms_normed


class QKNorm(nn.Module):
    """Queries and keys (..., K) -> the same shapes, each vector of size `qk_scale` or its gains."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        variant = config.variant
        self.eps, self.scale = variant.norm_eps, variant.qk_scale
        learned = variant.qk_norm == "gain"
        gains = [torch.full((config.head_size,), self.scale) for _ in range(2 * learned)]
        self.gains = nn.ParameterList(nn.Parameter(gain) for gain in gains)

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        q, k = rms_normed(queries, self.eps), rms_normed(keys, self.eps)
        if not len(self.gains):
            return q * self.scale, k * self.scale
        return q * self.gains[0].to(q.dtype), k * self.gains[1].to(k.dtype)
