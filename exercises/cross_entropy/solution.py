"""Cross-entropy: how surprised the model is by the token that really came next.

    p       = softmax(logits)         what the model believes, one row per position
    loss_i  = -ln p_i[target_i]       nats: 0 if it was sure and right, ln V if it had no idea
    loss    = Σ loss_i / n            the mean over the n positions that are scored

A target of -100 means "not scored" (padding, say): such a position adds nothing to the sum and is
not counted in n.

Pitfall: float32 cannot hold exp(89), and it rounds a small p to 0, whose logarithm is -inf. So
ln p is computed without p. With the largest logit taken out of the sum, nothing can overflow:

    ln p[v] = logits[v] - ln Σ_u exp(logits[u])           (torch.logsumexp does it safely)

-100 is no place in a row. Python counts negative places from the end, so it may not even raise.
"""

from torch import Tensor


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean of -ln softmax(logits)[target] over the scored positions.

    Args:
        logits: (N, V), scores before softmax.
        targets: (N,) int64, each 0 … V-1, or -100 where nothing is scored.

    Returns:
        A scalar tensor, and gradients flow through it to the logits. If nothing is scored it is 0,
        with a gradient of 0: a mean over nothing would be NaN and spoil every weight.
    """
    scored = targets != -100  # (N,)
    # Rows that do not count leave at once: what is left has only real ids.
    rows, ids = logits[scored], targets[scored]  # (n, V), (n,)
    # keepdim: (n, V) - (n, 1) subtracts one number from each row.
    log_probabilities = rows - rows.logsumexp(dim=-1, keepdim=True)  # (n, V)
    # From each row the number at its target's place. [:, ids] would give an (n, n) table.
    losses = -log_probabilities.gather(1, ids[:, None])[:, 0]  # (n,)
    # The sum over nothing is 0 and has a gradient; only the division needs care.
    return losses.sum() / max(len(ids), 1)
