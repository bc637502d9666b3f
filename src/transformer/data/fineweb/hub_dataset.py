"""A text data set on the hub as it lies there: its files, its shards, their split, any block."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from typing import Literal, get_args

from transformer.data.fineweb.config import FineWebConfig
from transformer.data.fineweb.hub import Hub, HubFile
from transformer.data.fineweb.remote_parquet import RemoteParquet
from transformer.data.fineweb.retry import Notify, log_notice
from transformer.data.fineweb.shard import Shard, cut_into_shards, split_shards
from transformer.errors import UserError

Split = Literal["train", "validation"]
OPEN_FOOTERS = 3  # parsed, about 10 MB each


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
