"""The judge of AdamW's update."""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from exercises.judging.check import Check
from exercises.judging.inside import reference, same_training
from transformer.training.mine import Mine

FORBIDDEN = {
    "torch.optim.AdamW": "the exercise is its formula",
    "torch.optim.Adam": "the exercise is its formula, with the decay where it belongs",
    "torch.optim.adamw.adamw": "the exercise is its formula",
    "torch.optim.adam.adam": "the exercise is its formula",
    "transformer.training.optimizer.adamw": "it is our solution",
}
RATE, BETAS, EPS, DECAY, STEP = 0.1, (0.6, 0.8), 0.5, 0.3, 3
START = torch.tensor([1.0, -2.0, 0.5])
GRADIENT = torch.tensor([0.5, -4.0, 0.0])
M = torch.tensor([0.2, 1.0, -0.4])
V = torch.tensor([0.3, 2.0, 0.1])


def in_small(yours: ModuleType, check: Check) -> None:
    """First m and v, then the step without decay, then the decay."""
    without = _result(yours, check, weight_decay=0.0)
    _means(without, check)
    _step(without[0], check)
    _decay(_result(yours, check, weight_decay=DECAY)[0], check)
    _first_step(yours, check)


def _given(weight_decay: float) -> str:
    tensors = {"w": START, "g": GRADIENT, "m": M, "v": V}
    return "\n".join(
        f"{name} = {[round(x, 4) for x in t.tolist()]}" for name, t in tensors.items()
    ) + (f"\nt = {STEP}, η = {RATE}, β₁, β₂ = {BETAS}, ε = {EPS}, λ = {weight_decay}")


def _result(yours: ModuleType, check: Check, weight_decay: float) -> Any:
    settings = {"learning_rate": RATE, "betas": BETAS, "eps": EPS, "weight_decay": weight_decay}
    result = yours.adamw_update(START, GRADIENT, M, V, STEP, **settings)
    check.that(
        isinstance(result, tuple | list) and len(result) == 3,
        given=_given(weight_decay),
        came=type(result).__name__,
        expected="three tensors: weight, m, v",
        mistake="three things are to be returned: the new weight, m and v",
    )
    return result


def _means(result: Any, check: Check) -> None:
    b1, b2 = BETAS
    m, v = b1 * M + (1 - b1) * GRADIENT, b2 * V + (1 - b2) * GRADIENT**2
    check.equal(
        result[1],
        m,
        given=f"{_given(0.0)}\nthe second result, m",
        mistakes={
            "`m` is returned corrected: the correction is for this step only": (m / (1 - b1**STEP)),
            "`m` and `v` are in each other's place": v,
            "β₁ and β₂ are in each other's place": b2 * M + (1 - b2) * GRADIENT,
            "the old m is returned": M,
            "β₁ and 1 - β₁ are in each other's place": b1 * GRADIENT + (1 - b1) * M,
            "`m` is not a mean: the gradient needs its share 1 - β₁": b1 * M + GRADIENT,
        },
        otherwise="`m` is wrong",
    )
    check.equal(
        result[2],
        v,
        given=f"{_given(0.0)}\nthe third result, v",
        mistakes={
            "`v` is returned corrected: the correction is for this step only": (v / (1 - b2**STEP)),
            "`v` is the mean of the gradient; it should be of its square": (
                b2 * V + (1 - b2) * GRADIENT
            ),
            "`v` is computed from m²; it should be from the square of the gradient": (
                b2 * V + (1 - b2) * m**2
            ),
            "β₂ and 1 - β₂ are in each other's place": b2 * GRADIENT**2 + (1 - b2) * V,
            "`v` uses β₁ instead of β₂": b1 * V + (1 - b1) * GRADIENT**2,
            "1 - β₂ is squared with the gradient": b2 * V + ((1 - b2) * GRADIENT) ** 2,
            "`v` is not a mean: the square needs its share 1 - β₂": b2 * V + GRADIENT**2,
            "the old v is returned": V,
        },
        otherwise="`v` is wrong",
    )


def _moved(
    step: float = STEP, first: bool = True, second: bool = True, decay: float = 0.0
) -> Tensor:
    """The new weight; with another step, with one of the two corrections left out, with L2."""
    (b1, b2), g = BETAS, GRADIENT + decay * START
    m, v = b1 * M + (1 - b1) * g, b2 * V + (1 - b2) * g**2
    m_hat = m / (1 - b1**step) if first else m
    v_hat = v / (1 - b2**step) if second else v
    return START - RATE * m_hat / (v_hat.sqrt() + EPS)


def _corrected() -> tuple[Tensor, Tensor]:
    (b1, b2), g = BETAS, GRADIENT
    m, v = b1 * M + (1 - b1) * g, b2 * V + (1 - b2) * g**2
    return m / (1 - b1**STEP), v / (1 - b2**STEP)


