"""Step 7: how a laptop trains with the batches of a cluster, and how to read what comes out.

1. Gradient accumulation
========================
A gradient is an average over examples, and an average can be computed in instalments:

    one big batch             16 × 8 sequences ──────────────▶ gradient ──▶ step
                              (all activations in memory at once)

    accumulation              8 sequences ──▶ gradient ─┐
                              8 sequences ──▶ gradient ─┤ add
                              ...                       ├──────────────────▶ step
                              8 sequences ──▶ gradient ─┘
                              (the activations of 8 sequences in memory)

The sum of the instalments *is* the gradient of the big batch: on a small model the two differ by
2e-7 of their length, the rounding of float32 sums in another order. With products in bf16, which
round more, it is 0.2 %. Dropout is another matter: the micro-batches draw other masks than the big
batch, so the two are equal on average but not each time (at dropout 0.1 they differ by half their
length). Memory is that of one micro-batch; time is that of the big batch.

**Why bother?** A gradient g̃ from one micro-batch is the true gradient g plus noise. Averaging
N independent micro-batches divides the *variance* of the noise by N, and so the noise itself
(its standard deviation, the length of the error) by √N:

    N =  1      error 1
    N =  4      error 1/2
    N = 16      error 1/4       16 times the work for a quarter of the noise

A less noisy gradient allows a larger learning rate. It is no free lunch: 16 micro-batches cost 16
times as much as one.
`benchmarks/experiments/accumulation.py` measured both sides (toy stories, one run each):

    at equal tokens    N = 1 reaches a loss of 0.98 in 1,024 steps, N = 16 only 3.11 in 64
    at equal steps     (64) N = 1 reaches 3.85, N = 16 reaches 3.11, N = 32 reaches 3.03

So accumulate when the batch you need does not fit into memory, and not more than that.

**The trap: a mean of means is not the mean.** Losses are averaged over tokens. When one
micro-batch has 1,000 scored tokens and another (short stories, padding) 10, dividing each mean
by N gives each of the 10 tokens a hundred times the weight of each of the 1,000:

    wrong      Σᵢ mean(lossᵢ) / N
    right      Σᵢ sum(lossᵢ) / Σᵢ nᵢ  =  Σᵢ mean(lossᵢ) · nᵢ / n,     n = Σᵢ nᵢ scored tokens

So the tokens of all micro-batches are counted first, over all processes, and each micro-batch
is weighted with nᵢ / n.

**Several processes.** Each works on its share of the micro-batches, and gradients are
exchanged once, during the last one: exchanging after each would send the same number of bytes
N times. `no_sync` (DDP) and `set_requires_gradient_sync` (FSDP) switch the exchange off.
The exchange *averages* over processes while the sum is wanted; hence the factor `world_size`.

**Clipping.** One strange batch can have a gradient many times as long as usual. Its direction
is kept and its length cut to `max_grad_norm`. A gradient that is not finite (an
overflow) has no direction to keep: that step is left out and reported.

2. Reading the two curves
=========================
Training loss is measured on text the model learns from, validation loss on text that it
never sees. Perplexity is exp(loss): the model is as uncertain as if it chose uniformly among
that many tokens.

    learning            underfitting          overfitting
    │╲                  │╲                    │╲
    │ ╲╲  validation    │ ╲______ both        │ ╲╲    ╱ validation
    │  ╲╲               │        flat         │  ╲╲__╱
    │   ╲╲ train        │                     │   ╲____ train
    └──────▶            └──────▶              └──────▶

    learning      validation falls: keep going.
    underfitting  both flat: the model is too small, the learning rate too low or spent.
    memorising    train falls, validation is flat: what it still learns does not help on new
                  text. It begins to learn by heart, and overfitting may follow.
    overfitting   train falls, validation rises: it learns the text by heart. More data,
                  dropout, a smaller model, or stop here (`--patience`).

Where the gradient goes next: `training/optimizer.py` (AdamW), `training/scheduler.py` (how large
the steps are), `training/trainer.py` (what happens between them).
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from transformer.data.batch import IGNORED
from transformer.errors import UserError
from transformer.loss import LossModule
from transformer.machine.device import has_float64
from transformer.machine.processes import SINGLE, Processes
from transformer.model import DecoderOnlyTransformer


@dataclass(frozen=True)
class StepResult:
    """What one optimiser step saw and did."""

    loss: float
    """Mean loss in nats per scored token, over all micro-batches and processes."""
    tokens: int
    """Scored tokens."""
    grad_norm: float
    """Length of the gradient before clipping."""
    applied: bool
    """False if loss or gradient were not finite: the weights are as before."""


class GradientAccumulator:
    """One optimiser step from several micro-batches.

        accumulator = GradientAccumulator(model, optimizer, accumulation_steps=16)
        update = accumulator.step(micro_batches)     # 16 pairs (inputs, targets)

    Where all micro-batches have equally many scored tokens, and in one process, it does this:

    >>> def plain_step(model, optimizer, micro_batches):
    ...     optimizer.zero_grad()
    ...     for inputs, targets in micro_batches:
    ...         loss = model.loss(inputs, targets) / len(micro_batches)
    ...         loss.backward()  # adds to what is in .grad already
    ...     nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    ...     optimizer.step()

    >>> from transformer.config import ModelConfig
    >>> ids = torch.arange(44).reshape(4, 1, 11) % 7  # four micro-batches of one sequence
    >>> pairs = [(text[:, :-1], text[:, 1:]) for text in ids]
    >>> weights = []
    >>> for use_class in (False, True):
    ...     _ = torch.manual_seed(0)
    ...     model = DecoderOnlyTransformer(ModelConfig(7, 8, 2, 1, 16, 10, dropout=0.0))
    ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ...     if use_class:
    ...         update = GradientAccumulator(model, optimizer, 4, max_grad_norm=1.0).step(pairs)
    ...     else:
    ...         plain_step(model, optimizer, pairs)
    ...     weights.append(nn.utils.parameters_to_vector(model.parameters()))
    >>> torch.allclose(*weights, atol=1e-6), update.tokens
    (True, 40)

    Args:
        model: a `DecoderOnlyTransformer`, or any module whose `forward(inputs, targets)` is
            the mean loss over targets that are not -100 (`LossModule`, also inside DDP, FSDP).
        optimizer: over the parameters of `model`.
        accumulation_steps: micro-batches per step and process.
        max_grad_norm: longer gradients are shortened to this.
        processes: who else works on the same step.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        accumulation_steps: int = 16,
        max_grad_norm: float = 1.0,
        processes: Processes = SINGLE,
    ) -> None:
        if accumulation_steps < 1:
            raise UserError(f"accumulation_steps must be at least 1, but is {accumulation_steps}")
        self.model = LossModule(model) if isinstance(model, DecoderOnlyTransformer) else model
        self.optimizer = optimizer
        self.accumulation_steps = accumulation_steps
        self.max_grad_norm = max_grad_norm
        self.processes = processes

    def step(
        self,
        micro_batches: Sequence[tuple[Tensor, Tensor]],
        before_each: Callable[[int], Any] = lambda index: None,
    ) -> StepResult:
        """Accumulate, clip, update. `before_each(i)` is called before micro-batch i.

        The gradients stay in `.grad` until the next call, to be looked at.
        """
        loss, tokens = self.accumulate(micro_batches, before_each)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        grad_norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        applied = math.isfinite(loss) and math.isfinite(grad_norm)
        if applied:
            self.optimizer.step()
        return StepResult(loss, tokens, grad_norm, applied)

    def accumulate(
        self,
        micro_batches: Sequence[tuple[Tensor, Tensor]],
        before_each: Callable[[int], Any] = lambda index: None,
    ) -> tuple[float, int]:
        """Leave the gradient of the mean loss over all scored tokens in `.grad`.

        Returns:
            That mean loss in nats, and the number of scored tokens.

        Raises:
            UserError: not exactly `accumulation_steps` micro-batches, or none has a target.
        """
        if len(micro_batches) != self.accumulation_steps:
            raise UserError(
                f"a step takes {self.accumulation_steps} micro-batches, got {len(micro_batches)}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        counts = torch.stack([(targets != IGNORED).sum() for _, targets in micro_batches])
        scored = counts.tolist()  # a GPU is waited for once, and not for each micro-batch
        total = self.processes.sum(sum(scored))
        if not total:
            raise UserError("nothing is scored in this step: each of its targets is -100")
        exact = has_float64(next(self.model.parameters()).device)
        loss_sum = torch.zeros((), dtype=torch.float64 if exact else torch.float32)
        for index, (inputs, targets) in enumerate(micro_batches):
            before_each(index)
            with self._exchange(last=index == len(micro_batches) - 1):
                loss = self.model(inputs, targets)
                share = scored[index] / total * self.processes.world_size
                (loss * share).backward()
            loss_sum = loss_sum.to(loss.device) + loss.detach() * scored[index]
        return self.processes.sum(float(loss_sum)) / total, total

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients travel between processes in the backward pass of the last micro-batch."""
        if isinstance(self.model, FSDPModule):
            self.model.set_requires_gradient_sync(last)
        if isinstance(self.model, DistributedDataParallel) and not last:
            return self.model.no_sync()
        return nullcontext()


def perplexity(loss: float) -> float:
    """exp(loss): the number of equally likely tokens that would be as surprising.

    >>> perplexity(0.0), round(perplexity(math.log(50.0)), 6)
    (1.0, 50.0)
    """
    return math.exp(loss) if loss < 700 else math.inf


WINDOW = 5  # evaluations that a trend is read off
FLAT = 0.005  # a curve that moves less than 0.5 % over the window is flat
CONVERGED = 1.10  # within 10 % of the best possible loss, where that is known

EXPLANATIONS = {
    "starting": "too few evaluations to see a trend",
    "learning": "validation loss falls: keep going",
    "underfitting": "both losses are flat: a larger model, a higher learning rate or more steps "
    "may help",
    "converged": "both losses are flat, close to the best possible: there is little left to learn",
    "memorising": "training falls, validation does not: it begins to learn by heart",
    "overfitting": "validation loss rises while training loss does not: the model learns the "
    "training text by heart; more data, dropout or stopping here would help",
    "diverging": "both losses rise: lower the learning rate",
}


def training_status(
    train_losses: Sequence[float], val_losses: Sequence[float], floor: float | None = None
) -> str:
    """Which of the pictures above the last evaluations look like: a key of EXPLANATIONS.

    A trend is the least-squares line through the last `WINDOW` evaluations (at least three),
    as its rise over the window relative to the curve's mean there.

    >>> training_status([4.0, 3.0, 2.5, 2.2, 2.0], [4.0, 3.1, 2.7, 2.4, 2.2])
    'learning'
    >>> training_status([3.0, 2.8, 2.6, 2.4, 2.2], [3.0, 3.0, 3.0, 3.0, 3.0])
    'memorising'
    >>> training_status([2.0, 1.5, 1.0, 0.7, 0.5], [2.5, 2.4, 2.4, 2.6, 2.9])
    'overfitting'
    >>> training_status([3.0, 3.001, 3.0, 2.999], [3.1, 3.1, 3.101, 3.1])
    'underfitting'
    """
    if len(val_losses) < 3:
        return "starting"
    train, val = _trend(train_losses), _trend(val_losses)
    if val > FLAT:
        return "diverging" if train > FLAT else "overfitting"
    if val < -FLAT:
        return "learning"
    if train < -FLAT:
        return "memorising"
    near_floor = floor is not None and val_losses[-1] <= CONVERGED * floor
    return "converged" if near_floor else "underfitting"


def _trend(losses: Sequence[float]) -> float:
    """Relative rise of the least-squares line through the last WINDOW values."""
    recent = list(losses[-WINDOW:])
    n, mean = len(recent), sum(recent) / len(recent)
    middle = (n - 1) / 2
    slope = sum((i - middle) * (loss - mean) for i, loss in enumerate(recent)) / sum(
        (i - middle) ** 2 for i in range(n)
    )
    return slope * (n - 1) / mean if mean else 0.0
