"""The clinic: each patient is sick, each has exactly one right diagnosis, and the desk says so."""

import json
import re
from pathlib import Path

import pytest
from training_tools import call

from exercises.clinic.cases import CASES, DIAGNOSES, HEALTHY, WARD, Case
from exercises.clinic.examination import EVALUATE, EVERY, train
from exercises.clinic.findings import NUMBERS, examine
from exercises.clinic.patient import STEPS
from exercises.clinic.record import SEEDS, recorded_curves
from exercises.clinic.sheet import contradictions, guilty

CURVES = recorded_curves()
HEALTHY_CURVES = CURVES["healthy"]
FLOOR = 0.5443
LEARNED = ("echo", "end")  # numbers that mean something after training only


def last(name: str, curve: str = "validation") -> list[float]:
    """The end of each seed's curve."""
    return [curves[curve][-1] for curves in CURVES[name]]


def test_the_record_is_whole() -> None:
    assert set(CURVES) == {"healthy", *CASES}
    assert len(WARD) >= 12
    assert len(CASES) == len(WARD) == len(DIAGNOSES)
    for seeds in CURVES.values():
        assert len(seeds) == len(SEEDS) == 3
        for curves in seeds:
            assert len(curves["train"]) == len(curves["gradient"]) == STEPS // EVERY
            assert len(curves["validation"]) == STEPS // EVALUATE + 1
            assert set(curves["numbers"]) == set(NUMBERS)


@pytest.mark.parametrize("name", CASES)
def test_the_sickness_shows_in_every_seed(name: str) -> None:
    for curves in CURVES[name]:
        assert not list(contradictions(CASES[name], curves["numbers"]))
    for curves in HEALTHY_CURVES:
        assert list(contradictions(CASES[name], curves["numbers"]))


@pytest.mark.parametrize("case", WARD, ids=lambda case: case.name)
def test_the_guilty_line_is_shown(case: Case) -> None:
    shown = guilty(case).splitlines()
    assert re.fullmatch(r"def \w+\(…\):", shown[0])
    assert sum("▲ in health: " in line for line in shown) == 1
    assert max(map(len, shown)) <= 80
    assert (Path(__file__).parents[2] / case.reads).exists()


@pytest.mark.parametrize("name", CASES)
def test_no_other_diagnosis_fits(name: str) -> None:
    for other in CASES.values():
        for curves in CURVES[name]:
            fits = not list(contradictions(other, curves["numbers"]))
            assert fits == (other.name == name)


def test_a_loss_below_the_floor_proves_a_leak() -> None:
    for name in ("mask-off-by-one", "targets-not-shifted"):
        assert max(last(name)) < FLOOR / 10
    assert min(last("healthy")) > FLOOR


def test_the_texts_quote_the_record() -> None:
    """Where a text compares two losses, the other one is that of a healthy patient."""
    ends = {name: sum(last(name)) / 3 for name in CURVES}
    for name, number in (
        *(("no-residual", "1.33"), ("rate-rises-again", "1.12"), ("gains-decay", "1.088")),
        *(("no-mask", "0.68"), ("untied", "0.93"), ("no-scale", "1.087")),
        *(("dropout-in-evaluation", "1.12"), ("norm-on-the-bus", "1.066")),
    ):
        assert number in CASES[name].why
        assert f"{ends[name]:.{len(number) - 2}f}" == number
        assert re.search(r"1\.080?", CASES[name].why)
    assert f"{ends['healthy']:.3f}" == "1.080"
    assert f"{sum(last('healthy', 'train')) / 3:.2f}" == "1.11"
    sharpness = {
        name: sum(curves["numbers"]["sharpness"] for curves in CURVES[name]) / 3
        for name in ("no-scale", "healthy")
    }
    assert [f"{value:.2f}" for value in sharpness.values()] == ["0.51", "0.37"]
    gradients = [last(name, "gradient") for name in ("no-residual", "healthy")]
    assert min(gradients[0]) > 2 * max(gradients[1])


def test_most_bugs_hardly_show_in_the_loss() -> None:
    """What README says of them."""
    healthy, ends = last("healthy"), {name: last(name) for name in CASES}
    assert [n for n, seeds in ends.items() if sum(seeds) > 1.05 * sum(healthy)] == ["no-residual"]
    assert sum(sum(seeds) < 0.999 * sum(healthy) for seeds in ends.values()) == 7


def test_what_only_an_examination_shows() -> None:
    """The same curves as in health, and other numbers, as the texts say."""
    for name in ("positions-late-in-cache", "mean-of-means"):
        for curves, healthy in zip(CURVES[name], HEALTHY_CURVES, strict=True):
            assert curves["validation"] == pytest.approx(healthy["validation"], rel=1e-3)
    assert all(1.6 < c["numbers"]["cache_error"] < 1.9 for c in CURVES["positions-late-in-cache"])
    assert all(c["numbers"]["split_error"] > 0.8 for c in CURVES["mean-of-means"])
    assert all(c["numbers"]["end"] < 1e-4 for c in CURVES["no-end-of-text"])
    assert all(c["numbers"]["end"] > 0.99 for c in HEALTHY_CURVES)


@pytest.mark.parametrize("name", [name for name, c in CASES.items() if not {*c.signs} & {*LEARNED}])
def test_the_record_is_of_this_code(name: str) -> None:
    """What the bug moves without training, it moves in a model made now."""
    patient = CASES[name].patient(7)
    numbers = examine(patient, patient.model())
    assert not list(contradictions(CASES[name], numbers))
    for number in CASES[name].signs:
        if number in ("parameters", "rises", "reach", "gains_shrink"):
            recorded = [curves["numbers"][number] for curves in CURVES[name]]
            assert numbers[number] == pytest.approx(recorded[0], rel=0.05, abs=2)


