"""Step 4: the feed-forward layer, what each position computes from what it has gathered.

Attention moves information between positions; this layer works on each position alone, with
the same weights everywhere:

    FeedForward(x) = W₂ · GELU(W₁ x + b₁) + b₂        W₁: D -> F,  W₂: F -> D

Each of the F hidden neurons compares x with a pattern (its row of W₁) and adds a vector (its
column of W₂) to the residual stream, more of it the more strongly it fires: a memory of "if
you see this, write that". With F = 4 · D, two thirds of a block's parameters are here.

GELU(z) = z · Φ(z), with Φ the normal distribution function, is a ReLU with a soft corner: it
multiplies z by the probability that a standard normal draw is below z. This is the exact
form with erf, not the tanh approximation. The transformer of 2017 had ReLU; GPT-1 took GELU.

Sources: Vaswani et al. (2017), section 3.3; Hendrycks and Gimpel, "Gaussian Error Linear
Units" (2016); Geva et al., "Transformer Feed-Forward Layers Are Key-Value Memories" (2021).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from transformer.config import ModelConfig


class FeedForward(nn.Module):
    """Expand to F neurons, let them fire, contract back: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.d_model, config.d_ff)
        self.contract = nn.Linear(config.d_ff, config.d_model)
        self.activations, self.output = nn.Identity(), nn.Identity()  # taps

    def forward(self, x: Tensor) -> Tensor:
        activations = self.activations(F.gelu(self.expand(x)))  # (B, T, F)
        return self.output(self.contract(activations))  # (B, T, D)
