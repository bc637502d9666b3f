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

MOST_LOGITS = 2**24  # computed together: 64 MiB in float32


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
    recorded = record(model, ids, [*rows, "final_norm"])
    final = torch.split(recorded.pop("final_norm")[0], rows_together(model))  # (t, D) each
    residuals = torch.cat(list(recorded.values()))  # (L, T, D)
    streams = torch.split(residuals, rows_together(model), dim=1)  # (L, t, D) each
    tops, distances = [], []
    for hidden, stream in zip(final, streams, strict=True):
        output = F.log_softmax(model.unembed(hidden).float(), dim=-1)  # (t, V)
        for residual in stream:
            log_probabilities = F.log_softmax(read_residual(model, residual).float(), dim=-1)
            tops.append(log_probabilities.topk(min(k, output.size(-1)), dim=-1))  # (t, k)
            distances.append((output.exp() * (output - log_probabilities)).sum(dim=-1))  # (t,)
    return LogitLens(
        rows=rows,
        top_ids=_joined([top.indices for top in tops], len(rows)),
        top_probabilities=_joined([top.values.exp() for top in tops], len(rows)),
        kl=_joined(distances, len(rows)),
    )


def _joined(parts: list[Tensor], rows: int) -> Tensor:
    """(t, ...) of every row, chunk after chunk of positions -> (L, T, ...)."""
    return torch.stack([torch.cat(parts[row::rows]) for row in range(rows)])


def rows_together(model: DecoderOnlyTransformer) -> int:
    """Of how many positions the logits are computed together, so that memory stays bounded."""
    return max(1, MOST_LOGITS // model.config.vocab_size)


@torch.no_grad()
def read_residual(model: DecoderOnlyTransformer, residual: Tensor) -> Tensor:
    """Logits of a residual stream, as the model computes them at its end: (..., D) -> (..., V)."""
    return model.unembed(model.final_norm(residual))
