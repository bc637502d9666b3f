"""The judge of rotary positions."""

import cmath
import itertools
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn

from exercises.judging.check import Check, is_close
from exercises.judging.ladder import same_in_ladder
from exercises.judging.modules import has_gradient
from transformer.config import Variant
from transformer.ladder.rotary import Rotary

FORBIDDEN = {
    "transformer.ladder.rotary.Rotary": "it is our solution",
    "transformer.ladder.rotary.Rotary.forward": "it is our solution",
    "transformer.ladder.rotary.rotations": "it is half of our solution",
}


def in_small(yours: ModuleType, check: Check) -> None:
    """One vector at place 0, then at place 2; then several places, texts and heads."""
    x = torch.tensor([1.0, 2.0, 3.0, -1.0, 0.5, 4.0])
    given, one = f"x = {x.tolist()} at place 0", x.view(1, 1, 1, 6)
    came = yours.rotate(one, torch.tensor([0]))
    check.shape(came, one, given=given)
    check.equal(
        came[0, 0],
        x[None],
        given=given,
        mistakes={
            "places count from 1: at place 0 nothing is turned": _turned(x, 1)[None],
            "the halves come out in the wrong order": x.roll(3)[None],
            "a and b come out in turns; the new a are the first half, the new b the second": (
                x.view(2, 3).T.reshape(1, 6)
            ),
            "sine and cosine are swapped: at place 0 nothing is turned": _turned(
                x, 0, swapped=True
            )[None],
        },
        otherwise="at place 0 nothing is to be turned: cos 0 = 1 and sin 0 = 0",
    )
    _one_vector(yours, x, check)
    _several(yours, check)
    _types(yours, check)


def _one_vector(yours: ModuleType, x: Tensor, check: Check) -> None:
    at_two = torch.tensor([2])
    check.equal(
        yours.rotate(x.view(1, 1, 1, 6), at_two)[0, 0],
        _turned(x, 2)[None],
        given=f"x = {x.tolist()} at place 2, base = 10000",
        mistakes={name: wrong[None] for name, wrong in _mistakes(x).items()},
        otherwise="the values are others: compute the first pair, x_0 and x_3, by hand; its ω is 1",
    )
    check.equal(
        yours.rotate(x.view(1, 1, 1, 6), at_two, 100.0)[0, 0],
        _turned(x, 2, base=100.0)[None],
        given=f"x = {x.tolist()} at place 2, base = 100",
        mistakes={"`base` is ignored": _turned(x, 2)[None]},
        otherwise="with another base the values are others",
    )


def _mistakes(x: Tensor) -> dict[str, Tensor]:
    """What the usual ones give at place 2."""
    a, b = x[:3], x[3:]
    angles = 2 * 10_000.0 ** (-torch.arange(3) / 3)
    cos, sin = angles.cos(), angles.sin()
    new_a = a * cos - b * sin
    return {
        "nothing is turned: x comes back as it was. Is its place used?": x,
        "it is turned the other way round: the minus sign belongs to the first line": _turned(
            x, -2
        ),
        "neighbours are paired, x_0 with x_1; it is to be channel i with channel i + K/2": _turned(
            x, 2, neighbours=True
        ),
        "neighbours are paired, and turned the other way round; it is to be channel i with channel "
        "i + K/2": _turned(x, -2, neighbours=True),
        "the exponent is -i / K, not -2i / K": _turned(x, 2, factor=0.5),
        "the exponent is -4i / K: is the 2 there twice?": _turned(x, 2, factor=2.0),
        "the exponent is positive: the pairs turn faster and faster, not slower": _turned(
            x, 2, factor=-1.0
        ),
        "all pairs turn equally fast": _turned(x, 2, factor=0.0),
        "both lines have a minus sign": torch.cat([new_a, b * cos - a * sin]),
        "both lines have a plus sign": torch.cat([a * cos + b * sin, b * cos + a * sin]),
        "the second line uses the new value of the first, but both need the old ones": torch.cat(
            [new_a, b * cos + new_a * sin]
        ),
        "sine and cosine are swapped": _turned(x, 2, swapped=True),
        "`x` is scaled by the cosine only, not turned": torch.cat([a * cos, b * cos]),
        "places count from 1": _turned(x, 3),
        "the sinusoid is added to x; x is to be turned": x + torch.cat([sin, cos]),
        "the table of angles is repeated pair by pair, as for neighbours, but the halves are "
        "paired": _repeated_for_neighbours(x),
    }


def _repeated_for_neighbours(x: Tensor) -> Tensor:
    angles = (2 * 10_000.0 ** (-torch.arange(3) / 3)).repeat_interleave(2)
    return x * angles.cos() + torch.cat([-x[3:], x[:3]]) * angles.sin()


