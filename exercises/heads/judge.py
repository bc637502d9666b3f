"""The judge of multi-head attention."""

import math
from types import ModuleType

import torch
from torch import Tensor, nn

from exercises.judging.check import Check
from exercises.judging.inside import same_inside
from exercises.judging.modules import (
    has_gradient,
    has_weights,
    sees_no_future,
    with_random_weights,
)
from transformer.config import ModelConfig
from transformer.training.mine import Mine

_WHY = "the exercise is what it does inside"
FORBIDDEN = {
    "transformer.attention.MultiHeadAttention": "it is our solution",
    "transformer.ladder.attention.VariantAttention": "it is our solution, with more around it",
    "torch.nn.MultiheadAttention": _WHY,
    "torch.nn.functional.multi_head_attention_forward": _WHY,
}


def in_small(yours: ModuleType, check: Check) -> None:
    """The weights; one position; one head; two heads; a cache."""
    layer = _layer(yours, 6, 2)
    expected = {"qkv_projection.weight": (18, 6), "qkv_projection.bias": (18,)}
    expected |= {"output_projection.weight": (6, 6), "output_projection.bias": (6,)}
    has_weights(layer, expected, check, given="d_model = 6, n_heads = 2")
    _one_position(layer, check)
    _one_head(_layer(yours, 2, 1), check)
    _two_heads(layer, check)
    _with_cache(layer, check)


def _layer(yours: ModuleType, d_model: int, n_heads: int) -> nn.Module:
    config = ModelConfig(5, d_model, n_heads, d_ff=3, dropout=0.5)
    return with_random_weights(yours.MultiHeadAttention(config), 1.0)


def _one_position(layer: nn.Module, check: Check) -> None:
    x = torch.randn(1, 1, 6, dtype=torch.float64)
    came = layer(x)
    given = (
        "one position, which sees itself only: its weight is 1, so the values pass through\n"
        f"x = {x[0].tolist()}, random weights"
    )
    check.shape(came, x, given=given)
    check.equal(
        came,
        _slow(layer, x, 2),
        given=given,
        mistakes={
            "the values are taken from the first third of the 3D columns; they are the last": _slow(
                layer, x, 2, order=(1, 2, 0)
            ),
            "the values are taken from the second third of the 3D columns; they are the last": (
                _slow(layer, x, 2, order=(0, 2, 1))
            ),
            **_orders(layer, x),
            "a position does not see itself: the first would see nothing at all": _slow(
                layer, x, 2, mask="strict"
            ),
            "there is no output_projection: the heads' results never meet": _slow(
                layer, x, 2, project=False
            ),
        },
        otherwise="there is dropout inside: the block does that"
        if (layer(x) != came).any()
        else "with one position the values are others: are they projected, and the output too?",
    )


