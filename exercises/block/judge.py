"""The judge of the block."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from exercises.judging.modules import (
    has_gradient,
    is_steady,
    sees_no_future,
    with_random_weights,
)
from transformer.config import ModelConfig
from transformer.kv_cache import KVCache
from transformer.parts import CLASSIC
from transformer.training.mine import Mine

FORBIDDEN = {
    "transformer.block.Block": "it is our solution",
    "transformer.ladder.block.VariantBlock": "it is our solution, with more around it",
    "torch.nn.TransformerEncoderLayer": "the exercise is what it does inside",
    "torch.nn.TransformerDecoderLayer": "the exercise is what it does inside",
}
CONFIG = ModelConfig(5, d_model=2, n_heads=1, n_layers=1, d_ff=3, max_seq_len=8, dropout=0.0)
NAMES = ("attention_norm", "attention", "feed_forward_norm", "feed_forward")


class _Norm(nn.Module):
    """In place of a norm: a · x + b, so that what it reads can be computed in the head."""

    def __init__(self, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x + self.shift


class _Attention(nn.Module):
    """In place of attention: the sum over all positions up to each."""

    cache: object = "not called"

    def forward(self, x: Tensor, cache: object = None) -> Tensor:
        self.cache = cache
        return x.cumsum(1)


class _FeedForward(nn.Module):
    """In place of the feed-forward layer: squares."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square()


