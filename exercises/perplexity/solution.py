"""Perplexity: how many equally likely tokens the model hesitates between, over a whole text.

    loss        = -1/n · Σ ln p(token | tokens before it)        over all n predicted tokens
    perplexity  = exp(loss)

The model reads at most `size` tokens at once, so a long text is read in windows. A token at the
start of a window would be scored with hardly any context. So the windows overlap: each ends
`stride` tokens after the last one, and only what no window before has scored is scored.

    n = 9 targets, size = 4, stride = 2        ● scored   ○ only context

    ● ● ● ●
        ○ ○ ● ●
            ○ ○ ● ●
              ○ ○ ○ ●          the last window ends with the text, and it is full, too

The mean is over tokens. The mean of the windows' means would give the 1 token of the last window
as much weight as the 4 of the first.
"""

import math

import torch
from torch import Tensor, nn


def perplexity(model: nn.Module, ids: Tensor, size: int, stride: int) -> float:
    """Perplexity of a model on one text.

    Args:
        model: `model(ids)` takes (B, W) ids, W <= size, and returns logits (B, W, V): at each
            position for the token after it. It is asked without dropout (`model.eval()`) and
            without gradients (`torch.no_grad`); afterwards it is in the mode in which it was
            before (`model.training`, `model.train(mode)`).
        ids: (N,), N >= 2. The first n = N - 1 are read, the last n are predicted: target number t
            is ids[t + 1], predicted from ids[t] and what is before that in the window.
        size: the most tokens that the model can read.
        stride: 1 … size, the targets that each window after the first adds.

    Returns:
        exp of the mean over all n targets; each is scored exactly once.
    """
    inputs, targets = ids[:-1], ids[1:]
    was_training = model.training
    model.eval()
    nats = 0.0
    scored = 0  # targets so far
    with torch.no_grad():
        while scored < len(targets):
            # The first window scores all that it reads.
            end = min(scored + (stride if scored else size), len(targets))
            # Counted from the end: so the last window is full, too.
            start = max(0, end - size)
            logits = model(inputs[None, start:end])[0]  # (W, V)
            # Only the rows whose target is new: the others were context.
            new = logits[scored - start :].log_softmax(dim=-1)  # (new, V)
            nats -= new.gather(1, targets[scored:end, None]).sum().item()
            scored = end
    model.train(was_training)
    # One division at the end, so every token weighs the same.
    return math.exp(nats / len(targets))
