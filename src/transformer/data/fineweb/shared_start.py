"""Where the next iteration of a data set starts, agreed on with its copies in loader workers.

A `DataLoader` with workers gives each of them a copy of the data set. All copies must start an
epoch at the same place, and only they know where it ended. So both places are in memory that the
copies share:

    start   of the iteration that runs now; the first worker that begins it copies it from `next`
    next    where the following iteration starts; a worker writes it when its epoch has ended

A short epoch may be over in one worker before another worker has begun it. The late one must not
take `next`, which is one epoch too far: `loader` tells it that `start` already belongs to its own
iteration.
"""

from dataclasses import astuple

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from transformer.data.fineweb.block_order import Position


class SharedStart:
    """The start of the running iteration and of the next one."""

    def __init__(self) -> None:
        self._start, self._next = _shared(5), _shared(5)
        self._loader = _shared(1)  # which iteration `start` belongs to; 0: not one of workers
        self._iterations = 0  # counted in each copy: workers may be kept for several epochs

    @property
    def is_of_workers(self) -> bool:
        """Whether loader workers ran the newest iteration."""
        return bool(self._loader.item())

    def begin(self) -> Position:
        """The start of an iteration that begins now."""
        self._iterations += 1
        worker = get_worker_info()
        upcoming = self._next.clone()  # before the look at `loader`: no sibling has ended yet then
        loader = 0
        if worker is not None:  # this seed is drawn once for all workers of a loader
            loader = 1 + (worker.seed - worker.id + self._iterations) % (2**63 - 1)
        if worker is None or self._loader.item() != loader:
            self._start.copy_(upcoming)
            self._loader.fill_(loader)
        return Position(*self._start.tolist())

    def end(self, following: Position) -> None:
        """The iteration has ended; the next one starts at `following`."""
        self._next.copy_(torch.tensor(astuple(following)))

    def move(self, position: Position) -> None:
        """The next iteration starts at `position`, whatever ran before."""
        self.end(position)
        self._loader.zero_()


def _shared(size: int) -> Tensor:
    tensor = torch.zeros(size, dtype=torch.int64)
    return tensor.share_memory_()  # type: ignore[no-untyped-call]
