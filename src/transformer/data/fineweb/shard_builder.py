"""Building shards while training runs: read every block, then join them.

    want([31, 7]) ──▶ block 4030, 4031, … of 31 ──▶ shard_00031.parquet ──▶ the same for 7

The shard that is being read is built first, then the one after it (the prefetch). Blocks that
training has already read need not be read again, nor does training read those that the builder
read first. A build that was killed continues where it stopped.

Training goes first: while it waits for a block of the hub, no other block is begun here. So on a
machine with few cores (or a slow line) what training needs next is not held up by what it needs
later.
"""

import threading
from collections.abc import Callable, Sequence

from transformer.data.fineweb.background import Precedence, spawn
from transformer.data.fineweb.fork_gate import no_fork
from transformer.data.fineweb.shard import Shard
from transformer.data.fineweb.shard_cache import ShardCache
from transformer.data.packing import Tokens
from transformer.errors import UserError

Progress = Callable[[int, int], None]
"""Called with (blocks done, blocks of the shard)."""
PATIENCE = 0.1  # seconds between two looks at whether to stop, while training goes first


class ShardBuilder:
    """Builds wanted shards in a background thread, or one at a time with `build`.

    Args:
        blocks: gives the row groups of a shard.
        read: reads one of them and puts it into the cache.
        precedence: of what is read for training.
    """

    def __init__(
        self,
        cache: ShardCache,
        blocks: Callable[[Shard], range],
        read: Callable[[Shard, int], Tokens],
        precedence: Precedence,
    ) -> None:
        self._cache, self._blocks, self._read = cache, blocks, read
        self._precedence = precedence
        self._notify = cache.notify
        self._wanted: list[Shard] = []
        self._given_up: set[str] = set()
        self._condition = threading.Condition()
        self._running = False
        self._stop = False

    def protect(self, shards: Sequence[Shard]) -> None:
        """Replace the list of wanted shards, most urgent first; these are not evicted."""
        self._wanted = list(shards)
        self._cache.in_use = {shard.name for shard in shards}

    def want(self, shards: list[Shard]) -> None:
        """Protect these shards, and build those that are missing in the background."""
        with self._condition:
            if shards == self._wanted:
                return
            self.protect(shards)
            if not self._running and not self._stop and self._next() is not None:
                self._running = True
                spawn(self._run)

    def close(self, seconds: float = 5.0) -> None:
        """End the thread after its current block; wait for it at most this long."""
        with self._condition:
            self._stop = True
            self._condition.wait_for(lambda: not self._running, timeout=seconds)

    def build(self, shard: Shard, progress: Progress | None = None) -> bool:
        """Build one shard, unless it is there; False if it cannot be kept.

        Raises:
            UserError: the hub cannot be read.
        """
        blocks = self._blocks(shard)
        if self._cache.has(shard):
            return True
        report = progress or self._reporter(shard)
        for done, block in enumerate(blocks):
            while not (self._precedence.wait(PATIENCE) or self._stop):
                pass
            if self._stop:
                return False
            report(done, len(blocks))
            self._read(shard, block)
            if not self._cache.has(shard, block):
                break
        with no_fork():
            built = self._cache.publish(shard, blocks)
        if built:
            report(len(blocks), len(blocks))
        else:
            self._notify(f"warning: {shard.name} cannot be kept; the hub is read each time")
        return built

    def _run(self) -> None:
        while True:
            with self._condition:
                shard = self._next()
                if shard is None or self._stop:
                    self._running = False
                    self._condition.notify_all()
                    return
            try:
                built = self.build(shard)
            except (UserError, OSError) as error:  # the reader will meet it too, and raise it
                built = False
                self._notify(f"{shard.name} is not built: {error}")
            if not built:
                self._given_up.add(shard.name)

    def _next(self) -> Shard | None:
        missing = (shard for shard in self._wanted if not self._cache.has(shard))
        return next((shard for shard in missing if shard.name not in self._given_up), None)

    def _reporter(self, shard: Shard) -> Progress:
        def report(done: int, of: int) -> None:
            state = "is built" if done == of else f"is being built: {done} of {of} blocks"
            self._notify(f"{shard.name} {state}")

        return report
