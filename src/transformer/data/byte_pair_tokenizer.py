"""Text to token ids and back: byte-level BPE, applied by tiktoken.

A tokenizer is a table of byte strings, each with an id. Text becomes UTF-8 bytes, is split
into pieces by a regular expression (a word with its leading space, a run of digits,
punctuation, white space), and inside each piece the adjacent pair whose concatenation has the
*lowest rank* is merged, again and again, until no pair is in the table:

    u n h a p p y -> u n h a pp y -> un h a pp y -> un h app y -> un h appy -> un happy

All 256 single bytes are in the table, so no text is ever unknown. One id is outside it:
end-of-text, which separates documents. `encode` never produces it: a document that spells
`<|endoftext|>` is encoded as those 13 characters.

Sources: Sennrich et al. 2016 (BPE for words), Radford et al. 2019 (on bytes, with this regex).
`bpe.py` trains such a table by hand. tiktoken (Rust) applies it.

The table of p50k_base is the file `p50k_base.tiktoken` next to this one: the original that
OpenAI publishes for tiktoken (MIT licence, Copyright (c) 2022 OpenAI, Shantanu Jain).
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import tiktoken

from transformer.data.base_tokenizer import Tokenizer, shortened
from transformer.errors import UserError

END_OF_TEXT = "<|endoftext|>"
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
"""GPT-2's pieces, with possessive quantifiers (++) so that long runs are split in linear time."""
P50K_BASE = "p50k_base"
P50K_BASE_SHA256 = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
P50K_BASE_END_OF_TEXT = 50256

Ranks = Mapping[bytes, int]