def _turned(
    x: Tensor,
    place: int,
    base: float = 10_000.0,
    *,
    neighbours: bool = False,
    factor: float = 1.0,
    swapped: bool = False,
) -> Tensor:
    """One vector (K,), pair by pair, as complex numbers; the options are mistakes."""
    K = len(x)
    out = torch.empty(K, dtype=torch.float64)
    for i in range(K // 2):
        first, second = (2 * i, 2 * i + 1) if neighbours else (i, i + K // 2)
        hand = cmath.exp(1j * place * base ** (-2 * i / K * factor))
        if swapped:
            hand = complex(hand.imag, hand.real)
        turned = complex(x[first], x[second]) * hand
        out[first], out[second] = turned.real, turned.imag
    return out


def _several(yours: ModuleType, check: Check) -> None:
    """Places in any order; then texts that are at different places."""
    x = torch.randn(1, 2, 3, 4)
    found = yours.rotate(x, torch.tensor([5, 1, 7]))
    by_head = torch.stack([_all_turned(x[:, i : i + 1], [[i] * 3]) for i in range(2)], 1)[:, :, 0]
    check.equal(
        found,
        _all_turned(x, [[5, 1, 7]]),
        given="x (1, 2, 3, 4), places = [5, 1, 7]",
        mistakes={
            "`places` is ignored: it counts 0, 1, 2, …": _all_turned(x, [[0, 1, 2]]),
            "only the first of `places` is used, and counted on from": _all_turned(x, [[5, 6, 7]]),
            "the heads are turned, not the positions": by_head,
        },
        otherwise="with several places and heads the values are others",
    )
    x = torch.randn(2, 2, 3, 4)
    places = [[0, 1, 2], [4, 5, 6]]
    swapped = _all_turned(x.transpose(0, 1), places).transpose(0, 1)
    check.equal(
        yours.rotate(x, torch.tensor(places)),
        _all_turned(x, places),
        given=f"x (2, 2, 3, 4), places = {places}",
        mistakes={
            "row b of `places` belongs to text b, not to head b: where is the dimension of the "
            "heads?": swapped,
            "all texts are turned by the places of the first": _all_turned(x, [places[0]] * 2),
        },
        otherwise="where each text has its own places the values are others",
    )


def _all_turned(x: Tensor, places: list[list[int]]) -> Tensor:
    out = torch.empty(x.shape, dtype=torch.float64)
    for b, h, t in itertools.product(*map(range, x.shape[:3])):
        out[b, h, t] = _turned(x[b, h, t], places[b][t])
    return out


def _types(yours: ModuleType, check: Check) -> None:
    x = torch.randn(1, 1, 1, 8).bfloat16()
    place = 4001
    given = f"x (1, 1, 1, 8) in bfloat16 at place {place}"
    found = yours.rotate(x, torch.tensor([place]))
    check.that(
        not isinstance(found, Tensor) or found.dtype == torch.bfloat16,
        given=given,
        came=f"numbers of type {getattr(found, 'dtype', None)}",
        expected="numbers of type torch.bfloat16",
        mistake="the result has not the type of x",
    )
    check.equal(
        found,
        _turned(x[0, 0, 0], place)[None, None, None],
        given=given,
        otherwise="the angles are computed in bfloat16, where 4001 is 4000: compute in float32 at "
        "least, and make only the result bfloat16",
        tolerance=2e-2,
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Many shapes, pair by pair; lengths stay; scores depend on distances only."""
    rotate: Callable[..., Tensor] = yours.rotate
    for B, H, T, K in ((1, 1, 1, 2), (2, 3, 4, 6), (3, 2, 5, 4), (4, 1, 2, 10)):
        x = torch.randn(K, T, H, B, dtype=torch.float64).permute(3, 2, 1, 0)  # not contiguous
        own = torch.randint(300, (B, T))
        for places in (own[0], own):
            given = f"x ({B}, {H}, {T}, {K}), float64, places {tuple(places.shape)} below 300"
            expected = _all_turned(x, own.tolist() if places.dim() == 2 else [own[0].tolist()] * B)
            found = rotate(x, places)
            nearly = isinstance(found, Tensor) and found.shape == x.shape
            check.equal(
                found,
                expected,
                given=given,
                otherwise="digits are lost: is something computed in float32 though x is float64?"
                if nearly and is_close(found, expected, 1e-3)
                else "the values are others",
                tolerance=1e-9,
            )
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    score = [
        (rotate(q, torch.tensor([p])) * rotate(k, torch.tensor([s]))).sum()
        for p, s in ((5, 2), (105, 102))
    ]
    check.equal(
        score[1],
        score[0],
        given="a query at 5 and a key at 2; then both 100 places further",
        otherwise="the score depends on more than the distance of the two",
    )
    x = torch.randn(1, 2, 2, 4, dtype=torch.float64)
    has_gradient(
        lambda x: rotate(x, torch.tensor([3, 8])), (x,), check, given="x that needs a gradient"
    )


def in_the_model(yours: ModuleType, check: Check) -> None:
    class YourRotary(nn.Module):
        def forward(self, x: Tensor, places: Tensor | slice) -> Tensor:
            if isinstance(places, slice):
                places = torch.arange(places.start or 0, places.stop)
            turned: Tensor = yours.rotate(x, places, 500.0)
            return turned

    same_in_ladder(
        Variant(positions="rotary", rotary_base=500.0),
        lambda module: YourRotary() if isinstance(module, Rotary) else None,
        check,
    )


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.rotate(torch.zeros(8, 4, 128, 32), torch.arange(128))
