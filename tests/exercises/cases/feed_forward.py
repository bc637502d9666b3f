"""The feed-forward layer: what the judge has to tell apart."""

PHI = "phi = (1 + torch.erf(z / math.sqrt(2))) / 2"
RESULT = "return self.contract(z * phi)"
BUGS = [
    (RESULT, "return self.contract(z)", "no more than one matrix"),
    (RESULT, "return self.contract(torch.relu(z))", "it is a ReLU"),
    (
        PHI,
        "phi = (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))) / 2",
        "the approximation with tanh",
    ),
    (PHI, "phi = torch.sigmoid(1.702 * z)", "sigmoid(1.702 z)"),
    (PHI, "phi = torch.sigmoid(z)", "SiLU"),
    (RESULT, "return self.contract(phi)", "`z` is missing as a factor"),
    ("torch.erf(z / math.sqrt(2))", "torch.erf(z)", "not divided by √2"),
    ("torch.erf(z / math.sqrt(2))", "torch.erf(z / 2)", "divided by 2 inside erf"),
    ("(1 + torch.erf(z / math.sqrt(2))) / 2", "1 + torch.erf(z / math.sqrt(2))", "the half is"),
    ("(1 + torch.erf(z / math.sqrt(2))) / 2", "torch.erf(z / math.sqrt(2)) / 2", "the 1 is"),
    (
        "(1 + torch.erf(z / math.sqrt(2))) / 2",
        "1 + torch.erf(z / math.sqrt(2)) / 2",
        "only erf is halved",
    ),
    (RESULT, "return x + self.contract(z * phi)", "`x` is added"),
    (
        RESULT,
        "y = self.contract(z * phi)\n        return y * (1 + torch.erf(y / math.sqrt(2))) / 2",
        "on what comes out too",
    ),
    (
        RESULT,
        "y = self.contract(z)\n        return y * (1 + torch.erf(y / math.sqrt(2))) / 2",
        "after the second matrix",
    ),
    (
        RESULT,
        "return self.contract(nn.functional.dropout(z * phi, 0.5, self.training))",
        "there is dropout inside",
    ),
    ("config.d_model, config.d_ff)", "config.d_model, config.d_ff, bias=False)", "expand.bias"),
    (
        "nn.Linear(config.d_model, config.d_ff)",
        "nn.Linear(config.d_ff, config.d_model)",
        "the weight expand.weight has another shape",
    ),
    ("self.expand", "self.first", "there is no weight called expand.weight"),
    ("z = self.expand(x)", "z = self.expand(x.detach())", "the gradient is wrong"),
    (RESULT, "return self.contract(nn.functional.gelu(z))", "ready-made answer"),
]
RIGHT = [
    """
import torch
from torch import nn


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.contract = nn.Linear(config.d_ff, config.d_model)
        self.expand = nn.Linear(config.d_model, config.d_ff)

    def forward(self, x):
        hidden = torch.einsum("btd,fd->btf", x, self.expand.weight) + self.expand.bias
        hidden = hidden * torch.special.ndtr(hidden)
        return hidden @ self.contract.weight.T + self.contract.bias
""",
    '''
import torch
from torch import nn


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.expand = nn.Linear(config.d_model, config.d_ff)
        self.contract = nn.Linear(config.d_ff, config.d_model)

    def forward(self, x):
        """Position by position."""
        columns = []
        for t in range(x.shape[1]):
            z = self.expand(x[:, t])
            fires = z * 0.5 * torch.erfc(-z * 2**-0.5)
            columns.append(self.contract(fires))
        return torch.stack(columns, dim=1)
''',
]
