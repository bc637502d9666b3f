"""A text data set on the hub as it lies there: its files, its shards, their split, any block."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from transformer.data.fineweb.hub import Hub, HubFile
from transformer.data.fineweb.remote_parquet import RemoteParquet
from transformer.data.fineweb.retry import Notify, log_notice
from transformer.data.fineweb.shard import SHARD_BYTES, Shard, cut_into_shards, split_shards
from transformer.errors import UserError

FINEWEB = "HuggingFaceFW/fineweb"
FINEWEB_REVISION = "9bb295ddab0e05d785b879661af7260fed5140fc"  # v1.4.0
Split = Literal["train", "validation"]
OPEN_FOOTERS = 3  # parsed, about 10 MB each


@dataclass(frozen=True)
class FineWebConfig:
    """Which data set of the hub, and how it is kept and counted.

    Any data set with a text column in Parquet files works; FineWeb-Edu is
    `repo="HuggingFaceFW/fineweb-edu"`.
    """

    repo: str = FINEWEB
    """The data set on the hub, OWNER/NAME."""
    path: str = "sample/10BT"
    """The folder of its Parquet files: a configuration such as sample/10BT or sample/100BT."""
    revision: str | None = None
    """Commit, tag or branch; None is a fixed commit for FineWeb and "main" for the others."""
    text_column: str = "text"
    """The column that holds the documents."""
    hub_endpoint: str | None = None
    """Another hub's address; None is what HF_ENDPOINT says, else the public hub."""
    cache_dir: Path | None = None
    """Where shards are kept; None is data/fineweb_cache, data/NAME_cache for another data set.
    It must be on a local disk."""
    max_cached_shards: int = 5
    """Shards kept on disk, about 300 MB each; one more while one is being built."""
    tokens_per_epoch: int | None = 100_000_000
    """What counts as an epoch; None is a pass over the whole split."""
    eval_tokens: int = 262_144
    """Tokens of the validation split that an evaluation looks at, always the same ones."""
    workers: int = 1
    """Threads that fetch and tokenise blocks ahead; the order is the same for any number."""
    shard_bytes: int = SHARD_BYTES
    """About so much of a file makes a shard. Another value is another split."""

    def __post_init__(self) -> None:
        least = {"tokens_per_epoch": 1, "eval_tokens": 1, "workers": 0, "shard_bytes": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise UserError(f"{name} must be at least {minimum}, but is {value}")

    @property
    def pinned_revision(self) -> str:
        return self.revision or (FINEWEB_REVISION if self.repo == FINEWEB else "main")

    @property
    def folder(self) -> Path:
        name = "fineweb" if self.repo == FINEWEB else self.repo.split("/")[-1]
        return self.cache_dir or Path("data") / f"{name}_cache"


class HubText:
    """A data set's files, cut into shards and split; safe for several threads.

    Attributes:
        shards: all of them, in the order of the files.
        train, validation: the two sides of the split.
    """

    def __init__(self, config: FineWebConfig, notify: Notify) -> None:
        self.config = config
        revision = config.pinned_revision
        self.hub = Hub(config.repo, revision, config.hub_endpoint, notify)
        kept_at = config.folder / f"listing_{revision.replace('/', '_')}.json"
        self.listing = self.hub.list_files(config.path, kept_at)
        self._remote: OrderedDict[str, RemoteParquet] = OrderedDict()
        self._lock = threading.Lock()
        self.shards = cut_into_shards(
            self.listing.files, config.shard_bytes, lambda file: self.remote(file).n_blocks
        )
        self.train, self.validation = split_shards(self.shards)

    def split(self, name: str) -> tuple[Shard, ...]:
        """
        Raises:
            UserError: there is no such split.
        """
        if name not in get_args(Split):
            raise UserError(f'split must be "train" or "validation", but is {name!r}')
        return self.train if name == "train" else self.validation

    def blocks(self, shard: Shard) -> range:
        """The row groups of a shard, from the footer of its file."""
        return shard.blocks(self.remote(shard.file).n_blocks)

    def remote(self, file: HubFile) -> RemoteParquet:
        """A file on the hub, with its footer as long as it is among the last ones used."""
        with self._lock:
            if file.path not in self._remote:
                key = sha256(f"{self.hub.repo}/{self.listing.commit}/{file.path}".encode())
                kept_at = self.config.folder / "footers" / f"{key.hexdigest()[:16]}.footer"
                self._remote[file.path] = RemoteParquet(
                    self.hub, self.listing, file, self.config.text_column, kept_at
                )
            self._remote.move_to_end(file.path)
            while len(self._remote) > OPEN_FOOTERS:
                self._remote.popitem(last=False)
            return self._remote[file.path]


def training_texts(config: FineWebConfig, notify: Notify = log_notice) -> Iterator[str]:
    """The documents of the training split in the order of the files, straight from the hub:
    what a tokenizer is trained on before anything can be tokenised."""
    text = HubText(config, notify)
    for shard in text.train:
        for block in text.blocks(shard):
            yield from text.remote(shard.file).read_block(block)
