"""Workers of a DataLoader, however they are started."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local_hub import LocalHub
from processes import LIMIT, busy_machine, start, wait

from transformer.data.fineweb import fork_gate
from transformer.data.fineweb.hub_dataset import LOCKS
from transformer.data.tokenizer import load_tokenizer
from transformer.fineweb_dataset import FineWebConfig, FineWebSource

SCRIPT = Path(__file__).with_name("forked_workers.py")


def start_workers(hub: LocalHub, cache: Path, starts: int) -> None:
    command = [sys.executable, SCRIPT, hub.url, cache, str(starts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{starts} starts" in done.stdout


@pytest.mark.slow
def test_workers_forked_while_others_read_do_not_hang(hub: LocalHub, tmp_path: Path) -> None:
    start_workers(hub, tmp_path, 8)


@pytest.mark.slow
def test_workers_forked_thirty_times_on_a_busy_machine(hub: LocalHub, tmp_path: Path) -> None:
    with busy_machine():
        start_workers(hub, tmp_path, 30)


def fork_while_somebody_is_inside() -> None:
    """The gate alone, without a fork: its handlers are called as `os.fork` calls them."""
    inside, leave, forked, entered, ended = (threading.Event() for _ in range(5))

    def work() -> None:
        with fork_gate.no_fork(), fork_gate.no_fork():
            inside.set()
            leave.wait(LIMIT)
        with fork_gate.no_fork():
            entered.set()

    def fork() -> None:
        fork_gate._before()
        forked.set()
        if not entered.wait(0.2):
            ended.set()
        fork_gate._after_in_parent()

    worker, forker = (threading.Thread(target=f, daemon=True) for f in (work, fork))
    worker.start()
    assert inside.wait(LIMIT)
    forker.start()
    assert not forked.wait(0.2)
    leave.set()
    assert forked.wait(LIMIT)
    assert entered.wait(LIMIT)
    assert ended.is_set()


def fork_while_somebody_rests() -> None:
    with fork_gate.no_fork():
        resting, resume = threading.Event(), threading.Event()

        def rest() -> None:
            with fork_gate.no_fork(), fork_gate.fork_allowed():
                resting.set()
                resume.wait(LIMIT)

        thread = threading.Thread(target=rest, daemon=True)
        thread.start()
        assert resting.wait(LIMIT)
        fork_gate._before()  # this thread is inside, but it is the one that forks
        fork_gate._after_in_parent()
        resume.set()
        thread.join(LIMIT)
        assert not thread.is_alive()


def fork_while_a_block_is_waited_for(config: FineWebConfig) -> None:
    """The holder of a block's lock may be waiting for the hub: a fork must not wait for it too."""
    text = FineWebSource(load_tokenizer("p50k_base"), config).text
    shard = text.train[0]
    block = text.blocks(shard)[0]
    with text.cache.lock(f"block_{block % LOCKS}"):
        threading.Thread(target=text.read, args=(shard, block), daemon=True).start()
        time.sleep(0.5)  # it waits now

        def fork() -> None:
            fork_gate._before()
            forked.set()
            fork_gate._after_in_parent()

        forked = threading.Event()
        threading.Thread(target=fork, daemon=True).start()
        assert forked.wait(fork_gate.LONGEST / 3)


def test_a_fork_does_not_wait_for_somebody_who_waits_for_a_block(config: FineWebConfig) -> None:
    assert wait(start(fork_while_a_block_is_waited_for, config)) == 0


@pytest.mark.parametrize("act", [fork_while_somebody_is_inside, fork_while_somebody_rests])
def test_a_fork_waits_until_nobody_is_inside_or_all_rest(act: Callable[[], None]) -> None:
    """In a process of its own: threads that other tests have left may be inside here."""
    assert wait(start(act)) == 0
