"""What the rows of a ladder say, by hand."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from transformer.climbing.picture import draw_ladder
from transformer.climbing.speed import ROUNDS, WARMUP, kept_speeds
from transformer.climbing.study import Study, Training, climbed_rungs, fitting_tokens
from transformer.climbing.summary import precisions, summarise, table, to_json, tokens_until
from transformer.climbing.trainings import Row
from transformer.errors import UserError
from transformer.terminal.command_line import plain_console
from transformer.training.config import TOY, on_rung


def row(rung: str, seed: int, *losses: float) -> Row:
    curve = [(1000 * (i + 1), loss) for i, loss in enumerate(losses)]
    return Row(rung, seed, 1.0, [], curve, 0.5, None, 7, 100.0, "fp32")


ROWS = [
    row("classic", 0, 5.0, 4.0, 3.0),
    row("classic", 1, 5.0, 4.2, 3.2),
    row("rotary", 0, 4.1, 2.1, 2.0),
    row("rotary", 1, 3.1, 2.5, 2.4),
    row("relu2", 0, 4.0, 3.5, 3.3),
    row("relu2", 1, 4.0, 3.5, 2.5),
]
STUDY = Study("toy", (), 60_000, 2, ("classic", "rotary", "relu2"), "bpe:1024")
TOKENS = 3000 / STUDY.steps  # that are scored in a step
SECONDS = {"classic": 0.1 * TOKENS, "rotary": 0.2 * TOKENS, "relu2": 0.1 * TOKENS}


def test_losses_gains_and_the_way_to_the_classics_loss() -> None:
    classic, rotary, relu2 = summarise(STUDY, ROWS, SECONDS)
    assert (classic.loss.mean, classic.gain, classic.tokens_to_target.mean) == (3.1, None, 3000.0)  # type: ignore[union-attr]
    assert rotary.loss.mean == 2.2
    assert rotary.loss.deviation == pytest.approx(math.sqrt(0.08))
    assert rotary.gain is not None
    assert rotary.gain.mean == pytest.approx((3.0 - 2.0 + 3.2 - 2.4) / 2)
    assert rotary.gain.deviation == pytest.approx(math.sqrt(0.02))
    assert rotary.tokens_to_target is not None
    assert rotary.tokens_to_target.mean == pytest.approx((1500.0 + 1000.0) / 2)
    assert rotary.seconds_to_target == pytest.approx(1250 * 0.2)
    assert rotary.curve == [(1000, pytest.approx(3.6)), (2000, pytest.approx(2.3)), (3000, 2.2)]
    assert relu2.tokens_to_target is None  # one of its seeds never gets there
    assert relu2.gain is not None
    assert relu2.gain.mean == pytest.approx(2.2 - 2.9)


def test_the_way_is_a_straight_line_between_evaluations() -> None:
    assert tokens_until([(10, 3.0)], 3.0) == 10
    assert tokens_until([(10, 2.0)], 3.0) == 10
    assert tokens_until([(10, 4.0), (20, 5.0), (30, 2.0)], 3.5) == 25
    assert tokens_until([(10, 4.0)], 3.0) is None


def test_table_and_picture(tmp_path: Path) -> None:
    found = summarise(STUDY, ROWS, SECONDS)
    found[2] = replace(found[2], rung="value_embeddings", parameters=10**8)
    console = plain_console(width=80, record=True)
    console.print(table(found, "three rungs"))
    text = console.export_text()
    assert "…" not in text  # nothing is cut off
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "2.40×" in lines["rotary"]  # 3000 / 1250 tokens
    assert "1.20×" in lines["rotary"]  # at half the speed
    assert "1 of 2" in lines["value_embeddings"]
    assert text.count("±") == 5  # three losses, two gains
    saved = json.loads(json.dumps(to_json(STUDY, found, ROWS)))
    assert (saved["format"], saved["tokens"], saved["floor"]) == ("ladder 1", 3000, 0.5)
    assert saved["precision"] == "fp32"
    assert precisions([*ROWS, replace(ROWS[0], precision=None)]) == "fp32, unknown"
    assert saved["rungs"][1]["loss"] == {"mean": 2.2, "deviation": pytest.approx(math.sqrt(0.08))}
    draw_ladder(found, 0.5, tmp_path / "ladder.png", "three rungs")
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")


def test_every_rung_gets_the_same_data_and_its_own_rates() -> None:
    trainings = STUDY.trainings({"rotary": 0.5})
    assert [(t.rung, t.seed, t.factor) for t in trainings[:3]] == [
        ("classic", 0, 1.0),
        ("rotary", 0, 0.5),
        ("relu2", 0, 1.0),
    ]
    assert len({t.name for t in trainings}) == 6
    rotary = STUDY.config(trainings[1])
    assert rotary.learning_rate == pytest.approx(on_rung(TOY, "rotary", 1024).learning_rate / 2)
    assert rotary.steps == 60_000 // TOY.tokens_per_step == 26
    flags = STUDY.flags(trainings[1])
    assert flags[flags.index("--learning-rate") + 1] == str(rotary.learning_rate)
    novels = Study("text", (Path("a.txt"),), 10**6, 1, ("swiglu",), "bpe:1024")
    flags = novels.flags(Training(novels.path("swiglu"), steps=novels.steps))
    assert flags[flags.index("--d-ff") + 1] == "344"  # two thirds of 512


def test_another_order_is_the_same_at_its_end() -> None:
    usual = replace(STUDY, rungs=("classic", "schedule", "rotary", "rms_norm"), in_order=True)
    other = replace(usual, rungs=("classic", "rms_norm", "schedule", "rotary"))
    assert other.before("schedule") == "rms_norm"
    assert usual.before("schedule") == "classic"
    ends = [each.config(Training(each.path(each.rungs[-1]))) for each in (usual, other)]
    assert ends[0] == ends[1]
    assert ends[0].positions == "rotary"
    assert other.config(Training(other.path("rms_norm"))).positions == "sinusoidal"
    training = Training(other.path("rotary"), steps=26)
    assert training.name == "classic+rms_norm+schedule+rotary-26-seed0"
    flags = other.flags(training)
    assert "--no-bias" in flags
    assert flags[flags.index("--rung") + 1] == "classic"


def test_a_budget_becomes_tokens() -> None:
    seconds = {"classic": 10.0, "rotary": 20.0, "relu2": 10.0}
    tokens = fitting_tokens(STUDY, seconds, minutes=1000, tune=False)
    steps = tokens / TOY.tokens_per_step
    assert 1.2 * steps * 2 * 40 + 6 * 30 == pytest.approx(60_000, rel=0.01)
    tokens = fitting_tokens(STUDY, seconds, minutes=1000, tune=True)
    steps = tokens / TOY.tokens_per_step
    assert 1.2 * (2 * steps + 3 * steps / 2) * 40 + 15 * 30 == pytest.approx(60_000, rel=0.01)
    with pytest.raises(UserError, match="--minutes 5 is too little for 15 trainings"):
        fitting_tokens(STUDY, seconds, minutes=5, tune=True)


def test_large_vocabularies_leave_rungs_out() -> None:
    assert "untied" in climbed_rungs("all", 1024)
    assert not {"untied", "value_embeddings"} & set(climbed_rungs("all", 50_281))


def test_one_seed_has_no_spread_and_never_is_a_dash() -> None:
    rows = [each for each in ROWS if each.seed == 0]
    console = plain_console(width=80, record=True)
    console.print(table(summarise(replace(STUDY, seeds=1), rows, SECONDS), "one seed"))
    text = console.export_text()
    assert "±" not in text
    assert "–" in next(line for line in text.splitlines() if line.strip().startswith("relu2"))


def test_a_large_table_is_left_out_and_cannot_be_asked_for(tmp_path: Path) -> None:
    study = Study("text", (tmp_path,), 10**6, 1, ("classic", "softcap"), "p50k_base")
    config = study.config(Training(study.path("softcap")))
    assert config.tied_embeddings
    assert config.positions == "rotary"
    with pytest.raises(UserError, match=r"untied has a table of its own, .* p50k_base has 50,281"):
        replace(study, rungs=("classic", "untied"))


def test_speeds_are_kept_for_what_they_were_measured_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, measured = tmp_path / "speeds.json", []
    study = replace(STUDY, compile="off", rungs=("classic", "rotary"))
    monkeypatch.setattr(
        "transformer.climbing.speed.step_of", lambda *given: lambda: measured.append(given)
    )
    first = kept_speeds(study, path, lambda text: None)
    count = len(measured)
    assert count == 2 * (WARMUP + ROUNDS)
    assert kept_speeds(study, path, lambda text: None) == first
    assert len(measured) == count
    for other in (
        replace(study, in_order=True),
        Study("text", (tmp_path,), 10**6, 1, study.rungs, "bpe:1024", "off"),
    ):
        kept_speeds(other, path, lambda text: None)
        assert len(measured) > count
        count = len(measured)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "text"}, "--dataset text needs --text"),
        ({"rungs": ("rotery",)}, "there is no rung rotery; there are classic"),
        ({"seeds": 0}, "--seeds must be at least 1, but is 0"),
        ({"in_order": True, "rungs": ("rotary",)}, "--in-order needs --rungs that begin with"),
        ({"tokens": 50}, "--tokens must be at least 36,864, but is 50"),
    ],
)
def test_impossible_studies_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Study(**{**vars(STUDY), **change})  # type: ignore[arg-type]
