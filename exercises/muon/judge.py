"""The judge of Muon's orthogonalisation."""

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn

from exercises.judging.check import Check
from transformer.ladder import muon

FORBIDDEN = {
    "transformer.ladder.muon.orthogonalised": "it is our solution",
    "torch.linalg.svd": "the exercise is to do without it",
    "torch.svd": "the exercise is to do without it",
    "torch.Tensor.svd": "the exercise is to do without it",
    "torch.linalg.eigh": "the exercise is to do without a decomposition",
    "torch.linalg.qr": "its columns are orthogonal, but they are other directions",
}
FORBIDDEN |= {"torch.optim.Muon": "it is Muon as a whole"} if hasattr(torch.optim, "Muon") else {}
A, B, C = 3.4445, -4.7750, 2.0315
Orthogonalise = Callable[[Tensor], Tensor]


def in_small(yours: ModuleType, check: Check) -> None:
    """One number; then a diagonal, others, a tall matrix, a batch, zeros."""
    _one_number(yours.orthogonalised, check)
    _diagonal(yours.orthogonalised, check)
    _not_diagonal(yours.orthogonalised, check)
    _shapes(yours.orthogonalised, check)
    _batch(yours.orthogonalised, check)
    _zeros(yours.orthogonalised, check)


def _rounds(s: Tensor, rounds: int = 5, a: float = A, b: float = B, c: float = C) -> Tensor:
    """What the polynomial makes of singular values that are 1 long together."""
    for _ in range(rounds):
        s = a * s + b * s**3 + c * s**5
    return s


def _one_number(orthogonalised: Orthogonalise, check: Check) -> None:
    """Of a (1, 1) matrix the length is the number itself: a polynomial, five times."""
    one = torch.ones(1, 1)
    check.equal(
        orthogonalised(one),
        _rounds(one),
        given="matrix = [[1.0]]",
        mistakes={
            "one round is missing": _rounds(one, rounds=4),
            "there is one round too many": _rounds(one, rounds=6),
            "there is only one round": _rounds(one, rounds=1),
            "`a` and `c` are in each other's place": _rounds(one, a=C, c=A),
            "the last term has a square too few: it is (X Xᵀ)² X": _fewer(one),
            "the last term has a square too many: it is (X Xᵀ)² X": _more(one),
            "the X at the end is missing: b (X Xᵀ) X": _no_end(one),
            "the sign of b is lost: the numbers run away": _rounds(one, b=-B),
            "the numbers run away: are b and c in each other's place?": _rounds(one, b=C, c=B),
        },
        otherwise="of a single number the polynomial is wrong",
        tolerance=1e-4,
    )
    check.equal(
        orthogonalised(3 * one),
        _rounds(one),
        given="matrix = [[3.0]]",
        mistakes={
            "the matrix is not divided by its length first: the polynomial runs away": _rounds(
                3 * one
            ),
            "the matrix is divided by the square of its length": _rounds(one / 3),
            "the length comes back at the end: it should be gone": 3 * _rounds(one),
        },
        otherwise="1 is right, 3 is not: its length should make no difference",
        tolerance=1e-4,
    )


def _diagonal(orthogonalised: Orthogonalise, check: Check) -> None:
    """Singular values 3 and 4 have the length 5."""
    values = torch.tensor([3.0, 4.0])
    matrix = values.diag()
    half = values / 5
    check.equal(
        orthogonalised(matrix),
        _rounds(half).diag(),
        given=f"matrix = {matrix.tolist()}",
        mistakes={
            "the matrix is divided by its largest entry; it should be by its length √Σ x²": (
                _rounds(values / 4).diag()
            ),
            "the matrix is divided by the sum of its entries; it should be by its length": (
                _rounds(values / 7).diag()
            ),
            "the square of the length lacks its root": _rounds(values / 25).diag(),
            "each row is divided by its own length; it should be the whole matrix": (
                _rounds(torch.ones(2)).diag()
            ),
        },
        otherwise="of a diagonal matrix the result is wrong",
    )


def _not_diagonal(orthogonalised: Orthogonalise, check: Check) -> None:
    matrix = torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    u, s, vt = torch.linalg.svd(matrix)
    each = _rounds(matrix / matrix.norm())
    check.equal(
        orthogonalised(matrix),
        u @ _rounds(s / s.norm()).diag() @ vt,
        given=f"matrix = {matrix.tolist()}",
        mistakes={
            "* multiplies number by number; the polynomial is one of matrices: @": each,
            "X X is not X Xᵀ": _without_transpose(matrix / matrix.norm()),
            "X Xᵀ is multiplied from the wrong side: (X Xᵀ) X, not X (X Xᵀ)": _wrong_side(
                matrix / matrix.norm()
            ),
            "the result is transposed": (u @ _rounds(s / s.norm()).diag() @ vt).T,
        },
        otherwise="a diagonal matrix is right, this one is not",
        tolerance=1e-4,
    )


