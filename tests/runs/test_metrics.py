"""metrics.jsonl: read back after kills and damage, and what training remembers of it."""

import json
import math
from pathlib import Path

import pytest

from transformer.runs.metrics import History, Record, read_metrics, truncate_after


def step(number: int, tokens: int, loss: float) -> Record:
    rest = {"epoch": 0.1, "learning_rate": 1e-3, "grad_norm": 1.0, "tokens_per_second": 9.0}
    return {"step": number, "tokens": tokens, "train_loss": loss, **rest}


def judged(number: int, loss: float) -> Record:
    rest = {"epoch": 0.1, "train_loss": 3.0, "val_perplexity": 9.0, "status": "learning"}
    return {"step": number, "val_loss": loss, **rest}


def lines(*records: Record) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_metrics_survive_a_torn_line_and_can_be_truncated(tmp_path: Path) -> None:
    path, warnings = tmp_path / "metrics.jsonl", list[str]()
    written = [step(1, 10, 4.0), step(2, 20, 2.0), judged(2, 2.5), step(3, 50, 1.0)]
    path.write_text(lines(*written) + '{"step": 4, ')
    assert read_metrics(path, warnings.append) == written
    history = History(read_metrics(path))
    assert history.train_loss == 1.0
    assert history.best == judged(2, 2.5)
    assert [r["step"] for r in truncate_after(path, 2, warnings.append)] == [1, 2, 2]
    assert len(path.read_text().splitlines()) == 3
    assert warnings == []


def test_a_run_that_goes_wrong_keeps_its_large_numbers(tmp_path: Path) -> None:
    path, warnings = tmp_path / "metrics.jsonl", list[str]()
    long = {**step(1, 10, 60.0), "grad_norm": 1e25}
    unsure = {**judged(1, 60.0), "val_perplexity": math.exp(60.0)}
    path.write_text(lines(long, unsure))
    assert truncate_after(path, 1, warnings.append) == [long, unsure]
    assert warnings == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "is damaged: Expecting value"),
        ("7", "must be a JSON object, but is 7"),
        ('{"step": 2, "tok', "is damaged: Unterminated string"),
        (lines({**step(2, 20, 2.0), "step": "2"}).strip(), "'step' must be a whole number"),
        (lines({**step(2, 20, 2.0), "tokens": None}).strip(), "'tokens' must be a whole number"),
        ('{"tokens": 3}', "has no 'step'"),
        ('{"step": 2, "val_loss": 1.0}', "has no 'epoch'"),
        (lines({**judged(2, 1.0), "floor": "low"}).strip(), "'floor' must be a number or null"),
    ],
)
def test_a_damaged_line_costs_that_line_alone(tmp_path: Path, line: str, problem: str) -> None:
    path, warnings = tmp_path / "metrics.jsonl", list[str]()
    path.write_text(lines(step(1, 10, 4.0)) + line + "\n" + lines(step(3, 30, 1.0), judged(3, 0.9)))
    assert [r["step"] for r in read_metrics(path, warnings.append)] == [1, 3, 3]
    (warning,) = warnings
    assert problem in warning
    assert f"{path}, line 2" in warning
    truncate_after(path, 3, warnings.append)
    assert path.read_text() == lines(step(1, 10, 4.0), step(3, 30, 1.0), judged(3, 0.9))


def test_the_checkpoint_says_which_evaluation_was_the_best() -> None:
    """Its line is lost; what is left of the metrics would name another."""
    history = History([judged(10, 3.0), judged(30, 2.9)])
    history.trust(20, 1.5)
    history.add(judged(40, 2.0))
    assert (history.best_step, history.best, history.evaluations_since_best) == (20, None, 2)
    history.add(judged(50, 1.4))
    assert history.best_step == 50


def test_the_best_of_an_older_checkpoint_stays_the_best_if_its_line_is_lost() -> None:
    history = History([judged(10, 3.0)])
    history.trust(20, None)
    history.add(judged(30, 0.1))
    assert history.best_step == 20
    known = History([judged(10, 3.0), judged(20, 2.0)])
    known.trust(20, None)
    assert (known.best_step, known.best_loss) == (20, 2.0)
    fresh = History()
    fresh.trust(None, None)
    assert fresh.best_loss == math.inf
