"""`training_status` on the curves of real runs, against a person's judgement of them.

Each file in curves/ holds the command that made it and all its evaluations.
"""

import json
from pathlib import Path

import pytest

from transformer.training_utils import training_status

CURVES = Path(__file__).parent / "curves"


def status_at(name: str, step: int) -> str:
    """What was said after the evaluation at `step`, when the later ones were not known."""
    recorded = json.loads((CURVES / f"{name}.json").read_text())
    seen = [e for e in recorded["evaluations"] if e["step"] <= step]
    assert seen[-1]["step"] == step
    train, val = ([e[key] for e in seen] for key in ("train_loss", "val_loss"))
    return training_status(train, val, recorded["floor"])


@pytest.mark.parametrize(
    ("name", "steps", "status"),
    [
        # 300 steps on endless stories: both losses fall together, fast and then slowly
        ("learning", (60, 140, 220, 300), "learning"),
        # ten stories again and again: validation turns at 3.78 (step 80) and has risen to 4.35
        # at step 140 and to 5.94 at the end, while training falls to 0.03
        ("overfitting", (60, 80), "learning"),
        ("overfitting", (140, 200, 300, 400), "overfitting"),
        # sixty stories: validation hardly moves from step 260 (1.643) to 340 (1.656) while
        # training falls from 1.13 to 0.99; then it rises
        ("memorising", (60, 160, 240), "learning"),
        ("memorising", (340,), "memorising"),
        ("memorising", (360,), "overfitting"),
        # a learning rate of 1e-6: still at ln(1024) = 6.93, the loss of guessing
        ("underfitting", (30, 80, 120), "underfitting"),
        ("underfitting", (20,), "starting"),
    ],
)
def test_what_a_person_would_say(name: str, steps: tuple[int, ...], status: str) -> None:
    assert {step: status_at(name, step) for step in steps} == dict.fromkeys(steps, status)
