"""The trainings of a study, one after the other or side by side, each in a process of its own.

    training ─▶ is its row there? ─ yes ─▶ kept
                      │ no
                      ▼
        commands/train.py, new or --resume ─▶ runs/NAME ─▶ rows/NAME.json

A row is written when a training has ended. A study that is stopped (Ctrl-C, a power cut) goes on
where it was: finished trainings are not repeated, an unfinished one is resumed, if it was asked for
with the same flags (begun/NAME.json). The runs stay, for generate.py, interpret.py and the page.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformer.climbing.study import Study, Training
from transformer.errors import UserError
from transformer.machine.files import write_atomically, written_whole
from transformer.machine.saved_values import read_saved
from transformer.runs.metrics import is_evaluation, read_metrics, validation_curve

TRAIN = Path(__file__).parents[3] / "commands" / "train.py"
POLL = 0.5  # seconds


@dataclass(frozen=True)
class Row:
    """What a training came to.

    Attributes:
        asked: the flags of train.py, which the row is valid for.
        curve: (tokens, validation loss in nats per token) at each evaluation.
        induction: the best head's score at the end, on toy stories.
        peak_mb: the most memory of the process, where the system says.
        precision: of its matrix products, fp32 or bf16; None: an older row, which does not say.
    """

    rung: str
    seed: int
    factor: float
    asked: list[str]
    curve: list[tuple[int, float]]
    floor: float | None
    induction: float | None
    parameters: int
    peak_mb: float | None
    precision: str | None = None

    @property
    def loss(self) -> float:
        """At the end."""
        return self.curve[-1][1]


class Trainings:
    """Runs the trainings of a study in a folder."""

    def __init__(self, study: Study, folder: Path, jobs: int = 1) -> None:
        self.study, self.folder, self.jobs = study, folder, jobs
        self._running: set[subprocess.Popen[bytes]] = set()

    def row(self, training: Training) -> Row | None:
        """The row of a training that has ended; None if it has not, or was another one."""
        path = self.folder / "rows" / f"{training.name}.json"
        if not path.is_file():
            return None
        values = read_saved(path).values
        try:
            row = Row(**{**values, "curve": [tuple(point) for point in values["curve"]]})
        except (TypeError, KeyError) as error:
            raise UserError(f"{path} is no row of a ladder: {error}; delete it") from None
        return row if row.asked == self.study.flags(training) else None

    def run(self, trainings: Sequence[Training], report: Callable[[Row], object]) -> Iterator[Row]:
        """The rows of all trainings, those that are there already first."""
        there = {training: self.row(training) for training in trainings}
        yield from (row for row in there.values() if row is not None)
        left = [training for training, row in there.items() if row is None]
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._train, training) for training in left]
            try:
                for future in as_completed(futures):
                    row = future.result()
                    report(row)
                    yield row
            finally:  # all is done; or Ctrl-C, SIGTERM, or one has failed: the others save and end
                for future in futures:
                    future.cancel()
                for process in self._running.copy():
                    process.terminate()

    def _train(self, training: Training) -> Row:
        runs = self.folder / "runs"
        run, log = runs / training.name, self.folder / "logs" / f"{training.name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        asked = self.study.flags(training)
        begun = self.folder / "begun" / f"{training.name}.json"
        latest = run / "latest"
        if begun.is_file() and read_saved(begun).values.get("asked") == asked and latest.is_file():
            flags = ["--resume", str(run)]
        else:
            flags = [*asked, "--overwrite"]
            latest.unlink(missing_ok=True)  # of another study: killed now, it is not resumed either
            write_atomically(begun, json.dumps({"asked": asked}).encode())
        command = [sys.executable, str(TRAIN), *flags, "--runs-dir", str(runs)]
        with log.open("w") as said:
            share = max(1, (os.cpu_count() or 1) // self.jobs)
            environment = {"OMP_NUM_THREADS": str(share), **os.environ}
            process = subprocess.Popen(  # in a session of its own: Ctrl-C reaches it from here only
                command, stdout=said, stderr=said, env=environment, start_new_session=True
            )
            self._running.add(process)
            peak = watched(process)
            self._running.discard(process)
        if process.returncode:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"{training.name} ended with {process.returncode}: {' '.join(last)}")
        row = self._row_of(training, asked, run, peak)
        with written_whole(self.folder / "rows" / f"{training.name}.json") as path:
            path.write_text(json.dumps(asdict(row)) + "\n", encoding="utf-8")
        return row

    def _row_of(self, training: Training, asked: list[str], run: Path, peak: float | None) -> Row:
        records = read_metrics(run / "metrics.jsonl")
        curve = [(tokens, loss) for tokens, loss in validation_curve(records) if loss is not None]
        last: dict[str, Any] = [r for r in records if is_evaluation(r)][-1]
        if len(curve) < len(validation_curve(records)):
            raise UserError(f"{training.name}: a validation loss is not finite; lower its rate")
        config = read_saved(run / "config.json")
        return Row(
            rung=training.rung,
            seed=training.seed,
            factor=training.factor,
            asked=asked,
            curve=curve,
            floor=last.get("floor"),
            induction=last.get("induction"),
            parameters=config.take("parameters", int),
            peak_mb=peak,
            precision=config.values["training"]["precision"],
        )


def watched(process: "subprocess.Popen[bytes]") -> float | None:
    """Wait for a process; its peak memory in MB, where the system tells (Linux)."""
    peak = None
    while process.poll() is None:
        peak = _peak(process.pid) or peak
        time.sleep(POLL)
    return peak


def _peak(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(sizes[0]) / 1024 if sizes else None
