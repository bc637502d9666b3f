"""The small cases of byte-pair encoding, each with what the usual mistakes give."""

Merges = list[tuple[bytes, bytes]]

TEXT = """Once upon a time there was a cat that sat on a mat. The cat saw a hat on the wall, and the
hat saw the cat. "That is that," said the cat, and slept on the mat, 12 times."""


def pairs_of(text: str) -> Merges:
    """ "a t, h e" -> [(b"a", b"t"), (b"h", b"e")]."""
    pairs = [pair.split() for pair in text.split(", ")] if text else []
    return [(left.encode(), right.encode()) for left, right in pairs]


# pieces, number of merges, the merges, and what mistakes give
LEARN: list[tuple[dict[bytes, int], int, str, dict[str, str]]] = [
    (
        {b"xy": 1, b"xyz": 1, b"qr": 3},
        1,
        "q r",
        {
            "each piece counts once; it occurs as often as its number says": "x y",
            "the rarest pair is merged first": "y z",
        },
    ),
    (
        {b"ab": 2, b"cd": 3},
        2,
        "c d, a b",
        {
            "the same pair is merged again: its places have to become the new token": "c d, c d",
            "fewer merges than asked for": "c d",
        },
    ),
    (
        {b"zy": 5, b"by": 5, b"za": 5},
        3,
        "b y, z a, z y",
        {
            "of equal counts, the first one seen is merged; it should be the lowest ids": (
                "z y, b y, z a"
            ),
            "of equal counts, the highest ids are merged; it should be the lowest": "z y, z a, b y",
        },
    ),
    (
        {b"abc": 3, b"ab": 1},
        2,
        "a b, ab c",
        {
            "after a merge nothing is replaced: the new token takes the pair's place": "a b, b c",
            "the same pair is merged again: after a merge it is gone": "a b, a b",
        },
    ),
    (
        {b"aaab": 2, b"aab": 2, b"cd": 5},
        1,
        "a a",
        {"overlapping places count too: aaa holds aa at two places": "c d"},
    ),
    (
        {b"aaab": 2},
        3,
        "a a, a b, aa ab",
        {
            "aaa becomes a, aa; from the left it is aa, a": "a a, a aa, aaa b",
        },
    ),
    (
        {b"abab": 2, b"b": 1},
        2,
        "a b, ab ab",
        {"only the first place in each piece is replaced": "a b, ab a"},
    ),
    (
        {b"ab": 1, b"c": 4},
        5,
        "a b",
        {"a pair that occurs once is merged too: only without any pair does it end": ""},
    ),
    (
        {b"de": 4, b"fde": 1, b"ag": 3, b"dec": 3, b"fa": 3},
        4,
        "d e, a g, f a, de c",
        {
            "of equal counts, bytes are compared; it should be ids, and new tokens have the "
            "highest": "d e, a g, de c, f a",
            "counts are not updated after a merge": "d e, a g, e c, f a",
        },
    ),
]

# ids, pair, the result, and what mistakes give
MERGED: list[tuple[list[int], tuple[int, int], list[int], dict[str, list[int]]]] = [
    (
        [1, 2, 3, 1, 2],
        (1, 2),
        [256, 3, 256],
        {
            "only the first place is replaced": [256, 3, 1, 2],
            "both tokens are to go, the right one as well": [256, 2, 3, 256, 2],
            "the last place is forgotten": [256, 3],
        },
    ),
    (
        [1, 1, 1, 2],
        (1, 1),
        [256, 1, 2],
        {
            "the replacement begins at the right; it should at the left": [1, 256, 2],
            "a token is used twice: after a replacement, continue behind both": [256, 256, 2],
            "the last token is lost": [256, 1],
        },
    ),
    (
        [2, 1],
        (1, 2),
        [2, 1],
        {"the order in the pair matters": [256], "the last token is lost": [2]},
    ),
    ([], (1, 2), [], {}),
]

# tokens, piece, the result, and what mistakes give
ENCODE: list[tuple[str, bytes, str, dict[str, str]]] = [
    ("at", b"cat", "c at", {"nothing is merged": "c a t"}),
    (
        "ab bc",
        b"abc",
        "ab c",
        {"the pair with the highest id is merged first; it should be the lowest": "a bc"},
    ),
    (
        "bc ab abc",
        b"abc",
        "abc",
        {
            "after a merge, look again: there may be a new pair": "a bc",
            "the leftmost pair is merged first; it should be the lowest id": "ab c",
        },
    ),
    (
        "bc ab abcd",
        b"abcd",
        "a bc d",
        {
            "the longest token is taken, though no merge leads to it": "abcd",
            "the leftmost pair is merged first; it should be the lowest id": "ab c d",
        },
    ),
    (
        "aa",
        b"aaa",
        "aa a",
        {"of equal ids the rightmost is merged; it should be the leftmost": "a aa"},
    ),
    ("ab", b"abab", "ab ab", {"only the first place is merged": "ab a b"}),
    (
        "cd ab bcd",
        b"abcd",
        "ab cd",
        {"the longest token is taken; it should be the pair with the lowest id": "a bcd"},
    ),
    ("ab", b"", "", {}),
]
