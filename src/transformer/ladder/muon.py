"""2024: Muon. Each matrix moves in the direction that changes all of its inputs equally.

    m ← μ m + (1 − μ) g                    momentum, as in SGD
    u = orthogonal( (1 − μ) g + μ m )      looking one step ahead (Nesterov)
    W ← W − η · √max(1, rows / columns) · u

The gradient of a matrix is dominated by a few directions: its singular values span orders of
magnitude. Muon keeps its singular vectors and sets all singular values to about 1: of g = U Σ Vᵀ
remains U Vᵀ. Directions that are rare in the gradient are learned as fast as the frequent ones.

U Vᵀ is found without a singular value decomposition, by a polynomial that is odd and so acts on the
singular values alone. Five rounds of

    X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X             (a, b, c) = (3.4445, −4.7750, 2.0315)

bring the singular values of X = g / |g| near 1 (0.6 to 1.25 in the tests), which is enough.

It is for the matrices of the blocks. Embedding, output, gains and biases stay with AdamW: rows of
the tables are looked up one at a time, and the others are no matrices.

Pitfall: queries, keys and values are three matrices that happen to be stored as one; each is
orthogonalised by itself (`splits`). And a matrix that is cut over several processes has to be put
together first: the pieces of an orthogonal matrix are not orthogonal.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U Vᵀ of matrix = U Σ Vᵀ: (R, C) -> (R, C), singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.T if tall else matrix  # the smaller product is X Xᵀ
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(Optimizer):
    """For matrices only.

    Args:
        params: matrices, or groups with their own `splits`: how many rows belong to each of the
            matrices that are stored as one; None for a single one.
        lr: η, how far a step moves a matrix in each direction.
        momentum: μ.
        weight_decay: λ; W ← (1 − η λ) W before the step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "splits": None}
        super().__init__(params, defaults)
        for group in self.param_groups:
            if any(parameter.dim() != 2 for parameter in group["params"]):
                raise ValueError("Muon is for matrices; give vectors and numbers to AdamW")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            mu, lr = group["momentum"], group["lr"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - mu)
                direction = weight.grad.lerp(momentum, mu)  # (1 − μ) g + μ m
                weight.mul_(1 - lr * group["weight_decay"])
                for part, rows in zip(
                    direction.split(group["splits"] or len(weight)),
                    weight.split(group["splits"] or len(weight)),
                    strict=True,
                ):
                    scale = max(1.0, part.size(0) / part.size(1)) ** 0.5
                    rows.add_(orthogonalised(part).to(rows.dtype), alpha=-lr * scale)
