"""Small training runs for tests: in this process, or in one that can be killed."""

import importlib.util
import json
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from processes import start
from safetensors.torch import load_file

from transformer.terminal.command_line import run

ROOT = Path(__file__).parent.parent
SIZES = ("--d-model", "16", "--n-heads", "2", "--n-layers", "1", "--d-ff", "32", "--dropout", "0.1")
PACE = (
    *("--batch-size", "2", "--accumulation-steps", "2"),
    *("--eval-every", "5", "--checkpoint-every", "3", "--eval-tokens", "600"),
    *("--compile", "off", "--precision", "fp32", "--device", "cpu"),
)
TINY = (*SIZES, *PACE)


def load_command(name: str) -> ModuleType:
    """A script of commands/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "commands" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def call(name: str, *flags: str | Path) -> int:
    """Another command in this process; its status."""
    with pytest.raises(SystemExit) as ended:
        run(load_command(name).main, [str(flag) for flag in flags])
    return int(ended.value.code or 0)


def train(*args: str) -> int:
    """`commands/train.py args`, in this process."""
    status: int = load_command("train").main([*TINY, *args])
    return status


def continue_training(*args: str | Path) -> int:
    """`commands/train.py args` whose model has its sizes already: with --from, or with --resume."""
    status: int = load_command("train").main([*PACE, *map(str, args)])
    return status


SAID = Path("said.txt")  # what the processes in a test's folder have printed


def _child(args: list[str]) -> None:
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = SAID.open("a")
    sys.exit(train(*args))


def start_killable(*args: str) -> BaseProcess:
    """The same in a process of its own, in the current folder; it prints to `SAID`."""
    return start(_child, list(args))


def start_or_resume(runs: Path, name: str, *args: str) -> BaseProcess:
    """What a person does after a crash: resume if there is a run, else start again."""
    again = ["--overwrite"]
    if (runs / name / "config.json").exists():
        again = ["--resume"]
        if "--from" in args:  # a run that is resumed has weights of its own
            at = args.index("--from")
            args = (*args[:at], *args[at + 2 :])
    return start_killable("--runs-dir", str(runs), "--name", name, *args, *again)


def metrics(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without the one field that is a timing."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("tokens_per_second", None)
    return records


def newest_weights(run: Path) -> dict[str, torch.Tensor]:
    folder = run / (run / "latest").read_text().strip()
    weights: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return weights | load_file(folder / "training_state.safetensors")


def assert_same_run(one: Path, other: Path) -> None:
    """Bit-identical weights, moments, metrics and samples, and the film where there is one."""
    assert metrics(one) == metrics(other)
    assert (one / "samples.md").read_text() == (other / "samples.md").read_text()
    first, second = newest_weights(one), newest_weights(other)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    films = [run / "film.safetensors" for run in (one, other)]
    assert films[0].is_file() == films[1].is_file()
    if films[0].is_file():
        assert films[0].read_bytes() == films[1].read_bytes()
    assert not (other / "film").exists()
    for pointer in ("latest", "best"):
        assert (one / pointer).read_text() == (other / pointer).read_text()


def write_text(path: Path, words: int = 4000) -> Path:
    """Some text that is not all the same."""
    numbers = ((i * 7919) % 1009 for i in range(words))
    path.write_text(" ".join(f"word{n % 97} {n}." + "\n" * (n % 11 == 0) for n in numbers))
    return path
