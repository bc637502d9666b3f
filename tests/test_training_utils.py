"""Accumulation against the big batch, and the status against curves drawn on purpose."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD

from transformer.config import ModelConfig
from transformer.data.batch import IGNORED
from transformer.errors import UserError
from transformer.loss import LossModule
from transformer.model import DecoderOnlyTransformer
from transformer.training_utils import (
    EXPLANATIONS,
    GradientAccumulator,
    perplexity,
    training_status,
)

Pair = tuple[Tensor, Tensor]


def model_for_accumulation(config: ModelConfig) -> DecoderOnlyTransformer:
    torch.manual_seed(1)
    return DecoderOnlyTransformer(config)


def random_batches(config: ModelConfig, n: int, rows: int = 2) -> list[Pair]:
    shape = (rows, config.max_seq_len)
    return [
        (torch.randint(config.vocab_size, shape), torch.randint(config.vocab_size, shape))
        for _ in range(n)
    ]


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def big_batch_gradients(model: DecoderOnlyTransformer, batches: list[Pair]) -> list[Tensor]:
    """Plain PyTorch: all rows at once, the mean over all scored tokens."""
    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    model.zero_grad()
    logits = model(inputs).flatten(0, 1)
    F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED).backward()
    return gradients(model)


def unequal(batches: list[Pair]) -> list[Pair]:
    """Micro-batches with 1, 3, 5, … scored tokens; the last has none."""
    for i, (_, targets) in enumerate(batches):
        targets.view(-1)[2 * i + 1 :] = IGNORED
    batches[-1][1].fill_(IGNORED)
    return batches


@pytest.mark.parametrize("n", [1, 4, 16])
@pytest.mark.parametrize("prepare", [list, unequal])
def test_accumulated_gradient_is_that_of_the_big_batch(
    tiny_config: ModelConfig, n: int, prepare: Callable[[list[Pair]], list[Pair]]
) -> None:
    model = model_for_accumulation(tiny_config)
    batches = prepare(random_batches(tiny_config, n + 1))[:n]
    expected = big_batch_gradients(model, batches)
    GradientAccumulator(model, SGD(model.parameters(), lr=0.0), n).accumulate(batches)
    for ours, theirs in zip(gradients(model), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_a_step_in_which_nothing_is_scored_is_refused(tiny_config: ModelConfig) -> None:
    model = model_for_accumulation(tiny_config)
    batches = random_batches(tiny_config, 2)
    for _, targets in batches:
        targets.fill_(IGNORED)
    accumulator = GradientAccumulator(model, SGD(model.parameters(), lr=0.0), 2)
    with pytest.raises(UserError, match="nothing is scored in this step"):
        accumulator.accumulate(batches)


@pytest.mark.parametrize(
    ("dropout", "bf16", "least", "most"),
    [(0.0, False, 0.0, 5e-7), (0.0, True, 1e-3, 4e-3), (0.1, False, 0.4, 0.7)],
)
def test_how_far_it_is_from_the_big_batch_with_bf16_and_with_dropout(
    dropout: float, bf16: bool, least: float, most: float
) -> None:
    """The figures of the module's text: 2e-7, 0.2 % and half of the gradient's length."""
    torch.manual_seed(0)
    sizes = {"d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 512, "max_seq_len": 64}
    model = DecoderOnlyTransformer(ModelConfig(vocab_size=1024, dropout=dropout, **sizes))
    loss_module = LossModule(model, bf16=bf16)
    inputs, targets = torch.randint(1024, (2, 16, 64))
    found = []
    for n in (1, 8):
        pairs = list(zip(inputs.chunk(n), targets.chunk(n), strict=True))
        GradientAccumulator(loss_module, SGD(model.parameters(), lr=0.0), n).accumulate(pairs)
        found.append(torch.cat([gradient.flatten() for gradient in gradients(model)]))
    distance = float((found[0] - found[1]).norm() / found[0].norm())
    assert least <= distance <= most


def test_the_mean_of_means_is_another_gradient(tiny_config: ModelConfig) -> None:
    model = model_for_accumulation(tiny_config)
    batches = unequal(random_batches(tiny_config, 4))[:3]
    expected = big_batch_gradients(model, batches)
    model.zero_grad()
    for inputs, targets in batches:
        (model.loss(inputs, targets) / len(batches)).backward()
    largest = max(
        float((a - b).abs().max()) for a, b in zip(gradients(model), expected, strict=True)
    )
    assert largest > 1e-3


def test_the_reported_loss_is_the_mean_over_tokens(tiny_config: ModelConfig) -> None:
    model = model_for_accumulation(tiny_config)
    batches = unequal(random_batches(tiny_config, 5))
    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()).detach()
    update = GradientAccumulator(model, SGD(model.parameters(), lr=0.0), 5).step(batches)
    assert update.loss == pytest.approx(float(expected), rel=1e-5)
    assert update.tokens == int((targets != IGNORED).sum())


class Quadratic(nn.Module):
    """Loss ½ Σ (w − x)²: its gradient w − x is known, and so is the noise in it."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(dimensions))

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (self.w - inputs).square().sum(dim=-1).mean()


