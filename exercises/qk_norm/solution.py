"""QK-norm: queries and keys get a fixed size before they meet.

    normed(x) = x / √(mean(x²) + ε)        over the K channels of each vector, by itself

    queries   become   g_q · normed(q)
    keys      become   g_k · normed(k)         then, as always:  scores = Q Kᵀ / √K

Without it scores can grow as long as training lasts, softmax turns into a choice of one key, and a
large learning rate ends in a spike. With it a score is a cosine times a constant.

The gains g_q and g_k are learned: two vectors of K numbers, one for all queries and one for all
keys, the same for every head and position. Both start at `scale`. It is 1.2 and not 1 because a
cosine is bounded: with K = 32 and scale 1 a score is at most √32 = 5.7, and a head that wants to
look at one key alone could not.

Values are not normed: only how well query and key fit should not depend on size. As in RMSNorm,
everything is computed in float32 at least (float64 stays float64), and the results have the types
of the inputs again.
"""

import torch
from torch import Tensor, nn


class QKNorm(nn.Module):
    """queries (..., K), keys (..., K) -> the same shapes, normed and multiplied by their gains.

    Its parameters are in `gains`, an nn.ParameterList: `gains[0]` for the queries, `gains[1]` for
    the keys, each (K,), each number `scale` at the start.
    """

    def __init__(self, head_size: int, scale: float = 1.2, eps: float = 1e-5) -> None:
        """
        Args:
            head_size: width K of a head.
            scale: where the gains start.
            eps: ε, under the root.
        """
        super().__init__()
        self.eps = eps
        # Two tensors: one of them twice would be one gain for both.
        self.gains = nn.ParameterList(
            [nn.Parameter(torch.full((head_size,), scale)) for _ in range(2)]
        )

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """queries (B, H, T, K), keys (B, H, S, K) -> queries, keys; H, T and S may differ."""
        queries = self._normed(queries, self.gains[0])
        keys = self._normed(keys, self.gains[1])
        return queries, keys

    def _normed(self, x: Tensor, gain: Tensor) -> Tensor:
        """RMSNorm over the channels of a head."""
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        # The last dimension only: each head and each position has a size of its own.
        size = torch.sqrt(precise.square().mean(dim=-1, keepdim=True) + self.eps)  # (..., 1)
        return (precise / size * gain).to(x.dtype)
