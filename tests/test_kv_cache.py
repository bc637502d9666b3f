"""The cache changes the speed, never the numbers."""

import pytest
import torch

from transformer.config import ModelConfig
from transformer.errors import UserError
from transformer.kv_cache import KVCache
from transformer.model import DecoderOnlyTransformer

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


@pytest.mark.parametrize("dtype", TOLERANCE)
@torch.no_grad()
def test_every_chunking_gives_the_logits_of_one_forward_pass(dtype: torch.dtype) -> None:
    config = ModelConfig(
        vocab_size=31, d_model=8, n_heads=2, n_layers=2, d_ff=16, max_seq_len=9, dropout=0.0
    )
    model = DecoderOnlyTransformer(config).to(dtype).eval()
    ids = torch.randint(31, (2, 9))
    expected, tolerance = model(ids), TOLERANCE[dtype]
    cache, calls = KVCache(config, batch_size=2, dtype=dtype), 0

    def continue_from(start: int) -> None:
        """All 2^(8 - start) ways to cut the rest, as a tree of next chunks."""
        nonlocal calls
        for end in range(start + 1, 10):
            cache.set_lengths([start, start])  # forget the branch that was tried before
            logits = model(ids[:, start:end], cache)
            torch.testing.assert_close(logits, expected[:, start:end], rtol=0, atol=tolerance)
            assert cache.length == end
            calls += 1
            continue_from(end)

    continue_from(0)
    assert calls == 2**9 - 1


@pytest.mark.parametrize("attention", ["fused", "explicit"])
@torch.no_grad()
def test_rows_that_end_at_different_places_see_only_themselves(attention: str) -> None:
    config = ModelConfig(
        vocab_size=31, d_model=8, n_heads=2, n_layers=2, d_ff=16, max_seq_len=12,
        attention=attention,  # type: ignore[arg-type]
    )  # fmt: skip
    model = DecoderOnlyTransformer(config).double().eval()
    lengths, more = [3, 7, 1, 5], torch.randint(31, (4, 4))
    padded = torch.randint(31, (4, 7))  # the padding is noise
    cache = KVCache(config, batch_size=4, dtype=torch.float64)
    model(padded, cache)
    cache.set_lengths(lengths)
    logits = torch.cat([model(more[:, :1], cache), model(more[:, 1:], cache)], dim=1)
    for row, length in enumerate(lengths):
        alone = model(torch.cat([padded[row, :length], more[row]])[None])[0, -4:]
        torch.testing.assert_close(logits[row], alone, rtol=0, atol=1e-12)
    assert cache.row_lengths() == [7, 11, 5, 9]


@torch.no_grad()
def test_rows_can_be_replaced(tiny_config: ModelConfig, tiny_model: DecoderOnlyTransformer) -> None:
    ids, other, more = (torch.randint(61, shape) for shape in ((3, 10), (2, 6), (3, 1)))
    cache, fresh = KVCache(tiny_config, 3), KVCache(tiny_config, 2)
    tiny_model(ids, cache)
    tiny_model(other, fresh)
    cache.replace([2, 0], fresh)
    logits = tiny_model(more, cache)[:, 0]
    texts = [torch.cat([other[1], more[0]]), torch.cat([ids[1], more[1]]), other[0]]
    texts[2] = torch.cat([texts[2], more[2]])
    for row, text in enumerate(texts):
        torch.testing.assert_close(logits[row], tiny_model(text[None])[0, -1], rtol=0, atol=2e-5)
    assert cache.row_lengths() == [7, 11, 7]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_is_what_the_formula_says(dtype: torch.dtype, tiny_config: ModelConfig) -> None:
    cache = KVCache(tiny_config, batch_size=5, dtype=dtype)
    numbers = 2 * tiny_config.n_layers * 5 * tiny_config.max_seq_len * tiny_config.d_model
    assert cache.keys.nbytes + cache.values.nbytes == numbers * dtype.itemsize


def test_a_full_cache_and_impossible_lengths_are_refused(
    tiny_config: ModelConfig, tiny_model: DecoderOnlyTransformer
) -> None:
    cache = KVCache(tiny_config, batch_size=1)
    with torch.no_grad():
        tiny_model(torch.zeros(1, 15, dtype=torch.int64), cache)
        with pytest.raises(UserError, match="holds 15 of max_seq_len=16"):
            tiny_model(torch.zeros(1, 2, dtype=torch.int64), cache)
    for lengths in ([16], [-1], [3, 3]):
        with pytest.raises(UserError, match="lengths must be 1 numbers from 0 to 15"):
            cache.set_lengths(lengths)
