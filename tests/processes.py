"""Processes for tests. None is forked from the test's own, whose other threads may hold locks."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any

import exercises.judging.process  # noqa: F401  (it has a list of its own: this one comes after)

LIMIT = 240.0  # seconds that a test waits for a process, far longer than any takes
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("training_tools", "transformer.training.trainer", "transformer.fineweb_dataset"),
        *("torch._dynamo", "matplotlib.figure", "matplotlib.backends.backend_agg"),
        *("exercises.judging.judge", "exercises.judging.inside"),
    ]
)


def start(target: Callable[..., None], *args: Any) -> BaseProcess:
    """`target(*args)` in a process whose parent, a server without threads, has imported all."""
    process = CONTEXT.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def wait(process: BaseProcess, seconds: float = LIMIT) -> int:
    """The exit code of a process that ends by itself; one that does not is killed and reported."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join(LIMIT)
        raise AssertionError(f"{process.name} did not end within {seconds:.0f} s")
    return process.exitcode


def wait_until(true: Callable[[], bool], seconds: float = LIMIT) -> None:
    """Wait for something that a thread or process does in its own time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not so after {seconds:.0f} s"
        time.sleep(0.01)


def kill(process: BaseProcess) -> int:
    """SIGKILL, unless it has ended by itself; its exit code."""
    process.kill()
    return wait(process)


@contextmanager
def busy_machine(processes: int = 2) -> Iterator[None]:
    """Others that want the processor all the time."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait(LIMIT)
