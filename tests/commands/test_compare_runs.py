"""commands/compare_runs.py and --tensorboard, on finished runs."""

import json
from pathlib import Path

import pytest
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_tools import load_command, metrics, train, write_text

from transformer.errors import UserError

FLAGS = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")
BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # matplotlib's C0 and C1


@pytest.fixture(autouse=True)
def _in_a_wide_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def write_run(name: str, losses: list[float], tokens_per_second: float) -> None:
    """A run of these losses, with 1,000 tokens per step, evaluated after every other step."""
    run = Path("runs", name)
    run.mkdir(parents=True)
    config = {"training": {"dataset": "text"}, "parameters": 1_234_567}
    (run / "config.json").write_text(json.dumps(config))
    records: list[dict[str, object]] = []
    for step, loss in enumerate(losses, start=1):
        rest = {"epoch": 0.1, "learning_rate": 1e-3, "grad_norm": 1.0}
        rest["tokens_per_second"] = tokens_per_second
        records.append({"step": step, "tokens": 1000 * step, "train_loss": loss, **rest})
        if step % 2 == 0:
            judged = {"epoch": 0.1, "train_loss": loss, "val_loss": loss + 0.1}
            records.append({"step": step, **judged, "val_perplexity": 9.0, "status": "learning"})
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def rows(output: str) -> dict[str, list[str]]:
    """The cells of a printed table, by the first of each row."""
    lines = [line for line in output.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def ends_at(path: Path, color: tuple[int, int, int]) -> list[float]:
    """For both halves of a picture, where the lowest part of a curve ends, from 0 to 1."""
    picture = (imread(path)[..., :3] * 255).round()
    close = abs(picture - color).max(-1) < 8  # (height, width)
    lower = close[int(0.6 * len(close)) :]
    return [
        float(half.any(0).nonzero()[0].max() / half.shape[1])
        for half in (lower[:, : lower.shape[1] // 2], lower[:, lower.shape[1] // 2 :])
    ]


def test_runs_are_listed_with_their_results(capsys: pytest.CaptureFixture[str]) -> None:
    write_text(Path("text.txt"))
    train(*FLAGS, "--steps", "10", "--name", "longer")
    train(*FLAGS, "--steps", "4", "--eval-every", "9", "--name", "shorter")
    capsys.readouterr()
    load_command("compare_runs").main()
    listed = rows(capsys.readouterr().out)
    assert list(listed) == ["longer", "shorter"]
    records = metrics(Path("runs/longer"))
    best = min((r for r in records if "val_loss" in r), key=lambda r: r["val_loss"])
    parameters = json.loads(Path("runs/longer/config.json").read_text())["parameters"]
    data, size, steps, tokens, _, loss, status = listed["longer"]
    assert (data, size, steps) == ("text", f"{parameters:,}", "10")
    assert int(tokens) == records[-2]["tokens"] == 10 * 4 * 16
    assert loss == f"{best['val_loss']:.4f} at {best['step']}"
    assert status == records[-1]["status"] == "starting"
    assert listed["shorter"][2] == "4"
    assert not Path("runs/comparison.png").exists()


def test_named_runs_are_compared_over_tokens_and_over_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same number of tokens, one of them twice as fast."""
    write_run("slow", [4.0, 3.4, 2.9, 2.5, 2.2, 2.0], 100.0)
    write_run("fast", [4.0, 3.3, 2.7, 2.2, 1.8, 1.5], 200.0)
    write_run("other", [9.0, 9.0], 200.0)
    load_command("compare_runs").main(("slow", "runs/fast"))
    compared = rows(capsys.readouterr().out)
    assert compared == {
        "slow": ["text", "1,234,567", "6", "6,000", "1 min 0 s", "2.1000 at 6", "learning"],
        "fast": ["text", "1,234,567", "6", "6,000", "30 s", "1.6000 at 6", "learning"],
    }
    picture = Path("runs/comparison.png")
    slow, fast = ends_at(picture, BLUE), ends_at(picture, ORANGE)
    assert fast[0] == pytest.approx(slow[0], abs=0.02)  # over tokens they end together
    assert fast[1] < 0.7 * slow[1]  # over time one is done earlier


def test_a_run_that_is_not_there_is_named() -> None:
    write_run("here", [4.0, 3.4], 100.0)
    with pytest.raises(UserError, match="there is no run gone in runs"):
        load_command("compare_runs").main(("here", "gone"))


def damage(name: str, file: str, content: str) -> None:
    """A run in which one file holds something else."""
    write_run(name, [4.0, 3.4], 100.0)
    Path("runs", name, file).write_text(content)


def test_damaged_runs_are_named_and_the_others_shown(capsys: pytest.CaptureFixture[str]) -> None:
    write_run("good", [4.0, 3.4], 100.0)
    damage("foreign", "config.json", '{"hidden_size": 3}')
    damage("list", "config.json", "[]")
    damage("odd", "config.json", '{"training": {"dataset": "toy"}, "parameters": "many"}')
    damage("nowhere", "config.json", '{"training": {"dataset": 5}, "parameters": 5}')
    good = Path("runs/good/metrics.jsonl").read_text()
    damage("lines", "metrics.jsonl", f'7\n{{"step": 1, "val_loss": 0.1}}\n{good}')
    load_command("compare_runs").main()
    captured = capsys.readouterr()
    assert list(rows(captured.out)) == ["good", "lines"]
    assert rows(captured.out)["lines"] == rows(captured.out)["good"]
    for said in (
        "runs/foreign/config.json has no 'training'; this run is left out",
        "runs/list/config.json is damaged",
        "runs/odd/config.json: 'parameters' must be a whole number of at least 1, but is \"many\"",
        "runs/nowhere/config.json, 'training': 'dataset' must be a text, but is 5",
        "runs/lines/metrics.jsonl, line 1 is damaged",
        "runs/lines/metrics.jsonl, line 2 has no 'epoch'; this line is left out",
    ):
        assert said in captured.err
    with pytest.raises(UserError, match="none of these runs can be read"):
        load_command("compare_runs").main(("foreign", "odd"))


def test_where_there_is_no_run_it_says_so() -> None:
    for folder in ("gone", "."):
        with pytest.raises(UserError, match="there is no run in"):
            load_command("compare_runs").main(runs_dir=Path(folder))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("x.xyz", r"ends in one of \.png, \.svg, \.pdf, \.jpg, but is x\.xyz"),
        ("picture", "ends in one of .*, but is picture"),
        ("runs", "runs is a folder"),
    ],
)
def test_an_output_that_cannot_be_drawn_is_refused_at_once(
    output: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run("here", [4.0, 3.4], 100.0)
    with pytest.raises(UserError, match=message):
        load_command("compare_runs").main(("here",), output=Path(output))
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("error")
def test_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """No mathematics, no markup, no line hidden because of its underscore, no warnings."""
    names = (r"cost$\frac$", "[bold]x", ":smile:", "_hidden", "日本")
    for name in names:
        write_run(name, [4.0, 3.4, 2.9, 2.5], 100.0)
    load_command("compare_runs").main(names, output=Path("x.svg"))
    assert list(rows(capsys.readouterr().out)) == list(names)
    drawn = Path("x.svg").read_text()
    for name in names:
        assert f"<!-- {name} -->" in drawn


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard would show: per name, the value at each step."""
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    shown = {name: board.Scalars(name) for name in board.Tags()["scalars"]}
    for events in shown.values():
        assert len({event.step for event in events}) == len(events)
    return {name: {event.step: event.value for event in e} for name, e in shown.items()}


def test_tensorboard_shows_what_was_logged() -> None:
    """Also after going back to an earlier checkpoint: what was written after it is hidden."""
    write_text(Path("text.txt"))
    train(*FLAGS, "--steps", "10", "--name", "run", "--tensorboard")
    assert train("--resume", "runs/run/checkpoint-00000009", "--steps", "12") == 0
    expected: dict[str, dict[int, float]] = {}
    for record in metrics(Path("runs/run")):
        kind = "validation" if "val_loss" in record else "training"
        for name, value in record.items():
            if isinstance(value, int | float) and name != "step":
                expected.setdefault(f"{kind}/{name}", {})[record["step"]] = value
    shown = scalars(Path("runs/run/tensorboard"))
    speeds = shown.pop("training/tokens_per_second")
    assert set(speeds) == set(range(1, 13))
    assert shown.keys() == expected.keys()
    for name, values in expected.items():
        assert shown[name] == pytest.approx(values, rel=1e-5), name
