"""In which order blocks and their sequences are visited, and how a position in it is saved.

Three permutations, one inside the other, each a function of (seed, pass, where) alone:

    pass 0:  shards 31, 7, 98, …
                │
                └─ shard 31: blocks 12, 90, 3, …          a block is a row group, ~0.7 M tokens
                               │
                               └─ block 12: sequences 4711, 20, 5000, …

The first permutation mixes the files, the second the parts of a file, the third the documents
of a row group; only one block has to be in memory. Nothing repeats until a pass has visited
every sequence once, and the next pass has another order. Since no generator has a state, a
position is five small numbers, and returning to it means reading one block.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from transformer.data.batch import State, saved_position
from transformer.data.fineweb.shard import Shard
from transformer.data.packing import Tokens, permutation
from transformer.errors import UserError

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Position:
    """A place *between* two sequences: how many of each level are finished.

    `shard`, `block` and `sequence` count along the permuted orders; `seen` counts sequences
    since the very beginning.
    """

    pass_number: int = 0
    shard: int = 0
    block: int = 0
    sequence: int = 0
    seen: int = 0

    def to_state(self) -> State:
        return {
            "pass": self.pass_number,
            "shard": self.shard,
            "block": self.block,
            "sequence": self.sequence,
            "sequences_seen": self.seen,
        }


def position_of(state: State, fingerprint: str) -> Position:
    """The position that a state describes.

    Raises:
        UserError: the state was saved by a source with another fingerprint, or is damaged.
    """
    names = ("pass", "shard", "block", "sequence", "sequences_seen")
    return Position(*saved_position(state, fingerprint, *names))


def check_place(what: str, place: int, count: int) -> None:
    """A place read from a file must exist: one past the end would silently skip data.

    Raises:
        UserError: the data has only `count` places of this kind.
    """
    if place >= count:
        raise UserError(
            f"the saved position in the data is damaged: it names {what} {place}, but the places "
            f"are 0 to {count - 1}; resume from an older checkpoint"
        )


@dataclass(frozen=True)
class Visit:
    """One block's turn: it begins at `position` (its `sequence` is 0 unless resumed inside)."""

    position: Position
    shard: Shard
    block: int
    next_shard: Shard | None
    key: Key

    def order(self, n_sequences: int) -> Tokens:
        """The order of this block's sequences in this visit."""
        return permutation(n_sequences, *self.key, "sequences", self.block)

    def after(self, sequence: int, n_sequences: int, seen: int) -> Position:
        """The position after `sequence` of the block's `n_sequences`."""
        if sequence < n_sequences:
            return replace(self.position, sequence=sequence, seen=seen)
        return replace(self.position, block=self.position.block + 1, sequence=0, seen=seen)


def visits(
    shards: Sequence[Shard],
    start: Position,
    count_blocks: Callable[[Shard], range],
    *key: str | int,
    passes: int | None = None,
) -> Iterator[Visit]:
    """The blocks from `start` on, for this many passes (None: endlessly).

    Args:
        count_blocks: the row groups of a shard; called when its turn comes.
        key: what the order depends on, such as a seed.

    Raises:
        UserError: `start` is outside the split, or the split has no row groups.
    """
    position = start
    while passes is None or position.pass_number < passes:
        pass_key: Key = (*key, position.pass_number)
        order = permutation(len(shards), *pass_key, "shards").tolist()
        visited = position != Position(pass_number=position.pass_number)
        check_place("shard", position.shard, len(order))
        for place in range(position.shard, len(order)):
            shard = shards[order[place]]
            upcoming = shards[order[place + 1]] if place + 1 < len(order) else None
            blocks = count_blocks(shard)
            check_place("row group", position.block, len(blocks) + 1)
            shard_key: Key = (*pass_key, shard.number)
            block_order = permutation(len(blocks), *shard_key, "blocks").tolist()
            for turn in range(position.block, len(blocks)):
                visited = True
                position = replace(position, shard=place, block=turn)
                yield Visit(position, shard, blocks[block_order[turn]], upcoming, shard_key)
                position = replace(position, sequence=0)
            position = replace(position, block=0, sequence=0)
        if not visited:
            raise UserError("the split has no row groups: the files' row groups are too large")
        position = Position(pass_number=position.pass_number + 1)
