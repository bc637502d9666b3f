import math
from dataclasses import replace

import pytest
import torch

from transformer.config import ModelConfig, Variant
from transformer.model import DecoderOnlyTransformer
from transformer.token_embedding import TokenEmbedding
from transformer.training.config import POSITION_SCALE

CONFIG = ModelConfig(vocab_size=11, d_model=16, n_heads=2)


def test_it_is_the_product_with_one_hot_vectors_times_the_root_of_d() -> None:
    embedding = TokenEmbedding(CONFIG).double()
    ids = torch.randint(11, (2, 5))
    one_hot = torch.zeros(2, 5, 11, dtype=torch.float64)
    for b in range(2):
        for t in range(5):
            one_hot[b, t, ids[b, t]] = 1.0
    expected = one_hot @ embedding.weight * math.sqrt(16)
    torch.testing.assert_close(embedding(ids), expected, atol=1e-12, rtol=0)


def test_vectors_are_as_long_as_the_docstring_says() -> None:
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=2_000, n_layers=1)
    model = DecoderOnlyTransformer(config)
    rows = model.token_embedding.weight
    assert rows.norm(dim=-1).mean().item() == pytest.approx(0.5, rel=0.02)
    vectors = model.token_embedding(torch.arange(2_000))
    assert vectors.norm(dim=-1).mean().item() == pytest.approx(8.0, rel=0.02)
    assert model.positions.table.norm(dim=-1).mean().item() == pytest.approx(11.3, rel=0.02)
    smaller = Variant(position_scale=POSITION_SCALE)
    table = DecoderOnlyTransformer(replace(config, variant=smaller)).positions.table
    assert table.norm(dim=-1).mean().item() == pytest.approx(5.7, rel=0.02)


def test_only_the_rows_that_were_looked_up_get_a_gradient() -> None:
    embedding = TokenEmbedding(CONFIG)
    embedding(torch.tensor([[3, 7, 3]])).sum().backward()
    touched = embedding.weight.grad.abs().sum(dim=1).nonzero().flatten()
    assert touched.tolist() == [3, 7]
    assert embedding.weight.grad[3, 0] == 2 * embedding.weight.grad[7, 0]  # looked up twice
