"""What holds for every variant: causality, the cache, both paths, the loss, gradients."""

from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F
from variant_tools import VARIANTS, T, V, model_of, some_ids

from transformer.config import ModelConfig, Variant
from transformer.errors import UserError
from transformer.kv_cache import KVCache
from transformer.ladder import build_model
from transformer.model import DecoderOnlyTransformer


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@torch.no_grad()
def test_no_position_sees_a_later_one(name: str) -> None:
    model, ids = model_of(name), some_ids()
    before = model(ids)
    for t in range(T):
        changed = ids.clone()
        changed[:, t] = (changed[:, t] + 1) % V
        after = model(changed)
        assert torch.equal(before[:, :t], after[:, :t])
        assert not torch.allclose(before[:, t], after[:, t])


@torch.no_grad()
@pytest.mark.parametrize("cuts", [(0, 1, 2, 3, T), (0, 5, T), (0, 11, T), (0, 4, 5, 9, T)])
def test_a_cache_gives_the_same_logits(name: str, cuts: tuple[int, ...]) -> None:
    model, ids = model_of(name), some_ids()
    cache = KVCache(model.config, 2, dtype=torch.float64)
    parts = [model(ids[:, start:end], cache) for start, end in pairwise(cuts)]
    torch.testing.assert_close(torch.cat(parts, 1), model(ids), atol=1e-9, rtol=0)


@torch.no_grad()
def test_rows_of_different_lengths_share_a_cache(name: str) -> None:
    model, ids = model_of(name), some_ids()
    lengths = (7, 4)
    cache = KVCache(model.config, 2, dtype=torch.float64)
    model(ids[:, :7], cache)
    cache.set_lengths(lengths)
    nexts = torch.stack([row[n : n + 3] for row, n in zip(ids, lengths, strict=True)])  # (2, 3)
    found = torch.cat([model(nexts[:, :1], cache), model(nexts[:, 1:], cache)], 1)  # (2, 3, V)
    for row, n in enumerate(lengths):
        expected = model(ids[row : row + 1, : n + 3])[0, n:]
        torch.testing.assert_close(found[row], expected, atol=1e-9, rtol=0)


@torch.no_grad()
def test_the_fused_and_the_explicit_path_agree(name: str) -> None:
    ids = some_ids()
    fused, explicit = model_of(name, "fused"), model_of(name, "explicit")
    torch.testing.assert_close(fused(ids), explicit(ids), atol=1e-9, rtol=0)


def test_the_loss_is_that_of_the_logits_and_reaches_every_parameter(name: str) -> None:
    model, ids = model_of(name), some_ids(rows=30)  # more than one chunk of the loss
    targets = ids.roll(-1, 1)
    targets[:, -2:] = -100
    loss = model.loss(ids, targets)
    loss.backward()
    found = {key: p.grad for key, p in model.named_parameters()}
    assert [key for key, grad in found.items() if grad is None or not grad.any()] == []
    model.zero_grad()
    plain = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    plain.backward()
    torch.testing.assert_close(loss, plain)
    for key, parameter in model.named_parameters():
        torch.testing.assert_close(found[key], parameter.grad, atol=1e-8, rtol=1e-6)


@torch.no_grad()
def test_what_starts_at_zero() -> None:
    """With zero_init a fresh model is embedding and output alone, and untied it is undecided."""
    config = ModelConfig(V, 32, 4, 2, 48, T, variant=Variant(zero_init=True))
    model = build_model(config).eval()
    x = model.embed(some_ids(), slice(T))
    assert torch.equal(model.hidden_states(some_ids()), model.final_norm(x))
    untied = Variant(zero_init=True, tied_embeddings=False)
    assert not build_model(ModelConfig(V, 32, 4, 2, 48, T, variant=untied))(some_ids()).any()


@torch.no_grad()
def test_a_window_reaches_as_far_as_it_says() -> None:
    model = model_of("window")  # 3, in two blocks: a position sees itself and 4 before
    ids = some_ids()
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % V
    moved = (model(ids) - model(changed)).abs().amax((0, 2)) > 0
    assert moved.tolist() == [True] * 5 + [False] * (T - 5)


@pytest.mark.parametrize(
    ("sizes", "variant", "said"),
    [
        ({}, {"positions": "round"}, "positions must be one of 'sinusoidal', 'learned', 'rotary'"),
        ({}, {"positions": "rotary", "head_size": 7}, "head_size must be even, but is 7"),
        ({"n_heads": 4}, {"n_kv_heads": 3}, "n_heads must be divisible by n_kv_heads"),
        ({}, {"window": 0}, "window must be at least 1, but is 0"),
        ({}, {"logit_softcap": 0.0}, "logit_softcap must be a finite number above 0"),
        ({}, {"qk_scale": float("nan")}, "qk_scale must be a finite number above 0"),
        ({}, {"bias": "no"}, "bias must be True or False"),
        ({}, {"head_size": 2.5}, "head_size must be a number"),
    ],
)
def test_impossible_variants_are_named(
    sizes: dict[str, int], variant: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        ModelConfig(**{"vocab_size": V, "d_model": 32, **sizes}, variant=Variant(**variant))


def test_a_variant_is_not_built_as_the_classic_model_by_mistake() -> None:
    config = ModelConfig(V, 32, 4, 2, 48, T, variant=Variant(positions="rotary"))
    with pytest.raises(UserError, match="build_model"):
        DecoderOnlyTransformer(config)


def test_a_classic_model_is_built_from_the_flat_files_and_starts_the_same() -> None:
    config = ModelConfig(V, 32, 4, 2, 48, T)
    torch.manual_seed(3)
    built = build_model(config).state_dict()
    torch.manual_seed(3)
    plain = DecoderOnlyTransformer(config).state_dict()
    assert built.keys() == plain.keys()
    assert all(torch.equal(built[key], plain[key]) for key in built)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["learned", "swiglu", "window", "all, and the sides"])
def test_it_compiles_to_one_graph_with_the_same_gradients(name: str) -> None:
    model, ids = model_of(name, dtype=torch.float32), some_ids()
    targets = ids.roll(-1, 1)
    compiled = torch.compile(model.hidden_states, dynamic=False, fullgraph=True)
    gradients = []
    for states in (model.hidden_states, compiled):
        model.zero_grad()
        model.hidden_loss(states(ids), targets).backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
    for parameter, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][parameter], gradient, msg=parameter)
