"""2019: what writes into the residual stream starts at zero.

    output_projection.weight = 0,   contract.weight = 0      at the start

Then every block begins as the identity, x + 0, and the model as an embedding followed by the
output. Blocks join in when their gradient says so. In the classic model untrained blocks add noise
to the stream, and the first steps are spent on making it smaller.

The gradient is not zero with them: of y = W h, the gradient of W is the outer product of the one
that arrives with h, which is not zero. Only what lies before W gets none, and only until the first
step has moved W. An untied output starts at zero as well: then the first step moves it alone, the
second what writes and the input table, the third the rest.

Pitfall: a test with fresh weights proves nothing, for attention could compute anything. Draw the
weights at random first. For the same reason every figure of step 0 is empty.

Sources: Zhang et al., "Fixup Initialization" (2019); Yang et al., "Tensor Programs V" (2022).
"""

import torch
from torch import nn

WRITERS = ("output_projection.weight", "contract.weight")


@torch.no_grad()
def start_writers_at_zero(model: nn.Module) -> None:
    """Set the weight of every projection into the residual stream to zero."""
    for name, parameter in model.named_parameters():
        if name.endswith(WRITERS):
            parameter.zero_()
