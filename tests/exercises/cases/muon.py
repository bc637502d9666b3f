"""Muon's orthogonalisation: what the judge has to tell apart."""

STEP = "x = a * x + b * square @ x + c * square @ square @ x"
SQUARE = "square = x @ x.mT"
NORM = "torch.linalg.matrix_norm(x, keepdim=True)"
DIVIDE = "x = x / (length + EPS)"
BACK = "return x.mT if tall else x"
BUGS = [
    (DIVIDE, "x = x * 1", "the polynomial runs away"),
    (DIVIDE, "x = x / (length + EPS) ** 2", "by the square of its length"),
    (DIVIDE, "x = x / length", "0 / 0"),
    (NORM, "x.abs().amax((-2, -1), keepdim=True)", "by its largest entry"),
    (NORM, "x.sum((-2, -1), keepdim=True)", "the sum of its entries"),
    (NORM, "x.norm(dim=-1, keepdim=True)", "each row is divided"),
    (NORM, "x.norm()", "each has its own"),
    ("range(ROUNDS)", "range(ROUNDS - 1)", "one round is missing"),
    ("range(ROUNDS)", "range(ROUNDS + 1)", "one round too many"),
    ("range(ROUNDS)", "range(1)", "only one round"),
    ("a, b, c = COEFFICIENTS", "a, c, b = COEFFICIENTS", "are b and c in each other"),
    ("a, b, c = COEFFICIENTS", "c, b, a = COEFFICIENTS", "`a` and `c` are in each other's place"),
    (STEP, STEP.replace("+ b", "- b"), "the sign of b is lost"),
    (STEP, STEP.replace("square @ square @ x", "square @ x"), "a square too few"),
    (STEP, STEP.replace("square @ square @ x", "square @ square @ square @ x"), "too many"),
    (STEP, "x = a * x + b * square + c * square @ square", "the X at the end is missing"),
    (STEP, "x = a * x + b * x @ square + c * x @ square @ square", "the wrong side"),
    (
        f"{SQUARE}  # (..., R, R): U Σ² Uᵀ",
        "x = a * x + b * x**3 + c * x**5; continue",
        "* multiplies number by number",
    ),
    (SQUARE, "square = x @ x", "X X is not X Xᵀ"),
    (SQUARE, "square = x @ x.T", "(..., R, C) at once"),
    (BACK, "return x", "transposed back at the end"),
    (BACK, "return (x.mT if tall else x) * length", "the length comes back"),
    (DIVIDE, "u, s, v = torch.linalg.svd(x); return u @ v", "ready-made answer"),
    (DIVIDE, f"{DIVIDE}; matrices.mul_(1)", "was written into"),
]
RIGHT = [
    """
import torch


def orthogonalised(matrices):
    x = matrices / (matrices.pow(2).sum((-1, -2), keepdim=True).sqrt() + 1e-7)
    for _ in range(5):
        inner = torch.einsum("...rc,...rd->...cd", x, x)  # the other side: Xᵀ X
        eye = torch.eye(x.shape[-1], dtype=x.dtype)
        x = x @ (3.4445 * eye + inner @ (2.0315 * inner - 4.7750 * eye))
    return x
""",
    '''
import torch


def orthogonalised(matrices):
    """Matrix by matrix, without transposing."""
    if matrices.dim() > 2:
        return torch.stack([orthogonalised(matrix) for matrix in matrices])
    x = matrices / (torch.linalg.vector_norm(matrices) + 1e-7)
    for _ in range(5):
        cube = x @ x.T @ x
        x = 3.4445 * x - 4.775 * cube + 2.0315 * (x @ (x.T @ cube))
    return x
''',
]
