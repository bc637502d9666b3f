"""AdamW's update: each weight moves by about the learning rate, however large its gradient is.

    m ← β₁ m + (1 - β₁) g           running mean of the gradient
    v ← β₂ v + (1 - β₂) g²          running mean of its square
    m̂ = m / (1 - β₁ᵗ)               both means started at 0, so early on they are too small:
    v̂ = v / (1 - β₂ᵗ)               after t steps they hold only 1 - βᵗ of the whole
    w ← w - η λ w - η m̂ / (√v̂ + ε)

m̂ / √v̂ is about ±1 where the gradient always has the same sign and about 0 where it changes: the
step's length is η, whatever the size of the gradient.

The W in AdamW: the weight itself shrinks by η λ w, with the w from before the step. Adam with "L2"
added λ w to the gradient instead. There it was divided by √v̂ as well, so weights with large
gradients hardly decayed.

ε keeps the division finite where v̂ is 0. It is added after the root.
"""

from torch import Tensor


def adamw_update(
    weight: Tensor,
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    step: int,
    *,
    learning_rate: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One update of one weight tensor. A pure function: it writes into none of its arguments.

    Args:
        weight, gradient, m, v: tensors of one shape, any; all operations are element by element.
            m and v are those that the last call returned, zeros at first.
        step: t, the number of this update; the first is 1.
        learning_rate, betas, eps, weight_decay: η, (β₁, β₂), ε, λ.

    Returns:
        The new weight, m and v. (m and v, not m̂ and v̂: the next call continues with them.)
    """
    beta1, beta2 = betas
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    # New names: the corrected means are only for this step.
    m_hat = m / (1 - beta1**step)
    v_hat = v / (1 - beta2**step)
    # Decay first, so that it takes its share of the old weight.
    decayed = weight - learning_rate * weight_decay * weight
    return decayed - learning_rate * m_hat / (v_hat.sqrt() + eps), m, v
