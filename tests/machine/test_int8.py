"""Eight bits for a weight: how far numbers move, and that everything else goes on as before."""

import pytest
import torch
from torch.nn import functional as F
from variant_tools import VARIANTS, model_of, some_ids

from transformer.evaluation.perplexity import score_tokens
from transformer.generation import generate
from transformer.machine.device import for_inference
from transformer.machine.int8 import FEW, Int8Matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_weight_moves_by_half_a_step_at_most(dtype: torch.dtype) -> None:
    weight = (torch.randn(40, 24) * torch.logspace(-3, 3, 40)[:, None]).to(dtype)
    weight[7] = 0.0
    matrix = Int8Matrix(weight)
    rows = matrix.numbers.float() * matrix.scale.float()[:, None]
    assert int(matrix.numbers.abs().max()) == 127
    step = matrix.scale.float()[:, None]
    clipped = 127 * step  # a scale that was rounded down leaves the largest weight a little short
    short = (weight.float().abs() - clipped).clamp(min=0)
    assert ((rows - weight.float()).abs() <= 0.5001 * step + short).all()
    assert (short <= 2**-8 * clipped).all()
    assert torch.equal(rows[7], torch.zeros(24))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [48, 40])  # the kernel crashes on some machines with 40
@pytest.mark.parametrize("n", [1, 3, FEW, FEW + 1])
def test_a_product_is_that_of_the_rounded_weights(n: int, columns: int, dtype: torch.dtype) -> None:
    matrix = Int8Matrix(torch.randn(30, columns).to(dtype))
    plain = matrix.numbers.double() * matrix.scale.double()[:, None]
    x, bias = torch.randn(n, 1, columns).to(dtype), torch.randn(30).to(dtype)
    wanted = x.double() @ plain.T + bias.double()
    found = F.linear(x, matrix, bias)  # type: ignore[arg-type]
    assert found.dtype == dtype
    bound = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(found.double(), wanted, atol=bound, rtol=bound)
    ids = torch.tensor([[3, 29], [0, 3]])
    torch.testing.assert_close(F.embedding(ids, matrix).double(), plain[ids], atol=0, rtol=0.008)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_says_nearly_the_same(name: str) -> None:
    ids = some_ids(rows=4)
    bf16 = for_inference(model_of(name), "bf16")
    int8 = for_inference(model_of(name), "int8")
    p, q = (model(ids).float().log_softmax(-1) for model in (bf16, int8))
    assert (p.exp() * (p - q)).sum(-1).mean() < 0.02  # nats; these models are sure of themselves
    assert not torch.equal(p, q)
    size = sum(parameter.nbytes for parameter in int8.parameters())
    assert size < 0.75 * sum(parameter.nbytes for parameter in bf16.parameters())
    counts = [sum(p.numel() for p in model.parameters()) for model in (bf16, int8)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", ["scaled", "all", "all, and the sides"])
def test_it_writes_with_a_cache_and_is_measured(name: str) -> None:
    model = for_inference(model_of(name), "int8")
    ids = some_ids(rows=2, length=4)
    text = generate(model, ids, 20, seed=1)
    assert text.shape == (2, 24)
    log_p, _ = score_tokens(model, text[:, :11], text[:, 1:12])
    exact, _ = score_tokens(model_of(name), text[:, :11], text[:, 1:12])
    torch.testing.assert_close(log_p.mean().double(), exact.mean().double(), atol=0.1, rtol=0.05)


def test_untrained_tables_of_zeros_stay_zero() -> None:
    matrix = Int8Matrix(torch.zeros(3, 4))
    assert torch.equal(matrix.product(torch.randn(2, 4)), torch.zeros(2, 3))
