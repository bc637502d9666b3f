"""The folder of cached shards: published whole, checked when opened, evicted when unused longest.

    data/fineweb_cache/
        shard_00007.parquet     a shard (`cached_shard`)
        shard_00031.part        one being written: invisible until it is renamed
        cache_metadata.json     an index: size, hash and last use of each shard
        blocks/  footers/       blocks read ahead of their shard's build; what is known of files
        locks/                  one process at a time builds a shard or writes the index

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
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from transformer.data.fineweb.cache_index import CacheIndex, Entry
from transformer.data.fineweb.cached_shard import CachedShard, DamagedError, hash_file
from transformer.data.fineweb.retry import Notify, log_notice
from transformer.data.fineweb.shard import Shard
from transformer.errors import UserError

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
        self._index = CacheIndex(folder, identity, end_of_text, notify)
        self._thread_lock = threading.RLock()
        self._open: tuple[str, CachedShard] | None = None
        self._trusted: set[str] = set()  # checked, or written, by this process
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
        """The shard, if it is here and whole; checked at the first opening of a process.

        A damaged file is deleted with a warning, and None returned as if it had not been here.
        """
        with self._thread_lock:
            if self._open is not None and self._open[0] == shard.name:
                return self._open[1]
            try:
                opened = CachedShard(self.path(shard), self._end_of_text)
                self._check(shard, opened)
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
            self._trusted.discard(shard.name)
            with self._index.edit() as entries:
                self._remove(shard.name, entries)

    def publish(self, shard: Shard, in_use: set[str]) -> None:
        """Make the finished temporary file the shard; then evict down to `max_shards`.

        Args:
            in_use: names of shards that must stay.
        """
        temporary = self.temporary(shard)
        opened = CachedShard(temporary, self._end_of_text)
        entry = self._index.describe(opened, temporary)
        opened.close()
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        with self._index.edit() as entries:
            os.replace(temporary, self.path(shard))
            self._trusted.add(shard.name)
            entries[shard.name] = entry
            self._evict(entries, in_use | {shard.name}, self.max_shards)
        self.drop_blocks(shard.name)

    def make_room(self, in_use: set[str]) -> bool:
        """Delete the shard unused for longest; False if all are in use."""
        with self._index.edit() as entries:
            return self._evict(entries, in_use, len(entries) - 1)

    def entries(self) -> dict[str, Entry]:
        """The index: name → source, groups, bytes, sha256, tokens, last_access."""
        with self._index.edit() as entries:
            return dict(entries)

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

    def _check(self, shard: Shard, opened: CachedShard) -> None:
        """The first opening of a process reads every byte once; every opening notes the time."""
        path = self.path(shard)
        with self._index.edit() as entries:
            entry = entries.get(shard.name)
            if entry is None:
                raise FileNotFoundError(path)
            expected = {**self.identity, "file": shard.file.path}
            if {key: opened.provenance.get(key) for key in expected} != expected:
                raise DamagedError("it was made of something else")
            if shard.name not in self._trusted:
                if path.stat().st_size != entry["bytes"] or hash_file(path) != entry["sha256"]:
                    raise DamagedError("its bytes are not those that were written")
                self._trusted.add(shard.name)
            entries[shard.name] = {**entry, "last_access": time.time()}

    def _evict(self, entries: dict[str, Entry], in_use: set[str], keep: int) -> bool:
        spare = sorted(
            (name for name in entries if name not in in_use),
            key=lambda name: float(entries[name]["last_access"]),
        )
        doomed = spare[: max(0, len(entries) - keep)]
        for name in doomed:
            self._remove(name, entries)
        return bool(doomed)

    def _remove(self, name: str, entries: dict[str, Entry]) -> None:
        (self.folder / f"{name}.parquet").unlink(missing_ok=True)
        entries.pop(name, None)

    def _check_identity(self) -> None:
        found = self._index.found_identity()
        if found is None or found == self.identity:
            return
        differences = "; ".join(
            f"{key} is {found.get(key)!r} there, {value!r} here"
            for key, value in self.identity.items()
            if found.get(key) != value
        )
        raise UserError(
            f"the cache folder {self.folder} belongs to other data ({differences}); give another "
            "folder with --cache-dir, or delete this one"
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
