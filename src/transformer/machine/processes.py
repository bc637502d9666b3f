"""The processes that train one model together, as `torchrun` starts them.

    uv run torchrun --nproc-per-node 4 commands/train.py ...

starts four copies of the command. In environment variables each finds its number (`rank`), how
many there are (`world_size`) and where to meet. Started without torchrun, a process is rank 0
of 1, and everything below does nothing.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Processes:
    """This process's place among those that train together."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    restarts: int = 0
    """How often torchrun has restarted the group because one of its processes died."""
    group: str = ""
    """A name shared by all processes that one torchrun starts and restarts; empty without it."""

    @property
    def is_main(self) -> bool:
        """Rank 0 prints and writes; the others only compute."""
        return self.rank == 0

    def sum(self, value: Number) -> Number:
        """The sum of `value` over all processes, on each of them."""
        if self.world_size == 1:
            return value
        kind = torch.int64 if isinstance(value, int) else torch.float64
        tensor = torch.tensor(value, dtype=kind, device=_exchange_device())
        distributed.all_reduce(tensor)
        return type(value)(tensor.item())

    def any(self, value: bool) -> bool:
        """Whether `value` holds on any process, so that all of them take the same branch."""
        return self.sum(int(value)) > 0

    def share(self, value: Any) -> Any:
        """Rank 0's `value` (anything JSON can carry) on every process."""
        if self.world_size == 1:
            return value
        content = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)
        length = int(self.sum(len(content) if self.is_main else 0))
        buffer = content if self.is_main else torch.zeros(length, dtype=torch.uint8)
        buffer = buffer.to(_exchange_device())
        distributed.broadcast(buffer, src=0)
        return json.loads(bytes(buffer.tolist()))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Rank 0 runs the block before the others, so they find what it has written."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world_size > 1:
            distributed.barrier()


SINGLE = Processes()


def _exchange_device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"


def from_environment() -> Processes:
    """What torchrun put into the environment; rank 0 of 1 without it."""
    group = os.environ.get("TORCHELASTIC_RUN_ID", "")
    if group == "none":  # torchrun was given no id: the address tells groups apart
        group = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    number = {name: int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK")}
    return Processes(
        rank=number["RANK"],
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        local_rank=number["LOCAL_RANK"],
        restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
        group=group,
    )


@contextmanager
def joined(processes: Processes, device: torch.device) -> Iterator[None]:
    """Join the group for the duration of the block: nccl between GPUs, gloo between CPUs.

    Addresses are exchanged in a store that torchrun keeps across restarts. Each attempt uses a
    prefix of its own; otherwise a process could call one that is dead, and wait for ever.
    """
    if processes.world_size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # nccl wants a GPU for each process
    store, rank, world_size = next(rendezvous("env://"))
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore(f"attempt-{processes.restarts}", store),
        rank=rank,
        world_size=world_size,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
