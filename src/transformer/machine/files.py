"""Writing files so that each is either the old one or all of the new one.

    path  ◀── renamed ── .path.PID-THREAD.part ◀── flushed to the disk ◀── written

No reader ever finds half a file, even after a killed process or a power cut. What the system
refuses (a full disk, a read-only folder) becomes one sentence, whichever library ran into it,
and what had been written is removed.
"""

import errno
import glob
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from transformer.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
REASONS = {
    **dict.fromkeys(NO_ROOM, "the disk is full"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), "a file is where a folder should be"),
    errno.EISDIR: "it is a folder",
    errno.EFBIG: "files may not become this large here (ulimit -f)",
}


@contextmanager
def replaced(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A path to write to; at the end it is renamed to `path`.

    `sync`: wait until it is on the disk, so that a power cut does no harm either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f".{path.name}.{os.getpid()}-{threading.get_ident()}.part"
    temporary = path.with_name(name)
    try:
        yield temporary
        if sync:
            flush(temporary)
        os.replace(temporary, path)
        if sync:
            flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Whether what was begun here (by `replaced`, `whole_folder`) belongs to a process of this
    machine that has ended."""
    match = re.fullmatch(r"\..*\.(\d+)-\d+\.part", path.name)
    if match:
        try:
            os.kill(int(match[1]), 0)  # signal 0 only asks whether the process exists
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # another user's, and alive
    return False


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The same for a file that a person wants.

    Raises:
        UserError: it cannot be written; says why and what to do.
    """
    with explained_writing(path), replaced(path) as temporary:
        yield temporary


def write_atomically(path: Path, data: bytes, *, sync: bool = True) -> None:
    """The same for bytes that are in memory."""
    with replaced(path, sync=sync) as temporary:
        temporary.write_bytes(data)


def write_checked(path: Path, data: bytes) -> None:
    """Write the data and its SHA-256, without waiting for the disk: `read_checked` notices if a
    power cut has left only a part."""
    write_atomically(path, data + hashlib.sha256(data).digest(), sync=False)


def read_checked(path: Path) -> bytes | None:
    """What `write_checked` wrote; None where the file is missing or not what was written."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return None
    size = hashlib.sha256().digest_size
    data, digest = whole[:-size], whole[-size:]
    return data if hashlib.sha256(data).digest() == digest else None


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_folder(path: Path, size: int | None = None, advice: str = "") -> Iterator[Path]:
    """A new folder to write files to; at the end it is renamed to `path`.

    If `path` exists, the files are moved into it one by one, and its other files stay.

    Raises:
        UserError: it cannot be written; says why, how many bytes it needs (`size`, where
            known) and what to do (`advice`).
    """
    place = path.resolve()  # "." has no name
    begun = f".unfinished-{place.name}"
    unfinished = place.with_name(f"{begun}.{os.getpid()}-{threading.get_ident()}.part")
    with explained_writing(path, size, advice):
        for other in place.parent.glob(f"{glob.escape(begun)}.*.part"):
            if is_abandoned(other):
                shutil.rmtree(other, ignore_errors=True)  # of a process that was killed
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            files = sorted(unfinished.iterdir())
            for file in (*files, unfinished):
                flush(file)
            if path.exists():
                for file in files:
                    os.replace(file, path / file.name)
                flush(path)
            else:
                os.replace(unfinished, path)
            flush(path.parent)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def flush(path: Path) -> None:
    """Wait until what was written to a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def explained_writing(path: Path, size: int | None = None, advice: str = "") -> Iterator[None]:
    """
    Raises:
        UserError: the operating system refused something while `path` was being written.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error_number(error)
        if number is None:
            raise
        needed = f" (it needs {size / 1e6:,.1f} MB)" if size and number in NO_ROOM else ""
        raise UserError(
            f"cannot write {path}{needed}: {REASONS.get(number) or os.strerror(number)}; "
            f"{advice or 'make room, or choose another place'}"
        ) from error


def error_number(error: BaseException) -> int | None:
    """The system's number for an error; safetensors has it only at the end of its message.

    >>> error_number(SafetensorError("I/O error: No space left on device (os error 28)"))
    28
    """
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
