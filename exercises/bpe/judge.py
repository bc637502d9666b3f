"""The judge of byte-pair encoding."""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import tiktoken

from exercises.bpe.small_cases import ENCODE, LEARN, MERGED, TEXT, Merges, pairs_of
from exercises.judging.check import Check
from transformer.data.bpe import count_pieces, train_bpe
from transformer.data.bpe import learn_merges as our_merges

FORBIDDEN = {
    "transformer.data.bpe.learn_merges": "it is our solution",
    "transformer.data.bpe.train_bpe": "it is our solution",
    "transformer.data.tokenizer.Tokenizer": "the exercise is what it does inside",
    "tiktoken.Encoding": "the exercise is what it does inside",
}


def in_small(yours: ModuleType, check: Check) -> None:
    """One replacement; merges with a few pieces; encoding."""
    _merged(yours.merged, check)
    _learn(yours.learn_merges, check)
    _encode(yours.encode, check)


def _learn(learn: Callable[[Mapping[bytes, int], int], Any], check: Check) -> None:
    for pieces, count, text, mistakes in LEARN:
        given, expected = f"pieces = {pieces}, {count} merges", pairs_of(text)
        try:
            came = learn(dict(pieces), count)
        except ValueError as error:
            if len(expected) == count:
                raise  # not for lack of pairs
            check.fail(
                given=given,
                came=error,
                expected=expected,
                mistake="when every piece is one token there is no pair left: end there",
            )
        _is_list_of_pairs(came, given, expected, check)
        found = [tuple(pair) for pair in came]
        for mistake, wrong in mistakes.items():
            check.that(
                found != pairs_of(wrong),
                given=given,
                came=found,
                expected=expected,
                mistake=mistake,
            )
        check.that(
            found == expected,
            given=given,
            came=found,
            expected=expected,
            mistake="the merges are wrong",
        )


def _is_list_of_pairs(came: Any, given: str, expected: Merges, check: Check) -> None:
    pairs = isinstance(came, list) and all(
        isinstance(pair, tuple | list) and len(pair) == 2 for pair in came
    )
    check.that(
        pairs,
        given=given,
        came=came,
        expected=expected,
        mistake="a list of pairs is to be returned: the left and the right token of each merge",
    )
    check.that(
        all(isinstance(token, bytes) for pair in came for token in pair),
        given=given,
        came=came,
        expected=expected,
        mistake="these are ids; the merges are wanted as the bytes of the tokens",
    )


def _merged(merged: Callable[[list[int], tuple[int, int], int], Any], check: Check) -> None:
    for ids, pair, expected, mistakes in MERGED:
        given, before = f"ids = {ids}, pair = {pair}, new = 256", list(ids)
        came = merged(ids, pair, 256)
        check.that(
            ids == before,
            given=given,
            came=f"ids is {ids} afterwards",
            expected=f"ids is {before} afterwards",
            mistake="the list that was passed in was written into: return a new one",
        )
        for mistake, wrong in mistakes.items():
            check.that(came != wrong, given=given, came=came, expected=expected, mistake=mistake)
        check.that(
            came == expected,
            given=given,
            came=came,
            expected=expected,
            mistake="the replacement is wrong",
        )


def _encode(encode: Callable[[bytes, Mapping[bytes, int]], Any], check: Check) -> None:
    for tokens, piece, text, mistakes in ENCODE:
        names = tokens.split()
        # Single bytes have other ids than 0 … 255, as in many tables.
        ranks = {bytes([byte]): 255 - byte for byte in range(256)}
        ranks |= {name.encode(): 256 + i for i, name in enumerate(names)}
        spell = {i: token.decode("latin-1") for token, i in ranks.items()}
        given = f"tokens after the single bytes, in order: {tokens}\npiece = {piece!r}"
        came = encode(piece, ranks)
        known = isinstance(came, list) and all(i in spell for i in came)
        check.that(
            known,
            given=given,
            came=came,
            expected=[ranks[token.encode()] for token in text.split()],
            mistake="a list of ids is to be returned",
        )
        found = " ".join(spell[i] for i in came)
        for mistake, wrong in {
            **mistakes,
            "the ids of single bytes are in the table, too: they need not be 0 … 255": " ".join(
                token if len(token) > 1 else spell.get(ord(token), "?") for token in text.split()
            ),
        }.items():
            check.that(
                found != wrong or wrong == text,
                given=given,
                came=found,
                expected=text,
                mistake=mistake,
            )
        check.that(
            found == text, given=given, came=found, expected=text, mistake="the tokens are wrong"
        )


