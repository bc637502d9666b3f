"""Muon's orthogonalisation: a matrix with the same directions, all equally long.

The gradient of a matrix is G = U Σ Vᵀ (its singular value decomposition), and a few of its singular
values, the numbers in Σ, are far larger than the others. Muon steps along about U Vᵀ: the same
directions, but all singular values near 1. So rare directions are learned as fast as frequent ones.

A decomposition is slow on a GPU; products of matrices are fast. A polynomial of X that only has odd
powers leaves U and V as they are and changes each singular value s by itself:

    X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X            s ← a s + b s³ + c s⁵

With these a, b, c a small s grows about threefold per round, and a large one falls back. After 5
rounds every s from 0.01 to 1 is between 0.68 and 1.14:

    s    0.01 ──▶ 0.034 ──▶ 0.118 ──▶ 0.400 ──▶ 1.09 ──▶ 0.70

Too large an s would run away: 1.3 does. So X starts as G divided by its length |G| = √(Σ s²), and
then no singular value is above 1.
"""

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
EPS = 1e-7


def orthogonalised(matrices: Tensor) -> Tensor:
    """About U Vᵀ, by ROUNDS rounds of the polynomial with COEFFICIENTS a, b, c.

    Args:
        matrices: (..., R, C), each matrix of the last two dimensions by itself. R may be larger or
            smaller than C. X Xᵀ is the smaller product where R <= C; of a tall matrix, work on the
            transpose, and transpose back: the result is the same with fewer multiplications.

    Returns:
        (..., R, C). A matrix of zeros stays zero: it is divided by |G| + EPS.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.size(-2) > matrices.size(-1)
    # .mT swaps the last two dimensions; .T would swap all.
    x = matrices.mT if tall else matrices
    # The length of each matrix; without dim it would be that of all together.
    length = torch.linalg.matrix_norm(x, keepdim=True)  # (..., 1, 1)
    x = x / (length + EPS)
    for _ in range(ROUNDS):
        square = x @ x.mT  # (..., R, R): U Σ² Uᵀ
        # All three terms from the x of the last round.
        x = a * x + b * square @ x + c * square @ square @ x
    return x.mT if tall else x
