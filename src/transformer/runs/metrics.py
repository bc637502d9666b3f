"""metrics.jsonl: one JSON object per line, for each step and each evaluation.

JSON Lines survives a crash: every line is whole except perhaps the last, which is then dropped.
A damaged line in between costs that line alone. Floats are written with all their digits, so
what is read is what was measured.
"""

import json
import math
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.machine.saved_values import Saved, parse_saved
from transformer.runs.run_folder import write_whole

Record = dict[str, Any]
Report = Callable[[str], object]

STEP: dict[str, Any] = {
    "tokens": int,
    "epoch": float,
    "train_loss": float | None,
    "learning_rate": float,
    "grad_norm": float | None,
    "tokens_per_second": float,
}
EVALUATION: dict[str, Any] = {
    "epoch": float,
    "train_loss": float | None,
    "val_loss": float | None,
    "val_perplexity": float | None,
    "status": str,
}
MEASURED_SOMEWHERE = ("floor", "induction")  # on toy stories


class MetricsLog:
    """Appends records to a file; without a path (a process that is not the main one), to none.

    With a `board`, every number also goes to TensorBoard files in that folder; what a killed
    run had written there after `step` is hidden.
    """

    def __init__(self, path: Path | None, board: Path | None = None, step: int = 0) -> None:
        self._file = (path or Path(os.devnull)).open("a", encoding="utf-8")
        self._board = None if board is None else board_writer()(str(board), purge_step=step + 1)

    def append(self, record: Record) -> None:
        """Write one line; what is not a finite number becomes null."""
        self._file.write(json.dumps({name: finite(v) for name, v in record.items()}) + "\n")
        self._file.flush()
        if self._board is not None:
            kind = "validation" if is_evaluation(record) else "training"
            for name, value in record.items():
                if name != "step" and isinstance(value, (int, float)):
                    self._board.add_scalar(f"{kind}/{name}", value, record["step"])

    def close(self) -> None:
        """Wait until the disk has everything, and close."""
        with suppress(OSError):  # there is nothing to wait for in the null device
            os.fsync(self._file.fileno())
        self._file.close()
        if self._board is not None:
            self._board.close()


def board_writer() -> Any:
    """TensorBoard's class that writes its files.

    Raises:
        UserError: its package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "--tensorboard needs the package tensorboard: uv sync --extra tensorboard"
        ) from error
    return SummaryWriter


def finite(value: Any) -> Any:
    """A measured value as JSON can hold it: null if it is not a finite number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path, report: Report = lambda warning: None) -> list[Record]:
    """All good lines of a metrics.jsonl; none if there is no such file.

    The incomplete last line of a killed run is left out without a warning. `report` is called
    for every other line that is not what this program writes.
    """
    if not path.exists():
        return []
    records: list[Record] = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            records.append(_checked(parse_saved(line, f"{path}, line {number}")))
        except UserError as error:
            if number < len(lines):  # after the last line break: an incomplete line, or nothing
                report(f"warning: {error}; this line is left out")
    return records


def _checked(saved: Saved) -> Record:
    """The record, if it has every field of a step or an evaluation."""
    saved.take("step", int, least=1)
    for name, kind in (EVALUATION if is_evaluation(saved.values) else STEP).items():
        saved.take(name, kind, least=0)
    for name in MEASURED_SOMEWHERE:
        saved.take(name, float | None, least=0, default=None)
    return saved.values


def validation_curve(records: Iterable[Record]) -> list[tuple[int, float | None]]:
    """(scored tokens trained on, validation loss) at each evaluation."""
    curve, tokens = [], 0
    for record in records:
        if is_evaluation(record):
            curve.append((tokens, record["val_loss"]))
        else:
            tokens = record["tokens"]
    return curve


def truncate_after(path: Path, step: int, report: Report) -> list[Record]:
    """Drop what comes after `step` and what is damaged, and return what remains."""
    kept = [record for record in read_metrics(path, report) if record["step"] <= step]
    write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept


def is_evaluation(record: Record) -> bool:
    """Whether an evaluation wrote this record; if not, an optimiser step did."""
    return "val_loss" in record


class History:
    """What training has to remember of its metrics: the evaluations, the best of them, and the
    training loss since the last. It is rebuilt from metrics.jsonl on resume, and it does not
    grow with the number of steps. Which evaluation was the best is also in the checkpoint,
    because that decides which checkpoints are deleted: see `trust`.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.evaluations: list[Record] = []
        self.best_step: int | None = None
        """The step of the first evaluation with the lowest validation loss."""
        self.best_loss = math.inf
        self._tokens = 0  # of the last step
        self._sum, self._weight = 0.0, 0
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take in the next line."""
        if is_evaluation(record):
            self.evaluations.append({name: finite(v) for name, v in record.items()})
            self._sum, self._weight = 0.0, 0
            loss = self.evaluations[-1]["val_loss"]
            if loss is not None and loss < self.best_loss:
                self.best_step, self.best_loss = record["step"], loss
        else:
            loss, n = finite(record["train_loss"]), record["tokens"] - self._tokens
            if loss is not None:
                self._sum, self._weight = self._sum + n * loss, self._weight + n
            self._tokens = record["tokens"]

    def trust(self, best_step: int | None, best_loss: float | None) -> None:
        """The best evaluation as a checkpoint names it, whatever is left of metrics.jsonl.

        If its loss is not known (its line is lost, and the checkpoint was written before
        checkpoints held it), no other can be called better: it stays the best.
        """
        if best_step == self.best_step:
            return
        losses = {record["step"]: record["val_loss"] for record in self.evaluations}
        known = best_loss if best_loss is not None else losses.get(best_step)
        unknown = math.inf if best_step is None else -math.inf
        self.best_step, self.best_loss = best_step, unknown if known is None else known

    @property
    def train_loss(self) -> float:
        """Mean over the tokens since the last evaluation."""
        return self._sum / self._weight if self._weight else math.nan

    @property
    def best(self) -> Record | None:
        """The record of the best evaluation; None where its line is lost."""
        return next((r for r in self.evaluations if r["step"] == self.best_step), None)

    @property
    def evaluations_since_best(self) -> int:
        """How many evaluations in a row brought no improvement."""
        best = self.best_step
        return sum(best is None or r["step"] > best for r in self.evaluations)

    def curve(self, name: str) -> list[float]:
        """One value of each evaluation, leaving out those that were not finite."""
        return [r[name] for r in self.evaluations if r[name] is not None]
