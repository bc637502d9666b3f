"""QK-norm: what the judge has to tell apart."""

SIZE = "size = torch.sqrt(precise.square().mean(dim=-1, keepdim=True) + self.eps)"
PRECISE = "precise = x.to(torch.promote_types(x.dtype, torch.float32))"
RESULT = "return (precise / size * gain).to(x.dtype)"
GAINS = "[nn.Parameter(torch.full((head_size,), scale)) for _ in range(2)]"
QUERIES = "queries = self._normed(queries, self.gains[0])"
KEYS = "keys = self._normed(keys, self.gains[1])"
BUGS = [
    (
        "keys = self._normed(keys, self.gains[1])",
        "keys = self._normed(keys.float() if keys.dtype == torch.half else keys, self.gains[1])",
        "the results have not the types of the inputs",
    ),
    (".mean(dim=-1", ".sum(dim=-1", "the root of the *sum*"),
    (PRECISE, "precise = x - x.mean(-1, keepdim=True)", "the mean is subtracted"),
    (SIZE, SIZE.replace("torch.sqrt(", "("), "there is no root"),
    (SIZE, SIZE.replace("dim=-1", "dim=-2"), "over the positions"),
    (SIZE, "size = torch.sqrt(precise.square().mean() + self.eps)", "for all positions together"),
    (SIZE, SIZE.replace("dim=-1", "dim=(1, -1)"), "for all heads together"),
    (SIZE, SIZE.replace(" + self.eps", ""), "where is ε"),
    (SIZE, SIZE.replace(" + self.eps)", ") + self.eps"), "belongs under the root"),
    ("self.eps = eps", "self.eps = 1e-5", "ε is ignored"),
    (QUERIES, "pass", "the queries come back as they were"),
    (KEYS, "pass", "the keys come back as they were"),
    ("return queries, keys", "return keys, queries", "queries come first"),
    ("return queries, keys", "return queries", "two things are to be returned"),
    (
        "self.gains[0])\n        keys = self._normed(keys, self.gains[1])",
        "self.gains[1])\n        keys = self._normed(keys, self.gains[0])",
        "the gains are swapped",
    ),
    (KEYS, "keys = self._normed(keys, self.gains[0])", "the gains are swapped"),
    (RESULT, "return (precise / size).to(x.dtype)", "the gains are ignored"),
    (
        RESULT,
        "return (precise / size * gain).to(x.dtype) / x.size(-1) ** 0.5",
        "Attention divides by √K",
    ),
    (PRECISE, f"{PRECISE} * gain\n        gain = 1", "the gain comes before the norm"),
    (GAINS, "[nn.Parameter(torch.full((head_size,), scale))] * 2", "share one gain"),
    ("torch.full((head_size,), scale)", "torch.ones(head_size)", "the gains start at 1"),
    ("torch.full((head_size,), scale)", "torch.tensor(scale)", "gains.0 has another shape"),
    ("torch.full((head_size,), scale)", "torch.full((head_size,), 1.2)", "`scale` is ignored"),
    ("nn.ParameterList(\n            " + GAINS + "\n        )", GAINS, "no weight called gains.0"),
    (PRECISE, "precise = x", "infinite in float16"),
    (RESULT, "return precise / size * gain", "not the types of the inputs"),
    (PRECISE, "precise = x.float()", "is float64 kept"),
    (RESULT, "return (precise / size.detach() * gain).to(x.dtype)", "the gradient is wrong"),
    (
        RESULT,
        "return nn.functional.rms_norm(x, x.shape[-1:], gain, self.eps)",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch
from torch import nn


class QKNorm(nn.Module):
    def __init__(self, head_size, scale=1.2, eps=1e-5):
        super().__init__()
        start = scale * torch.ones(2, head_size)
        self.small = eps
        self.gains = nn.ParameterList(map(nn.Parameter, start.unbind()))

    def forward(self, queries, keys):
        def fixed(x, gain):
            wide = x.double()
            energy = torch.einsum("...k,...k->...", wide, wide) / x.shape[-1]
            return (wide * (gain * torch.rsqrt(energy + self.small)[..., None])).to(x.dtype)

        return fixed(queries, self.gains[0]), fixed(keys, self.gains[1])
""",
    '''
import torch
from torch import nn


class QKNorm(nn.Module):
    def __init__(self, head_size, scale=1.2, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.gains = nn.ParameterList()
        for _ in range(2):
            self.gains.append(nn.Parameter(torch.zeros(head_size) + scale))

    def forward(self, queries, keys):
        """Vector by vector."""
        results = []
        for x, gain in zip((queries, keys), self.gains):
            rows = []
            for row in x.reshape(-1, x.shape[-1]):
                row = row if row.dtype == torch.float64 else row.float()
                rows.append(row * gain / (row.dot(row) / len(row) + self.eps) ** 0.5)
            results.append(torch.stack(rows).reshape(x.shape).to(x.dtype))
        return tuple(results)
''',
]
