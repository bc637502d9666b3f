"""LayerNorm: what the judge has to tell apart."""

VARIANCE = "variance = (centred * centred).mean(dim=-1, keepdim=True)"
RESULT = "return normed * self.weight + self.bias"
BUGS = [
    (VARIANCE, "variance = x.var(dim=-1, keepdim=True)", "divided by D - 1"),
    (
        VARIANCE,
        "variance = (x * x).mean(dim=-1, keepdim=True) - mean * mean",
        "digits are lost",
    ),
    ("torch.sqrt(variance + self.eps)", "(torch.sqrt(variance) + self.eps)", "under the root"),
    ("torch.sqrt(variance + self.eps)", "(variance + self.eps)", "not by its root"),
    ("torch.sqrt(variance + self.eps)", "torch.sqrt(variance)", "where is ε"),
    ("self.eps = eps", "self.eps = 1e-5", "ε is ignored"),
    ("normed = centred /", "normed = x /", "subtracted for the variance only"),
    ("centred = x - mean", "centred = x", "the mean is not subtracted"),
    ("dim=-1, keepdim", "dim=0, keepdim", "over the positions"),
    (".mean(dim=-1, keepdim=True)", ".mean()", "for all positions together"),
    (RESULT, "return (normed + self.bias) * self.weight", "before γ"),
    (RESULT, "return normed * self.weight", "β is ignored"),
    (RESULT, "return normed + self.bias", "γ is ignored"),
    (RESULT, "return normed", "γ and β are ignored"),
    ("nn.Parameter(torch.ones(d_model))", "torch.ones(d_model)", "nothing would train it"),
    ("nn.Parameter(torch.ones(d_model))", "nn.Parameter(torch.zeros(d_model))", "γ starts at 0"),
    ("self.bias", "self.beta", "there is no weight called bias"),
    ("centred = x - mean", "centred = x - mean.detach()", "the gradient is wrong"),
    ("centred = x - mean", "centred = x.sub_(mean)", "argument 1 was written into"),
    (
        RESULT,
        "return nn.functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch
from torch import nn


class LayerNorm(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.small = eps
        self.bias = nn.Parameter(torch.zeros(width))
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        scale = self.weight * torch.rsqrt(variance + self.small)
        return x * scale + (self.bias - mean * scale)
""",
    '''
import torch
from torch import nn


class LayerNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(
            torch.zeros(d_model))

    def forward(self, x):
        """Vector by vector."""
        rows = []
        for vector in x.reshape(-1, x.shape[-1]):
            vector = vector - vector.sum() / len(vector)
            length = (vector.dot(vector) / len(vector) + self.eps) ** 0.5
            rows.append(vector / length * self.weight + self.bias)
        return torch.stack(rows).view(x.shape)
''',
]
