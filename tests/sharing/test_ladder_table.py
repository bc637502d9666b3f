"""A measured ladder on its way to the page: checked, rounded and small."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from transformer.climbing.study import Study
from transformer.climbing.summary import RungSummary, Spread, to_json
from transformer.climbing.trainings import Row
from transformer.errors import UserError
from transformer.sharing.ladder_table import POINTS, ladder_table
from transformer.sharing.page import script

NAMES = tuple(f"rung_{i}" for i in range(16))


def rung(name: str, points: int) -> RungSummary:
    curve = [(2304.0 * i, 1.23456789 + 1 / i) for i in range(1, points + 1)]
    spread = Spread(0.123456789, 0.00123456789)
    return RungSummary(
        name, 1.0, 3, Spread(1.23456789, 0.01), spread, 2304 * points, spread, 3,
        1.23456789e-4, 923_456, 512.3456, None, curve,
    )  # fmt: skip


def saved_ladder(points: int = 16) -> dict[str, Any]:
    """As commands/ladder.py saves it."""
    study = Study("toy", (), 60_000, 3, ("classic", "rotary"), "bpe:1024")
    row = Row("rung_0", 0, 1.0, [], [(2304, 1.2)], 0.54412345, None, 923_456, 512.3456, "fp32")
    table = to_json(study, [rung(name, points) for name in NAMES], [row])
    table["rungs"][0].update(gain=None, tokens_to_target=None, peak_mb=None)
    return json.loads(json.dumps(table))  # type: ignore[no-any-return]


def read(table: Any, folder: Path) -> dict[str, Any]:
    path = folder / "ladder.json"
    path.write_text(json.dumps(table))
    return ladder_table(path)


def test_it_keeps_what_the_page_shows_in_five_digits(tmp_path: Path) -> None:
    found = read(saved_ladder(), tmp_path)
    assert {name: found[name] for name in ("dataset", "tokens", "seeds", "floor")} == {
        "dataset": "toy", "tokens": 36_864, "seeds": 3, "floor": 0.54412,
    }  # fmt: skip
    assert [each["rung"] for each in found["rungs"]] == list(NAMES)
    first, second = found["rungs"][:2]
    assert (first["gain"], first["tokens_to_target"], first["peak_mb"]) == (None, None, None)
    assert second["gain"] == {"mean": 0.12346, "deviation": 0.0012346}
    assert second["curve"][0] == [2304.0, 2.2346]
    assert read(found, tmp_path) == found  # reading it again changes nothing


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path: Path) -> None:
    found = read(saved_ladder(points=1001), tmp_path)
    for each in found["rungs"]:
        assert 20 < len(each["curve"]) <= POINTS
        assert each["curve"][-1] == [pytest.approx(2304 * 1001, rel=1e-4), 1.2356]
    assert len(script("ladderTable", found)) < 30_000


WRONG: list[tuple[list[Any], Any, str]] = [
    (["format"], "ladder 2", "its 'format' must be 'ladder 1', but is 'ladder 2'"),
    (["tokens"], 0, "'tokens' must be a whole number of at least 1, but is 0"),
    (["floor"], "low", "'floor' must be"),
    (["rungs"], [], "has no rungs"),
    (["rungs"], [3], "'rungs' must be"),
    (["rungs", 1, "loss"], None, r"rung 1: 'loss' must be an object"),
    (["rungs", 1, "loss", "mean"], float("nan"), "'mean' must be a number, but is NaN"),
    (["rungs", 1, "gain", "deviation"], -1, "'deviation' must be"),
    (["rungs", 1, "seconds_per_token"], 0, "'seconds_per_token' must be"),
    (["rungs", 1, "curve"], [[1, 2]], "two or more pairs"),
    (["rungs", 1, "curve", 0], [1, 2, 3], "two or more pairs"),
    (["rungs", 1, "curve", 0], [1, float("inf")], "'curve' must be"),
]


@pytest.mark.parametrize(("where", "value", "said"), WRONG)
def test_what_cannot_be_is_refused_by_its_name(
    tmp_path: Path, where: list[Any], value: Any, said: str
) -> None:
    table = deepcopy(saved_ladder())
    place: Any = table
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises(UserError, match=said):
        read(table, tmp_path)


def test_what_is_missing_or_no_json_is_refused(tmp_path: Path) -> None:
    table = saved_ladder()
    del table["rungs"][2]["parameters"]
    with pytest.raises(UserError, match=r"rung 2 has no 'parameters'"):
        read(table, tmp_path)
    (tmp_path / "ladder.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        ladder_table(tmp_path / "ladder.json")
    with pytest.raises(UserError, match="there is no"):
        ladder_table(tmp_path / "none.json")
