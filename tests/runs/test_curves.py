from pathlib import Path

import pytest
from matplotlib.image import imread

from transformer.runs.curves import draw_curves
from transformer.runs.metrics import Record

PURPLE = (148 / 255, 103 / 255, 189 / 255)  # matplotlib's tab:purple, the induction score's


def records(**more: float) -> list[Record]:
    steps: list[Record] = [
        {"step": n, "train_loss": 3.0 / n, "learning_rate": 1e-3, "grad_norm": 1.0}
        for n in range(1, 9)
    ]
    judged: list[Record] = [
        {"step": n, "train_loss": 3.0 / n, "val_loss": 4.0 / n, "status": "learning", **more}
        for n in (4, 8)
    ]
    return [*steps[:4], judged[0], *steps[4:], judged[1]]


def purple_pixels(path: Path) -> int:
    return int((abs(imread(path)[..., :3] - PURPLE).max(-1) < 0.02).sum())


def test_the_induction_score_is_drawn_where_it_was_measured(tmp_path: Path) -> None:
    draw_curves(records(), tmp_path / "plain.png", "plain")
    draw_curves(records(floor=0.3, induction=0.7), tmp_path / "toy.png", "toy")
    assert purple_pixels(tmp_path / "plain.png") == 0
    assert purple_pixels(tmp_path / "toy.png") > 100


def test_a_run_without_a_step_yet_has_a_picture(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "empty.png", "empty")
    assert imread(tmp_path / "empty.png").shape[2] == 4


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [r"cost$\frac$", "日本", "_x", "$", "a & b"])
def test_any_name_of_a_run_is_a_title(tmp_path: Path, name: str) -> None:
    draw_curves(records(), tmp_path / "curves.png", name)
    assert imread(tmp_path / "curves.png").shape[2] == 4
