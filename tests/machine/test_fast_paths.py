"""Each fast twin gives what the plain lines give, and is taken where its rule says."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transformer.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention
from transformer.config import ModelConfig
from transformer.machine.fast_paths import (
    NARROW,
    SHORT,
    fused_attention,
    is_narrow,
    narrow_product,
    uses_kernel,
)


def test_the_kernel_equals_the_plain_lines_forward_and_backward() -> None:
    inputs = [torch.randn(2, 3, 9, 8, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    upstream = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    explicit, _ = scaled_dot_product_attention(*inputs, causal_mask(9))
    fused = fused_attention(*inputs)
    torch.testing.assert_close(explicit, fused, atol=1e-12, rtol=0)
    for by_hand, by_kernel in zip(
        torch.autograd.grad(explicit, inputs, upstream),
        torch.autograd.grad(fused, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(by_hand, by_kernel, atol=1e-12, rtol=0)


@pytest.mark.parametrize("path", ["auto", "fused", "explicit"])
@pytest.mark.parametrize("T", [6, SHORT + 8])
def test_all_paths_of_a_layer_agree(path: str, T: int) -> None:
    config = ModelConfig(10, d_model=16, n_heads=2, max_seq_len=T, attention=path)  # type: ignore[arg-type]
    torch.manual_seed(1)
    layer = MultiHeadAttention(config).double()
    torch.manual_seed(1)
    plain = MultiHeadAttention(ModelConfig(10, 16, 2, max_seq_len=T, attention="explicit")).double()
    x = torch.randn(1, T, 16, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), atol=1e-12, rtol=0)
    for one, other in zip(layer.parameters(), plain.parameters(), strict=True):
        (ours,) = torch.autograd.grad(layer(x).square().sum(), one)
        (theirs,) = torch.autograd.grad(plain(x).square().sum(), other)
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_the_rule_of_the_kernel() -> None:
    short, long = torch.zeros(1, 1, SHORT, 4), torch.zeros(1, 1, SHORT + 1, 4)
    assert uses_kernel("auto", short)  # nothing is trained
    assert uses_kernel("auto", long.requires_grad_())
    assert not uses_kernel("auto", short.requires_grad_())
    assert uses_kernel("fused", short)
    assert not uses_kernel("explicit", long)
    tap = nn.Identity()
    assert uses_kernel("fused", long, tap)
    handle = tap.register_forward_pre_hook(lambda *args: None)
    assert not uses_kernel("fused", long, tap)
    handle.remove()
    assert uses_kernel("fused", long, tap)


@pytest.mark.parametrize("path", ["auto", "explicit"])
def test_watching_does_not_change_the_precision_of_the_scores(path: str) -> None:
    """Products in bfloat16 as in training; scores and weights are float32, watched or not."""
    config = ModelConfig(10, d_model=16, n_heads=2, attention=path)  # type: ignore[arg-type]
    layer = MultiHeadAttention(config)
    x = torch.randn(1, 12, 16, requires_grad=True)
    seen: list[Tensor] = []
    with torch.autocast("cpu", torch.bfloat16):
        alone = layer(x)
        for tap in (layer.scores, layer.weights):
            tap.register_forward_hook(lambda _module, _args, output: seen.append(output))
        watched = layer(x)
    assert [tensor.dtype for tensor in seen] == [torch.float32, torch.float32]
    assert torch.equal(alone, watched)


@pytest.mark.parametrize("shape", [(1, 24), (3, 24), (1, 1, 24), (NARROW, 1, 24)])
def test_the_narrow_product_is_the_product(shape: tuple[int, ...]) -> None:
    hidden, table = torch.randn(*shape), torch.randn(50, 24)
    torch.testing.assert_close(narrow_product(hidden, table), F.linear(hidden, table))


def test_the_rule_of_the_narrow_product() -> None:
    last = torch.zeros(2, 1, 24)
    assert not is_narrow(last)  # a gradient may be wanted
    with torch.no_grad():
        assert is_narrow(last)
        assert is_narrow(torch.zeros(NARROW, 24))
        assert not is_narrow(torch.zeros(NARROW + 1, 24))
        assert not is_narrow(torch.zeros(1, 5, 24))  # a whole text
        assert not is_narrow(last.bfloat16())
        assert not is_narrow(torch.zeros(0, 24))
