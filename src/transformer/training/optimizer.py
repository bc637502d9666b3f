"""AdamW, with weight decay where it belongs.

AdamW keeps two running means for each weight, of its gradient g and of g², and moves the
weight by their quotient, so that every weight moves at about the learning rate η however
large its gradients are:

    m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
    w ← w − η · λ · w − η · m̂ / (√v̂ + ε)          m̂, v̂: corrected for starting at zero

λ is the weight decay. It keeps matrices small, which a matrix needs (its scale is otherwise
free to grow); a bias or the gain of a LayerNorm is one number per feature that has a size for
a reason, and is left alone.

β₂ = 0.95 instead of 0.999 forgets old gradients after some 20 steps, not 1,000: training of
language models is steadier with it. Source: Loshchilov and Hutter, "Decoupled Weight Decay
Regularization" (2017); Brown et al., GPT-3 (2020), appendix B, for β₂ and λ.
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
