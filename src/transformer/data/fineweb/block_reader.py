"""Read-through: the tokens of any block at any time, from wherever they are quickest to get.

    read(shard 31, block 12)
       1. the cached shard                        complete on disk
       2. a block file                            somebody read this block before
       3. the hub: one range request, ~2 MB       tokenise, and keep it as a block file

The first batch of a run takes way 3 and comes within seconds, and so does a resume in the middle
of a shard. Whoever needs a block first, training or the builder, in this process or in another
one, fetches and tokenises it, under a lock; all others find it on the disk. So every block is
fetched once and tokenised once.
"""

from collections import Counter
from collections.abc import Sequence

from transformer.data.fineweb.fork_gate import fork_allowed, no_fork
from transformer.data.fineweb.hub_dataset import HubText
from transformer.data.fineweb.shard import Shard
from transformer.data.fineweb.shard_cache import ShardCache
from transformer.data.packing import Tokens, join_documents
from transformer.data.tokenizer import Tokenizer

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
        self.counts: Counter[str] = Counter()

    @no_fork()
    def blocks(self, shard: Shard) -> range:
        """The row groups of a shard: from the shard if it is cached, else from the footer."""
        opened = self.cache.open(shard)
        return self.text.blocks(shard) if opened is None else opened.groups

    @no_fork()
    def read(self, shard: Shard, block: int) -> Tokens:
        """The tokens of one row group, with end-of-text around every document.

        Raises:
            UserError: it is not cached, and the hub cannot be read.
        """
        found = self.cache.read(shard, block)
        if found is None:
            with fork_allowed():  # whoever has the lock may be waiting for the hub
                lock = self.cache.lock(f"block_{block % LOCKS}").acquire()
            with lock:
                found = self.cache.read(shard, block) or ("hub", self._fetch(shard, block))
        way, tokens = found
        self.counts[way] += 1
        return tokens

    def _fetch(self, shard: Shard, block: int) -> Tokens:
        texts = self.text.remote(shard.file).read_block(block)
        tokens = self.tokenize(texts)
        self.cache.keep(shard, block, texts, tokens)
        return tokens

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """A block: end-of-text before the first and after every document."""
        documents = (self.tokenizer.encode_array(text) for text in texts)
        return join_documents(documents, self.tokenizer.end_of_text, self.cache.dtype)
