"""samples.md: what the model writes, as it learns."""

import re
import textwrap
from pathlib import Path

import torch

from transformer.data.tokenizer import Tokenizer
from transformer.generation import generate
from transformer.model import DecoderOnlyTransformer
from transformer.runs.run_folder import write_whole

LENGTH = 160  # tokens
SENTENCE_END = re.compile(r"[.!?]['\"”’)]?(?=\s|$)")
HEADING = "## step "


def sample_text(model: DecoderOnlyTransformer, tokenizer: Tokenizer, seed: int) -> str:
    """A text from nothing but the token that starts every document.

    It ends where the model ends it or, if that takes too long, after the last whole sentence.
    """
    device = next(model.parameters()).device
    start = torch.tensor([[tokenizer.start_of_text]], device=device)  # (1, 1)
    length = min(LENGTH, model.config.max_seq_len - 1)
    ids = generate(
        model, start, length, temperature=0.8, seed=seed, stop_ids=(tokenizer.end_of_text,)
    )
    written = ids[0, 1:].tolist()  # ids: (1, 1 + n)
    if written[-1:] == [tokenizer.end_of_text]:
        return tokenizer.decode(written[:-1]).strip()
    return whole_sentences(tokenizer.decode(written)).strip()


def whole_sentences(text: str) -> str:
    """`text` up to its last whole sentence; all of it if there is none.

    >>> whole_sentences('"Who is there?" A cat. It w'), whole_sentences("v1.2 of")
    ('"Who is there?" A cat.', 'v1.2 of')
    """
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def append_sample(path: Path, step: int, text: str) -> None:
    """Add a section; the text is indented, so nothing in it can look like a heading."""
    with path.open("a", encoding="utf-8") as file:
        indented = textwrap.indent(text.strip() or "(nothing)", "    ", lambda line: True)
        file.write(f"{HEADING}{step}\n\n{indented}\n\n")


def truncate_after(path: Path, step: int) -> None:
    """Drop the sections after `step`, and a torn one at the end."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    kept = []
    for section in text.split("\n" + HEADING):
        number, end, _ = section.removeprefix(HEADING).partition("\n\n")
        if end and number.isdecimal() and int(number) <= step:
            kept.append(section.removeprefix(HEADING).rstrip("\n"))
    write_whole(path, "".join(f"{HEADING}{section}\n\n" for section in kept))
