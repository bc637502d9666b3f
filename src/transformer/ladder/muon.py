"""2024: Muon. Each matrix moves in the direction that changes all of its inputs equally.

    m ← μ m + (1 − μ) g                    momentum, as in SGD
    u = orthogonal( (1 − μ) g + μ m )      looking one step ahead (Nesterov)
    W ← W − η · √max(1, rows / columns) · u

The gradient of a matrix is dominated by a few directions: its singular values span orders of
magnitude. Muon keeps its singular vectors and brings the singular values near 1: of g = U Σ Vᵀ
remains U Vᵀ, more or less. Directions that are rare in the gradient are learned as fast as the
frequent ones.

U Vᵀ is found without a singular value decomposition, by a polynomial that is odd and so acts on the
singular values alone. Five rounds of

    X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X             (a, b, c) = (3.4445, −4.7750, 2.0315)

bring the singular values of X = g / |g| near 1 (0.6 to 1.25 in the tests, with random matrices),
which is enough. Tiny ones stay small: a round multiplies them by 3.4, five by less than 500. So
rough a result bears rough products, too: bfloat16, where the hardware is faster in it.

It is for the matrices of the blocks. Tables, output, gains and biases stay with AdamW: rows of the
tables are looked up one at a time, and the others are no matrices.

Pitfall: queries, keys and values are three matrices that happen to be stored as one; each is
orthogonalised by itself (`splits`). And a matrix that is cut over several processes has to be put
together first: the pieces of an orthogonal matrix are not orthogonal.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonalised(matrices: Tensor) -> Tensor:
    """About U Vᵀ of U Σ Vᵀ: (..., R, C) -> (..., R, C), singular values near 1.

    `baddbmm(S, A, B, beta, alpha)` is beta · S + alpha · A B, without writing down the parts.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.size(-2) > matrices.size(-1)
    x = matrices.mT if tall else matrices  # the smaller product is X Xᵀ
    x = x.reshape(-1, *x.shape[-2:])  # (n, r, c), r <= c
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.mT  # (n, r, r)
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)  # b S + c S²
        x = torch.baddbmm(x, polynomial, x, beta=a)  # (n, r, c)
    return (x.mT if tall else x).reshape(matrices.shape)


class Muon(Optimizer):
    """For matrices only.

    Args:
        params: matrices, or groups with their own `splits`: how many rows belong to each of the
            matrices that are stored as one; None for a single one.
        lr: η, how far a step moves a matrix in each direction.
        momentum: μ.
        weight_decay: λ; W ← (1 − η λ) W before the step.
        bf16: whether the products of the polynomial are in bfloat16, as those of the model.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        *,
        bf16: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "splits": None}
        super().__init__(params, defaults)
        self.bf16 = bf16
        for group in self.param_groups:
            if any(parameter.dim() != 2 for parameter in group["params"]):
                raise ValueError("Muon is for matrices; give vectors and numbers to AdamW")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        turns = [(w, g) for g in self.param_groups for w in g["params"] if w.grad is not None]
        parts = [
            _whole(self._look_ahead(w, g["momentum"])).split_with_sizes(g["splits"] or [len(w)])
            for w, g in turns
        ]
        device = turns[0][0].device.type if turns else "cpu"
        with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
            moves = iter(_all_orthogonalised([part for split in parts for part in split]))
        for (weight, group), split in zip(turns, parts, strict=True):
            move = torch.cat(list(islice(moves, len(split))))  # (R, C)
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(_cut_like(weight, move.to(weight.dtype)), alpha=-group["lr"])

    def _look_ahead(self, weight: Tensor, mu: float) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        assert weight.grad is not None
        momentum = state["momentum"].lerp_(weight.grad, 1 - mu)
        return weight.grad.lerp(momentum, mu)  # (1 − μ) g + μ m


def _all_orthogonalised(parts: list[Tensor]) -> list[Tensor]:
    """Each by itself, with its factor √max(1, rows / columns); equal shapes at once."""
    moves: dict[int, Tensor] = {}
    for shape in {part.shape for part in parts}:
        places = [i for i, part in enumerate(parts) if part.shape == shape]
        even = orthogonalised(torch.stack([parts[i] for i in places]))  # (n, R, C)
        moves.update(zip(places, even * max(1.0, shape[0] / shape[1]) ** 0.5, strict=True))
    return [moves[i] for i in range(len(parts))]


def _whole(matrix: Tensor) -> Tensor:
    return matrix.full_tensor() if isinstance(matrix, DTensor) else matrix


def _cut_like(weight: Tensor, whole: Tensor) -> Tensor:
    """The piece of `whole` that this process keeps of `weight`."""
    if not isinstance(weight, DTensor):
        return whole
    mesh = weight.device_mesh
    return DTensor.from_local(whole, mesh, [Replicate()]).redistribute(mesh, weight.placements)
