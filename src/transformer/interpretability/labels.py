"""What tokens, positions and heads are called in a table, short enough to fit."""

from itertools import groupby

from rich.cells import cell_len, set_cell_size
from torch import Tensor

from transformer.config import ModelConfig
from transformer.data.tokenizer import Tokenizer

MOST_CELLS = 14  # of a token: one that is longer ends in …
LONG_RUN = 4  # from which a run of one character is counted


def show_token(tokenizer: Tokenizer, token: int) -> str:
    """A token as it can be printed: a space as ␣, whatever cannot be seen as its code, the bytes
    of a part of a character as they are, and 16 spaces as ␣×16."""
    text = tokenizer.decode_bytes([token]).decode("utf-8", errors="backslashreplace")
    shown = ""
    for character, run in groupby(text):
        visible = "␣" if character == " " else character
        visible = visible if visible.isprintable() else repr(visible)[1:-1]
        count = len(list(run))
        shown += f"{visible}×{count}" if count >= LONG_RUN else visible * count
    if not cell_len(shown[:1]):  # an accent, which would land on what is before it
        shown = f"◌{shown}"
    return shown if cell_len(shown) <= MOST_CELLS else f"{set_cell_size(shown, MOST_CELLS - 1)}…"


def position_names(tokenizer: Tokenizer, ids: Tensor) -> list[str]:
    """Each of (T,) ids with its position."""
    return [f"{t:>3} {show_token(tokenizer, int(token))}" for t, token in enumerate(ids)]


def block_names(config: ModelConfig) -> list[str]:
    return [f"block {i}" for i in range(config.n_layers)]


def head_names(config: ModelConfig) -> list[str]:
    """In the order in which scores (n_layers, H) are flattened."""
    return [f"head {i}.{h}" for i in range(config.n_layers) for h in range(config.n_heads)]
