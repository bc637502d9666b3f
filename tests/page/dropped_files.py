"""Model files for the page to read: written, taken apart, changed and given to it."""

import json
import struct
from pathlib import Path
from typing import Any

from browser_page import RENDERED, OpenPage

from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.data.tokenizer import Tokenizer

STATUS = "#your_model .status"


def small_tokenizer(extra: list[bytes] | None = None) -> Tokenizer:
    tokens = [bytes([byte]) for byte in range(256)] + (extra or [b"la", b" tu"])
    return BytePairTokenizer(
        "bpe", "small", {token: i for i, token in enumerate(tokens)}, len(tokens)
    )


def choose(page: OpenPage, path: Path) -> str:
    """Give a file to the picker; the message it ends with. What is loaded has been drawn."""
    before = page.run(RENDERED)
    page.page.set_input_files('#your_model input[type="file"]', path)
    page.page.wait_for_function(
        f"() => /loaded/.test(document.querySelector('{STATUS}').textContent)"
    )
    message = page.page.inner_text(STATUS)
    if "is loaded" in message:
        page.page.wait_for_function(f"(before) => ({RENDERED})() > before", arg=before)
    page.run(f"() => {{ document.querySelector('{STATUS}').textContent = ''; }}")
    return message


def write_raw(path: Path, header: Any, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def config_with(header: dict[str, Any], **values: Any) -> dict[str, Any]:
    config = {**json.loads(header["__metadata__"]["config"]), **values}
    metadata = {**header["__metadata__"], "config": json.dumps(config)}
    return {**header, "__metadata__": metadata}
