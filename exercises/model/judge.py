"""The judge of the whole model."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from exercises.judging import modules
from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from transformer.config import ModelConfig
from transformer.kv_cache import KVCache
from transformer.model import DecoderOnlyTransformer
from transformer.parts import CLASSIC
from transformer.training.mine import Mine

_WHY = "the exercise is to join the parts"
FORBIDDEN = {
    "transformer.model.DecoderOnlyTransformer": "it is our solution",
    "transformer.ladder.build.build_model": "it builds our solution",
    "torch.nn.Transformer": _WHY,
    "torch.nn.TransformerEncoder": _WHY,
    "torch.nn.TransformerDecoder": _WHY,
}
CONFIG = ModelConfig(
    7, d_model=4, n_heads=2, n_layers=3, d_ff=5, max_seq_len=6, dropout=0.0, attention="explicit"
)
IDS = torch.tensor([[3, 0, 6, 3, 2]])
GIVEN = f"3 blocks, random weights, ids = {IDS.tolist()}"


def in_small(yours: ModuleType, check: Check) -> None:
    """The weights; the stream; the logits; a cache; dropout."""
    with torch.no_grad():
        model = _built(yours, check)
        _hidden(model, check)
        _logits(model, check)
        _cached(model, check)
        _dropout(yours, check)


def _built(yours: ModuleType, check: Check) -> Any:
    model = yours.Transformer(CONFIG, CLASSIC)
    given = "Transformer(config, parts), config.n_layers = 3"
    for name in ("token_embedding", "positions", "blocks", "final_norm", "output"):
        check.that(
            hasattr(model, name),
            given=given,
            came=", ".join(n for n, _ in model.named_children()),
            expected=name,
            mistake=f"there is no submodule called {name}",
        )
    check.that(
        isinstance(model.blocks, nn.ModuleList),
        given=given,
        came=type(model.blocks).__name__,
        expected="ModuleList",
        mistake="`blocks` is no nn.ModuleList: the weights in it are not found, trained or saved",
    )
    check.that(
        len(model.blocks) == len(set(model.blocks)) == 3,
        given=given,
        came=f"{len(model.blocks)} blocks, {len(set(model.blocks))} of them different",
        expected="3 different blocks",
        mistake="the blocks are one block several times: call parts.block once for each"
        if len(model.blocks) == 3
        else "there are not config.n_layers blocks",
    )
    ours = DecoderOnlyTransformer(CONFIG)
    shapes = {name: tuple(weight.shape) for name, weight in ours.state_dict().items()}
    modules.has_weights(model, shapes, check, given=given)
    return modules.with_random_weights(model).eval()


def _hidden(model: Any, check: Check) -> None:
    modules.is_steady(model.hidden_states, IDS, check)
    x = model.token_embedding(IDS)  # (B, T, D)
    stream = _through(model, model.positions(x, slice(0, 5)))
    check.equal(
        model.hidden_states(IDS),
        model.final_norm(stream),
        given=f"hidden_states; {GIVEN}",
        mistakes={**_norm_mistakes(model, x), **_stream_mistakes(model, x)},
        otherwise="the hidden states are others",
    )


def _norm_mistakes(model: Any, x: Tensor) -> dict[str, Tensor]:
    norm: Callable[[Tensor], Tensor] = model.final_norm
    placed = normed = model.positions(x, slice(0, 5))
    stream = _through(model, placed)
    for block in model.blocks:
        normed = norm(block(normed))
    return {
        "the final norm is left out": stream,
        "the final norm comes twice": norm(norm(stream)),
        "the final norm comes before the blocks": _through(model, norm(placed)),
        "the final norm comes after each block, on the stream itself": normed,
        "the final norm comes after each block too, on the stream itself": norm(normed),
    }


def _stream_mistakes(model: Any, x: Tensor) -> dict[str, Tensor]:
    """Streams before the final norm, which is applied to each."""
    places = slice(0, 5)
    placed = first = model.positions(x, places)
    for _ in model.blocks:
        first = model.blocks[0](first)
    wrong = {
        "the positions are left out: the model does not know in which order the tokens come": (
            _through(model, x)
        ),
        "the positions are added twice": _through(model, model.positions(placed, places)),
        "the positions count from 1, not from 0": _through(model, model.positions(x, slice(1, 6))),
        "the embedding is multiplied by √D, but that is in token_embedding already": _through(
            model, model.positions(x * 2, places)
        ),
        "the sum with the positions is multiplied by √D": _through(model, placed * 2),
        "the blocks are left out": placed,
        "the first block is called every time": first,
        "the blocks come in reverse order": _through(model, placed, backwards=True),
        "only the last block counts: each is to read what the one before returned": (
            model.blocks[-1](placed)
        ),
        "the result of each block is added, but the block has done that": _through(
            model, placed, adds=True
        ),
    }
    return {name: model.final_norm(stream) for name, stream in wrong.items()}


def _through(model: Any, x: Tensor, *, backwards: bool = False, adds: bool = False) -> Tensor:
    """x after all blocks; the options are mistakes."""
    for block in reversed(model.blocks) if backwards else model.blocks:
        x = block(x) + (x if adds else 0)
    return x


def _logits(model: Any, check: Check) -> None:
    hidden = model.hidden_states(IDS)
    table = model.token_embedding.weight
    logits = torch.einsum("btd,vd->btv", hidden, table)
    found = model(IDS)
    check.that(
        not isinstance(found, Tensor) or found.shape != hidden.shape,
        given=f"forward; {GIVEN}",
        came=f"shape {tuple(hidden.shape)}",
        expected=f"shape {tuple(logits.shape)}",
        mistake="the hidden states are returned, not logits: where is the output?",
    )
    check.equal(
        found,
        logits,
        given=f"forward; {GIVEN}",
        mistakes={
            "there is a softmax: logits are wanted, the scores before it": logits.softmax(-1),
            "there is a log_softmax: logits are wanted, the scores before it": logits.log_softmax(
                -1
            ),
            "the final norm comes a second time in forward": model.final_norm(hidden) @ table.T,
            "the logits are divided by √D": logits / math.sqrt(4),
            "the logits are multiplied by √D": logits * math.sqrt(4),
        },
        otherwise="the hidden states are right, the logits are not: they are the dot products with "
        "token_embedding.weight",
    )


def _cached(model: Any, check: Check) -> None:
    """Three tokens first, then two more."""
    cache = KVCache(CONFIG, 1, dtype=torch.float64)
    given = f"3 tokens, then 2 more with the same cache; {GIVEN}"
    whole = model(IDS)
    check.equal(model(IDS[:, :3], cache), whole[:, :3], given=f"{given}; the first 3")
    _advanced(cache, 3, f"{given}; after the first 3", check)
    layers = cache.layers(2)
    x = model.token_embedding(IDS[:, 3:])
    restarted = model.positions(x, slice(0, 2))
    for block, layer in zip(model.blocks, layers, strict=True):
        restarted = block(restarted, layer)
    alone = _through(model, model.positions(x, slice(3, 5)))
    table = model.token_embedding.weight
    check.equal(
        model(IDS[:, 3:], cache),
        whole[:, 3:],
        given=f"{given}; the last 2",
        mistakes={
            "with a cache the positions start at 0 again: they are cache.places(T)": (
                model.final_norm(restarted) @ table.T
            ),
            "the blocks get no cache: earlier positions are not seen": model.final_norm(alone)
            @ table.T,
            "the cache is ignored: the text starts again": model(IDS[:, 3:]),
        },
        otherwise="with a cache the logits are others: block i is to get cache.layers(T)[i]",
    )
    _advanced(cache, 5, f"{given}; at the end", check)


def _advanced(cache: KVCache, length: int, given: str, check: Check) -> None:
    check.that(
        cache.length == length,
        given=given,
        came=f"the cache holds {cache.length} positions",
        expected=f"the cache holds {length} positions",
        mistake="`cache.advance(T)` is not called: the next tokens would overwrite these"
        if cache.length == 0
        else "`cache.advance(T)` is to be called once, after all blocks",
    )


class _Through(nn.Module):
    """In place of a block: it does nothing."""

    def forward(self, x: Tensor, cache: object = None, extras: object = None) -> Tensor:
        return x


def _dropout(yours: ModuleType, check: Check) -> None:
    parts = replace(
        CLASSIC, block=lambda config, parts: _Through(), norm=lambda config: nn.Identity()
    )
    model = yours.Transformer(replace(CONFIG, dropout=0.25, n_layers=1), parts).double()
    ids = torch.arange(6).repeat(100, 1)  # (B, T)
    embedded = model.token_embedding(ids)
    whole = model.positions(embedded, slice(0, 6))
    given = "blocks and norm that do nothing, config.dropout = 0.25"
    found = model.train().hidden_states(ids)
    kept = found != 0
    share = 1 - kept.double().mean()
    right = torch.where(kept, whole / 0.75, 0)
    none = torch.equal(found, whole)
    check.that(
        torch.allclose(found, right) and 0.2 < share < 0.4,
        given=f"{given}; in training",
        came="embedding + positions, as in evaluation" if none else "other values than that",
        expected="a quarter of the values of embedding + positions dropped, the rest times 4/3",
        mistake="there is no dropout on the sum of embedding and positions"
        if none
        else "dropout is to act once, with config.dropout, on embedding + positions",
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Sizes that are all different, text by text and with one token at a time."""
    for B, T, H, K, n_layers in ((1, 1, 1, 2, 1), (3, 5, 2, 4, 2), (2, 7, 3, 2, 4)):
        config = ModelConfig(11, H * K, H, n_layers, d_ff=5, max_seq_len=T, attention="explicit")
        model = modules.with_random_weights(yours.Transformer(config, CLASSIC)).eval()
        ids = torch.randint(10, (T, B)).T  # not contiguous
        given = f"ids ({B}, {T}), {n_layers} blocks, {H} heads, D = {H * K}"
        with torch.no_grad():
            expected = torch.cat([_one_text(model, text[None]) for text in ids])
            check.equal(model(ids), expected, given=given, tolerance=1e-9)
            cache = KVCache(config, B, dtype=torch.float64)
            found = torch.cat([model(ids[:, t : t + 1], cache) for t in range(T)], 1)
        check.equal(found, expected, given=f"{given}, one token at a time", tolerance=1e-9)
    _ragged(model, config, ids, check)
    modules.sees_no_future(model, ids, check, given=given)


