"""Small files that are either whole or not there: written aside, then renamed, with a checksum."""

import hashlib
from pathlib import Path

from transformer.machine.files import replaced

_DIGEST = hashlib.sha256().digest_size


def write_atomically(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write `data` so that a reader, or a killed process, leaves the old file or the new one.
    `sync`: wait until it is on the disk, so that a loss of power does no harm either."""
    with replaced(path, sync=sync) as temporary:
        temporary.write_bytes(data)


def write_checked(path: Path, data: bytes) -> None:
    """Write the data and its sha256: what a loss of power tears is not mistaken for whole."""
    write_atomically(path, data + hashlib.sha256(data).digest(), sync=False)


def read_checked(path: Path) -> bytes | None:
    """What `write_checked` wrote; None where the file is missing or not what was written."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    data, digest = whole[:-_DIGEST], whole[-_DIGEST:]
    return data if hashlib.sha256(data).digest() == digest else None
