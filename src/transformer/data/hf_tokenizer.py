"""The tokenizer of an imported model: its own `tokenizer.json`, driven by the library `tokenizers`.

Such a file is a small pipeline, and models differ in every step of it:

    text ─▶ normalizer ─▶ pre-tokenizer ─▶ model ─▶ post-processor ─▶ ids
            NFC, …        where words        BPE       what stands in front
                          are cut            merges    of a text

We do not imitate it; we ask the library that wrote the format. Two things are our own. Text never
becomes a special token, even where it spells one: a document that says `<|endoftext|>` is those 13
characters. And each id has its bytes, for text that is shown token by token. There are two ways of
writing bytes in such a table:

    byte-level (GPT-2, Llama 3, Qwen)     each byte is a printable character: "Ġcat" is " cat"
    byte fallback (Llama 2)               characters as they are, "▁" for a space, "<0xE2>" for
                                          a byte of a character that has no token

Source: the documentation of the library `tokenizers`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from transformer.data.base_tokenizer import Tokenizer, shortened
from transformer.errors import UserError

ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")  # where no configuration names one
BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def byte_characters() -> dict[str, int]:
    """GPT-2's character for each byte: itself where it is printable, else one from 256 on.

    >>> {v: k for k, v in byte_characters().items()}[ord(" ")]
    'Ġ'
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }


