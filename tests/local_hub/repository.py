"""A folder as a repository: what the hub's API says about it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def commit_of(repo: str) -> str:
    """The one commit of a repository: 40 hex digits, the same on every machine."""
    return hashlib.sha1(repo.encode()).hexdigest()


@dataclass(frozen=True)
class Repository:
    """`revisions` are the names under which its one commit is known."""

    repo: str
    folder: Path
    revisions: frozenset[str]

    @property
    def commit(self) -> str:
        return commit_of(self.repo)

    def has(self, revision: str) -> bool:
        return revision == self.commit or revision in self.revisions

    def info(self) -> dict[str, Any]:
        return {
            "_id": self.commit[:24],
            "id": self.repo,
            "author": self.repo.split("/")[0],
            "sha": self.commit,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": entry["path"]} for entry in self.tree("", True) or []],
        }

    def tree(self, path: str, recursive: bool) -> list[dict[str, Any]] | None:
        """The entries below a folder, None where there is no such folder."""
        folder = self.folder / path
        if not folder.is_dir():
            return None
        found = sorted(folder.rglob("*") if recursive else folder.iterdir())
        return [self.entry(child) for child in found]

    def entry(self, path: Path) -> dict[str, Any]:
        name = path.relative_to(self.folder).as_posix()
        oid = hashlib.sha1(f"{name}:{path.stat().st_size}".encode()).hexdigest()
        if path.is_dir():
            return {"type": "directory", "oid": oid, "size": 0, "path": name}
        if path.suffix == ".safetensors":  # a large file, which the hub names by its SHA-256
            oid = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"type": "file", "oid": oid, "size": path.stat().st_size, "path": name}
