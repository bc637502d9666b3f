"""Building shards beside the training: fetch, tokenise, write, publish, evict.

    want([31, 7]) ──▶ lock 31 ──▶ fetch 32 MiB ──▶ tokenise ──▶ shard_00031.part ──▶ rename
                      (one process)      ▲                │
                                         └── next piece ──┘ … then 7, the next one in the order

The shard that is being read is built first, then the one after it (the prefetch). Blocks that
were read through meanwhile are not tokenised again, and those that the build has done are left
as block files, so that the reader finds them before the shard is published.
"""

import errno
import threading
from collections.abc import Callable, Sequence

from filelock import Timeout

from transformer.data.fineweb.background import spawn
from transformer.data.fineweb.block_reader import BlockReader
from transformer.data.fineweb.cached_shard import ShardWriter
from transformer.data.fineweb.fork_gate import fork_allowed, no_fork
from transformer.data.fineweb.shard import Shard
from transformer.errors import UserError

LOCK_SECONDS = 0.2
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
Progress = Callable[[int, int], None]
"""Called with (blocks done, blocks of the shard)."""


class _StoppedError(Exception):
    """The builder was told to end."""


class ShardBuilder:
    """Builds wanted shards in a background thread, or one at a time with `build`."""

    def __init__(self, reader: BlockReader) -> None:
        self._reader = reader
        self._cache = reader.cache
        self._notify = reader.cache.notify
        self._wanted: list[Shard] = []
        self._given_up: set[str] = set()
        self._condition = threading.Condition(threading.RLock())
        self._running = False
        self._stop = False

    def protect(self, shards: Sequence[Shard]) -> None:
        """Replace the list of wanted shards, most urgent first: they are not evicted."""
        with self._condition:
            self._wanted = list(shards)

    def want(self, shards: list[Shard]) -> None:
        """Protect these shards, and build those that are missing in the background."""
        with self._condition:
            if shards == self._wanted:
                return
            self.protect(shards)
            if not self._running and not self._stop and self._next() is not None:
                self._running = True
                spawn(self._run, politely=True)

    def close(self, seconds: float = 5.0) -> None:
        """End the thread after the block at hand; wait for it at most so long."""
        with self._condition:
            self._stop = True
            self._condition.wait_for(lambda: not self._running, timeout=seconds)

    def build(self, shard: Shard, progress: Progress | None = None) -> bool:
        """Build and publish one shard, unless it is there; False if there is no room for it.

        Raises:
            UserError: the hub cannot be read.
        """
        lock = self._cache.lock(shard.name)
        while not self._stop:
            try:
                with no_fork(), lock.acquire(timeout=LOCK_SECONDS):
                    if self._cache.has(shard) and self._cache.open(shard) is not None:
                        return True  # there, and not damaged
                    return self._build_with_room(shard, progress)
            except Timeout:
                continue  # another process builds it
        return False

    def _run(self) -> None:
        while True:
            with self._condition:
                shard = self._next()
                if shard is None or self._stop:
                    self._running = False
                    self._condition.notify_all()
                    return
            try:
                if not self.build(shard):
                    self._given_up.add(shard.name)
            except _StoppedError:
                continue
            except (UserError, OSError) as error:  # the reader will meet it too, and say it
                self._given_up.add(shard.name)
                self._notify(f"{shard.name} is not built: {error}")

    def _next(self) -> Shard | None:
        return next(
            (
                shard
                for shard in self._wanted
                if shard.name not in self._given_up and not self._cache.has(shard)
            ),
            None,
        )

    def _in_use(self) -> set[str]:
        return {shard.name for shard in self._wanted}

    def _build_with_room(self, shard: Shard, progress: Progress | None) -> bool:
        """Write and publish; on a full disk evict one shard and try once more."""
        for attempt in (1, 2):
            try:
                self._write(shard, progress, keep_blocks=attempt == 1)
                self._cache.publish(shard, self._in_use())
                return True
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                self._cache.temporary(shard).unlink(missing_ok=True)
                self._cache.drop_blocks(shard.name)
                self._notify(f"no room for {shard.name} in {self._cache.folder}")
                if attempt == 2 or not self._cache.make_room(self._in_use()):
                    break
            finally:
                self._cache.temporary(shard).unlink(missing_ok=True)
        self._notify(f"warning: the disk is full; {shard.name} is read from the hub, not cached")
        return False

    def _write(self, shard: Shard, progress: Progress | None, keep_blocks: bool) -> None:
        reader, cache = self._reader, self._cache
        blocks = reader.text.blocks(shard)
        end_of_text = reader.tokenizer.end_of_text
        keep_blocks = keep_blocks and shard in self._wanted[:1]  # the one that is being read
        provenance = cache.provenance(shard, blocks)
        with ShardWriter(cache.temporary(shard), provenance, reader.dtype) as writer:
            for done, (block, texts) in enumerate(reader.text.remote(shard.file).read_run(blocks)):
                if self._stop:
                    raise _StoppedError
                self._report(shard, done, len(blocks), progress)
                tokens = reader.read_kept(shard, block)
                if tokens is None:
                    tokens = reader.tokenize(texts)
                    if keep_blocks:
                        reader.keep(shard, block, tokens)
                writer.write(texts, tokens, end_of_text)
                with fork_allowed():
                    pass  # between two blocks
        self._report(shard, len(blocks), len(blocks), progress)

    def _report(self, shard: Shard, done: int, of: int, progress: Progress | None) -> None:
        if progress is not None:
            progress(done, of)
        elif done == of:
            self._notify(f"{shard.name} is built")
        else:
            self._notify(f"{shard.name} is being built: {done} of {of} blocks")
