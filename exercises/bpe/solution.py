"""Byte-pair encoding: count pairs of neighbours, merge the most frequent one, repeat.

    text              t h e   c a t   t h e   h a t       a t 2, h e 2, t h 2, all others 1
    merge a t -> at   t h e   c at    t h e   h at        h e 2, t h 2, all others 1
    merge h e -> he   t he    c at    t he    h at        t he 2, all others 1
    merge t he -> the the     c at    the     h at

The 256 bytes have the ids 0 … 255. Each merge makes a new token with the next id: 256, 257, …

A text is first cut into pieces (words, numbers, punctuation), and merges stay inside the pieces. So
the input is a table: each piece once, with the number of times that it occurs.

Encoding needs only the table of tokens. In the pieces of a new text, the pair whose token has the
lowest id is merged first: it was learned first, and later merges were learned on its result.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise


def learn_merges(pieces: Mapping[bytes, int], new_tokens: int) -> list[tuple[bytes, bytes]]:
    """The first `new_tokens` merges in order, each as the bytes of its left and right token.

    A pair counts once for each place where its tokens are neighbours, times the number of times
    that the piece occurs. ("aaa" holds "aa" at two places. They overlap; both count.) The most
    frequent pair is merged; of several, the one with the lowest ids (first of the left token, then
    of the right one). Then its places become the new token, from the left: "aaa" becomes "aa", "a".

    There are fewer merges if before that no piece has two tokens left.

    >>> learn_merges({b"the": 2, b"cat": 1, b"hat": 1}, 3)
    [(b'a', b't'), (b'h', b'e'), (b't', b'he')]
    """
    tokens = [bytes([byte]) for byte in range(256)]  # id -> bytes
    # Each piece as ids, with its count. Iterating over bytes gives numbers from 0 to 255.
    words = [(list(piece), count) for piece, count in pieces.items()]
    merges = []
    while len(merges) < new_tokens:
        pairs: Counter[tuple[int, int]] = Counter()
        for ids, count in words:
            for pair in pairwise(ids):
                pairs[pair] += count
        if not pairs:
            break
        # The largest count first; of equal counts the lowest ids. min with -count does both.
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        # Counting again after each merge is slow, but nothing can be out of date.
        words = [(merged(ids, best, len(tokens)), count) for ids, count in words]
        merges.append((tokens[best[0]], tokens[best[1]]))
        tokens.append(tokens[best[0]] + tokens[best[1]])
    return merges


def merged(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """`ids` with `new` at each place of the pair, from the left; `ids` itself stays as it is.

    >>> merged([97, 97, 97, 98], (97, 97), 256)
    [256, 97, 98]
    """
    result = []
    place = 0
    while place < len(ids):
        if tuple(ids[place : place + 2]) == pair:
            result.append(new)
            place += 2  # both are used up, so the next pair begins after them
        else:
            result.append(ids[place])
            place += 1
    return result


def encode(piece: bytes, ranks: Mapping[bytes, int]) -> list[int]:
    """The ids of one piece.

    Args:
        piece: any bytes.
        ranks: each token's bytes and id; all 256 single bytes are in it. Their ids are not always
            0 … 255: look them up.

    Start with the single bytes. Of all pairs of neighbours whose bytes together are a token, merge
    the one whose token has the lowest id (of equal ones the leftmost); repeat until there is none.

    >>> ranks = {bytes([i]): i for i in range(256)} | {b"at": 256, b"he": 257, b"the": 258}
    >>> encode(b"theat", ranks)
    [258, 256]
    """
    parts = [bytes([byte]) for byte in piece]
    while True:
        known = [
            (ranks[left + right], place)
            for place, (left, right) in enumerate(pairwise(parts))
            if left + right in ranks
        ]
        if not known:
            return [ranks[part] for part in parts]
        # Look at all pairs again after each merge: it may have made a pair with a lower id.
        _, place = min(known)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
