"""cache_metadata.json: what the folder of cached shards holds, in a form that is quick to read.

It is an index and nothing more. Every change happens under a lock and replaces the file whole;
where it is missing, damaged or behind, it is made again from the shards themselves.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from transformer.data.fineweb.cached_shard import CachedShard, DamagedError, hash_file
from transformer.data.fineweb.retry import Notify
from transformer.machine.checked_file import write_atomically

VERSION = 1
NAME = "cache_metadata.json"
Entry = dict[str, Any]
"""source, groups, bytes, sha256, tokens, last_access"""

_FIELDS = {"source", "groups", "bytes", "sha256", "tokens", "last_access"}


class CacheIndex:
    """The index of one folder; `identity` says what its shards were made of, and how."""

    def __init__(
        self, folder: Path, identity: dict[str, Any], end_of_text: int, notify: Notify
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._end_of_text = end_of_text
        self._notify = notify
        self._thread_lock = threading.RLock()

    @contextmanager
    def edit(self) -> Iterator[dict[str, Entry]]:
        """The entries by name, true to the folder, under a lock; changes are written."""
        lock = FileLock(self._folder / "locks" / "index.lock", thread_local=False)
        with self._thread_lock, lock:
            kept = self._read()
            entries = {}
            for path in sorted(self._folder.glob("shard_*.parquet")):
                entry = kept.get(path.stem) or self._adopt(path)
                if entry is not None:
                    entries[path.stem] = entry
            try:
                yield entries
            finally:
                if entries != kept:
                    self._write(entries)

    def describe(self, opened: CachedShard, path: Path) -> Entry:
        """The entry of a shard that is known to be whole."""
        return {
            "source": opened.provenance.get("file"),
            "groups": opened.provenance.get("groups"),
            "bytes": path.stat().st_size,
            "sha256": hash_file(path),
            "tokens": opened.n_tokens,
            "last_access": time.time(),
        }

    def found_identity(self) -> dict[str, Any] | None:
        """What the folder's shards were made of: from the index, else from a shard."""
        shards = sorted(self._folder.glob("shard_*.parquet"))
        found = (self._read_whole() or {}).get("identity")
        if shards and isinstance(found, dict):
            return found
        for path in shards:
            try:
                provenance = CachedShard(path, self._end_of_text).provenance
            except (DamagedError, FileNotFoundError):
                continue
            return {key: provenance.get(key) for key in self._identity}
        return None

    def _adopt(self, path: Path) -> Entry | None:
        """The entry of a shard that the index does not know: its process died before it wrote
        the index, or the index is lost. It is read in full; a damaged one is deleted."""
        try:
            opened = CachedShard(path, self._end_of_text)
            opened.check()
            return self.describe(opened, path)
        except FileNotFoundError:
            return None
        except DamagedError as error:
            self._notify(f"cached {path.stem} is damaged ({error}): deleted, will be built again")
            path.unlink(missing_ok=True)
            return None

    def _read(self) -> dict[str, Entry]:
        shards = (self._read_whole() or {}).get("shards")
        return {
            name: entry
            for name, entry in (shards if isinstance(shards, dict) else {}).items()
            if isinstance(entry, dict) and entry.keys() >= _FIELDS
        }

    def _read_whole(self) -> dict[str, Any] | None:
        try:
            whole = json.loads((self._folder / NAME).read_bytes())
        except (OSError, ValueError):
            return None
        current = isinstance(whole, dict) and whole.get("version") == VERSION
        return whole if current else None

    def _write(self, entries: dict[str, Entry]) -> None:
        whole = {"version": VERSION, "identity": self._identity, "shards": entries}
        try:
            write_atomically(self._folder / NAME, json.dumps(whole, indent=1).encode())
        except OSError as error:  # a full disk; the index can be made again
            self._notify(f"cannot write {NAME}: {error.strerror}")
