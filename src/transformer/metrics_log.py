"""metrics.jsonl: one JSON object per line, for each step and each evaluation.

JSON Lines survives a crash: a line is either there or it is the torn last one, which is
dropped. Floats are written with all their digits, so what is read is what was measured.
"""

import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.run_folder import write_whole

Record = dict[str, Any]


class MetricsLog:
    """Appends records to a file; without a path (a process that is not the main one), to none.

    With a `board`, every number also goes to TensorBoard files in that folder; what a killed
    run had written there after `step` is hidden.
    """

    def __init__(self, path: Path | None, board: Path | None = None, step: int = 0) -> None:
        self._file = (path or Path(os.devnull)).open("a", encoding="utf-8")
        self._board = None if board is None else _open_board(board, step)

    def append(self, record: Record) -> None:
        """Write one line; what is not a finite number becomes null."""
        self._file.write(json.dumps({name: _finite(v) for name, v in record.items()}) + "\n")
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


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "--tensorboard needs the package tensorboard: uv sync --extra tensorboard"
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[Record]:
    """All whole lines of a metrics.jsonl; none if there is no such file."""
    if not path.exists():
        return []
    records: list[Record] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break  # the torn last line of a killed run
    return records


def cut_back(path: Path, step: int) -> list[Record]:
    """Drop what lies after `step`, and return what remains."""
    kept = [record for record in read_metrics(path) if record["step"] <= step]
    write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
    return kept


def is_step(record: Record) -> bool:
    """Whether an optimiser step wrote this record."""
    return "grad_norm" in record


def is_evaluation(record: Record) -> bool:
    """Whether an evaluation wrote this record."""
    return "val_loss" in record


def evaluations(records: Iterable[Record]) -> list[Record]:
    """Those that an evaluation wrote."""
    return [record for record in records if is_evaluation(record)]


class History:
    """What a training has to remember of its metrics: the evaluations, and the training loss
    since the last of them. It is rebuilt from metrics.jsonl on resume, so it needs no place
    in a checkpoint, and it does not grow with the number of steps.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.evaluations: list[Record] = []
        self._tokens = 0  # of the last step
        self._sum, self._weight = 0.0, 0
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take note of the next line."""
        if is_evaluation(record):
            self.evaluations.append({name: _finite(v) for name, v in record.items()})
            self._sum, self._weight = 0.0, 0
        else:
            loss, n = _finite(record["train_loss"]), record["tokens"] - self._tokens
            if loss is not None:
                self._sum, self._weight = self._sum + n * loss, self._weight + n
            self._tokens = record["tokens"]

    @property
    def train_loss(self) -> float:
        """Mean over the tokens since the last evaluation."""
        return self._sum / self._weight if self._weight else math.nan

    @property
    def best(self) -> Record | None:
        """The first evaluation with the lowest validation loss."""
        judged = [record for record in self.evaluations if record["val_loss"] is not None]
        return min(judged, key=lambda record: float(record["val_loss"]), default=None)

    @property
    def evaluations_since_best(self) -> int:
        """How many evaluations in a row brought no improvement."""
        best = self.best
        return sum(best is None or r["step"] > best["step"] for r in self.evaluations)

    def curve(self, name: str) -> list[float]:
        """One value of all evaluations, leaving out those that were not finite."""
        return [r[name] for r in self.evaluations if r[name] is not None]
