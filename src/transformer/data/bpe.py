"""Byte-pair encoding, trained by hand: count pairs, merge the most frequent one, repeat.

Start from the 256 bytes. Find the pair of neighbours that occurs most often in the text, give it
a new id, replace it everywhere; a frequent word becomes one token after a few such merges:

    text              t h e   c a t   t h e   h a t       a t 2, h e 2, t h 2, all others 1
    merge a t -> at   t h e   c at    t h e   h at        h e 2, t h 2, all others 1
    merge h e -> he   t he    c at    t he    h at        t he 2, all others 1
    merge t he -> the the     c at    the     h at

Merges stay inside the pieces that the tokenizer's regular expression cuts (words, numbers,
punctuation), so equal pieces are kept once, with a count. Nothing is ever counted a second time:

- all pieces are in one row of symbols; `left` and `right` link the neighbours, as in a list whose
  items disappear when they merge into the one before;
- `places[pair]` holds the positions where the pair was seen, some of them out of date by now;
- a merge at one position changes four counts: the pairs with its left and right neighbour
  disappear, two new pairs appear;
- a heap finds the most frequent pair; an entry whose count has fallen is put back.

Each replacement removes one symbol, so all merges together replace fewer pairs than there are
bytes, however large the vocabulary gets.

Ties: of several most frequent pairs, the one with the lowest ids (first, then second) is merged.
Overlapping occurrences all count ("aaa" holds "aa" twice) and are merged from the left.

Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword units".
"""

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import regex

from transformer.data.byte_pair_tokenizer import PATTERN, BytePairTokenizer
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.errors import UserError

TRAINING_BYTES = 10_000_000  # a vocabulary changes little after the first 10 MB
SMALLEST_VOCABULARY = 257  # the bytes and end-of-text
NOBODY = -1  # no neighbour here: a piece begins or ends

Pair = tuple[int, int]
Merge = tuple[bytes, bytes]


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a tokenizer of exactly `vocab_size` ids on the first 10 MB of the texts.

    Ids 0 … 255 are the bytes themselves; then come the merged tokens in the order in which they
    were learned; end-of-text is the last id.

    >>> tokenizer = train_bpe(["the cat, the hat"], vocab_size=260)
    >>> [tokenizer.decode([i]) for i in (97, 256, 257, 258, 259)]
    ['a', 'at', 'he', 'the', '<|endoftext|>']

    Raises:
        UserError: the vocabulary is too small, or the text does not have that many tokens.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"bpe:{vocab_size} is too small: 256 bytes and end-of-text make "
            f"{SMALLEST_VOCABULARY} ids; try bpe:1024"
        )
    pieces = count_pieces(first_bytes(texts, TRAINING_BYTES))
    merges = learn_merges(pieces, vocab_size - SMALLEST_VOCABULARY)
    tokens = [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges]
    if len(tokens) + 1 < vocab_size:
        raise UserError(
            f"the text is too small for bpe:{vocab_size}: each of its words is one token after "
            f"{len(tokens) + 1} ids; give more text or a smaller N"
        )
    ranks = {token: rank for rank, token in enumerate(tokens)}
    return BytePairTokenizer("bpe", f"bpe:{vocab_size}", ranks, end_of_text=len(ranks))


