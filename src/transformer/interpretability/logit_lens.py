"""The logit lens: what would the model say if it stopped here?

Every block adds to one residual stream, and the output is read off its end by the final
LayerNorm and the unembedding. Nothing stops us from reading it off earlier:

    row                        read as logits
    embedding                  before any block: mostly the current token itself (tied weights)
    blocks.0.residual          ⋮   the answer takes shape
    blocks.{last}.residual     exactly the model's output

The distance of a row from the output is KL(output ‖ row) = Σ p ln(p / q), in nats, with p for
the output's probabilities and q for the row's: the extra loss of predicting with q tokens that
are drawn from p. It is 0 in the last row. That an early row is wrong does not show that the
answer is not there yet: it may be in the stream in a form that this unembedding does not read
(Belrose et al. 2023).

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.interpretability.hooks import record
from transformer.model import DecoderOnlyTransformer


@dataclass(frozen=True)
class LogitLens:
    """The lens on one text; L = n_layers + 1 rows of T positions."""

    rows: list[str]
    """Names of the activations that were read."""
    top_ids: Tensor
    """(L, T, k) the most probable tokens."""
    top_probabilities: Tensor
    """(L, T, k) their probabilities, descending."""
    kl: Tensor
    """(L, T) KL(output ‖ row) in nats."""


@torch.no_grad()
def logit_lens(model: DecoderOnlyTransformer, ids: Tensor, k: int = 5) -> LogitLens:
    """Read every block's residual stream as if it were the last.

    Args:
        ids: (1, T).
        k: how many tokens to keep per row and position.
    """
    rows = ["embedding", *(f"blocks.{i}.residual" for i in range(model.config.n_layers))]
    recorded = record(model, ids, [*rows, "logits"])
    output = F.log_softmax(recorded["logits"][0].float(), dim=-1)  # (T, V)
    tops, distances = [], []
    for row in rows:
        logits = read_residual(model, recorded[row])[0]  # (T, V)
        log_probabilities = F.log_softmax(logits.float(), dim=-1)  # (T, V)
        tops.append(log_probabilities.topk(min(k, logits.size(-1)), dim=-1))
        distances.append((output.exp() * (output - log_probabilities)).sum(dim=-1))  # (T,)
    return LogitLens(
        rows=rows,
        top_ids=torch.stack([top.indices for top in tops]),
        top_probabilities=torch.stack([top.values.exp() for top in tops]),
        kl=torch.stack(distances),
    )


@torch.no_grad()
def read_residual(model: DecoderOnlyTransformer, residual: Tensor) -> Tensor:
    """Logits of a residual stream, as the model computes them at its end: (..., D) -> (..., V)."""
    return model.unembed(model.final_norm(residual))
