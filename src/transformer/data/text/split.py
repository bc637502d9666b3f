"""Which documents train the model and which only test it: 90/10, by the hash of the content.

Documents are ranked by the SHA-256 of their text, and the first ones in that order, until they hold
10 % of all characters, are the validation set. So the choice is as good as random, yet the same on
every machine and for every order of the files, and a document that occurs twice is never on both
sides.

**Few or long documents.** One whole book would be all training or all validation. A document that
holds more than a tenth of all text is therefore cut at the ends of paragraphs into passages (a
fortieth of the text each, 500 to 100,000 characters), and these are ranked instead. Neighbouring
passages on the same side stay joined. Such a validation set is easier than unseen books would be:
the model has read the pages around it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from transformer.errors import UserError

Side = Literal["train", "validation"]

SHARE = 0.10  # of the characters, in the validation set
LARGEST_SHARE = 0.15  # a document that would bring it above this is skipped
LARGEST_WHOLE = 0.10  # a document with more than this share of all text is cut
PASSAGES = 40  # in the whole text, where it is cut
SHORTEST_PASSAGE, LONGEST_PASSAGE = 500, 100_000  # characters


@dataclass(frozen=True)
class TextSplit:
    """The rule that `split_documents` found for one collection of documents."""

    longest_whole: float
    """Documents with more characters than this are cut."""
    passage_length: int
    """Characters a passage has at least."""
    validation: frozenset[int]
    """Hashes of the documents and passages in the validation set."""

    def passages(self, document: str) -> list[str]:
        """The units of the split; joined, they are the document."""
        if len(document) <= self.longest_whole:
            return [document]
        return list(cut(document, self.passage_length))

    def parts(self, document: str) -> Iterator[tuple[Side, str]]:
        """The document in as few pieces as the split allows, each with its side."""
        for side, passages in groupby(self.passages(document), key=self.side):
            yield side, "".join(passages)

    def side(self, passage: str) -> Side:
        """The side of a document or passage."""
        return "validation" if text_hash(passage) in self.validation else "train"


def split_documents(documents: Iterable[str], total_characters: int) -> TextSplit:
    """Rank the documents by hash and choose the validation set.

    Raises:
        UserError: the text is too short, or too repetitive, to be split.
    """
    length = min(max(total_characters // PASSAGES, SHORTEST_PASSAGE), LONGEST_PASSAGE)
    split = TextSplit(LARGEST_WHOLE * total_characters, length, frozenset())
    characters: Counter[int] = Counter()
    for document in documents:
        for passage in split.passages(document):
            characters[text_hash(passage)] += len(passage)
    characters = +characters  # without the empty ones
    if len(characters) < 2:
        raise UserError(
            f"the text ({total_characters:,} characters) cannot be split into training and "
            f"validation: give at least two different documents, or one of more than "
            f"{SHORTEST_PASSAGE * 3 // 2} characters that do not repeat"
        )
    return TextSplit(split.longest_whole, length, frozenset(_choose(characters)))


def _choose(characters: Counter[int]) -> Iterator[int]:
    """Hashes in ascending order until they hold 10 % of the characters."""
    total, chosen = characters.total(), 0
    if min(characters.values()) > LARGEST_SHARE * total:  # a handful of short documents
        yield min(characters, key=lambda unit: (characters[unit], unit))
        return
    for unit in sorted(characters):
        if chosen >= SHARE * total:
            return
        if chosen + characters[unit] <= LARGEST_SHARE * total:
            chosen += characters[unit]
            yield unit


def cut(document: str, length: int) -> Iterator[str]:
    """Pieces of `length` to 2 · `length` characters (the last may be shorter), each up to the end
    of a paragraph if one ends in that range, else of a line, else of a word.

    >>> list(cut("one two.\\n\\nthree four.\\n\\nfive", length=8))
    ['one two.\\n\\n', 'three four.\\n\\n', 'five']
    """
    start = 0
    while len(document) - start > 1.5 * length:
        end = start + length
        for seam in ("\n\n", "\n", " "):
            found = document.find(seam, end - len(seam), start + 2 * length)
            if found >= 0:
                end = found + len(seam)
                break
        yield document[start:end]
        start = end
    if start < len(document) or not document:
        yield document[start:]


def text_hash(text: str) -> int:
    """64 bits of the SHA-256 of the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