def at_random(yours: ModuleType, check: Check) -> None:
    """Learning against replacement in strings, encoding against tiktoken."""
    chance = random.Random(0)
    for alphabet, longest, pieces_count, new in [
        (b"a", 9, 3, 6),
        (b"ab", 6, 8, 20),
        (b"abcd", 7, 30, 40),
        (b"abcdef", 9, 60, 120),
        (bytes(range(128)), 5, 20, 30),
    ]:
        pieces = {
            bytes(chance.choices(alphabet, k=chance.randint(1, longest))): chance.randint(1, 5)
            for _ in range(pieces_count)
        }
        expected = _with_strings(pieces, new)
        came = [tuple(pair) for pair in yours.learn_merges(dict(pieces), new)]
        _same_merges(came, expected, f"{len(pieces)} pieces of up to {longest} bytes", check)
        ranks = {bytes([byte]): byte for byte in range(256)}
        ranks |= {left + right: 256 + i for i, (left, right) in enumerate(expected)}
        encoding = tiktoken.Encoding(
            "judge", pat_str="(?s).+", mergeable_ranks=ranks, special_tokens={}
        )
        for _ in range(20):
            piece = bytes(chance.choices(alphabet, k=chance.randint(1, 12)))
            wanted = encoding.encode_ordinary(piece.decode())
            check.that(
                yours.encode(piece, ranks) == wanted,
                given=f"piece = {piece!r}, {len(ranks)} tokens",
                came=yours.encode(piece, ranks),
                expected=wanted,
                mistake="tiktoken gives other ids",
            )


def _same_merges(came: Merges, expected: Merges, given: str, check: Check) -> None:
    check.that(
        len(came) == len(expected),
        given=given,
        came=f"{len(came)} merges",
        expected=f"{len(expected)} merges",
        mistake="the number of merges is wrong",
    )
    for number, (found, right) in enumerate(zip(came, expected, strict=True), 1):
        check.that(
            found == right,
            given=f"{given}; merge number {number}",
            came=found,
            expected=right,
            mistake="another pair is merged",
        )


def _with_strings(pieces: Mapping[bytes, int], new: int) -> Merges:
    """Each piece as a string of ids between blanks; a merge is a replacement of text."""
    tokens = [bytes([byte]) for byte in range(256)]
    texts = {" ".join(map(str, piece)): count for piece, count in pieces.items()}
    merges: Merges = []
    while len(merges) < new:
        counts: Counter[tuple[int, int]] = Counter()
        for text, count in texts.items():
            for found in re.finditer(r"(?<!\S)(?=(\d+) (\d+)(?!\S))", text):
                counts[int(found[1]), int(found[2])] += count
        if not counts:
            break
        most = max(counts.values())
        left, right = sorted(pair for pair, count in counts.items() if count == most)[0]
        pattern = re.compile(rf"(?<!\S){left} {right}(?!\S)")
        texts = {pattern.sub(str(len(tokens)), text): count for text, count in texts.items()}
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return merges


def in_the_model(yours: ModuleType, check: Check) -> None:
    """The project's tokenizer, trained on the same text."""
    pieces = count_pieces([TEXT])
    tokenizer = train_bpe([TEXT], 257 + 45)
    _same_merges(
        [tuple(pair) for pair in yours.learn_merges(pieces, 45)],
        our_merges(pieces, 45),
        "45 merges of a text of 40 words",
        check,
    )
    for piece in count_pieces([TEXT, "A new text: the bat sat on the mat, naïvely."]):
        check.that(
            yours.encode(piece, tokenizer.ranks) == tokenizer.encode(piece.decode()),
            given=f"piece = {piece!r}, the tokenizer of the project",
            came=yours.encode(piece, tokenizer.ranks),
            expected=tokenizer.encode(piece.decode()),
            mistake="the project's tokenizer gives other ids",
        )


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    return module.learn_merges(count_pieces([TEXT]), 50)
