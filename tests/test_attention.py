import math

import pytest
import torch
from torch import Tensor, nn

from transformer.attention import (
    MultiHeadAttention,
    causal_mask,
    scaled_dot_product_attention,
)
from transformer.config import ModelConfig


def brute_force(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention of one head, number by number."""
    T, K = queries.shape
    output = torch.zeros(T, values.size(1), dtype=torch.float64)
    weights = torch.zeros(T, T, dtype=torch.float64)
    for t in range(T):
        scores = []
        for s in range(t + 1):
            product = sum(queries[t, k].item() * keys[s, k].item() for k in range(K))
            scores.append(math.exp(product / math.sqrt(K)))
        for s in range(t + 1):
            weights[t, s] = scores[s] / sum(scores)
            output[t] += weights[t, s] * values[s]
    return output, weights


def test_equals_a_triple_loop_in_float64() -> None:
    queries, keys, values = torch.randn(3, 2, 7, 5, dtype=torch.float64)
    output, weights = scaled_dot_product_attention(queries, keys, values, causal_mask(7))
    for head in range(2):
        expected_output, expected_weights = brute_force(queries[head], keys[head], values[head])
        torch.testing.assert_close(output[head], expected_output, atol=1e-12, rtol=0)
        torch.testing.assert_close(weights[head], expected_weights, atol=1e-12, rtol=0)


def test_rows_sum_to_one_and_the_future_weighs_exactly_nothing() -> None:
    queries, keys, values = torch.randn(3, 1, 4, 10, 8)
    _, weights = scaled_dot_product_attention(queries, keys, values, causal_mask(10))
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 10))
    assert weights.triu(1).count_nonzero() == 0


def test_a_chunk_after_a_cache_sees_the_cache_and_itself() -> None:
    assert torch.equal(causal_mask(3, 7), causal_mask(7)[4:])


def test_dividing_by_the_root_of_k_keeps_the_variance_at_one() -> None:
    """The reason the docstring gives for the division."""
    K = 256
    products = (torch.randn(20_000, K) * torch.randn(20_000, K)).sum(-1)
    assert products.var().item() == pytest.approx(K, rel=0.05)
    assert (products / math.sqrt(K)).var().item() == pytest.approx(1, rel=0.05)


def test_multi_head_equals_pytorchs_own_module() -> None:
    config = ModelConfig(vocab_size=10, d_model=24, n_heads=3, max_seq_len=8, dropout=0.0)
    ours = MultiHeadAttention(config).double()
    theirs = nn.MultiheadAttention(24, 3, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv_projection.weight)
        theirs.in_proj_bias.copy_(ours.qkv_projection.bias)
        theirs.out_proj.weight.copy_(ours.output_projection.weight)
        theirs.out_proj.bias.copy_(ours.output_projection.bias)
    x = torch.randn(2, 8, 24, dtype=torch.float64)
    expected, _ = theirs(x, x, x, attn_mask=~causal_mask(8), need_weights=False)
    torch.testing.assert_close(ours(x), expected, atol=1e-12, rtol=0)


def test_a_hook_on_the_weights_selects_the_explicit_path_for_that_call() -> None:
    attention = MultiHeadAttention(ModelConfig(vocab_size=10, d_model=16, n_heads=2)).double()
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    recorded: list[Tensor] = []
    plain = attention(x)
    handle = attention.weights.register_forward_hook(lambda *args: recorded.append(args[2]))
    watched = attention(x)
    handle.remove()
    attention(x)
    assert len(recorded) == 1
    assert recorded[0].shape == (1, 2, 6, 6)
    torch.testing.assert_close(plain, watched, atol=1e-12, rtol=0)


def test_replacing_the_weights_changes_the_output() -> None:
    """A tap can change the model: it continues with what the hook returns."""
    attention = MultiHeadAttention(ModelConfig(vocab_size=10, d_model=16, n_heads=2))
    x = torch.randn(1, 6, 16)
    attention.weights.register_forward_hook(lambda _module, _args, output: output * 0)
    torch.testing.assert_close(attention(x), attention.output_projection.bias.expand(1, 6, 16))
