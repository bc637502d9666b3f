"""Cross-entropy over a large vocabulary without holding the logits.

    loss = mean over asked positions of  -log softmax(W h)[target]

With V = 50,281 the logits of one batch of 8 × 128 positions are 206 MB in float32, their
softmax as much again, and their gradient too, while the hidden states they come from are one
megabyte. So work on a few rows at a time, and use that the gradient of cross-entropy is known
in closed form the moment the softmax is:

    dloss/dlogits = softmax(logits) - onehot(target)

The forward pass computes, chunk by chunk, loss *and* gradient, adds them up and forgets the
logits. The backward pass only multiplies by the incoming gradient.

The softmax is never divided out. With m the largest logit of a row, E = exp(logits - m) and
s = sum E, a row of the gradient is (E - s · onehot) / s. The factor 1/s belongs to the row, so
it is applied to the D numbers that a row meets in the matrix products, not to its V own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.data.batch import IGNORED

ROWS = 256  # of logits held at once; fewer means adding up the (V, D) gradient more often
Exponentials = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def row_exponentials(logits: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """exp(logits - largest) (N, V), in the precision of the logits, and its row sums (N, 1).

    The only element-wise work on N · V numbers. Compiled, it is one pass over memory (to write
    the result over the logits took almost three times as long).
    """
    exponentials = torch.exp(logits.to(largest.dtype) - largest)  # (N, V)
    return exponentials.to(logits.dtype), exponentials.sum(dim=-1, keepdim=True)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, exponentials: Exponentials
    ) -> Tensor:
        asked = (targets != IGNORED).sum().clamp(min=1)
        dtype = _product_dtype(hidden)
        h, w = hidden.to(dtype), weight.to(dtype)
        total = torch.zeros((), dtype=_sum_dtype(dtype), device=hidden.device)
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        space = torch.empty(min(ROWS, len(h)), len(w), dtype=dtype, device=h.device)
        product = torch.empty_like(w)
        for start in range(0, len(h), ROWS):
            rows = slice(start, start + ROWS)
            kept = (targets[rows] != IGNORED)[:, None]  # (N, 1)
            losses, d_logits, share = _one_chunk(h[rows], w, targets[rows], space, exponentials)
            share = share * kept / asked  # (N, 1)
            total += (losses * kept).sum()
            d_hidden[rows] = (d_logits @ w) * share  # (N, D)
            d_weight += torch.mm(d_logits.T, (h[rows] * share).to(dtype), out=product)  # (V, D)
        ctx.save_for_backward(d_hidden, d_weight)
        return total / asked

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden.mul_(gradients[0]), d_weight.mul_(gradients[0]), None, None


def _one_chunk(
    h: Tensor, w: Tensor, targets: Tensor, space: Tensor, exponentials: Exponentials
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (N, 1), the gradient E - s · onehot (N, V), and the factor 1/s (N, 1) it lacks."""
    logits = torch.mm(h, w.T, out=space[: len(h)])  # (N, V)
    sums_in = _sum_dtype(h.dtype)
    rows, wanted_ids = torch.arange(len(h), device=h.device), targets.clamp(min=0)  # (N,)
    largest = logits.amax(dim=-1, keepdim=True).to(sums_in)  # (N, 1)
    wanted = logits[rows, wanted_ids][:, None].to(sums_in) - largest  # (N, 1)
    gradient, sums = exponentials(logits, largest)  # (N, V), (N, 1)
    gradient[rows, wanted_ids] = (wanted.exp() - sums)[:, 0].to(h.dtype)
    return sums.log() - wanted, gradient, 1 / sums


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """What autocast would multiply matrices in."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, exponentials: Exponentials = row_exponentials
) -> Tensor:
    """Mean cross-entropy in nats of softmax(hidden · weightᵀ) against targets.

    Args:
        hidden: (N, D), what the output projection reads.
        weight: (V, D), the output projection.
        targets: (N,) int64; IGNORED (-100) where nothing is asked.
        exponentials: a faster twin of `row_exponentials`.

    Returns:
        A scalar in at least float32; 0 if nothing is asked.
    """
    if not torch.is_grad_enabled():
        return _loss_only(hidden, weight, targets)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, exponentials)
    return loss


def _loss_only(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The same value without its gradient, for validation."""
    total = torch.zeros((), dtype=_sum_dtype(hidden.dtype), device=hidden.device)
    for h, t in zip(torch.split(hidden, ROWS), torch.split(targets, ROWS), strict=True):
        logits = (h @ weight.T).to(total.dtype)  # (N, V)
        total += F.cross_entropy(logits, t, ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)
