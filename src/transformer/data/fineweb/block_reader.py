"""Read-through: the tokens of any block at any time, from wherever they are quickest to get.

    read(shard 31, block 12)
       1. the cached shard                        published by a build, here or in another process
       2. a block file                            left by an earlier read or a build under way
       3. the hub: one range request, ~2 MB       tokenise, and leave a block file for the others

The first batch of a run takes way 3 and comes within seconds, while the shard (268 MB) is built
in the background. A resume in the middle of a shard costs the same one request.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from transformer.data.fineweb.cached_shard import DamagedError
from transformer.data.fineweb.fork_gate import no_fork
from transformer.data.fineweb.hub_dataset import HubText
from transformer.data.fineweb.shard import Shard
from transformer.data.fineweb.shard_cache import ShardCache
from transformer.data.packing import Tokens, join_documents, token_dtype
from transformer.data.tokenizer import Tokenizer
from transformer.machine.files import read_checked, write_checked

LOCKS = 64  # neighbouring blocks never share one


class BlockReader:
    """Reads blocks as token ids; safe for several threads.

    Attributes:
        counts: how many blocks came from each of the three ways ("shard", "block", "hub").
    """

    def __init__(self, text: HubText, cache: ShardCache, tokenizer: Tokenizer) -> None:
        self.text = text
        self.cache = cache
        self.tokenizer = tokenizer
        self.dtype = token_dtype(tokenizer.vocab_size)
        self.counts: Counter[str] = Counter()

    @no_fork()
    def blocks(self, shard: Shard) -> range:
        """The row groups of a shard: from the shard if it is cached, else from the footer."""
        opened = self.cache.open(shard)
        if opened is not None:
            return opened.groups
        return self.text.blocks(shard)

    @no_fork()
    def read(self, shard: Shard, block: int) -> Tokens:
        """The tokens of one row group, with end-of-text around every document.

        Raises:
            UserError: it is not cached, and the hub cannot be read.
        """
        opened = self.cache.open(shard)
        if opened is not None:
            try:
                tokens = opened.read_tokens(block)
            except DamagedError as error:
                self.cache.discard(shard, str(error))
            else:
                self.counts["shard"] += 1
                return tokens
        kept = self.read_kept(shard, block)
        if kept is None:
            with self.cache.lock(f"block_{block % LOCKS}"):
                kept = self.read_kept(shard, block)  # another process may have been quicker
                if kept is None:
                    self.counts["hub"] += 1
                    return self._read_through(shard, block)
        self.counts["block"] += 1
        return kept

    def read_kept(self, shard: Shard, block: int) -> Tokens | None:
        """The tokens in a block file, if there is one and it is whole."""
        data = read_checked(self.cache.block_path(shard, block))
        return None if data is None else np.frombuffer(data, self.dtype)

    def keep(self, shard: Shard, block: int, tokens: Tokens) -> None:
        """Leave a block file; not worth an error if there is no room for it."""
        try:
            write_checked(self.cache.block_path(shard, block), tokens.tobytes())
        except OSError as error:
            self.cache.notify(f"a block is not kept on disk: {error.strerror}")

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """A block: end-of-text before the first and after every document."""
        documents = (self.tokenizer.encode_array(text) for text in texts)
        return join_documents(documents, self.tokenizer.end_of_text, self.dtype)

    def _read_through(self, shard: Shard, block: int) -> Tokens:
        tokens = self.tokenize(self.text.remote(shard.file).read_block(block))
        self.keep(shard, block, tokens)
        return tokens