def _fewer(s: Tensor) -> Tensor:
    for _ in range(5):
        s = A * s + B * s**3 + C * s**3
    return s


def _more(s: Tensor) -> Tensor:
    for _ in range(5):
        s = A * s + B * s**3 + C * s**7
    return s


def _no_end(s: Tensor) -> Tensor:
    for _ in range(5):
        s = A * s + B * s**2 + C * s**4
    return s


def _without_transpose(x: Tensor) -> Tensor:
    for _ in range(5):
        x = A * x + B * x @ x @ x + C * x @ x @ x @ x @ x
    return x


def _wrong_side(x: Tensor) -> Tensor:
    for _ in range(5):
        square = x @ x.T
        x = A * x + B * x @ square + C * x @ square @ square
    return x


def _shapes(orthogonalised: Orthogonalise, check: Check) -> None:
    """A wide matrix, then its transpose."""
    wide = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]])
    for matrix, kind in ((wide, "wide"), (wide.T, "tall")):
        given = f"matrix = {matrix.tolist()}"
        came = orthogonalised(matrix)
        check.that(
            not isinstance(came, Tensor) or came.shape != matrix.mT.shape,
            given=given,
            came=came,
            expected=f"shape {tuple(matrix.shape)}",
            mistake="the result is transposed: a tall matrix is transposed back at the end",
        )
        u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
        check.equal(
            came,
            u @ _rounds(s / s.norm()).diag() @ vt,
            given=given,
            otherwise=f"a square matrix is right, a {kind} one is not",
            tolerance=1e-4,
        )


def _batch(orthogonalised: Orthogonalise, check: Check) -> None:
    """Three matrices of different length: each is one by itself."""
    three = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.06, 0.0], [0.0, 0.08]]])
    three = torch.cat([three, 3 * three[:1]])
    one = _rounds(torch.tensor([0.6, 0.8])).diag()
    given = f"matrices = {three.tolist()}"
    try:
        came = orthogonalised(three)
    except (RuntimeError, ValueError) as error:
        check.fail(
            given=given,
            came=error,
            expected=torch.stack([one] * 3),
            mistake="several matrices (..., R, C) at once: .mT swaps the last two dimensions only",
        )
    together = torch.stack([_rounds(m.diagonal() / three.norm()).diag() for m in three])
    check.equal(
        came,
        torch.stack([one] * 3),
        given=given,
        mistakes={
            "all matrices are divided by one length: each has its own (dim=(-2, -1))": together
        },
        otherwise="one matrix is right, several at once are not",
    )


def _zeros(orthogonalised: Orthogonalise, check: Check) -> None:
    check.equal(
        orthogonalised(torch.zeros(2, 3)),
        torch.zeros(2, 3),
        given="a matrix of zeros",
        mistakes={"0 / 0: add EPS to the length": torch.full((2, 3), torch.nan)},
        otherwise="a matrix of zeros should stay zero",
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Against a singular value decomposition: the same directions, the polynomial of the values."""
    for shape in [(1, 1), (1, 7), (6, 1), (5, 5), (9, 4), (4, 9), (2, 6, 3), (3, 2, 4, 5)]:
        for scale in (1e-2, 1.0, 1e4):
            matrix = scale * torch.randn(*shape[:-2], shape[-1], shape[-2], dtype=torch.float64).mT
            u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
            values = _rounds(s / (s.norm(dim=-1, keepdim=True) + 1e-7))
            check.equal(
                yours.orthogonalised(matrix),
                u @ values.diag_embed() @ vt,
                given=f"matrices {shape} in float64, not contiguous, of size {scale:g}",
                otherwise="the singular vectors or values are others than those of the "
                "polynomial, by torch.linalg.svd",
                tolerance=1e-6,
            )


def in_the_model(yours: ModuleType, check: Check) -> None:
    """In the place of ours inside the optimiser: the weights after three steps."""
    ours = muon.orthogonalised
    shapes = {"qkv_projection": (18, 6), "expand": (11, 6), "contract": (6, 11)}
    weights = []
    for function in (yours.orthogonalised, ours):
        generator = torch.Generator().manual_seed(3)
        parameters = [
            nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
            for shape in shapes.values()
        ]
        splits: list[list[int] | None] = [[6, 6, 6], None, None]
        groups = [{"params": [p], "splits": s} for p, s in zip(parameters, splits, strict=True)]
        optimizer = muon.Muon(groups, lr=0.1, momentum=0.9, weight_decay=0.1)
        muon.orthogonalised = function
        try:
            for _ in range(3):
                for p in parameters:
                    p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
                optimizer.step()
        finally:
            muon.orthogonalised = ours
        weights.append(parameters)
    for name, found, expected in zip(shapes, *weights, strict=True):
        check.equal(
            found,
            expected.detach(),
            given="three steps of Muon, with your function in it and with ours",
            otherwise=f"the weight {name} is another",
            tolerance=1e-6,
        )


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.orthogonalised(torch.eye(128).repeat(2, 1, 2))
