"""The folder of cached shards: published whole, checked when read, evicted when unused longest.

    data/fineweb_cache/
        shard_00007.parquet     a shard (`cached_shard`)
        shard_00031.part        one being written: invisible until it is renamed
        cache_metadata.json     which shards there are: source, size, tokens, last use
        blocks/  footers/       blocks read ahead of their shard's build; what is known of files
        locks/                  one process at a time builds a shard or changes the folder

cache_metadata.json is written for people and programs that look at the folder. The shards
themselves say all of it (where they come from, in their metadata; their last use, by the time of
the file), so nothing is lost with it, and it is written again at the next change.

**Least recently used (LRU).** There is room for `max_shards`; one more, and the shard that was
opened the longest time ago goes, never one in use:

    opened (old → new)    7 31 98 4 12      + 55 ──▶  31 98 4 12 55       7 is deleted

Locks work between the processes of one machine; the folder must be on a local disk.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from transformer.data.fineweb.cached_shard import CachedShard, DamagedError
from transformer.data.fineweb.retry import Notify, log_notice
from transformer.data.fineweb.shard import Shard
from transformer.errors import UserError
from transformer.machine.files import flush, write_atomically

METADATA = "cache_metadata.json"
VERSION = 2
STALE_SECONDS = 600.0


class ShardCache:
    """Shards of one data set, cut and tokenised in one way (`identity`), at most `max_shards`.

    Any number of threads and processes may share the folder.

    Raises:
        UserError: `max_shards` is below 2, or the folder belongs to another `identity`.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        end_of_text: int,
        max_shards: int,
        notify: Notify = log_notice,
    ) -> None:
        if max_shards < 2:
            raise UserError(
                "max_cached_shards must be at least 2 (the shard in use and the next one), but "
                f"is {max_shards}"
            )
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.identity = identity
        self.max_shards = max_shards
        self.notify = notify
        self._end_of_text = end_of_text
        key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self._blocks = folder / "blocks" / key
        self._thread_lock = threading.RLock()
        self._open: tuple[str, CachedShard] | None = None
        self._check_identity()
        self._remove_leftovers()

    def path(self, shard: Shard) -> Path:
        return self.folder / f"{shard.name}.parquet"

    def temporary(self, shard: Shard) -> Path:
        """Where a shard is written before it is published; only under its lock."""
        return self.folder / f"{shard.name}.part"

    def has(self, shard: Shard) -> bool:
        return self.path(shard).exists()

    def provenance(self, shard: Shard, groups: range) -> dict[str, Any]:
        """What is written into a shard's file about where it comes from."""
        source = {"file": shard.file.path, "groups": [groups.start, groups.stop]}
        return {**self.identity, **source}

    def open(self, shard: Shard) -> CachedShard | None:
        """The shard, if it is here; noted as used now.

        A damaged file is deleted with a warning, and None returned as if it had not been here.
        """
        with self._thread_lock:
            if self._open is not None and self._open[0] == shard.name:
                return self._open[1]
            path = self.path(shard)
            try:
                opened = CachedShard(path, self._end_of_text)
                expected = self.provenance(shard, opened.groups)
                if opened.provenance != expected:
                    raise DamagedError("it was made of something else")
                with self._change():
                    os.utime(path, ns=(time.time_ns(), time.time_ns()))
            except FileNotFoundError:
                return None
            except DamagedError as error:
                self.discard(shard, str(error))
                return None
            self._open = (shard.name, opened)
            return opened

    def discard(self, shard: Shard, reason: str) -> None:
        """Delete a damaged shard."""
        with self._thread_lock:
            self.notify(f"cached {shard.name} is damaged ({reason}): deleted, will be built again")
            self._open = None
            with self._change():
                self._remove(self.path(shard))

    def publish(self, shard: Shard, in_use: set[str]) -> None:
        """Make the finished temporary file the shard; then evict down to `max_shards`.

        Args:
            in_use: names of shards that must stay.
        """
        flush(self.temporary(shard))
        with self._change():
            os.replace(self.temporary(shard), self.path(shard))
            self._evict(in_use | {shard.name}, self.max_shards)
        self.drop_blocks(shard.name)

    def make_room(self, in_use: set[str]) -> bool:
        """Delete the shard unused for longest; False if all are in use."""
        with self._change():
            return self._evict(in_use, len(self._shards()) - 1)

    def entries(self) -> dict[str, dict[str, Any]]:
        """What the folder holds: name → source, groups, bytes, tokens, last_access."""
        entries = {}
        for path in self._shards():
            try:
                opened, status = CachedShard(path, self._end_of_text), path.stat()
            except (DamagedError, FileNotFoundError):
                continue  # deleted by now, or when it is opened to be read
            opened.close()
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

    def block_path(self, shard: Shard, block: int) -> Path:
        """Where the tokens of a block are kept until its shard is published."""
        return self._blocks / f"{shard.name}_{block:05d}.tokens"

    def drop_blocks(self, name: str) -> None:
        """Delete the single blocks of a shard."""
        for block in self._blocks.glob(f"{name}_*"):
            block.unlink(missing_ok=True)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """One change of the folder at a time; then cache_metadata.json tells of it."""
        with self._thread_lock, self.lock("index"):
            yield
            self._write_metadata()

    def _write_metadata(self) -> None:
        whole = {"version": VERSION, "identity": self.identity, "shards": self.entries()}
        try:
            write_atomically(self.folder / METADATA, json.dumps(whole, indent=1).encode())
        except OSError as error:  # a full disk
            self.notify(f"cannot write {METADATA}: {error.strerror}")

    def _shards(self) -> list[Path]:
        return sorted(self.folder.glob("shard_*.parquet"))

    def _evict(self, in_use: set[str], keep: int) -> bool:
        """Delete shards, the one unused for longest first, until `keep` are left."""
        shards = self._shards()
        spare = sorted((path for path in shards if path.stem not in in_use), key=_last_use)
        doomed = spare[: max(0, len(shards) - keep)]
        for path in doomed:
            self._remove(path)
        return bool(doomed)

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def _check_identity(self) -> None:
        for path in self._shards():
            try:
                opened = CachedShard(path, self._end_of_text)
            except (DamagedError, FileNotFoundError):
                continue
            opened.close()
            differences = "; ".join(
                f"{key} is {opened.provenance.get(key)!r} there, {value!r} here"
                for key, value in self.identity.items()
                if opened.provenance.get(key) != value
            )
            if differences:
                raise UserError(
                    f"the cache folder {self.folder} belongs to other data ({differences}); give "
                    "another folder with --cache-dir, or delete this one"
                )

    def _remove_leftovers(self) -> None:
        """Delete what killed processes left half written."""
        for part in self.folder.glob("shard_*.part"):
            try:
                with self.lock(part.stem).acquire(timeout=0):
                    part.unlink(missing_ok=True)
            except Timeout:
                continue  # being built right now
        for part in self.folder.rglob("*.*-*.part"):
            try:
                if time.time() - part.stat().st_mtime > STALE_SECONDS:
                    part.unlink()
            except FileNotFoundError:
                continue  # another process was quicker


def _last_use(path: Path) -> int:
    """The time of a file that is opened; of one that another process has deleted, the oldest."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
