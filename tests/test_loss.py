"""The chunked loss against PyTorch's cross-entropy: value and gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transformer.data.batch import IGNORED
from transformer.loss import ROWS, cross_entropy, linear_cross_entropy, row_exponentials


def inputs(n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    hidden = (3 * torch.randn(n, 8, dtype=dtype)).requires_grad_()
    weight = torch.randn(31, 8, dtype=dtype).requires_grad_()
    targets = torch.randint(31, (n,))
    targets[::5] = IGNORED
    return hidden, weight, targets


def test_the_formula_is_pytorchs() -> None:
    logits, targets = torch.randn(9, 31, dtype=torch.float64) * 20, torch.randint(31, (9,))
    targets[2:4] = IGNORED
    expected = F.cross_entropy(logits, targets, ignore_index=IGNORED)
    torch.testing.assert_close(cross_entropy(logits, targets), expected, atol=1e-12, rtol=0)
    assert cross_entropy(logits, targets.fill_(IGNORED)) == 0


@pytest.mark.parametrize("n", [1, 7, ROWS, ROWS + 1, 3 * ROWS - 5])
def test_value_and_gradients_equal_the_plain_cross_entropy(n: int) -> None:
    hidden, weight, targets = inputs(n, torch.float64)
    targets[-1] = 3
    loss = linear_cross_entropy(hidden, weight, targets)
    (0.7 * loss).backward()
    other_hidden, other_weight = (x.detach().clone().requires_grad_() for x in (hidden, weight))
    expected = F.cross_entropy(other_hidden @ other_weight.T, targets, ignore_index=IGNORED)
    (0.7 * expected).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(hidden.grad, other_hidden.grad)
    torch.testing.assert_close(weight.grad, other_weight.grad)


def squashed(logits: Tensor) -> tuple[Tensor, Tensor]:
    """5 · tanh(z / 5) and its slope."""
    share = torch.tanh(logits / 5)
    return 5 * share, 1 - share.square()


@pytest.mark.parametrize("n", [7, ROWS + 1])
def test_squashed_logits_have_the_gradients_of_the_chain_rule(n: int) -> None:
    hidden, weight, targets = inputs(n, torch.float64)
    loss = linear_cross_entropy(hidden, weight, targets, squash=squashed)
    loss.backward()
    others = [x.detach().clone().requires_grad_() for x in (hidden, weight)]
    logits = 5 * torch.tanh(others[0] @ others[1].T / 5)
    expected = F.cross_entropy(logits, targets, ignore_index=IGNORED)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(hidden.grad, others[0].grad)
    torch.testing.assert_close(weight.grad, others[1].grad)
    with torch.no_grad():
        torch.testing.assert_close(
            linear_cross_entropy(hidden, weight, targets, squash=squashed), expected
        )


@pytest.mark.slow
def test_compiled_exponentials_are_the_same() -> None:
    logits = (30 * torch.randn(ROWS, 64)).bfloat16()
    compiled = torch.compile(row_exponentials, dynamic=False)
    for squash in (None, squashed):
        largest = logits.amax(dim=-1, keepdim=True).float()
        if squash is not None:
            largest, _ = squash(largest)
        ours, theirs = compiled(logits, largest, squash), row_exponentials(logits, largest, squash)
        torch.testing.assert_close(ours, theirs)


def test_without_gradients_the_value_is_the_same() -> None:
    hidden, weight, targets = inputs(ROWS + 9, torch.float32)
    with torch.no_grad():
        plain = linear_cross_entropy(hidden, weight, targets)
    torch.testing.assert_close(plain, linear_cross_entropy(hidden, weight, targets).detach())


def test_nothing_scored_is_zero_and_has_no_gradient() -> None:
    hidden, weight, targets = inputs(4, torch.float32)
    loss = linear_cross_entropy(hidden, weight, targets.fill_(IGNORED))
    loss.backward()
    assert float(loss) == 0.0
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_huge_logits_stay_finite() -> None:
    hidden, weight, targets = inputs(20, torch.float32)
    loss = linear_cross_entropy(1e4 * hidden, weight, targets)
    loss.backward()
    assert loss.isfinite()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_bf16_is_as_close_as_bf16_can_be() -> None:
    hidden, weight, targets = inputs(300, torch.float32)
    exact = F.cross_entropy(hidden @ weight.T, targets, ignore_index=IGNORED)
    exact.backward()
    wanted, hidden.grad, weight.grad = weight.grad, None, None
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()
    assert loss.dtype == weight.grad.dtype == torch.float32
    assert float(loss) == pytest.approx(float(exact), rel=0.01)
    assert float((weight.grad - wanted).norm() / wanted.norm()) < 0.02


def test_row_exponentials() -> None:
    logits = torch.randn(3, 5)
    largest = logits.amax(dim=-1, keepdim=True)
    exponentials, sums = row_exponentials(logits, largest)
    torch.testing.assert_close(exponentials / sums, logits.softmax(dim=-1))
