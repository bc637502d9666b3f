"""RMSNorm: what the judge has to tell apart."""

SIZE = "size = torch.sqrt(squares.mean(dim=-1, keepdim=True) + self.eps)"
NORMED = "normed = precise / size * self.weight"
PRECISE = "precise = x.to(torch.promote_types(x.dtype, torch.float32))"
BUGS = [
    (PRECISE, "precise = x - x.mean(dim=-1, keepdim=True)", "the mean is subtracted"),
    (SIZE, "size = precise.std(dim=-1, keepdim=True)", "and divides by D - 1"),
    (
        SIZE,
        "size = (precise.var(dim=-1, keepdim=True, correction=0) + self.eps).sqrt()",
        "the standard deviation, which subtracts the mean",
    ),
    ("squares.mean(dim=-1", "squares.sum(dim=-1", "the squares are added up"),
    (
        SIZE,
        "size = precise.abs().mean(dim=-1, keepdim=True) + self.eps",
        "of the absolute values",
    ),
    (SIZE, "size = squares.mean(dim=-1, keepdim=True) + self.eps", "there is no root"),
    (NORMED, "normed = precise * size * self.weight", "multiplied by the size"),
    (SIZE, "size = torch.sqrt(squares.mean(dim=0, keepdim=True) + self.eps)", "over the positions"),
    (SIZE, "size = torch.sqrt(squares.mean() + self.eps)", "for all positions together"),
    (SIZE, "size = torch.sqrt(squares.mean(dim=-1, keepdim=True))", "where is ε"),
    (
        SIZE,
        "size = torch.sqrt(squares.mean(dim=-1, keepdim=True)) + self.eps",
        "it belongs under the root",
    ),
    ("self.eps = eps", "self.eps = 1e-5", "ε is ignored"),
    (NORMED, "normed = precise / size", "γ is ignored"),
    (NORMED, "normed = precise / size * (1 + self.weight)", "the factor is 1 + γ"),
    ("torch.ones(d_model)", "torch.zeros(d_model)", "γ starts at 0"),
    (
        "nn.Parameter(torch.ones(d_model))",
        "torch.ones(d_model)",
        "nothing would train it",
    ),
    (
        "        self.eps = eps\n",
        "        self.eps = eps\n        self.bias = nn.Parameter(torch.zeros(d_model))\n",
        "`bias` should not be saved",
    ),
    (PRECISE, "precise = x", "infinite in float16"),
    ("return normed.to(x.dtype)", "return normed", "has not the type of x"),
    (PRECISE, "precise = x.float()", "is float64 kept"),
    (NORMED, "normed = precise / size.detach() * self.weight", "the gradient is wrong"),
    (
        "return normed.to(x.dtype)",
        "return nn.functional.rms_norm(x, x.shape[-1:], self.weight, self.eps)",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.small = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x.double()
        power = torch.einsum("...d,...d->...", wide, wide)[..., None] / x.shape[-1]
        return (wide * (power + self.small).rsqrt() * self.weight).to(x.dtype)
""",
    '''
import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        """Vector by vector."""
        rows = []
        for row in x.reshape(-1, x.shape[-1]):
            wide = row if row.dtype == torch.float64 else row.float()
            length = torch.linalg.vector_norm(wide)
            size = (length**2 / len(row) + self.eps) ** 0.5
            rows.append(self.weight * (wide / size))
        return torch.stack(rows).reshape(x.shape).type_as(x)
''',
]