@torch.no_grad()
def _ragged(model: Any, config: ModelConfig, ids: Tensor, check: Check) -> None:
    """Two texts of 2 and 4 tokens in one cache; the next of each, against each text alone."""
    cache = KVCache(config, 2, dtype=torch.float64)
    model(ids[:, :4], cache)
    cache.set_lengths([2, 4])
    found = model(torch.stack([ids[0, 2:3], ids[1, 4:5]]), cache)
    check.equal(
        found[:, 0],
        torch.cat([model(ids[:1, :3])[:, -1], model(ids[1:, :5])[:, -1]]),
        given="a cache of two texts, 2 and 4 tokens long; the next token of each",
        otherwise="where texts have different lengths the logits are others: ask cache.places(T)",
        tolerance=1e-9,
    )


def _one_text(model: Any, ids: Tensor) -> Tensor:
    """Token by token into the stream, and score by score out of it."""
    table, T = model.token_embedding.weight, ids.size(1)
    rows = torch.stack([table[i] for i in ids[0].tolist()])[None] * math.sqrt(table.size(1))
    hidden = model.final_norm(_through(model, model.positions(rows, slice(0, T))))
    return torch.stack([(hidden * row).sum(-1) for row in table], -1)


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"model": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    config = ModelConfig(50, 32, 2, n_layers=2, d_ff=64)
    return module.Transformer(config, CLASSIC)(torch.zeros(4, 32, dtype=torch.int64))
