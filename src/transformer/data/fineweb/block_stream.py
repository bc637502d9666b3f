"""From visits to rows: blocks read ahead in order, cut into groups of consecutive sequences."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from transformer.data.fineweb.background import spawn
from transformer.data.fineweb.block_order import Position, Visit, check_place
from transformer.data.packing import Tokens, count_windows, windows

Read = Callable[[Visit], Tokens]


class ReadAhead:
    """Blocks in the order of their visits, up to `workers` of them read in advance by threads.

    Blocks are dealt to the threads in turn and taken back in the same order, so the stream is
    the same for any number of workers. (Threads suffice: fetching, decompressing and tokenising
    all happen outside Python's lock.) Reading ahead begins with `fill`, so that nothing
    competes with the very first block.
    """

    def __init__(self, visits: Iterator[Visit], read: Read, workers: int) -> None:
        self._visits = visits
        self._read = read
        self._workers = workers
        self._pending: deque[tuple[Visit, Future[Tokens]]] = deque()

    def fill(self) -> None:
        while len(self._pending) < self._workers:
            visit = next(self._visits, None)
            if visit is None:
                return
            self._pending.append((visit, spawn(partial(self._read, visit))))

    def __iter__(self) -> "ReadAhead":
        return self

    def __next__(self) -> tuple[Visit, Tokens]:
        if self._pending:
            visit, future = self._pending.popleft()
            return visit, future.result()
        visit = next(self._visits)
        return visit, self._read(visit)


@dataclass(frozen=True)
class Rows:
    """`n` consecutive sequences, perhaps of several blocks, and the position after them."""

    parts: tuple[tuple[Tokens, Tokens], ...]  # (block, indices of its windows)
    position: Position

    def cut(self, start: int, stop: int, seq_length: int) -> tuple[Tokens, Tokens]:
        """Inputs and targets (stop - start, T) of some of the rows."""
        pairs = []
        before = 0
        for block, indices in self.parts:
            chosen = indices[max(0, start - before) : max(0, stop - before)]
            before += len(indices)
            if len(chosen):
                pairs.append(windows(block, chosen, seq_length))
        inputs, targets = (np.concatenate(column) for column in zip(*pairs, strict=True))
        return inputs, targets

    def __len__(self) -> int:
        return sum(len(indices) for _, indices in self.parts)


def group_rows(
    blocks: ReadAhead,
    start: Position,
    rows: int,
    seq_length: int,
    *,
    limit: int | None = None,
    on_visit: Callable[[Visit], None] = lambda visit: None,
) -> Iterator[Rows]:
    """Groups of `rows` consecutive sequences from `start` on; the last may be smaller.

    Args:
        limit: sequences in all, None for as many as there are.
        on_visit: told, after each group, which block the stream is in.
    """
    parts: list[tuple[Tokens, Tokens]] = []
    held, seen = 0, start.seen
    position = start
    for visit, block in blocks:
        n_sequences = count_windows(len(block), seq_length)
        order = visit.order(n_sequences)
        place = visit.position.sequence
        check_place("sequence", place, max(n_sequences, 1))
        while place < n_sequences:
            left = rows if limit is None else min(rows, limit - (seen - held - start.seen))
            taken = order[place : place + left - held]
            parts.append((block, taken))
            place, held, seen = place + len(taken), held + len(taken), seen + len(taken)
            position = visit.after(place, n_sequences, seen)
            if held < left:
                break  # the next block has the rest
            yield Rows(tuple(parts), position)
            parts, held = [], 0
            if limit is not None and seen - start.seen >= limit:
                return
            blocks.fill()
            on_visit(visit)
    if held:
        yield Rows(tuple(parts), position)
