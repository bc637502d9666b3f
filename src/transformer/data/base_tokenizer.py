"""What every tokenizer does: text to ids, ids to text, and itself into a file.

| Kind | Where the table comes from | Class |
|---|---|---|
| `p50k_base` | ships with the package | `byte_pair_tokenizer.BytePairTokenizer` |
| `bpe` | trained here (bpe.py); travels whole with each model | the same |
| `hf` | the `tokenizer.json` of an imported model; travels whole | `hf_tokenizer.HfTokenizer` |
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transformer.machine.files import written_whole


class Tokenizer(ABC):
    """Text to token ids and back.

    Attributes:
        kind, name: the kind is one of the table above; the name is for people.
        vocab_size: V; ids are 0 … V - 1.
        end_of_text: the id that separates documents. `encode` never makes it out of text.
        start_of_text: the id that a text begins with where nothing is in front of it.
        prefix: what stands before the first token of a document.
    """

    kind: str
    name: str
    vocab_size: int
    end_of_text: int
    start_of_text: int
    prefix: Sequence[int]

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of the text, without end-of-text; what spells a special token is text too. A lone
        surrogate, which UTF-8 cannot carry, is read as U+FFFD."""

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The same ids as an array."""
        return np.array(self.encode(text), dtype=np.uint32)

    def encode_prompt(self, text: str) -> list[int]:
        """The text as the beginning of a document, as in training; never empty."""
        return [*self.prefix, *self.encode(text)] or [self.start_of_text]

    @abstractmethod
    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The exact bytes; a token may hold only a part of a character.

        Raises:
            UserError: an id is not in the vocabulary.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """The text; bytes that are not UTF-8 become U+FFFD, end-of-text its name."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """16 hex digits, the same for two tokenizers if they encode in the same way."""

    @abstractmethod
    def to_metadata(self) -> dict[str, Any]:
        """Everything needed to build this tokenizer again, as JSON can hold it."""

    def save(self, path: Path) -> None:
        """Write the tokenizer as JSON, for `load_tokenizer(path)`."""
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps(self.to_metadata(), indent=1), encoding="utf-8")


def shortened(value: object) -> str:
    """A value as it is shown in a message: in ASCII, at most 60 characters of it."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