def test_a_healthy_one_made_now_has_no_sign() -> None:
    patient = HEALTHY(7)
    numbers = examine(patient, patient.model())
    for case in CASES.values():
        assert {*case.signs} & {*LEARNED} or list(contradictions(case, numbers))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask-off-by-one", "no-end-of-text"])
def test_trained_anew_with_another_seed(name: str) -> None:
    evidence = train(CASES[name].patient(7))
    for case in CASES.values():
        assert (not list(contradictions(case, evidence.numbers))) == (case.name == name)
    if name == "mask-off-by-one":
        assert evidence.validation[-1] < evidence.floor / 10
    else:
        recorded = last(name)
        assert 0.9 * min(recorded) < evidence.validation[-1] < 1.1 * max(recorded)
        assert evidence.floor == FLOOR


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of a patient that has been seen, after a training of a few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("exercises.clinic.patient.STEPS", 20)
    number = list(CASES).index("mask-off-by-one") + 1
    assert call("exercise", "clinic", str(number)) == 0
    return number


@pytest.mark.slow
def test_from_the_ward_to_the_bug(seen: int, capsys: pytest.CaptureFixture[str]) -> None:
    trained = Path(f"mine/clinic/{seen}.json").read_bytes()
    assert call("exercise", "clinic", str(seen)) == 0
    assert Path(f"mine/clinic/{seen}.json").read_bytes() == trained  # not trained again
    sheet = capsys.readouterr().out
    assert max(map(len, sheet.splitlines())) <= 80
    for part in ("best possible validation loss is 0.544", "It writes:", "block 1, head 3", *CASES):
        assert part in sheet
    assert "in health" not in sheet
    picture = Path(f"mine/clinic/{seen}.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert call("exercise", "clinic", str(seen), "--examine", "future") == 0
    assert re.search(r"    [12]; healthy: 0 to 0", capsys.readouterr().out)
    assert call("exercise", "clinic", str(seen), "--answer", "no-mask") == 1
    said = capsys.readouterr().out
    assert "Not that. With no-mask it would be at least 3" in said
    assert re.search(r"here it is [12]\.", said)
    assert call("exercise", "clinic") == 0
    assert f"… {seen:2}  " in capsys.readouterr().out
    assert call("exercise", "clinic", str(seen), "--answer", "mask-off-by-one") == 0
    said = capsys.readouterr().out
    assert "return allowed.tril(diagonal=keys - queries + 1)\n" in said
    assert "▲ in health: keys - queries\n" in said
    assert call("exercise", "clinic") == 0
    ward = capsys.readouterr().out
    assert f"✓ {seen:2}  " in ward
    assert f"✓ 1 of {len(WARD)} found" in ward
    assert max(map(len, ward.splitlines())) <= 80


FINDS = """
def test(patient):
    inputs, _ = patient.pair(patient.batch())
    model = patient.model().eval()
    other = inputs.clone()
    other[:, -1] = 5
    assert model(inputs)[:, :-1].equal(model(other)[:, :-1]), "the future is seen"
"""


def test_a_learners_test_finds_the_bug(seen: int, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    wrong = {"def test(patient):\n    1 / 0\n": "A healthy patient fails it too: ZeroDivisionError"}
    wrong["def test(patient):\n    pass\n"] = f"Patient {seen} passes it."
    for code, said in wrong.items():
        Path("my_test.py").write_text(code)
        assert call("exercise", "clinic", str(seen), "--prove", "my_test.py") == 1
        assert said in " ".join(capsys.readouterr().out.split())
        assert not json.loads(Path(f"mine/clinic/{seen}.json").read_text())["found"]
    Path("my_test.py").write_text(FINDS)
    assert call("exercise", "clinic", str(seen), "--prove", "my_test.py") == 0
    said = capsys.readouterr().out
    assert "the future is seen" in said
    assert "mask-off-by-one" in said
    assert json.loads(Path(f"mine/clinic/{seen}.json").read_text())["found"]


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """What is said of flags that are a mistake, on one line."""
    capsys.readouterr()
    assert call("exercise", "clinic", *flags) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["99"], "there is no patient 99; there are 1 to 16"),
        (["1", "--answer", "flu"], "there is no diagnosis 'flu'"),
        (["1", "--examine", "x"], "there is no examination 'x'"),
        (["1", "--answer", "no-mask"], "see the patient first"),
        (["--answer", "no-mask"], "one patient's number"),
        (["1", "--answer", "no-mask", "--examine", "size"], "one of"),
    ],
)
def test_what_cannot_be(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, *flags).startswith("error: ")
    assert said in refused(capsys, *flags)
    assert not Path("mine").exists()


@pytest.mark.slow
def test_files_that_are_no_test_or_damaged(seen: int, capsys: pytest.CaptureFixture[str]) -> None:
    number = str(seen)
    for name, code, said in (
        ("none.py", None, "no such file"),
        ("a.txt", "", "ends in .py"),
        ("bad.py", "1 +", "cannot be loaded: SyntaxError"),
        ("empty.py", "", "has no function `test(patient)`"),
    ):
        if code is not None:
            Path(name).write_text(code)
        assert said in refused(capsys, number, "--prove", name)
    for content in ("{", "[]", '{"evidence": {"floor": 1}}'):
        Path(f"mine/clinic/{number}.json").write_text(content)
        assert "damaged: delete it" in refused(capsys, number)
