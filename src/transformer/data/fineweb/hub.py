"""Reading a data set on the Hugging Face hub: what files there are, and any bytes of any of them.

A 2 GB Parquet file is never downloaded to read one block of it: HTTP range requests fetch the
footer (which says where every row group is) and then exactly the bytes of a row group.

    listing ──▶ files and sizes ──▶ footer (once per file) ──▶ row group ──▶ texts
    1 request                       1-2 range requests         1 range request

The hub answers a range request with a redirect to the host that has the bytes; the client
library follows it. What fails is tried again by `retry.Retry`.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, HfFileSystem, constants, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

from transformer.data.fineweb.background import spawn
from transformer.data.fineweb.fork_gate import no_fork
from transformer.data.fineweb.retry import Notify, Retry, UnreadableError, log_notice
from transformer.errors import UserError
from transformer.machine.files import read_checked, write_checked

LISTING_SECONDS = 120.0  # the client library sets no time-out on listings
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, as its listing shows it."""

    path: str
    size: int


@dataclass(frozen=True)
class Listing:
    """The Parquet files below a path, at one commit, ordered by path."""

    repo: str
    path: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Listing":
        fields = json.loads(data)
        return cls(**{**fields, "files": tuple(HubFile(**file) for file in fields["files"])})


class Hub:
    """One data set repository. Safe to share between threads, and cheap to create again."""

    def __init__(
        self, repo: str, revision: str, endpoint: str | None = None, notify: Notify = log_notice
    ) -> None:
        """`endpoint`: None for the hub that the environment variable HF_ENDPOINT names, else
        the public one."""
        if re.fullmatch(r"[\w.-]+/[\w.-]+", repo) is None:
            raise UserError(f"a repository is named OWNER/NAME, but --repo is {repo!r}")
        self.repo = repo
        self.revision = revision
        self.endpoint = endpoint
        self.retry = Retry(f"the hub ({endpoint or 'default endpoint'}, {repo})", notify)
        self._files: Any = HfFileSystem(endpoint=endpoint, skip_instance_cache=True)

    def list_files(self, path: str, kept_at: Path) -> Listing:
        """The Parquet files below `path`, remembered in the file `kept_at`.

        A commit never changes, so its listing is fetched once. A branch or a tag may move: its
        listing is fetched each time, and the remembered one is used where there is no network.

        Raises:
            UserError: no such repository, revision or path; or never seen and no network.
        """
        kept = self._read_kept(path, kept_at)
        if kept is not None and _COMMIT.fullmatch(self.revision):
            return kept
        try:
            listing = self.retry(lambda: self._ask_for_listing(path))
        except UserError:
            if kept is None or self.retry.reached:
                raise
            return kept
        if listing != kept:
            self.keep(kept_at, listing.to_json())
        return listing

    def keep(self, path: Path, data: bytes) -> None:
        """For the next start. A disk that is full costs that, and nothing else."""
        try:
            write_checked(path, data)
        except OSError as error:
            self.retry.notify(f"warning: {path} cannot be kept ({error.strerror})")

    @no_fork()
    def read(self, listing: Listing, file: HubFile, start: int, end: int) -> bytes:
        """Bytes `start` … `end` - 1 of a file: one range request, which `retry` may repeat.

        A connection that breaks is left to `retry`: the client library would close, for one
        thread's broken connection, the client that all threads of the process share.
        """
        url = hf_hub_url(
            self.repo,
            file.path,
            repo_type="dataset",
            revision=listing.commit,
            endpoint=self.endpoint,
        )
        headers = {**build_hf_headers(), "range": f"bytes={start}-{end - 1}"}
        time_out = constants.HF_HUB_DOWNLOAD_TIMEOUT
        response = http_backoff(
            "GET", url, retry_on_exceptions=(), headers=headers, timeout=time_out
        )
        hf_raise_for_status(response)
        data: bytes = response.content
        if len(data) != end - start:
            raise UnreadableError(f"requested {end - start} bytes, got {len(data)}")
        return data

    def _ask_for_listing(self, path: str) -> Listing:
        commit = self.revision
        if not _COMMIT.fullmatch(commit):
            api = HfApi(endpoint=self.endpoint)
            with no_fork():
                info = api.dataset_info(self.repo, revision=self.revision, timeout=10)
            commit = info.sha or commit
        root = self._root(commit)
        where = f"{root}/{path}".rstrip("/")
        find = no_fork()(self._files.find)
        listing = spawn(lambda: find(where, detail=True, refresh=True))
        found = listing.result(timeout=LISTING_SECONDS)
        files = tuple(
            HubFile(name[len(root) + 1 :], entry["size"])
            for name, entry in sorted(found.items())
            if name.endswith(".parquet") and entry["size"] > 0
        )
        if not files:
            raise UserError(
                f"there are no Parquet files at {path!r} in {self.repo} (revision "
                f"{self.revision}); {self._siblings(root, path)}"
            )
        return Listing(self.repo, path, self.revision, commit, files)

    def _siblings(self, root: str, path: str) -> str:
        """What there is in place of a path that does not exist, for the error message."""
        parent = path.rstrip("/").rpartition("/")[0]
        try:
            with no_fork():
                names = self._files.ls(f"{root}/{parent}".rstrip("/"), detail=False)
        except OSError:
            return "check --path"
        shown = ", ".join(sorted(name[len(root) + 1 :] for name in names)[:20])
        return f"--path can be one of: {shown}"

    def _root(self, commit: str) -> str:
        return f"datasets/{self.repo}@{commit}"

    def _read_kept(self, path: str, kept_at: Path) -> Listing | None:
        data = read_checked(kept_at)
        listing = Listing.from_json(data) if data else None
        wanted = (self.repo, path, self.revision)
        if listing is None or (listing.repo, listing.path, listing.revision) != wanted:
            return None
        return listing