def make_tokenizer(spec: str, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer that a `--tokenizer` flag names: "bpe:N" is trained on the texts, which are
    read only then; everything else goes to `load_tokenizer`.

    Raises:
        UserError: there is no such tokenizer.
    """
    size = _size_to_train(spec)
    return load_tokenizer(spec) if size is None else train_bpe(texts, size)


def count_ids(spec: str) -> int:
    """The size of the vocabulary that a `--tokenizer` flag names, before it is trained.

    Raises:
        UserError: there is no such tokenizer.
    """
    size = _size_to_train(spec)
    return load_tokenizer(spec).vocab_size if size is None else size


def _size_to_train(spec: str) -> int | None:
    kind, colon, size = spec.partition(":")
    if (kind, colon) != ("bpe", ":"):
        return None
    if not (size.isascii() and size.isdigit()):
        raise UserError(f"--tokenizer {spec}: after bpe: comes the number of ids, as in bpe:1024")
    return int(size)


def first_bytes(texts: Iterable[str], limit: int) -> Iterator[str]:
    """The texts up to `limit` bytes of UTF-8, the last one cut between two characters."""
    for text in texts:
        data = text[:limit].encode(errors="replace")
        yield data[:limit].decode(errors="ignore")
        limit -= len(data)
        if limit <= 0:
            return


def count_pieces(texts: Iterable[str]) -> Counter[bytes]:
    """How often each piece occurs.

    >>> count_pieces(["the cat, the hat"])
    Counter({b'the': 1, b' cat': 1, b',': 1, b' the': 1, b' hat': 1})
    """
    split = regex.compile(PATTERN).findall  # type: ignore[no-untyped-call]
    pieces: Counter[str] = Counter()
    for text in texts:
        pieces.update(split(text))
    return Counter({piece.encode(): count for piece, count in pieces.items()})


def learn_merges(pieces: Mapping[bytes, int], new_tokens: int) -> list[Merge]:
    """The first `new_tokens` merges, in order (fewer if every piece is one token before that).

    No two merges make the same token: as long as no merge has reached across its ends, a string
    of bytes is split the same way wherever it occurs.
    """
    symbols = _Symbols(pieces)
    tokens = [bytes([byte]) for byte in range(256)]
    heap = [(-count, pair) for pair, count in symbols.counts.items()]
    heapq.heapify(heap)
    merges: list[Merge] = []
    while heap and len(merges) < new_tokens:
        count, pair = heapq.heappop(heap)
        now = symbols.counts[pair]
        if now != -count:  # out of date: it comes back with today's count
            if now:
                heapq.heappush(heap, (-now, pair))
            continue
        left, right = tokens[pair[0]], tokens[pair[1]]
        merges.append((left, right))
        for new_pair in symbols.merge(pair, new=len(tokens)):
            heapq.heappush(heap, (-symbols.counts[new_pair], new_pair))
        tokens.append(left + right)
    return merges


class _Symbols:
    """The pieces as one row of symbols, their pairs, and how often each pair occurs."""

    def __init__(self, pieces: Mapping[bytes, int]) -> None:
        self.ids = array("q", iter(b"".join(pieces)))  # NOBODY once merged into the symbol before
        self.weights = array("q")  # how often the piece of each symbol occurs
        self.left = array("q", range(-1, len(self.ids) - 1))
        self.right = array("q", range(1, len(self.ids) + 1))
        self.counts: Counter[Pair] = Counter()
        self.places: defaultdict[Pair, array[int]] = defaultdict(lambda: array("q"))
        for piece, count in pieces.items():
            start = len(self.weights)
            self.weights.extend([count] * len(piece))
            self.left[start] = NOBODY
            self.right[len(self.weights) - 1] = NOBODY
            for place, pair in enumerate(pairwise(piece), start):
                self.counts[pair] += count
                self.places[pair].append(place)

    def merge(self, pair: Pair, new: int) -> set[Pair]:
        """Replace the pair by `new` everywhere, from the left; returns the pairs that appeared."""
        came: set[Pair] = set()
        first, second = pair
        ids, left, right = self.ids, self.left, self.right
        for place in self.places.pop(pair):
            follower = right[place]
            if ids[place] != first or follower == NOBODY or ids[follower] != second:
                continue  # out of date
            before, after = left[place], right[follower]
            ids[place], ids[follower] = new, NOBODY
            right[place] = after
            weight = self.weights[place]
            if before != NOBODY:
                self.counts[ids[before], first] -= weight
                came.add(self._add((ids[before], new), before, weight))
            if after != NOBODY:
                left[after] = place
                self.counts[second, ids[after]] -= weight
                came.add(self._add((new, ids[after]), place, weight))
        self.counts[pair] = 0
        return {pair for pair in came if self.counts[pair]}

    def _add(self, pair: Pair, place: int, weight: int) -> Pair:
        self.counts[pair] += weight
        self.places[pair].append(place)
        return pair