def _orders(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Two heads with their channels in other orders."""
    return {
        "the 3D columns are cut into heads first, then each head into queries, keys, values: all "
        "queries come first": _slow(layer, x, 2, columns="heads first"),
        "the heads are joined channel by channel; they come one after the other": _slow(
            layer, x, 2, join="channels"
        ),
        "a head has every H-th channel; it is to have K in a row": _slow(
            layer, x, 2, columns="channels", join="channels"
        ),
        "a head has every H-th channel, and the way back is another: it is to have K in a row": (
            _slow(layer, x, 2, columns="channels")
        ),
        "the heads are joined in reverse order": _slow(layer, x, 2, join="reverse"),
    }


def _one_head(layer: nn.Module, check: Check) -> None:
    x = torch.randn(1, 3, 2, dtype=torch.float64)
    check.equal(
        layer(x),
        _slow(layer, x, 1),
        given=f"one head, three positions: x = {x[0].tolist()}, random weights",
        mistakes={
            "there is no causal mask: every position sees those after it": _slow(
                layer, x, 1, mask="none"
            ),
            "queries and keys are swapped: the queries are the first third of the columns": _slow(
                layer, x, 1, order=(1, 0, 2)
            ),
            "the scores are not divided by √K": _slow(layer, x, 1, scale=1.0),
            "the scores are divided by K, not by its root": _slow(layer, x, 1, scale=2.0),
        },
        otherwise="with one head the values are others",
    )


def _two_heads(layer: nn.Module, check: Check) -> None:
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    check.equal(
        layer(x),
        _slow(layer, x, 2),
        given="two heads, x (2, 3, 6), random weights",
        mistakes={
            "the heads are joined without being brought behind the positions first: (B, H, T, K) "
            "is to become (B, T, H, K), then (B, T, D)": _slow(layer, x, 2, join="no transpose"),
            **_orders(layer, x),
            "view(B, H, T, K) cuts across the positions: cut into (B, T, H, K), then swap": _slow(
                layer, x, 2, columns="no transpose"
            ),
            "view(B, H, T, K) cuts across the positions, and the way back does too: cut into "
            "(B, T, H, K), then swap": _slow(
                layer, x, 2, columns="no transpose", join="no transpose"
            ),
            "the scores are divided by √D; a head has K channels": _slow(layer, x, 2, scale=6**0.5),
            "there is one head with all channels: D is not divided by H": _slow(layer, x, 1),
        },
        otherwise="with one head it is right, with two the values are others",
    )


def _with_cache(layer: nn.Module, check: Check) -> None:
    keys, values = torch.randn(2, 2, 2, 2, 3, dtype=torch.float64)  # two earlier positions
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    given = "a cache with 2 earlier positions, x (2, 3, 6), cache.mask = None"
    cache = _Cache(keys, values, None, check)
    found = layer(x, cache)
    check.that(
        cache.calls == 1,
        given=given,
        came=f"{cache.calls} calls of cache.append",
        expected="1 call",
        mistake="the cache is ignored: cache.append is not called"
        if not cache.calls
        else "`cache.append` is called more than once",
    )
    before = (keys, values)
    check.equal(
        found,
        _slow(layer, x, 2, before=before),
        given=given,
        mistakes={
            "what cache.append returns is not used: the earlier positions are not seen": _slow(
                layer, x, 2
            ),
            "the mask is that of the first places: the queries are the last ones, so the mask has "
            "T rows and S columns, and the last query sees every key": _slow(
                layer, x, 2, before=before, mask="first places"
            ),
            "there is no mask with a cache: the first new position sees the next": (
                _slow(layer, x, 2, before=before, mask="none")
            ),
        },
        otherwise="with a cache the values are others",
    )
    _with_its_mask(layer, x, before, check)


def _with_its_mask(
    layer: nn.Module, x: Tensor, before: tuple[Tensor, Tensor], check: Check
) -> None:
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 1, 1], [0, 1, 1, 1, 1]]).bool()
    mask = torch.stack([mask, mask | torch.tensor([0, 1, 1, 0, 0]).bool()])[:, None]
    check.equal(
        layer(x, _Cache(*before, mask, check)),
        _slow(layer, x, 2, before=before, given_mask=mask),
        given=f"a cache with 2 earlier positions and the mask\n{mask[:, 0].int().tolist()}",
        mistakes={"`cache.mask` is ignored": _slow(layer, x, 2, before=before)},
        otherwise="with the cache's own mask the values are others",
    )


class _Cache:
    """What the docstring says of a cache."""

    def __init__(self, keys: Tensor, values: Tensor, mask: Tensor | None, check: Check) -> None:
        self.keys, self.values, self.mask = keys, values, mask
        self.check, self.calls = check, 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        B, H, _, K = self.keys.shape
        for new in (keys, values):
            self.check.that(
                new.dim() == 4 and (*new.shape[:2], new.shape[3]) == (B, H, K),
                given="what cache.append was given",
                came=f"shape {tuple(new.shape)}",
                expected=f"(B, H, T, K) with B = {B}, H = {H}, K = {K}",
                mistake="cache.append takes keys and values already split into heads",
            )
        return torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2)


@torch.no_grad()
def _slow(
    layer: nn.Module,
    x: Tensor,
    H: int,
    *,
    order: tuple[int, int, int] = (0, 1, 2),
    columns: str = "",
    join: str = "",
    mask: str = "",
    scale: float | None = None,
    project: bool = True,
    before: tuple[Tensor, Tensor] | None = None,
    given_mask: Tensor | None = None,
) -> Tensor:
    """Query by query, from the weights; the options are mistakes."""
    weights = dict(layer.named_parameters())
    qkv = x @ weights["qkv_projection.weight"].T + weights["qkv_projection.bias"]
    thirds = _in_heads(qkv, H, columns)  # 3 × (B, H, T, K)
    q, k, v = (thirds[i] for i in order)
    if before is not None:
        k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
    T, S, K = q.size(2), k.size(2), q.size(3)
    last = {"": S - T + 1, "strict": S - T, "first places": 1, "none": S}[mask]
    heads = torch.zeros_like(q)
    for t in range(T):
        scores = (q[:, :, t : t + 1] * k).sum(-1) / (scale or math.sqrt(K))  # (B, H, S)
        allowed = torch.arange(S) < t + last if given_mask is None else given_mask[:, :, t]
        exps = scores.exp() * allowed
        total = exps.sum(-1, keepdim=True)
        heads[:, :, t] = ((exps / total)[..., None] * v).sum(2)
    joined = _joined(heads, join)
    if not project:
        return joined
    return joined @ weights["output_projection.weight"].T + weights["output_projection.bias"]


def _in_heads(qkv: Tensor, H: int, columns: str) -> tuple[Tensor, ...]:
    """Queries, keys and values from (B, T, 3D), each (B, H, T, K)."""
    B, T, width = qkv.shape
    K = width // (3 * H)
    if columns == "heads first":
        return qkv.view(B, T, H, 3, K).permute(3, 0, 2, 1, 4).unbind()
    if columns == "channels":
        return qkv.view(B, T, 3, K, H).permute(2, 0, 4, 1, 3).unbind()
    if columns == "no transpose":
        return tuple(each.reshape(B, H, T, K) for each in qkv.chunk(3, -1))
    return qkv.view(B, T, 3, H, K).permute(2, 0, 3, 1, 4).unbind()


def _joined(heads: Tensor, join: str) -> Tensor:
    """(B, H, T, K) -> (B, T, D)."""
    B, _, T, _ = heads.shape
    if join == "no transpose":
        return heads.reshape(B, T, -1)
    if join == "channels":
        return heads.permute(0, 2, 3, 1).reshape(B, T, -1)
    if join == "reverse":
        heads = heads.flip(1)
    return heads.permute(0, 2, 1, 3).reshape(B, T, -1)


def at_random(yours: ModuleType, check: Check) -> None:
    """Shapes that are all different, query by query; nothing sees the future."""
    for B, T, H, K in ((1, 1, 1, 2), (2, 5, 3, 4), (5, 4, 2, 3), (3, 7, 4, 1), (1, 2, 1, 6)):
        layer = _layer(yours, H * K, H)
        x = torch.randn(B, H * K, T, dtype=torch.float64).transpose(1, 2)  # not contiguous
        given = f"x ({B}, {T}, {H * K}), float64, {H} heads"
        check.equal(layer(x), _slow(layer, x, H), given=given, tolerance=1e-9)
    layer = _layer(yours, 6, 3)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    sees_no_future(layer, x, check, given="x (2, 5, 6), 3 heads")
    small = _layer(yours, 4, 2)
    has_gradient(small, (torch.randn(1, 2, 4),), check, given="x (1, 2, 4) that needs a gradient")


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_inside(Mine({"heads": yours}), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    layer = module.MultiHeadAttention(ModelConfig(5, 64, 4))
    return layer(torch.zeros(8, 64, 64))
