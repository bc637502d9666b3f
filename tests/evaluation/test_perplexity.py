"""Evaluation against closed forms and against one forward pass per token."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transformer.config import ModelConfig
from transformer.data.batch import IGNORED, Batch, State
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.errors import UserError
from transformer.evaluation.perplexity import byte_lengths, evaluate, score_tokens, strided_windows
from transformer.model import DecoderOnlyTransformer

RANKS = {bytes([i]): i for i in range(256)} | {b"ab": 256, "☃".encode(): 257}
TOKENIZER = BytePairTokenizer("bpe", "test", RANKS, end_of_text=258)


def unigram_model(probabilities: torch.Tensor, max_seq_len: int = 8) -> DecoderOnlyTransformer:
    """A transformer that gives token i the probability p_i whatever came before: the final
    norm ignores its input and points along an axis on which token i is at ln p_i."""
    config = ModelConfig(
        len(probabilities), d_model=4, n_heads=1, n_layers=1, d_ff=4, max_seq_len=max_seq_len
    )
    model = DecoderOnlyTransformer(config).double()
    with torch.no_grad():
        model.final_norm.weight.zero_()
        model.final_norm.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        model.token_embedding.weight[:, 0] = probabilities.log()
    return model


@pytest.mark.parametrize("n", [2, 5, 9, 10, 33])
@pytest.mark.parametrize("stride", [1, 3, 8, None])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_model_with_known_probabilities_gets_its_exact_figures(
    n: int, stride: int | None, batch_size: int
) -> None:
    p = torch.rand(259, dtype=torch.float64) + 0.01
    p = p / p.sum()
    ids = torch.randint(259, (n,))
    found = evaluate(
        unigram_model(p), ids, tokenizer=TOKENIZER, stride=stride, batch_size=batch_size
    )
    nats = -math.fsum(math.log(p[token]) for token in ids[1:].tolist())
    spelled = [token for token in ids[1:].tolist() if token != TOKENIZER.end_of_text]
    n_bytes = len(TOKENIZER.decode_bytes(spelled))
    assert found.tokens == n - 1
    assert found.bytes == n_bytes
    assert found.loss == pytest.approx(nats / (n - 1), rel=1e-12)
    assert found.perplexity == pytest.approx(math.exp(nats / (n - 1)), rel=1e-12)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-12)


def test_uniform_belief_costs_log2_of_the_vocabulary() -> None:
    """1/259 for each single-byte token: log2(259) bits per byte."""
    model = unigram_model(torch.full((259,), 1 / 259, dtype=torch.float64))
    found = evaluate(model, list(b"plain bytes"), tokenizer=TOKENIZER)
    assert found.perplexity == pytest.approx(259)
    assert found.bits_per_byte == pytest.approx(math.log2(259))
    assert evaluate(model, list(b"no tokenizer")).bits_per_byte is None


@pytest.mark.parametrize("stride", [1, 4, 16])
@torch.no_grad()
def test_every_token_is_scored_in_its_own_window(
    tiny_model: DecoderOnlyTransformer, stride: int
) -> None:
    """Brute force: for each target the window that the rule gives it, one pass at a time."""
    model, n, size = tiny_model.double(), 50, 16
    ids = torch.randint(61, (n,))
    nats = 0.0
    for target in range(1, n):
        number = max(0, math.ceil((target - size) / stride))
        start = min(number * stride, n - 1 - size)
        log_probabilities = model(ids[None, start:target])[0, -1].log_softmax(dim=-1)
        nats -= log_probabilities[ids[target]].item()
    found = evaluate(model, ids, stride=stride)
    assert found.nats == pytest.approx(nats, rel=1e-12)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12))
def test_windows_score_each_target_once_with_context_before_it(
    n: int, size: int, stride: int
) -> None:
    stride = min(stride, size)
    seen = []
    for start, scored in strided_windows(n, size, stride):
        end = min(start + size, n)
        seen += range(scored, end)
        assert scored == 0 or scored - start >= size - stride
    assert seen == list(range(n))


class TwoBatches:
    """A source whose batches differ in size, so that a mean of means would be wrong."""

    fingerprint, floor = "two", None

    def validation_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(0)
        for rows in (3, 1):
            inputs = torch.randint(259, (rows, 8), generator=generator)
            targets = torch.randint(259, (rows, 8), generator=generator)
            targets[0, 2:] = IGNORED
            yield Batch(inputs, targets, {})

    def train_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1, state: State | None = None
    ) -> Iterator[Batch]:
        raise NotImplementedError


def test_a_source_is_weighted_by_tokens() -> None:
    p = torch.arange(1, 260, dtype=torch.float64)
    p = p / p.sum()
    targets = torch.cat(
        [b.targets.flatten() for b in TwoBatches().validation_batches(batch_size=3)]
    )
    scored = targets[targets != IGNORED]
    found = evaluate(unigram_model(p), TwoBatches())
    assert found.tokens == len(scored) == 20
    assert found.loss == pytest.approx(-p.log()[scored].mean().item(), rel=1e-12)


def test_scores_say_which_targets_were_the_first_choice() -> None:
    p = torch.full((259,), 0.5 / 258, dtype=torch.float64)
    p[7] = 0.5
    targets = torch.tensor([[7, 3, IGNORED]])
    scores, first = score_tokens(unigram_model(p), torch.zeros_like(targets), targets)
    np.testing.assert_allclose(scores[0], [math.log(0.5), math.log(0.5 / 258), 0.0])
    assert first.tolist() == [[True, False, False]]


def test_tokens_know_their_bytes() -> None:
    lengths = byte_lengths(TOKENIZER)
    assert [lengths[i].item() for i in (0, 255, 256, 257, 258)] == [1, 1, 2, 3, 0]


def test_bad_requests_are_refused() -> None:
    model = unigram_model(torch.full((259,), 1 / 259))
    for ids in ([], [3]):
        with pytest.raises(UserError, match="nothing to evaluate"):
            evaluate(model, ids)
    for stride in (0, 9):
        with pytest.raises(UserError, match="stride must be from 1 to max_seq_len=8"):
            evaluate(model, list(range(20)), stride=stride)
    with pytest.raises(UserError, match="one sequence"):
        evaluate(model, torch.zeros(2, 3, dtype=torch.int64))
