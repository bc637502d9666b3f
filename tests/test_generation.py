"""Generation: with and without a cache, alone and in a batch, before and beyond the context."""

from dataclasses import replace

import pytest
import torch

from transformer.errors import UserError
from transformer.generation import (
    CachedDecoder,
    decode_one_token,
    generate,
    generate_steps,
    prefill,
    stream,
    window_start,
)
from transformer.kv_cache import KVCache
from transformer.model import DecoderOnlyTransformer
from transformer.sampling import SamplingSettings


@pytest.fixture
def model(tiny_model: DecoderOnlyTransformer) -> DecoderOnlyTransformer:
    """In float64. Its weights are large, so that the next token depends on the whole text, and
    its output is turned round: otherwise a tied embedding would repeat the last token for ever."""
    for parameter in tiny_model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    tiny_model.final_norm.weight.data.neg_()
    return tiny_model.double()


def naive(model: DecoderOnlyTransformer, text: list[int], count: int) -> list[int]:
    """Greedy, one full forward pass per token; the rule for long texts, step by step."""
    limit = model.config.max_seq_len
    text, window = list(text), list(text)
    for _ in range(count):
        if len(window) > limit:
            window = window[-(limit // 2) :]
        token = int(model(torch.tensor([window]))[0, -1].argmax())
        text.append(token)
        window.append(token)
    return text


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("length", [1, 5, 16])
@torch.no_grad()
def test_greedy_equals_the_naive_loop_far_beyond_the_context(
    model: DecoderOnlyTransformer, use_cache: bool, length: int
) -> None:
    prompt = torch.randint(61, (1, length))
    expected = naive(model, prompt[0].tolist(), 50)
    found = generate(model, prompt, 50, temperature=0.0, use_cache=use_cache)
    assert found[0].tolist() == expected
    assert len(set(expected[length:])) > 5  # not one token over and over


def test_the_window_follows_from_the_length_alone() -> None:
    for limit in range(1, 12):
        start = 0
        for length in range(1, 60):
            if length - start > limit:
                start = length - max(1, limit // 2)
            assert window_start(length, limit) == start


@pytest.mark.parametrize("max_seq_len", [1, 2, 3, 7])
def test_the_smallest_contexts_work(max_seq_len: int, model: DecoderOnlyTransformer) -> None:
    config = replace(model.config, max_seq_len=max_seq_len)
    small = DecoderOnlyTransformer(config).double().eval()
    small.load_state_dict(model.state_dict())
    prompt = torch.randint(61, (2, 1))
    cached = generate(small, prompt, 20, seed=1)
    assert torch.equal(cached, generate(small, prompt, 20, seed=1, use_cache=False))


SAMPLED = {"temperature": 0.9, "top_k": 30, "top_p": 0.95, "repetition_penalty": 1.2}


@pytest.mark.parametrize("use_cache", [True, False])
def test_prompts_of_different_lengths_are_continued_as_if_alone(
    model: DecoderOnlyTransformer, use_cache: bool
) -> None:
    """Across several restarts of each row's own window."""
    prompts = [torch.randint(61, (length,)).tolist() for length in (9, 1, 16, 4, 25)]
    settings = SamplingSettings(**SAMPLED)  # type: ignore[arg-type]
    together = list(
        generate_steps(model, prompts, 40, settings, seed=[1, 2, 3, 4, 5], use_cache=use_cache)
    )
    for row, prompt in enumerate(prompts):
        alone = list(stream(model, torch.tensor([prompt]), 40, seed=row + 1, **SAMPLED))
        assert [int(step.ids[row]) for step in together] == [int(ids) for ids in alone]


@pytest.mark.parametrize("seed", [-1, 2**64, [0, 2**64]])
def test_a_seed_that_no_generator_takes_is_refused(
    model: DecoderOnlyTransformer, seed: int | list[int]
) -> None:
    with pytest.raises(UserError, match=r"seeds must be from 0 to 2\^64 - 1, but are"):
        generate(model, torch.tensor([[1], [2]]), 1, seed=seed)


def test_the_same_seed_gives_the_same_text_in_any_row(model: DecoderOnlyTransformer) -> None:
    prompt, other = torch.randint(61, (1, 6)), torch.randint(61, (1, 6))
    alone = generate(model, prompt, 30, seed=5)
    batch = generate(model, torch.cat([other, prompt, other, prompt]), 30, seed=5)
    assert torch.equal(batch[1], alone[0])
    assert torch.equal(batch[3], alone[0])
    assert torch.equal(batch[0], batch[2])
    seeds = generate(model, prompt.repeat(3, 1), 30, seed=[7, 5, 8])
    assert torch.equal(seeds[1], alone[0])
    assert not torch.equal(seeds[0], seeds[2])
    assert not torch.equal(generate(model, prompt, 30), generate(model, prompt, 30))


def test_a_text_continued_later_equals_one_written_in_one_go(
    model: DecoderOnlyTransformer,
) -> None:
    prompt = torch.randint(61, (2, 3))
    whole = generate(model, prompt, 45, temperature=0.0)
    half = generate(model, prompt, 21, temperature=0.0)
    assert torch.equal(generate(model, half, 24, temperature=0.0), whole)


def test_stream_is_generate_in_columns(model: DecoderOnlyTransformer) -> None:
    prompt = torch.randint(61, (2, 3))
    columns = list(stream(model, prompt, 12, seed=3))
    together = torch.cat([prompt, torch.stack(columns, dim=1)], dim=1)
    assert torch.equal(together, generate(model, prompt, 12, seed=3))
    assert torch.equal(generate(model, prompt, 0), prompt)


def test_a_row_ends_with_its_stop_id_and_generation_with_the_last_row(
    model: DecoderOnlyTransformer,
) -> None:
    prompt = torch.randint(61, (3, 4))
    free = generate(model, prompt, 40, seed=[1, 2, 3])[:, 4:]
    stops = (int(free[0, 5]), int(free[1, 9]), int(free[2, 2]))
    found = generate(model, prompt, 40, seed=[1, 2, 3], stop_ids=stops)[:, 4:]
    ends = []
    for row in range(3):
        end = next(i for i, token in enumerate(free[row].tolist()) if token in stops)
        assert torch.equal(found[row, : end + 1], free[row, : end + 1])
        assert (found[row, end:] == found[row, end]).all()
        ends.append(end)
    assert found.size(1) == max(ends) + 1


def test_prefill_and_decode_read_each_token_once(model: DecoderOnlyTransformer) -> None:
    """Positions that go through the model: the prompt, then one per token; at a restart the
    kept half. Counted, not assumed."""
    read: list[int] = []
    model.embedding.register_forward_hook(lambda _m, _a, x: read.append(x.size(1)))
    generate(model, torch.randint(61, (1, 5)), 30)
    assert read == [5, *[1] * 11, 7, *[1] * 9, 7, *[1] * 9]
    read.clear()
    generate(model, torch.randint(61, (1, 5)), 3, use_cache=False)
    assert read == [5, 6, 7]


@torch.no_grad()
def test_prefill_then_decode_gives_the_logits_of_the_whole(
    model: DecoderOnlyTransformer,
) -> None:
    texts = [torch.randint(61, (length,)).tolist() for length in (3, 8)]
    cache = KVCache(model.config, batch_size=2, dtype=torch.float64)
    first = prefill(model, texts, cache)
    second = decode_one_token(model, torch.tensor([7, 8]), cache)
    for row, text in enumerate(texts):
        expected = model(torch.tensor([[*text, 7 + row]]))[0, -2:]
        found = torch.stack([first[row], second[row]])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    assert torch.equal(
        CachedDecoder(model, 2, use_cache=False).next_logits(texts), prefill(model, texts)
    )


def test_generation_leaves_the_mode_of_the_model_alone(model: DecoderOnlyTransformer) -> None:
    seen: list[bool] = []
    model.dropout.register_forward_hook(lambda module, _a, _x: seen.append(module.training))
    model.train()
    out = generate(model, torch.randint(61, (1, 3)), 4)
    assert model.training
    assert seen == [False] * 4
    assert not out.requires_grad


def test_bad_prompts_are_refused(model: DecoderOnlyTransformer) -> None:
    one = torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(UserError, match="prompt is empty"):
        generate(model, one[:, :0], 5)
    with pytest.raises(UserError, match="shape"):
        generate(model, one[0], 5)
    with pytest.raises(UserError, match="max_new_tokens"):
        generate(model, one, -1)
    with pytest.raises(UserError, match="2 seeds were given for 1 rows"):
        generate(model, one, 5, seed=[1, 2])
    with pytest.raises(UserError, match="id 61 is outside"):
        generate(model, one + 61, 5)
    with pytest.raises(UserError, match="top_p"):
        stream(model, one, 5, top_p=0.0)