class _Writes(nn.Module):
    """In place of a sublayer: it writes the same number everywhere."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor, cache: object = None) -> Tensor:
        return torch.full_like(x, self.number)


PARTS = replace(
    CLASSIC,
    norm=lambda config: _Norm(1.0, 0.0),
    attention=lambda config: _Attention(),
    feed_forward=lambda config: _FeedForward(),
)
N1, N2 = _Norm(2.0, 1.0), _Norm(3.0, -1.0)
A, F = _Attention(), _FeedForward()


def in_small(yours: ModuleType, check: Check) -> None:
    """Sublayers so simple that every wrong order gives another number; then cache and dropout."""
    block = _built(yours, check)
    is_steady(block, torch.ones(1, 50, 2), check)
    x = torch.tensor([[[1.0, -2.0], [0.5, 1.0]]])
    middle = x + A(N1(x))
    check.equal(
        block(x),
        middle + F(N2(middle)),
        given=f"x = {x[0].tolist()}\nattention_norm(x) = 2x + 1, attention = the sum so far\n"
        "feed_forward_norm(x) = 3x - 1, feed_forward(x) = x²",
        mistakes={**_residual_mistakes(x), **_order_mistakes(x)},
        otherwise="the values are others: compare with the picture, arrow by arrow",
    )
    block(x, "the cache", "extras")
    check.that(
        block.attention.cache == "the cache",
        given="block(x, cache, extras)",
        came="attention got no cache"
        if block.attention.cache is None
        else f"attention got {block.attention.cache}",
        expected="attention got the cache",
        mistake="the cache is not passed to attention: it would not see earlier positions",
    )
    _dropout(yours, check)


def _built(yours: ModuleType, check: Check) -> Any:
    """A block of the simple parts, which are in their places."""
    block = yours.Block(CONFIG, PARTS)
    given = "Block(config, parts)"
    kinds = (_Norm, _Attention, _Norm, _FeedForward)
    for name, kind, part in zip(
        NAMES, kinds, ("norm", "attention", "norm", "feed_forward"), strict=True
    ):
        found = getattr(block, name, None)
        check.that(
            isinstance(found, kind),
            given=given,
            came="nothing" if found is None else type(found).__name__,
            expected=f"what parts.{part}(config) builds",
            mistake=f"there is no submodule called {name}"
            if found is None
            else f"`{name}` is not what parts.{part} builds",
        )
    check.that(
        block.attention_norm is not block.feed_forward_norm,
        given=given,
        came="the same module in both places",
        expected="two modules",
        mistake="both sublayers have the same norm: each is to have weights of its own",
    )
    block.attention_norm, block.feed_forward_norm = N1, N2
    return block.eval()


def _residual_mistakes(x: Tensor) -> dict[str, Tensor]:
    middle = x + A(N1(x))
    normed = N1(x) + A(N1(x))
    return {
        "neither result is added to the stream: each sublayer overwrites it": F(N2(A(N1(x)))),
        "the result of attention is not added to x: it overwrites the stream": A(N1(x))
        + F(N2(A(N1(x)))),
        "the result of feed-forward is not added to the stream: it overwrites it": F(N2(middle)),
        "the result of feed-forward is added to the first x: attention's result is lost": x
        + F(N2(middle)),
        "both results are added to normed copies, not to the stream itself": N2(normed)
        + F(N2(normed)),
        "the result of attention is added to the normed copy, not to x itself": normed
        + F(N2(normed)),
        "the result of feed-forward is added to the normed copy, not to the stream itself": N2(
            middle
        )
        + F(N2(middle)),
        "`x` is added twice": middle + F(N2(middle)) + x,
    }


def _order_mistakes(x: Tensor) -> dict[str, Tensor]:
    middle, bare, first = x + A(N1(x)), x + A(x), x + F(N2(x))
    post = N1(x + A(x))
    after = x + N1(A(x))
    return {
        "the norms come after the plus signs, on the stream itself (post-norm): each is to be "
        "applied to what its sublayer reads": N2(post + F(post)),
        "the norms are applied to what the sublayers write, not to what they read": after
        + N2(F(after)),
        "attention reads x without a norm": bare + F(N2(bare)),
        "feed-forward reads the stream without a norm": middle + F(middle),
        "neither sublayer reads a normed copy": bare + F(bare),
        "feed-forward's norm is not used: attention_norm is used twice": middle + F(N1(middle)),
        "the two norms are swapped": x + A(N2(x)) + F(N1(x + A(N2(x)))),
        "feed-forward does not see what attention has written: it reads the first x": middle
        + F(N2(x)),
        "feed-forward reads only what attention has written, not the stream": middle
        + F(N2(A(N1(x)))),
        "feed-forward comes first, then attention": first + A(N1(first)),
        "feed-forward is left out": middle,
        "attention is left out": first,
    }


def _dropout(yours: ModuleType, check: Check) -> None:
    """Attention writes 3, feed-forward 30; a quarter dropped, the rest is 4 and 40."""
    parts = replace(
        PARTS, attention=lambda config: _Writes(3.0), feed_forward=lambda config: _Writes(30.0)
    )
    block = yours.Block(replace(CONFIG, dropout=0.25), parts)
    x = torch.full((20, 50, 2), 100.0)
    given = "x is 100, attention writes 3, feed-forward 30, config.dropout = 0.25"
    found = set(block.eval()(x).unique().tolist())
    check.that(
        found == {133.0},
        given=given + "; in evaluation",
        came=_said(found),
        expected="133",
        mistake="dropout acts in evaluation too: it is for training only",
    )
    result = block.train()(x)
    found = {round(value, 3) for value in result.unique().tolist()}
    check.that(
        found == {100.0, 104.0, 140.0, 144.0},
        given=given + "; in training",
        came=_said(found),
        expected="100, 104, 140, 144: each of the two is 0, or 4/3 of what was written",
        mistake=_dropout_mistake(found),
    )
    share = (result < 120).double().mean()
    check.that(
        0.2 < share < 0.3,
        given=given + "; in training",
        came=f"{share:.3f} of what feed-forward writes is dropped",
        expected="0.250",
        mistake="another share than config.dropout is dropped",
    )


def _said(found: set[float]) -> str:
    values = sorted(found)
    return ", ".join(f"{value:g}" for value in values[:6]) + ("…" if len(values) > 6 else "")


def _dropout_mistake(found: set[float]) -> str:
    """From the numbers that occur."""
    if found == {133.0}:
        return "there is no dropout on what the sublayers write"
    if found == {103.0, 143.0}:
        return "there is no dropout on what attention writes"
    if found == {130.0, 134.0}:
        return "there is no dropout on what feed-forward writes"
    if min(found) < 100:
        return "dropout acts on the stream itself: what earlier blocks have written is lost"
    if any(abs(value - 100 - 3 / 0.9) < 0.01 for value in found):
        return "the share is fixed at 0.1; it is to be config.dropout"
    return "dropout does not act once on what each sublayer writes"


def at_random(yours: ModuleType, check: Check) -> None:
    """Real sublayers, text by text; a cache; nothing sees the future."""
    for B, T, H, K in ((1, 1, 1, 2), (2, 5, 3, 4), (5, 4, 2, 3)):
        config = ModelConfig(
            5, H * K, H, n_layers=1, d_ff=7, max_seq_len=8, dropout=0.5, attention="explicit"
        )
        block = with_random_weights(yours.Block(config, CLASSIC)).eval()
        x = torch.randn(B, H * K, T, dtype=torch.float64).transpose(1, 2)  # not contiguous
        expected = torch.cat([_one_text(block, text[None]) for text in x])
        given = f"the model's own sublayers, x ({B}, {T}, {H * K}), float64"
        check.equal(block(x), expected, given=given, tolerance=1e-9)
        cache = KVCache(config, B, dtype=torch.float64)
        for t in range(T):
            with torch.no_grad():
                found = block(x[:, t : t + 1], cache.layers(1)[0])
            cache.advance(1)
            check.equal(
                found,
                expected[:, t : t + 1],
                given=f"{given}, one position at a time with a cache",
                tolerance=1e-9,
            )
    x = torch.randn(1, 3, 6, dtype=torch.float64)
    has_gradient(block, (x,), check, given="x (1, 3, 6) that needs a gradient")
    sees_no_future(block, x, check, given="x (1, 3, 6)")


@torch.no_grad()
def _one_text(block: Any, x: Tensor) -> Tensor:
    """What each sublayer writes, added up number by number."""
    read = block.attention_norm(x)
    attended = block.attention(read, None)
    stream = torch.stack([a.add(b) for a, b in zip(x[0], attended[0], strict=True)])
    computed = block.feed_forward(block.feed_forward_norm(stream[None]))
    return torch.stack([a.add(b) for a, b in zip(stream, computed[0], strict=True)])[None]


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"block": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    block = module.Block(ModelConfig(5, 64, 4, d_ff=256), CLASSIC)
    return block(torch.zeros(4, 64, 64))
