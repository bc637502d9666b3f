"""Step 6: the loss. How surprised the model is by the token that really came next, in nats.

    loss = mean over scored positions of  -log softmax(logits)[target]

A position is *scored* if its target is not -100. `cross_entropy` is that formula. It needs all
logits at once: with V = 50,281 those of one batch of 8 × 128 positions are 206 MB in float32,
their softmax as much again, and their gradient too, while the hidden states they come from
(D = 256) are one megabyte:

    >>> 8 * 128 * 50_281 * 4, 8 * 128 * 256 * 4
    (205950976, 1048576)

`linear_cross_entropy` computes the same number without holding them all. It works on a few rows
at a time, because as soon as the softmax is known, so is the gradient:

    dloss/dlogits = softmax(logits) - onehot(target)

The forward pass computes, chunk by chunk, loss *and* gradient, adds them up and forgets the
logits. The backward pass only multiplies by the incoming gradient.

The softmax is never divided out. With m the largest logit of a row, E = exp(logits - m) and
s = sum E, a row of the gradient is (E - s · onehot) / s. The factor 1/s is one number per row, so
it is applied to the D numbers on the other side of the products, not to the row's V numbers.

Mixed precision. bfloat16 keeps float32's range (8 bits of exponent) with 8 instead of 24 bits
of precision. Matrix products in it are much faster where the hardware supports it, and
autocast runs only these in bf16: weights, their gradients, AdamW's means, LayerNorm and softmax
stay in float32, because an update a thousand times smaller than its weight would be lost in the
rounding of bf16. No loss scaling is needed; float16 with its small range would need it.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.config import ModelConfig
from transformer.data.batch import IGNORED
from transformer.machine.fast_paths import is_narrow, narrow_product

ROWS = 256  # of logits held at once; fewer means adding up the (V, D) gradient more often
ROWS_ELSEWHERE = 4096  # not on a CPU: 256 rows do not keep a GPU busy (not measured)
Squash = Callable[[Tensor], tuple[Tensor, Tensor]]  # z -> f(z), which must increase, and f'(z)
Exponentials = Callable[[Tensor, Tensor, Squash | None], tuple[Tensor, Tensor]]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The formula as it is: logits (N, V), targets (N,) -> a scalar; 0 if nothing is scored.

    >>> cross_entropy(torch.zeros(2, 50), torch.tensor([7, IGNORED]))  # log 50: any of 50 tokens
    tensor(3.9120)
    """
    log_probabilities = logits - logits.logsumexp(dim=-1, keepdim=True)  # (N, V)
    scored = targets != IGNORED  # (N,)
    losses = -log_probabilities[scored, targets[scored]]  # (scored,)
    return losses.sum() / scored.sum().clamp(min=1)


def row_exponentials(
    logits: Tensor, largest: Tensor, squash: Squash | None = None
) -> tuple[Tensor, Tensor]:
    """exp(f(logits) - largest) · f'(logits) (N, V), in the precision of the logits, and the row
    sums of the exponentials alone (N, 1); without `squash` f(z) = z.

    The only element-wise work on N · V numbers. Compiled, it is one pass over memory. (Writing
    the result over the logits was slower: docs/experiments.md.)
    """
    values, slope = logits.to(largest.dtype), None
    if squash is not None:
        values, slope = squash(values)
    exponentials = torch.exp(values - largest)  # (N, V)
    sums = exponentials.sum(dim=-1, keepdim=True)  # (N, 1)
    if slope is not None:
        exponentials = exponentials * slope  # the chain rule
    return exponentials.to(logits.dtype), sums


def rows_at_once(device: torch.device) -> int:
    """How many rows of logits are held at once on this device."""
    return ROWS if device.type == "cpu" else ROWS_ELSEWHERE


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        exponentials: Exponentials,
        squash: Squash | None,
    ) -> Tensor:
        scored = (targets != IGNORED).sum().clamp(min=1)
        dtype = _product_dtype(hidden)
        h, w = hidden.to(dtype), weight.to(dtype)
        total = torch.zeros((), dtype=_sum_dtype(dtype), device=hidden.device)
        d_hidden, d_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        at_once = rows_at_once(h.device)
        space = torch.empty(min(at_once, len(h)), len(w), dtype=dtype, device=h.device)
        product = torch.empty_like(w)
        for start in range(0, len(h), at_once):
            rows = slice(start, start + at_once)
            kept = (targets[rows] != IGNORED)[:, None]  # (N, 1)
            losses, d_logits, share = _one_chunk(
                h[rows], w, targets[rows], space, exponentials, squash
            )
            share = share * kept / scored  # (N, 1)
            total += (losses * kept).sum()
            d_hidden[rows] = (d_logits @ w) * share  # (N, D)
            d_weight += torch.mm(d_logits.T, (h[rows] * share).to(dtype), out=product)  # (V, D)
        ctx.save_for_backward(d_hidden, d_weight)
        return total / scored

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden.mul_(gradients[0]), d_weight.mul_(gradients[0]), None, None, None


