"""How good is the model? Loss, perplexity and bits per byte over a text.

    loss           -1/N · Σ ln p(token | tokens before it)     mean surprise, nats per token
    perplexity     exp(loss)      as unsure as between this many equally likely tokens
    bits per byte  Σ -log₂ p(token) / Σ bytes of the tokens

Loss and perplexity depend on the tokenizer: longer tokens are harder to predict, and there are
fewer of them. Bits per byte divides the same surprise by something that all tokenizers share,
the bytes of the text. It is also the size to which an arithmetic coder would compress the text
with this model: 8 bits per byte is no compression, 2 a quarter of the size.

A text longer than the context has to be cut, and a token at the start of a piece is scored
with hardly any context. Windows therefore overlap: each advances by `stride` tokens and only
its last `stride` are scored, so every token (but the first few of the text) has at least
max_seq_len - stride tokens before it. A smaller stride is fairer but slower.

    stride 4, max_seq_len 8     ●●●●●●●●                 ● scored   ○ only context
                                    ○○○○●●●●
                                        ○○○○●●●●         every token is scored once
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.data.batch import IGNORED, BatchSource
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.generation import evaluating
from transformer.model import DecoderOnlyTransformer
from transformer.training_utils import perplexity

ROWS = 256  # positions whose logits, (ROWS, V), are held at once


@dataclass(frozen=True)
class Evaluation:
    """Sums over a text, and the figures they make."""

    nats: float
    """Σ -ln p(token)."""
    tokens: int
    """Tokens that were scored."""
    bytes: int | None = None
    """Bytes they spell (end-of-text spells none); None without a tokenizer."""

    @property
    def loss(self) -> float:
        """Mean nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss)

    @property
    def bits_per_byte(self) -> float | None:
        return self.nats / math.log(2) / self.bytes if self.bytes else None


def evaluate(
    model: DecoderOnlyTransformer,
    source_or_ids: BatchSource | Sequence[int] | Tensor,
    *,
    tokenizer: Tokenizer | None = None,
    stride: int | None = None,
    batch_size: int = 8,
) -> Evaluation:
    """Judge the model on the validation set of a source, or on one sequence of ids.

    Args:
        source_or_ids: a source brings its own windows. Of ids, (N,), all but the first are
            scored, in overlapping windows.
        tokenizer: counts the bytes, for `bits_per_byte`.
        stride: see above; 1 … max_seq_len, half of max_seq_len if not given.
        batch_size: windows computed together; does not change the result.

    Raises:
        UserError: nothing to score, or an impossible stride.
    """
    if isinstance(source_or_ids, (Sequence, Tensor)):
        ids = torch.as_tensor(source_or_ids, dtype=torch.int64)
        batches = _window_batches(ids, model.config.max_seq_len, stride, batch_size)
    else:
        batches = (
            (batch.inputs, batch.targets)
            for batch in source_or_ids.validation_batches(batch_size=batch_size)
        )
    lengths = None if tokenizer is None else byte_lengths(tokenizer)
    nats, tokens, n_bytes = 0.0, 0, 0
    for inputs, targets in batches:
        log_probabilities, _ = score_tokens(model, inputs, targets)
        scored = targets[targets != IGNORED]
        nats -= log_probabilities.double().sum().item()
        tokens += len(scored)
        n_bytes += 0 if lengths is None else int(lengths[scored].sum())
    if not tokens:
        raise UserError("there is nothing to evaluate: the text has no token to predict")
    return Evaluation(nats, tokens, None if lengths is None else n_bytes)


@torch.no_grad()
def score_tokens(
    model: DecoderOnlyTransformer, ids: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """ln p(target) at every position, and whether the target was the model's first choice.

    Args:
        ids, targets: (B, T) int64; IGNORED targets are not scored.

    Returns:
        (B, T) float32 (float64 for a float64 model), 0 where IGNORED; and (B, T) bool.
    """
    weight = model.token_embedding.weight
    with evaluating(model):
        hidden = model.hidden_states(ids.to(weight.device)).flatten(0, 1)  # (B·T, D)
    scores, firsts = [], []
    all_wanted = targets.flatten().to(weight.device)  # (B·T,)
    for start in range(0, len(hidden), ROWS):
        rows, wanted = hidden[start : start + ROWS], all_wanted[start : start + ROWS]
        logits = model.unembed(rows)  # (ROWS, V)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        scores.append(-F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="none"))
        firsts.append(logits.argmax(dim=-1) == wanted)
    return torch.cat(scores).view_as(targets).cpu(), torch.cat(firsts).view_as(targets).cpu()


def strided_windows(n_targets: int, size: int, stride: int) -> Iterator[tuple[int, int]]:
    """(first target of the window, first target that is scored), each target scored once.

    The last window is moved back so that it ends with the text: otherwise it would be short,
    and its tokens would have little context.

    >>> list(strided_windows(n_targets=15, size=8, stride=4))
    [(0, 0), (4, 8), (7, 12)]
    """
    start = scored = 0
    while scored < n_targets:
        start = max(0, min(start, n_targets - size))
        yield start, scored
        scored = start + size
        start += stride


def _window_batches(
    ids: Tensor, size: int, stride: int | None, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    stride = max(1, size // 2) if stride is None else stride
    if not 1 <= stride <= size:
        raise UserError(f"stride must be from 1 to max_seq_len={size}, but is {stride}")
    if ids.dim() != 1:
        raise UserError(f"ids must be one sequence, (N,), but have shape {tuple(ids.shape)}")
    inputs, targets = ids[:-1], ids[1:]
    rows = []
    for start, scored in strided_windows(len(targets), size, stride):
        window = targets[start : start + size].clone()
        window[: scored - start] = IGNORED
        rows.append((inputs[start : start + size], window))
        if len(rows) == batch_size:
            yield _stack(rows)
            rows = []
    if rows:
        yield _stack(rows)


def _stack(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    inputs, targets = zip(*rows, strict=True)
    return torch.stack(inputs), torch.stack(targets)


def byte_lengths(tokenizer: Tokenizer) -> Tensor:
    """(V,) bytes that each token spells. What begins and ends a document spells none."""
    lengths = torch.tensor([len(tokenizer.decode_bytes([i])) for i in range(tokenizer.vocab_size)])
    lengths[[tokenizer.end_of_text, *tokenizer.prefix]] = 0
    return lengths
