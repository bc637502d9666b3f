"""A text data set of the hub: its files, shards and split, and any block of it as tokens.

A block is read from wherever it is quickest to get:

    read(shard 31, block 12)
       1. the cached shard                        complete on disk
       2. a block file                            this block has been read before
       3. the hub: one range request, ~2 MB       tokenise, and keep it as a block file

The first batch of a run takes way 3 and arrives within seconds; so does a resume in the middle of
a shard. Training or the builder, in this process or another, fetches and tokenises a block when it
needs it first, under a lock; all others find it on the disk. So every block is fetched once and
tokenised once.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any, Literal, get_args

from transformer.data.fineweb.background import Precedence
from transformer.data.fineweb.block_order import Position, Visit, visits
from transformer.data.fineweb.block_stream import read_ahead
from transformer.data.fineweb.config import FineWebConfig
from transformer.data.fineweb.fork_gate import fork_allowed, no_fork
from transformer.data.fineweb.hub import Hub, HubFile
from transformer.data.fineweb.remote_parquet import RemoteParquet
from transformer.data.fineweb.retry import Notify, log_notice
from transformer.data.fineweb.shard import SHARD_BYTES, Shard, cut_into_shards, split_shards
from transformer.data.fineweb.shard_builder import ShardBuilder
from transformer.data.fineweb.shard_cache import ShardCache
from transformer.data.packing import Tokens, join_documents, permutation
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError

Split = Literal["train", "validation"]
OPEN_FOOTERS = 3  # parsed, about 10 MB each
LOCKS = 64  # of blocks; neighbours never share one


class HubText:
    """A data set's files, cut into shards and split; safe for several threads.

    Attributes:
        shards: all of them, in the order of the files.
        train, validation: the two sides of the split.
        remote: gives a file, with its footer as long as it is among the last ones used.
    """

    def __init__(self, config: FineWebConfig, notify: Notify) -> None:
        self.config = config
        revision = config.pinned_revision
        self.hub = Hub(config.repo, revision, config.hub_endpoint, notify)
        kept_at = config.cache_folder / f"listing_{revision.replace('/', '_')}.json"
        self.listing = self.hub.list_files(config.path, kept_at)
        self.remote = lru_cache(OPEN_FOOTERS)(self._open_remote)
        self.shards = cut_into_shards(
            self.listing.files, SHARD_BYTES, lambda file: self.remote(file).n_blocks
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

    def _open_remote(self, file: HubFile) -> RemoteParquet:
        key = hashlib.sha256(f"{self.hub.repo}/{self.listing.commit}/{file.path}".encode())
        kept_at = self.config.cache_folder / "footers" / f"{key.hexdigest()[:16]}.footer"
        return RemoteParquet(self.hub, self.listing, file, self.config.text_column, kept_at)


class ShardedText(HubText):
    """A `HubText` with everything to read it as tokens; it starts no work by itself.

    Attributes:
        identity: what the cached shards are made of; equal identities can share a cache.
        precedence: while a block is fetched for training, the builder begins no other.
        counts: how many blocks came in each of the three ways ("shard", "block", "hub").
    """

    def __init__(self, config: FineWebConfig, tokenizer: Tokenizer, notify: Notify) -> None:
        super().__init__(config, notify)
        self.identity: dict[str, Any] = {
            "repo": config.repo,
            "revision": self.listing.commit,
            "path": config.path,
            "text_column": config.text_column,
            "tokenizer": tokenizer.fingerprint,
            "shard_bytes": SHARD_BYTES,
        }
        self.tokenizer = tokenizer
        self.counts: Counter[str] = Counter()
        self.cache = ShardCache(
            config.cache_folder, self.identity, tokenizer, config.max_cached_shards, notify
        )
        self.precedence = Precedence()
        build = partial(self.read, urgent=False)
        self.builder = ShardBuilder(self.cache, self.blocks, build, self.precedence)

    @no_fork()
    def blocks(self, shard: Shard) -> range:
        """The row groups of a shard: from the shard if it is cached, else from the footer."""
        opened = self.cache.open(shard)
        return super().blocks(shard) if opened is None else opened.groups

    @no_fork()
    def read(self, shard: Shard, block: int, *, urgent: bool = True) -> Tokens:
        """The tokens of one row group, with end-of-text around every document.

        Args:
            urgent: training waits for them; the builder begins no other block meanwhile.

        Raises:
            UserError: it is not cached, and the hub cannot be read.
        """
        found = self.cache.read(shard, block)
        if found is None:
            with self.precedence.urgent() if urgent else nullcontext():
                found = self._read_new(shard, block)
        way, tokens = found
        self.counts[way] += 1
        return tokens

    def _read_new(self, shard: Shard, block: int) -> tuple[str, Tokens]:
        """From the hub, unless another thread or process has just done so."""
        with fork_allowed():  # the holder of the lock may be waiting for the hub
            lock = self.cache.lock(f"block_{block % LOCKS}").acquire()
        with lock:
            return self.cache.read(shard, block) or ("hub", self._fetch(shard, block))

    def _fetch(self, shard: Shard, block: int) -> Tokens:
        texts = self.remote(shard.file).read_block(block)
        documents = map(self.tokenizer.encode_array, texts)
        tokens = join_documents(documents, self.tokenizer.end_of_text, self.cache.dtype)
        self.cache.keep(shard, block, texts, tokens)
        return tokens

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
        """The blocks of a split from a position on. The validation order does not depend on the
        seed: it is the same in every run."""
        key = ("train", seed) if split == "train" else ("validation",)
        order: Iterator[Visit] = visits(self.split(split), start, self.blocks, *key, passes=passes)
        return read_ahead(
            order, lambda visit: self.read(visit.shard, visit.block), self.config.workers
        )

    def build_around(self, visit: Visit) -> None:
        """Have the shard of this visit built, then the next one."""
        upcoming = [] if visit.next_shard is None else [visit.next_shard]
        self.builder.want([visit.shard, *upcoming])


def training_texts(config: FineWebConfig, notify: Notify = log_notice) -> Iterator[str]:
    """The documents of the training split in the order of the files, straight from the hub:
    what a tokenizer is trained on before anything can be tokenised."""
    text = HubText(config, notify)
    for shard in text.train:
        for block in text.blocks(shard):
            yield from text.remote(shard.file).read_block(block)