def _one_chunk(
    h: Tensor,
    w: Tensor,
    targets: Tensor,
    space: Tensor,
    exponentials: Exponentials,
    squash: Squash | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (N, 1), the gradient E - s · onehot (N, V), times the slope of `squash`, and the
    factor 1/s (N, 1) that it lacks."""
    logits = torch.mm(h, w.T, out=space[: len(h)])  # (N, V)
    sums_in = _sum_dtype(h.dtype)
    rows, ids = torch.arange(len(h), device=h.device), targets.clamp(min=0)  # (N,)
    largest = logits.amax(dim=-1, keepdim=True).to(sums_in)  # (N, 1)
    wanted, slope = logits[rows, ids][:, None].to(sums_in), None  # (N, 1)
    if squash is not None:  # it increases: what was the largest logit still is
        (largest, _), (wanted, slope) = squash(largest), squash(wanted)
    wanted = wanted - largest
    gradient, sums = exponentials(logits, largest, squash)  # (N, V), (N, 1)
    at_wanted = wanted.exp() - sums
    if slope is not None:
        at_wanted = at_wanted * slope
    gradient[rows, ids] = at_wanted[:, 0].to(gradient.dtype)
    return sums.log() - wanted, gradient, 1 / sums


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """What autocast would multiply matrices in."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    exponentials: Exponentials = row_exponentials,
    squash: Squash | None = None,
) -> Tensor:
    """Mean cross-entropy in nats of softmax(hidden · weightᵀ) against targets.

    Args:
        hidden: (N, D), what the output projection reads.
        weight: (V, D), the output projection.
        targets: (N,) int64; IGNORED (-100) where nothing is scored.
        exponentials: a faster twin of `row_exponentials`.
        squash: what becomes of each logit before the softmax, and its slope; None: nothing.

    Returns:
        A scalar in at least float32; 0 if nothing is scored.
    """
    if not torch.is_grad_enabled():
        return _loss_only(hidden, weight, targets, squash)
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, targets, exponentials, squash)
    return loss


def _loss_only(hidden: Tensor, weight: Tensor, targets: Tensor, squash: Squash | None) -> Tensor:
    """The same value without its gradient, for validation."""
    total = torch.zeros((), dtype=_sum_dtype(hidden.dtype), device=hidden.device)
    at_once = rows_at_once(hidden.device)
    for h, t in zip(torch.split(hidden, at_once), torch.split(targets, at_once), strict=True):
        logits = (h @ weight.T).to(total.dtype)  # (N, V)
        if squash is not None:
            logits, _ = squash(logits)
        total += F.cross_entropy(logits, t, ignore_index=IGNORED, reduction="sum")
    return total / (targets != IGNORED).sum().clamp(min=1)


class TiedOutput(nn.Module):
    """Logits and loss with the embedding table as the output projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()

    def logits(self, hidden: Tensor, table: Tensor) -> Tensor:
        """(..., D), (V, D) -> (..., V)."""
        if is_narrow(hidden):
            return narrow_product(hidden, table)
        return F.linear(hidden, table)

    def loss(
        self,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        exponentials: Exponentials = row_exponentials,
    ) -> Tensor:
        """(N, D), (V, D), (N,) -> a scalar."""
        return linear_cross_entropy(hidden, table, targets, exponentials)


class LanguageModel(Protocol):
    """What `LossModule` needs of a model; `DecoderOnlyTransformer` is one."""

    blocks: nn.ModuleList

    def hidden_states(self, ids: Tensor) -> Tensor: ...
    def hidden_loss(
        self, hidden: Tensor, targets: Tensor, exponentials: Exponentials = ...
    ) -> Tensor: ...


class LossModule(nn.Module):
    """The model as training sees it: `forward(ids, targets)` is its loss.

    DDP, FSDP and compilation act when a module is *called*. `model.loss(...)` is an ordinary
    method and would slip past them, and past the exchange of gradients with it.
    """

    def __init__(self, model: LanguageModel, *, bf16: bool = False, compiled: bool = False) -> None:
        super().__init__()
        self.model = model
        self.bf16 = bf16
        self._hidden_states: Callable[[Tensor], Tensor] = model.hidden_states
        self._exponentials: Exponentials = row_exponentials
        if compiled:
            # fallback_random: dropout draws PyTorch's own random numbers, the same as without
            # compilation; the compiler's own were slower on a CPU (docs/experiments.md).
            self._hidden_states = torch.compile(
                model.hidden_states, dynamic=False, options={"fallback_random": True}
            )
            self._exponentials = torch.compile(row_exponentials, dynamic=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """ids, targets (B, T) int64 -> a scalar."""
        # Compiled for one shape in training mode; validation runs as written, which saves a
        # second compilation.
        hidden_states = self._hidden_states if self.training else self.model.hidden_states
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.bf16):
            return self.model.hidden_loss(hidden_states(ids), targets, self._exponentials)
