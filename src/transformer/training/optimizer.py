"""AdamW, with weight decay where it belongs.

AdamW keeps two running means for each weight, of its gradient g and of g², and moves the
weight by their quotient. However large the gradients are, a weight moves by at most about the
learning rate η per step, and by much less where the gradient's sign keeps changing:

    m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
    w ← w − η · λ · w − η · m̂ / (√v̂ + ε)          m̂, v̂: corrected for starting at zero

λ is the weight decay, and only matrices decay. One output of a matrix is a sum over many
weights, which together can fit noise; decay prefers the solution with small weights. A bias or
the gain of a LayerNorm is one number per feature: it sums over nothing, and pulling a gain
towards 0 would only shrink its feature. The embedding table is a matrix and decays too.

β₂ = 0.95 instead of 0.999 forgets old gradients after about 1 / (1 − β₂) = 20 steps, not 1,000:
training of language models is steadier with it. Source: Loshchilov and Hutter, "Decoupled Weight
Decay Regularization" (2017); Brown et al., GPT-3 (2020), appendix B, for β₂ and λ.
"""

from torch import nn
from torch.optim import AdamW

BETAS = (0.9, 0.95)


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> AdamW:
    """AdamW over all of `model`'s parameters; only matrices decay.

    `fused` does the whole update of a tensor in one pass over its memory.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=learning_rate, betas=BETAS, fused=True)


def set_learning_rate(optimizer: AdamW, learning_rate: float) -> None:
    """Give every group of parameters the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