def test_n_micro_batches_divide_the_variance_by_n() -> None:
    def variance(n: int) -> float:
        model = Quadratic(20_000)
        asked = torch.zeros(1, 1, dtype=torch.int64)
        batches = [(torch.randn(1, 20_000), asked) for _ in range(n)]
        GradientAccumulator(model, SGD(model.parameters(), lr=0.0), n).accumulate(batches)
        assert model.w.grad is not None
        return float(model.w.grad.var())

    assert variance(1) == pytest.approx(1.0, rel=0.05)
    assert variance(16) == pytest.approx(1 / 16, rel=0.05)


def test_long_gradients_are_shortened_and_keep_their_direction(tiny_config: ModelConfig) -> None:
    model = model_for_accumulation(tiny_config)
    batches = random_batches(tiny_config, 1)
    expected = torch.cat([g.flatten() for g in big_batch_gradients(model, batches)])
    accumulator = GradientAccumulator(model, SGD(model.parameters(), lr=0.0), 1, 0.01)
    update = accumulator.step(batches)
    clipped = torch.cat([g.flatten() for g in gradients(model)])
    assert update.grad_norm == pytest.approx(float(expected.norm()), rel=1e-4)
    assert float(clipped.norm()) == pytest.approx(0.01, rel=1e-3)
    assert float(F.cosine_similarity(clipped, expected, dim=0)) == pytest.approx(1, abs=1e-5)


def test_a_step_that_is_not_finite_is_left_out() -> None:
    model = Quadratic(3)
    accumulator = GradientAccumulator(model, SGD(model.parameters(), lr=1.0), 1)
    targets = torch.zeros(1, 1, dtype=torch.int64)
    update = accumulator.step([(torch.tensor([[1.0, math.inf, 0.0]]), targets)])
    assert not update.applied
    assert model.w.tolist() == [0.0, 0.0, 0.0]
    assert accumulator.step([(torch.tensor([[0.5, 0.0, 0.0]]), targets)]).applied
    assert model.w.tolist() == [0.5, 0.0, 0.0]


def test_the_number_of_micro_batches_is_checked(tiny_model: DecoderOnlyTransformer) -> None:
    optimizer = SGD(tiny_model.parameters(), lr=0.0)
    with pytest.raises(UserError, match="takes 2 micro-batches, got 1"):
        GradientAccumulator(tiny_model, optimizer, 2).step(random_batches(tiny_model.config, 1))
    with pytest.raises(UserError, match="accumulation_steps must be at least 1, but is 0"):
        GradientAccumulator(tiny_model, optimizer, 0)


def test_perplexity() -> None:
    assert perplexity(math.log(50_281)) == pytest.approx(50_281)
    assert perplexity(1e6) == math.inf


FALLING = [5.0, 4.0, 3.3, 2.9, 2.6]


@pytest.mark.parametrize(
    ("train", "val", "floor", "status"),
    [
        (FALLING[:2], FALLING[:2], None, "starting"),
        (FALLING, [5.1, 4.2, 3.6, 3.2, 3.0], None, "learning"),
        (FALLING, [3.0, 3.0, 3.1, 3.2, 3.3], None, "overfitting"),
        (FALLING, [3.0] * 5, None, "memorising"),
        (FALLING, [3.0] * 5, 3.0, "memorising"),
        ([0.1] * 5, [3.0, 3.0, 3.1, 3.2, 3.3], None, "overfitting"),
        ([3.0, 3.1, 3.3, 3.6, 4.0], [3.0, 3.0, 3.1, 3.2, 3.3], None, "diverging"),
        ([3.0] * 5, [3.1, 3.1, 3.101, 3.1, 3.1], None, "underfitting"),
        ([3.0] * 5, [3.1, 3.1, 3.101, 3.1, 3.1], 2.0, "underfitting"),
        ([3.0] * 5, [3.1, 3.1, 3.101, 3.1, 3.1], 3.0, "converged"),
        ([9.0, *FALLING], [1.0, 5.1, 4.2, 3.6, 3.2, 3.0], None, "learning"),
    ],
)
def test_status(train: list[float], val: list[float], floor: float | None, status: str) -> None:
    assert training_status(train, val, floor) == status
    assert status in EXPLANATIONS
