"""Step 7: FineWeb, ten billion tokens of the web to train on without downloading them first.

FineWeb (Penedo et al. 2024, ODC-By licence) is text from Common Crawl, filtered and deduplicated.
Its sample `10BT` is 15 Parquet files of 2 GB each: 30.6 GB, 14.9 million documents. Five ideas
bring it to a laptop; each has its place in `data/fineweb/`:

| Idea | Where |
|---|---|
| streaming: fetch only what is read | `hub.py`, `retry.py`, `remote_parquet.py` |
| caching: fetch and tokenise once | `hub_dataset.py`, `shard_builder.py` |
| LRU: keep what was used last | `shard_cache.py`, `cached_shard.py` |
| the split: validate on other text | `shard.py` |
| the order, and resuming in it | `block_order.py`, `block_stream.py` |

    >>> from torch.utils.data import DataLoader
    >>> dataset = FineWebDataset("train", batch_size=32, seq_length=128)     # doctest: +SKIP
    >>> for inputs, targets in DataLoader(dataset, batch_size=None):         # doctest: +SKIP
    ...     ...                                      # (32, 128) each, the first in a few seconds

**Streaming.** A Parquet file is a series of *row groups* (about 1,000 documents, 2 MB each) and a
footer that says where each of them is. An HTTP range request fetches one row group of a file on
the hub, so the first batch needs the footer (4 MB, then kept) and 2 MB, not 30 GB. A row group is
the unit of reading; joined and tokenised it is called a *block*. One of two short documents:

    >>> from transformer.data.packing import join_documents, windows
    >>> tokenizer = load_tokenizer("p50k_base")
    >>> documents = [tokenizer.encode(text) for text in ("A cat sat.", "It purred loudly.")]
    >>> block = join_documents(documents, tokenizer.end_of_text, np.uint16)
    >>> block.tolist()
    [50256, 32, 3797, 3332, 13, 50256, 1026, 1308, 445, 23112, 13, 50256]
    >>> inputs, targets = windows(block, [0], seq_length=6)    # the first training sequence
    >>> inputs.tolist(), targets.tolist()
    ([[50256, 32, 3797, 3332, 13, 50256]], [[32, 3797, 3332, 13, 50256, 1026]])

50256 is end-of-text, before the first document and after each. `data/packing.py` has the rest.

**Caching.** The network is slower than the disk and fails more often, so every block is fetched
once, tokenised once, and kept. About 130 neighbouring blocks make a *shard*. The blocks of the
shard in use and of the next one are read in the background, and joined to one file when all are
there. Training and that background work share what they read: whichever needs a block first keeps
it for the other.

    the hub                      data/fineweb_cache/                    training
    000_00000.parquet ──range──▶ blocks/…  one block, tokenised ──────▶ the first batches
                                      │ joined                            ▲
                                      ▼                                   │
                                 shard_00031.parquet  text + tokens ──────┘ all others
                                 shard_00007.parquet  (the next one)

There is room for `max_cached_shards` (5, about 300 MB each). When one more comes, the *least
recently used* (LRU) shard is deleted: the one whose last use is longest ago. The one in use is
never deleted.

    last use    old ─────────────▶ new
                [98]  [4]  [12]  [31]  [7]        room for five
                  ✗   [4]  [12]  [31]  [7]  [55]  55 comes, 98 goes

`cache_metadata.json` says what the cache is made of, and what is in it:

    {"version": 2,
     "identity": {"repo": "HuggingFaceFW/fineweb", "path": "sample/10BT", "text_column": "text",
                  "revision": "9bb295dd…", "tokenizer": "2582014b…", "shard_bytes": 268435456},
     "shards": {"shard_00031": {"source": "sample/10BT/003_00000.parquet", "groups": [917, 1048],
                                "bytes": 295000000, "tokens": 91000000,
                                "last_access": 1795601471.2}, …}}

**The split.** Validation must be text that training never saw, on every machine and in every
resumed run. Whole shards are dealt by a hash of their names: the tenth with the smallest hashes
is validation, the other 90 % are training.

    sha256(path, part)   0c… 11… │ 2f… 38… 4a… …
    shard                 98  4  │  31  7  12 …
                      validation │  training

This separates documents, not texts: FineWeb was deduplicated within each crawl but not between
crawls, so we estimate that one validation document in 200 has an exact copy in training.

**Order.** In file order the loss would follow the crawl from which the text comes. Shards, the
blocks of a shard, and the sequences of a block are each visited in an order computed from the
seed, and nothing repeats until everything has been seen. An *epoch* is the next `tokens_per_epoch`
tokens of that one order, not the same tokens again.

**Resuming** needs five numbers (pass, shard, block, sequence, sequences seen) and one range
request, however far the training was.

What to expect: the first batch a few seconds after the start. After that the data is far faster
than training on a CPU, which takes some thousand tokens per second: two cores tokenise 3 million
per second and cut 40 million per second from the cache (`benchmarks/fineweb.py`, with a local hub
in place of the network). `commands/test_fineweb.py` shows each step, and the speed of your line.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from transformer.data.batch import IGNORED, Batch, State
from transformer.data.fineweb.block_order import Position, position_of
from transformer.data.fineweb.block_stream import Rows, group_rows
from transformer.data.fineweb.config import FineWebConfig
from transformer.data.fineweb.hub_dataset import ShardedText, Split, training_texts
from transformer.data.fineweb.retry import Notify, log_notice
from transformer.data.fineweb.shared_start import SharedStart
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.errors import UserError

__all__ = ["FineWebConfig", "FineWebDataset", "FineWebSource", "training_texts"]


class FineWebSource:
    """FineWeb as the trainer sees it: a `BatchSource`, see `data/batch.py`.

    Args:
        notify: is told, from any thread, what is being built or waited for.

    Raises:
        UserError: no such data set, path, revision or column; no network and nothing cached;
            the cache folder belongs to other data.
    """

    floor: float | None = None

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: FineWebConfig | None = None,
        *,
        seq_length: int = 128,
        seed: int = 0,
        notify: Notify = log_notice,
    ) -> None:
        if seq_length < 1:
            raise UserError(f"seq_length must be at least 1, but is {seq_length}")
        self.tokenizer = tokenizer
        self.config = config or FineWebConfig()
        self.seq_length = seq_length
        self.seed = seed
        self.text = ShardedText(self.config, tokenizer, notify)
        self.fingerprint = self.text.fingerprint("train", seq_length, seed)
        self.sequences_per_epoch = _sequences(self.config.tokens_per_epoch, seq_length)
        self.tokens_per_epoch = self.config.tokens_per_epoch

    def train_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1, state: State | None = None
    ) -> Iterator[Batch]:
        """Endless; batch by batch the shard in use and the next one are built in the background."""
        start = Position() if state is None else position_of(state, self.fingerprint)
        blocks = self.text.stream("train", start, self.seed)
        rows = group_rows(
            blocks, start, batch_size * world_size, self.seq_length, on_visit=self.text.build_around
        )
        own = rank * batch_size, (rank + 1) * batch_size
        return (self._batch(group, *own) for group in rows)

    def validation_batches(
        self, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """The first `eval_tokens` of the validation order. Its few blocks are kept on disk
        next to the shards, so that evaluating evicts nothing that training needs."""
        blocks = self.text.stream("validation", Position(), 0, passes=1)
        limit = _sequences(self.config.eval_tokens, self.seq_length)
        rows = batch_size * world_size
        for group in group_rows(blocks, Position(), rows, self.seq_length, limit=limit):
            yield self._batch(group, rank * batch_size, (rank + 1) * batch_size)

    def close(self) -> None:
        """End the work in the background."""
        self.text.builder.close()

    def _batch(self, rows: Rows, start: int, stop: int) -> Batch:
        stop = min(stop, len(rows))
        if start < stop:
            inputs, targets = rows.cut(start, stop, self.seq_length)
        else:  # the last batch of a validation has no row for this rank: it scores nothing
            inputs, targets = rows.cut(0, 1, self.seq_length)
            targets = np.full_like(targets, IGNORED)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(targets), self._state(rows))

    def _state(self, rows: Rows) -> State:
        seen, per_epoch = rows.position.seen, self.sequences_per_epoch
        epoch = rows.position.pass_number if per_epoch is None else seen // per_epoch
        return {"fingerprint": self.fingerprint, "epoch": epoch, **rows.position.to_state()}


class FineWebDataset(IterableDataset[tuple[Tensor, Tensor]]):
    """(input, target) pairs of `seq_length` tokens, as a `torch.utils.data.DataLoader` takes them.

    With several loader workers, let the data set make the batches (B, T): only then can workers
    take turns batch by batch, and the order is the same for any number of them.

    >>> dataset = FineWebDataset("train", batch_size=32)                 # doctest: +SKIP
    >>> loader = DataLoader(dataset, batch_size=None, num_workers=2)     # doctest: +SKIP

    (A data set is not told the batch size of its loader. Without `batch_size`, N workers take
    turns pair by pair: each pair still comes exactly once, but a batch holds every N-th pair.)

    Iterating runs through one epoch; iterating again continues with the next one (validation:
    with the same one). With N ranks and batches of B, rank r has rows r·B … of each N·B
    consecutive sequences. The trainer uses `FineWebSource`, whose batches are these.

    Args:
        batch_size: yield batches of so many pairs instead of single pairs.
        settings: fields of `FineWebConfig`, such as `tokens_per_epoch` or `cache_dir`.
        rank, world_size: of this process; by default those of `torch.distributed`, if it is
            initialised by now.

    Raises:
        UserError: as `FineWebSource`, or no such split.
    """

    def __init__(
        self,
        split: Split = "train",
        config: FineWebConfig | None = None,
        *,
        batch_size: int | None = None,
        tokenizer: Tokenizer | None = None,
        seq_length: int = 128,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        notify: Notify = log_notice,
        **settings: Any,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise UserError(f"batch_size must be at least 1, but is {batch_size}")
        grouped = dist.is_available() and dist.is_initialized()
        self.split = split
        self.batch_size = batch_size
        self.tokenizer = tokenizer or load_tokenizer("p50k_base")
        self.config = replace(config or FineWebConfig(), **settings)
        self.seq_length = seq_length
        self.seed = seed
        self.rank = rank if rank is not None else dist.get_rank() if grouped else 0
        self.world_size = world_size or (dist.get_world_size() if grouped else 1)
        self.text = ShardedText(self.config, self.tokenizer, notify)
        self.text.split(split)
        self._process = os.getpid()
        self.fingerprint = self.text.fingerprint(split, seq_length, seed)
        self._start = SharedStart()
        self._here = Position()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._here = self._start.begin()  # now, and not when the first pair is asked for
        return self._iterate(self._here)

    def _iterate(self, start: Position) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        passes, limit = self._limits(start)
        text = self._text()
        groups = group_rows(
            text.stream(self.split, start, self.seed, passes=passes),
            start,
            (self.batch_size or 1) * self.world_size,
            self.seq_length,
            limit=limit,
            on_visit=text.build_around,
        )
        for n, rows in enumerate(groups):
            self._here = rows.position
            first, last = (len(rows) * r // self.world_size for r in (self.rank, self.rank + 1))
            if n % n_workers == number and first < last:  # else another worker's, or no row left
                inputs, targets = map(torch.from_numpy, rows.cut(first, last, self.seq_length))
                yield (inputs, targets) if self.batch_size else (inputs[0], targets[0])
        if passes is not None:
            self._here = Position(passes, seen=self._here.seen)
        self._start.end(self._here if self.split == "train" else Position())

    def state_dict(self) -> State:
        """The place after the last pair, to continue from with `load_state_dict`.

        Raises:
            UserError: loader workers iterate; their reading ahead hides which pair was used last.
        """
        if self._start.is_of_workers and get_worker_info() is None:
            raise UserError(
                "with DataLoader workers the data set cannot know which pair was used last; use "
                "num_workers=0, or FineWebSource, whose batches carry their position"
            )
        return {"fingerprint": self.fingerprint, **self._here.to_state()}

    def load_state_dict(self, state: State) -> None:
        """The next iteration runs from there to the end of that epoch.

        Raises:
            UserError: the state is of other data, another split, seed or sequence length.
        """
        self._here = position_of(state, self.fingerprint)
        self._start.move(self._here)

    def _limits(self, start: Position) -> tuple[int | None, int | None]:
        """(passes, sequences) after which an iteration from `start` ends."""
        per_epoch = _sequences(self.config.tokens_per_epoch, self.seq_length)
        if self.split == "validation" or per_epoch is None:
            return start.pass_number + 1, per_epoch
        per_epoch += -per_epoch % self.world_size
        return None, per_epoch - start.seen % per_epoch

    def _text(self) -> ShardedText:
        """The opened data set of this process: a loader worker opens its own."""
        if self._process != os.getpid():
            self.text = ShardedText(self.config, self.tokenizer, log_notice)
            self._process = os.getpid()
        return self.text

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "text": None, "_process": None}


def _sequences(tokens: int | None, seq_length: int) -> int | None:
    return None if tokens is None else -(-tokens // seq_length)