class BytePairTokenizer(Tokenizer):
    """A table of ranks that encodes and decodes: see the top of this file.

    >>> tokenizer = p50k_base()
    >>> tokenizer.encode("Hello, world")
    [15496, 11, 995]
    >>> tokenizer.decode([15496, 11, 995])
    'Hello, world'
    >>> [tokenizer.decode_bytes([i]) for i in tokenizer.encode("☃")]  # a character in two tokens
    [b'\\xe2\\x98', b'\\x83']
    >>> tokenizer.vocab_size, tokenizer.end_of_text
    (50281, 50256)
    """

    def __init__(self, kind: str, name: str, ranks: Ranks, end_of_text: int) -> None:
        """`kind` says where the table comes from: "p50k_base" ships with the package, "bpe" was
        trained and is saved whole with each model. `name` is for people.

        Raises:
            UserError: the ranks miss a byte, or the ids are not exactly 0 … V-1.
        """
        self.kind = kind
        self.name = name
        self.ranks = dict(ranks)
        self.end_of_text = self.start_of_text = end_of_text
        self.prefix = (end_of_text,)
        self.vocab_size = len(self.ranks) + 1
        _check_table(self.ranks, end_of_text)
        self._encoding = tiktoken.Encoding(
            name,
            pat_str=PATTERN,
            mergeable_ranks=self.ranks,
            special_tokens={END_OF_TEXT: end_of_text},
            explicit_n_vocab=self.vocab_size,
        )

    def encode(self, text: str) -> list[int]:
        return self._encoding.encode_ordinary(text)

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The same ids as an array, without a Python object for each: for large amounts."""
        try:
            return self._encoding.encode_to_numpy(text, disallowed_special=())
        except UnicodeEncodeError:  # a lone surrogate
            return np.array(self.encode(text), dtype=np.uint32)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        ids = [int(i) for i in ids]
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise UserError(f"token id {i} is not in 0 … {self.vocab_size - 1} ({self.name})")
        return self._encoding.decode_bytes(ids)

    @cached_property
    def fingerprint(self) -> str:
        whole = [PATTERN, format_ranks(self.ranks), END_OF_TEXT, str(self.end_of_text)]
        return hashlib.sha256("\n".join(whole).encode()).hexdigest()[:16]

    def to_metadata(self) -> dict[str, Any]:
        shipped = self.kind == P50K_BASE
        ranks = {"ranks_sha256": P50K_BASE_SHA256} if shipped else {"ranks": _to_list(self.ranks)}
        special_tokens = {END_OF_TEXT: self.end_of_text}
        head = {"kind": self.kind, "name": self.name, "pattern": PATTERN}
        return {**head, **ranks, "special_tokens": special_tokens, "fingerprint": self.fingerprint}

    @classmethod
    def from_metadata(cls, fields: Mapping[str, Any]) -> "BytePairTokenizer":
        """The inverse of `to_metadata`. The fields may come from an untrusted file: everything
        in them is checked.

        Raises:
            UserError: says which part of them is wrong.
        """
        kind, name = fields.get("kind"), fields.get("name")
        special_tokens = fields.get("special_tokens")
        if fields.get("pattern") != PATTERN:
            raise UserError(f"tokenizer: unknown split pattern {shortened(fields.get('pattern'))}")
        if not isinstance(special_tokens, dict) or list(special_tokens) != [END_OF_TEXT]:
            raise UserError(
                f"tokenizer: special tokens must be {END_OF_TEXT} alone, "
                f"but are {shortened(special_tokens)}"
            )
        if kind == P50K_BASE and fields.get("ranks_sha256") == P50K_BASE_SHA256:
            tokenizer = p50k_base()
        elif kind == "bpe" and isinstance(name, str):
            ranks = _from_list(fields.get("ranks"))
            tokenizer = cls("bpe", name, ranks, special_tokens[END_OF_TEXT])
        else:
            raise UserError(f"tokenizer: unknown kind {shortened(kind)} (name {shortened(name)})")
        seen, fingerprint = fields.get("fingerprint"), tokenizer.fingerprint
        if seen != fingerprint:
            raise UserError(
                f"tokenizer: fingerprint {shortened(seen)}, table {fingerprint}: damaged"
            )
        return tokenizer


def p50k_base() -> BytePairTokenizer:
    """OpenAI's p50k_base, from the file in this package, its hash checked.

    Raises:
        UserError: the file was changed.
    """
    data = resources.files("transformer.data").joinpath("p50k_base.tiktoken").read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != P50K_BASE_SHA256:
        raise UserError(
            f"p50k_base.tiktoken was changed: its sha256 is {found}, not "
            f"{P50K_BASE_SHA256}; install the package again"
        )
    return BytePairTokenizer(
        P50K_BASE, P50K_BASE, parse_ranks(data.decode()), P50K_BASE_END_OF_TEXT
    )


def parse_ranks(text: str) -> dict[bytes, int]:
    """Read a `.tiktoken` rank file: a token in base64 and its rank on each line.

    >>> parse_ranks("IQ== 0\\nSGVsbG8= 1\\n")
    {b'!': 0, b'Hello': 1}
    """
    lines = (line.split() for line in text.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def format_ranks(ranks: Ranks) -> str:
    """The inverse of `parse_ranks`, in the order of the ranks."""
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    return "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ordered)


def _check_table(ranks: Ranks, end_of_text: int) -> None:
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise UserError(f"tokenizer: the table lacks the bytes {shortened(missing)}")
    ids = [*ranks.values(), end_of_text]
    if not all(type(i) is int for i in ids) or sorted(ids) != list(range(len(ids))):
        raise UserError(f"tokenizer: its {len(ids)} ids are not 0 … {len(ids) - 1}, each once")


def _to_list(ranks: Ranks) -> list[str]:
    return [line.split()[0] for line in format_ranks(ranks).splitlines()]


def _from_list(tokens: object) -> dict[bytes, int]:
    """Token i of the list has id i."""
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise UserError("tokenizer: its ranks are not a list of strings in base64")
    try:
        ranks = {base64.b64decode(token, validate=True): i for i, token in enumerate(tokens)}
    except (binascii.Error, ValueError) as error:
        raise UserError(f"tokenizer: a token is not in base64 ({error})") from None
    if len(ranks) != len(tokens) or b"" in ranks:
        raise UserError("tokenizer: a token is empty or is in the table twice")
    return ranks