class HfTokenizer(Tokenizer):
    """A `tokenizer.json`, kept whole: `text` is the file as it was read."""

    kind = "hf"

    def __init__(self, name: str, text: str, end_of_text: int, start_of_text: int) -> None:
        """
        Raises:
            UserError: the library cannot read the text, its tokens have no bytes that we know,
                or one of the two ids is not in its table.
        """
        self.name, self.text = name, text
        self.end_of_text, self.start_of_text = end_of_text, start_of_text
        self._tokenizer = read_tokenizer_json(text)
        self._by_byte = _is_byte_level(json.loads(text).get("decoder"))
        self.vocab_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        for i in (end_of_text, start_of_text):
            if not 0 <= i < self.vocab_size:
                raise UserError(
                    f"tokenizer {name}: its end or start of a text is the id {i}, which is not in "
                    f"0 … {self.vocab_size - 1}"
                )
        self.prefix = self._before_a_text()
        self._tokenizer.encode_special_tokens = True  # from now on none of them comes out of text
        added = self._added.get(end_of_text)
        if added is not None and not added.special:
            raise UserError(
                f"tokenizer {name}: {added.content}, which ends a text, is an added token that is "
                "not special, so a text that has it written out would be cut there"
            )

    def _before_a_text(self) -> list[int]:
        """What the library puts before the ids of a text, and not what it puts behind them."""
        whole: list[int] = self._tokenizer.encode("a").ids
        plain: list[int] = self._tokenizer.encode("a", add_special_tokens=False).ids
        at = (i for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
        return whole[: next(at, 0)]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(_utf8(text), add_special_tokens=False).ids
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b"".join(self._bytes_of(int(i)) for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The library's text, which may leave out a space that was added to the beginning."""
        ids = [int(i) for i in ids]
        for i in ids:
            self._check(i)
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    @cached_property
    def fingerprint(self) -> str:
        whole = f"{self.text}\n{self.end_of_text} {self.start_of_text}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def to_metadata(self) -> dict[str, Any]:
        head = {"kind": self.kind, "name": self.name, "tokenizer": self.text}
        ids = {"end_of_text": self.end_of_text, "start_of_text": self.start_of_text}
        return {**head, **ids, "fingerprint": self.fingerprint}

    @classmethod
    def from_metadata(cls, fields: Mapping[str, Any]) -> "HfTokenizer":
        """The inverse of `to_metadata`, which may come from an untrusted file.

        Raises:
            UserError: says which field is wrong.
        """
        kinds = {"name": str, "tokenizer": str, "end_of_text": int, "start_of_text": int}
        for name, kind in kinds.items():
            if type(fields.get(name)) is not kind:
                raise UserError(f"tokenizer: {name} is {shortened(fields.get(name))}")
        tokenizer = cls(*(fields[name] for name in kinds))
        seen = fields.get("fingerprint")
        if seen != tokenizer.fingerprint:
            raise UserError(
                f"tokenizer: fingerprint {shortened(seen)}, file {tokenizer.fingerprint}: damaged"
            )
        return tokenizer

    @classmethod
    def from_file(cls, path: Path, name: str = "") -> "HfTokenizer":
        """A `tokenizer.json`. Which tokens begin and end a text is written beside it, in
        tokenizer_config.json or config.json.

        Raises:
            UserError: it is no such file, or nothing says what ends a text.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(
                f"{path.parent} has no {path.name}. The library transformers writes one: "
                "AutoTokenizer.from_pretrained(…).save_pretrained(FOLDER)"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None
        table = read_tokenizer_json(text).get_vocab(with_added_tokens=True)
        end, start = (_special(path.parent, table, which) for which in ("eos", "bos"))
        if end is None:
            end = next((table[token] for token in ENDS if token in table), start)
        if end is None:
            raise UserError(
                f"nothing says which token ends a text of {path}: there is no eos_token in "
                "tokenizer_config.json and no eos_token_id in config.json beside it"
            )
        return cls(name or path.parent.name, text, end, end if start is None else start)

    def _check(self, i: int) -> None:
        if not 0 <= i < self.vocab_size:
            raise UserError(f"token id {i} is not in 0 … {self.vocab_size - 1} ({self.name})")

    def _bytes_of(self, i: int) -> bytes:
        self._check(i)
        token = self._tokenizer.id_to_token(i)
        if token is None:
            return b""  # a hole in the table
        is_text = self._by_byte and not self._characters.keys() >= set(token)
        if i in self._added or is_text:
            return str(token).encode()
        if self._by_byte:
            return bytes(self._characters[character] for character in token)
        byte = BYTE.fullmatch(token)
        return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()

    @cached_property
    def _added(self) -> Mapping[int, AddedToken]:
        return self._tokenizer.get_added_tokens_decoder()

    @cached_property
    def _characters(self) -> Mapping[str, int]:
        return byte_characters()


def read_tokenizer_json(text: str) -> tokenizers.Tokenizer:
    """
    Raises:
        UserError: the library cannot read it, or it is of a kind whose tokens have no bytes.
    """
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
        decoder = json.loads(text).get("decoder")
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"not a tokenizer.json that can be read: {shortened(str(error))}") from None
    if _is_byte_level(decoder) is None:
        raise UserError(
            "its tokens are neither byte-level nor with byte fallback (decoder "
            f"{shortened(decoder)}), so it is not known which bytes each of them spells"
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _is_byte_level(decoder: object) -> bool | None:
    """Which of the two ways of writing bytes; None for neither."""
    if not isinstance(decoder, dict):
        return None
    steps = decoder.get("decoders") if decoder.get("type") == "Sequence" else [decoder]
    kinds = {step.get("type") for step in steps if isinstance(step, dict)} if steps else set()
    if "ByteLevel" in kinds:
        return True
    return False if "ByteFallback" in kinds or "Metaspace" in kinds else None


def _special(folder: Path, table: Mapping[str, int], which: str) -> int | None:
    """The id that the configurations beside a tokenizer name as its `eos` or `bos`."""
    token = _json(folder / "tokenizer_config.json").get(f"{which}_token")
    token = token.get("content") if isinstance(token, dict) else token
    if isinstance(token, str) and token in table:
        return table[token]
    ids = _json(folder / "config.json").get(f"{which}_token_id")
    first = ids[0] if isinstance(ids, list) and ids else ids
    return first if type(first) is int and first in table.values() else None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _utf8(text: str) -> str:
    """Lone surrogates become U+FFFD, as elsewhere."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
