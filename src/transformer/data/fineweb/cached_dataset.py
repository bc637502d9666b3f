"""A hub data set, ready to be read as tokens: its cache, its reader, its builder."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from transformer.data.fineweb.block_order import Position, Visit, visits
from transformer.data.fineweb.block_reader import BlockReader
from transformer.data.fineweb.block_stream import read_ahead
from transformer.data.fineweb.config import FineWebConfig
from transformer.data.fineweb.hub_dataset import HubText, Split
from transformer.data.fineweb.retry import Notify
from transformer.data.fineweb.shard import Shard
from transformer.data.fineweb.shard_builder import ShardBuilder
from transformer.data.fineweb.shard_cache import ShardCache
from transformer.data.packing import Tokens, permutation
from transformer.data.tokenizer import Tokenizer


class ShardedText(HubText):
    """A `HubText` with everything to read it as tokens; it starts no work by itself.

    Attributes:
        identity: what the cached shards are made of; equal identities can share a cache.
    """

    def __init__(self, config: FineWebConfig, tokenizer: Tokenizer, notify: Notify) -> None:
        super().__init__(config, notify)
        self.identity: dict[str, Any] = {
            "repo": config.repo,
            "revision": self.listing.commit,
            "path": config.path,
            "text_column": config.text_column,
            "tokenizer": tokenizer.fingerprint,
            "shard_bytes": config.shard_bytes,
        }
        self.cache = ShardCache(
            config.folder, self.identity, tokenizer, config.max_cached_shards, notify
        )
        self.reader = BlockReader(self, self.cache, tokenizer)
        self.builder = ShardBuilder(self.reader)

    def fingerprint(self, split: str, seq_length: int, seed: int) -> str:
        """16 hex digits: equal for streams that yield the same sequences in the same order."""
        files = [(file.path, file.size) for file in self.listing.files]
        stream = {"split": split, "seq_length": seq_length, "seed": seed, "files": files}
        whole = json.dumps({**self.identity, **stream}, sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def shard_order(self, seed: int) -> list[Shard]:
        """The training shards in the order of the first pass."""
        return [self.train[i] for i in permutation(len(self.train), "train", seed, 0, "shards")]

    def stream(
        self, split: Split, start: Position, seed: int, *, passes: int | None = None
    ) -> Iterator[tuple[Visit, Tokens]]:
        """The blocks of a split from a position on. The validation order knows no seed: it is
        the same in every run."""
        key = ("train", seed) if split == "train" else ("validation",)
        order: Iterator[Visit] = visits(
            self.split(split), start, self.reader.blocks, *key, passes=passes
        )
        return read_ahead(order, self._read, self.config.workers)

    def build_around(self, visit: Visit) -> None:
        """Have the shard of this visit cached, then the next one."""
        upcoming = [] if visit.next_shard is None else [visit.next_shard]
        self.builder.want([visit.shard, *upcoming])

    def _read(self, visit: Visit) -> Tokens:
        return self.reader.read(visit.shard, visit.block)