def _step(came: Any, check: Check) -> None:
    m_hat, v_hat = _corrected()
    missing = 1 - BETAS[1] ** STEP
    from_zero = "the correction counts steps from 0; the first step has the number 1"
    check.equal(
        came,
        _moved(),
        given=f"{_given(0.0)}\nm and v are right; the first result, the weight",
        mistakes={
            "the correction for starting at 0 is missing: the first steps are far off": _moved(
                first=False, second=False
            ),
            "`m` is not corrected for starting at 0": _moved(first=False),
            "`v` is not corrected for starting at 0": _moved(second=False),
            from_zero: _moved(step=STEP - 1),
            f"{from_zero}, and step is 1 already": _moved(step=STEP + 1),
            "the correction divides by 1 - β, not by 1 - βᵗ": _moved(step=1),
            "ε is inside the root: √(v̂ + ε) is far larger than √v̂ + ε where ε is tiny": (
                START - RATE * m_hat / (v_hat + EPS).sqrt()
            ),
            "ε is missing: where the gradient was always 0 this is 0 / 0": (
                START - RATE * m_hat / v_hat.sqrt()
            ),
            "the root is missing: the step is divided by v̂, not by √v̂": (
                START - RATE * m_hat / (v_hat + EPS)
            ),
            "ε is added to √v, before the correction": (
                START - RATE * m_hat * missing**0.5 / ((v_hat * missing).sqrt() + EPS)
            ),
            "the sign is wrong: the step goes uphill": 2 * START - _moved(),
            "the gradient itself makes the step, not its mean m̂": (
                START - RATE * GRADIENT / (v_hat.sqrt() + EPS)
            ),
            "the learning rate is missing": START - m_hat / (v_hat.sqrt() + EPS),
            "this is the change of the weight, not the new weight": _moved() - START,
            "this is the old weight": START,
        },
        otherwise="without decay, the step is wrong",
    )


def _decay(came: Any, check: Check) -> None:
    change = _moved() - START
    check.equal(
        came,
        START * (1 - RATE * DECAY) + change,
        given=f"{_given(DECAY)}\nwithout decay all is right; the first result, the weight",
        mistakes={
            "the weight does not decay": _moved(),
            "the decay is added to the gradient: that is Adam with L2, not AdamW": _moved(
                decay=DECAY
            ),
            "the decay lacks the learning rate: it is η λ w": START * (1 - DECAY) + change,
            "the moved weight decays: take the share of the weight from before the step": (
                _moved() * (1 - RATE * DECAY)
            ),
            "the sign of the decay is wrong: the weights grow": (
                START * (1 + RATE * DECAY) + change
            ),
        },
        otherwise="with decay, the weight is wrong",
    )


def _first_step(yours: ModuleType, check: Check) -> None:
    """At a gradient of 0 nothing may happen."""
    zero = torch.zeros(2)
    settings = {"learning_rate": 0.1, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}
    check.equal(
        yours.adamw_update(torch.ones(2), zero, zero, zero, 1, **settings)[0],
        torch.ones(2),
        given="the first step of a weight whose gradient is 0",
        mistakes={"0 / 0 is not a number: ε is missing, or is added too early": zero + torch.nan},
        otherwise="a weight without a gradient moves",
    )


def at_random(yours: ModuleType, check: Check) -> None:
    """Several steps, against PyTorch's optimiser and number by number."""
    settings = {"betas": (0.7, 0.9), "eps": 1e-2, "weight_decay": 0.2}
    for shape in [(), (3,), (2, 5), (4, 1, 3)]:
        start = (
            torch.randn(*shape, dtype=torch.float64).mT
            if len(shape) > 1
            else torch.randn(shape, dtype=torch.float64)
        )
        theirs = torch.nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([theirs], lr=0.05, foreach=False, **settings)
        weight, m, v = start, torch.zeros_like(start), torch.zeros_like(start)
        for step in range(1, 6):
            theirs.grad = torch.randn_like(start)
            weight, m, v = yours.adamw_update(
                weight, theirs.grad.clone(), m, v, step, learning_rate=0.05, **settings
            )
            optimizer.step()
            check.equal(
                weight,
                theirs.detach(),
                given=f"a weight {tuple(start.shape)} in float64, after {step} steps",
                otherwise="one step is right, but after several the weight is another than "
                "torch.optim.AdamW's",
                tolerance=1e-9,
            )

    g = torch.tensor([1.0, -2.0], dtype=torch.float64)
    late = yours.adamw_update(
        torch.zeros(2, dtype=torch.float64), g, 0 * g, 0 * g, 2_000, learning_rate=0.1,
        betas=(0.5, 0.9999), eps=0.0, weight_decay=0.0,
    )[0]  # fmt: skip
    v_hat = (1 - 0.9999) * g**2 / (1 - 0.9999**2_000)
    check.equal(
        late,
        -0.1 * 0.5 * g / v_hat.sqrt(),
        given="step 2,000 with β₂ = 0.9999, m = v = 0",
        mistakes={
            "the correction for starting at zero is left out in late steps; with a β near 1 it "
            "still matters there": -0.1 * 0.5 * g / ((1 - 0.9999) * g**2).sqrt()
        },
        otherwise="a late step is wrong",
        tolerance=1e-9,
    )


def in_the_model(yours: ModuleType, check: Check) -> None:
    same_training(Mine({"adamw": yours}), reference(), reference(), check)


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    x = torch.ones(256, 256)
    settings = {"learning_rate": 0.1, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    return module.adamw_update(x, x, x, x, 5, **settings)
