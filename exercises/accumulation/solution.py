"""Gradient accumulation: the gradient of a big batch in the memory of a small one.

    big batch       16 × 8 sequences ──▶ loss ──▶ backward          all activations at once

    accumulation    8 sequences ──▶ loss · share ──▶ backward ─┐
                    8 sequences ──▶ loss · share ──▶ backward ─┤ .grad adds them up
                    …                                          ┘

`backward` adds to what is in `.grad` already, and it frees the activations. So each micro-batch
calls it before the next one is read.

Pitfall: a mean of means is not the mean. A micro-batch with 10 scored tokens must not weigh as much
as one with 1,000. With nᵢ scored tokens in micro-batch i, n = Σ nᵢ, and lossᵢ its mean,

    loss = Σᵢ lossᵢ · nᵢ / n

and the gradients are weighted in the same way. n is needed for the first share already: count
first.
"""

from collections.abc import Callable, Sequence

from torch import Tensor


def accumulate(
    loss_of: Callable[[Tensor, Tensor], Tensor], micro_batches: Sequence[tuple[Tensor, Tensor]]
) -> tuple[float, int]:
    """Leave the gradient of the mean loss over all scored tokens in `.grad`.

    Args:
        loss_of: `loss_of(inputs, targets)` computes the mean loss over the scored tokens of one
            micro-batch, a scalar tensor (0 if none is scored). Call it once for each, in
            order; one without a scored token may be left out.
        micro_batches: (inputs, targets) pairs, (B, T) each, of any sizes. A target of -100 is not
            scored, all others are. The weights' `.grad` is empty at first.

    Returns:
        The mean loss over all scored tokens as a plain number, without its graph, and the number
        n of scored tokens. (0.0, 0) if nothing is scored.
    """
    # First all counts: the share of the first micro-batch depends on the last one.
    scored = [int((targets != -100).sum()) for _, targets in micro_batches]
    total = sum(scored)
    mean = 0.0
    for (inputs, targets), count in zip(micro_batches, scored, strict=True):
        loss = loss_of(inputs, targets)
        share = count / max(total, 1)  # nothing scored: 0, not 0 / 0
        # Now, not after the loop: this frees the activations of this micro-batch.
        (loss * share).backward()
        # .item() is a plain number. The tensor would keep its graph alive.
        mean += loss.item() * share
    return mean, total
