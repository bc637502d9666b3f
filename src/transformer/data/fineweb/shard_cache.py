"""The folder of cached shards: whole or absent, checked when read, least recently used go first.

    data/fineweb_cache/
        shard_00007.parquet     a shard (`cached_shard`)
        cache_metadata.json     which shards there are: source, size, tokens, last use
        blocks/                 blocks of shards that are not complete yet
        footers/                what is known of the files on the hub
        locks/                  one process at a time reads a block or changes the folder

cache_metadata.json is written for people and programs that look at the folder: at each start, and
when a shard comes or goes. The shards themselves say all of it (where they come from, in their
metadata; their last use, by the time of the file), so losing this file loses nothing.

**Least recently used (LRU).** There is room for `max_shards`. When there is one more, the shard
opened longest ago is deleted, but never one in use:

    opened (old → new)    7 31 98 4 12      + 55 ──▶  31 98 4 12 55       7 is deleted

On a full disk one is deleted early. Locks work between the processes of one machine; the folder
must be on a local disk.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from transformer.data.fineweb.cached_shard import CachedShard, DamagedError, make_table, write_shard
from transformer.data.fineweb.retry import Notify, log_notice
from transformer.data.fineweb.shard import Shard
from transformer.data.packing import Tokens, token_dtype
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.machine.files import NO_ROOM, is_abandoned, replaced, write_atomically

METADATA = "cache_metadata.json"
VERSION = 2
STALE_SECONDS = 86_400.0  # a block file unused for this long is deleted


class ShardCache:
    """Shards of one data set, cut and tokenised in one way (`identity`), at most `max_shards`.

    Any number of threads and processes may share the folder.

    Attributes:
        in_use: names of shards that are not evicted.

    Raises:
        UserError: the folder belongs to another `identity`.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        tokenizer: Tokenizer,
        max_shards: int,
        notify: Notify = log_notice,
    ) -> None:
        self.folder, self.identity, self.max_shards = folder, identity, max_shards
        self.notify = notify
        self.dtype = token_dtype(tokenizer.vocab_size)
        self.in_use: set[str] = set()
        self._end_of_text = tokenizer.end_of_text
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self._blocks = folder / "blocks" / key
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        with self._change():
            for _, opened in self._whole_shards():
                self._check(opened.provenance)
            for part in folder.rglob(".*.part"):
                if is_abandoned(part):
                    part.unlink(missing_ok=True)

    def path(self, shard: Shard, block: int | None = None) -> Path:
        """Where a shard is, or one of its blocks until the shard is complete."""
        if block is None:
            return self.folder / f"{shard.name}.parquet"
        return self._blocks / f"{shard.name}_{block:05d}.parquet"

    def has(self, shard: Shard, block: int | None = None) -> bool:
        """Whether the shard is here, or at least this block of it."""
        return self.path(shard).exists() or (block is not None and self.path(shard, block).exists())

    def open(self, shard: Shard, block: int | None = None) -> CachedShard | None:
        """The shard or block, if it is here; it counts as used now.

        A damaged file is deleted with a warning, and None returned as if it had not been here.
        """
        path = self.path(shard, block)
        try:
            opened = CachedShard(path, self._end_of_text)
            if opened.provenance != self._provenance(shard, opened.groups):
                raise DamagedError("it was made of something else")
            os.utime(path, ns=(time.time_ns(), time.time_ns()))
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self._discard(path, error)
            return None
        return opened

    def read(self, shard: Shard, block: int) -> tuple[str, Tokens] | None:
        """The tokens of a block, and whether they came from its "shard" or from a file of the
        "block" alone; None if there is no undamaged file of either kind."""
        opened, way, path = self.open(shard), "shard", self.path(shard)
        if opened is None:
            opened, way, path = self.open(shard, block), "block", self.path(shard, block)
        try:
            return None if opened is None else (way, opened.read_tokens(block))
        except DamagedError as error:
            self._discard(path, error)
            return None

    def keep(self, shard: Shard, block: int, texts: Sequence[str], tokens: Tokens) -> None:
        """Keep a block until its shard is complete, if there is room for it."""
        table = make_table(texts, tokens, self._end_of_text)
        groups = range(block, block + 1)
        self._write(self.path(shard, block), shard, groups, lambda _: [table])

    def publish(self, shard: Shard, blocks: range) -> bool:
        """Join all the kept blocks into the shard; then evict down to `max_shards`.

        Returns False if there is no room, or a block was not kept.
        """

        def tables(frugal: bool) -> Iterator[pa.Table]:
            for block in blocks:
                path = self.path(shard, block)
                yield CachedShard(path, self._end_of_text).read_table(block)
                if frugal:
                    path.unlink()

        with self.lock(shard.name):
            done = self.has(shard) or self._write(self.path(shard), shard, blocks, tables)
        if done:
            with self._change():
                self._evict(self.in_use or {shard.name}, self.max_shards)
        long_ago = time.time() - STALE_SECONDS
        for path in self._blocks.glob("*"):
            with suppress(FileNotFoundError):  # another process has deleted it
                if path.name.startswith(f"{shard.name}_") or path.stat().st_mtime < long_ago:
                    path.unlink()
        return done

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the folder holds: name → source, groups, bytes, tokens, last_access."""
        entries = {}
        for path, opened in self._whole_shards():
            with suppress(FileNotFoundError):  # deleted by now
                status = path.stat()
                entries[path.stem] = {
                    "source": opened.provenance["file"],
                    "groups": opened.provenance["groups"],
                    "bytes": status.st_size,
                    "tokens": opened.n_tokens,
                    "last_access": status.st_mtime,
                }
        return entries

    def lock(self, name: str) -> FileLock:
        """A lock that one thread of one process can hold at a time."""
        return FileLock(self.folder / "locks" / f"{name}.lock", thread_local=False)

    def _check(self, provenance: dict[str, Any]) -> None:
        for key, value in self.identity.items():
            if provenance.get(key) != value:
                raise UserError(
                    f"the cache folder {self.folder} belongs to other data ({key} is "
                    f"{provenance.get(key)!r} there, {value!r} here); give another folder with "
                    "--cache-dir, or delete this one"
                )

    def _discard(self, path: Path, error: DamagedError) -> None:
        with self._change():
            self.notify(f"cached {path.stem} is damaged ({error}): deleted, will be built again")
            path.unlink(missing_ok=True)

    def _provenance(self, shard: Shard, groups: range) -> dict[str, Any]:
        """What is written into a file about where it comes from."""
        source = {"file": shard.file.path, "groups": [groups.start, groups.stop]}
        return {**self.identity, **source}

    def _write(
        self, path: Path, shard: Shard, groups: range, tables: Callable[[bool], Iterable[pa.Table]]
    ) -> bool:
        """Write a file, whole or not at all. On a full disk one shard is deleted, and `tables` is
        called once more, now to be frugal with space."""
        provenance = self._provenance(shard, groups)
        for frugal in (False, True):
            try:
                with replaced(path, sync=len(groups) > 1) as temporary:
                    write_shard(temporary, provenance, self.dtype, tables(frugal))
                return True
            except OSError as error:
                if error.errno not in NO_ROOM:
                    self.notify(f"{path.stem} is not kept: {error.strerror or error}")
                    return False
                self.notify(f"no room for {path.stem} in {self.folder}")
                with self._change():
                    self._evict(self.in_use, len(self._shards()) - 1)
        return False

    @contextmanager
    def _change(self) -> Iterator[None]:
        """One change of the folder at a time; then cache_metadata.json is written again."""
        with self.lock("index"):
            yield
            whole = {"version": VERSION, "identity": self.identity, "shards": self.entries()}
            try:
                write_atomically(self.folder / METADATA, json.dumps(whole, indent=1).encode())
            except OSError as error:  # a full disk
                self.notify(f"cannot write {METADATA}: {error.strerror}")

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard_*.parquet"))

    def _whole_shards(self) -> Iterator[tuple[Path, CachedShard]]:
        """The shards that can be opened; the others are deleted when someone reads them."""
        for path in self._shards():
            with suppress(DamagedError, FileNotFoundError):
                yield path, CachedShard(path, self._end_of_text)

    def _evict(self, in_use: set[str], keep: int) -> None:
        """Delete shards, the one unused for longest first, until `keep` are left."""
        shards = self._shards()
        spare = sorted((path for path in shards if path.stem not in in_use), key=_last_use)
        doomed = spare[: max(0, len(shards) - keep)]
        for path in doomed:
            path.unlink(missing_ok=True)


def _last_use(path: Path) -> int:
    """When a shard was last opened; the oldest time for one that another process has deleted."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
