"""A new run: everything is built before anything of an older run is deleted.

    folder   --name is free, or --overwrite and nothing but a run is there
    lock     nobody is training in it
    build    data, tokenizer (it waits under another name), model
    begin    the older run is deleted, config.json written, the tokenizer renamed

Until `begin` an older run is untouched. If anything fails before the first step, be it Ctrl-C or
a full disk, what this start has made is removed again. If the process is killed in `begin`, the
folder has the config.json of the older run or of the new one, and never the checkpoints of the
other: either can be resumed, from the beginning at worst, or replaced again.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.machine.saved_values import read_saved
from transformer.runs.checkpoint import Checkpoints
from transformer.runs.run_folder import RunFolder, check_name, write_json

FILES = (
    r"config\.json|tokenizer\.json|metrics\.jsonl|before_after\.json|curves\.png|samples\.md"
    r"|latest|best|\.lock|film\.safetensors"
)
IN_CHECKPOINT = r"model\.safetensors|training_state\.(safetensors|json)"
TEMPORARY = r"(\.[\w-]+)*\.(tmp|part)"
NEW_TOKENIZER = rf"\.?\.tokenizer\.json\.new({TEMPORARY})?"
OURS = re.compile(
    rf"{FILES}|\.?({FILES}){TEMPORARY}|{NEW_TOKENIZER}|tensorboard(/events\.out\.tfevents\..*)?"
    rf"|(film|\.unfinished-film)(/\.?\d{{8,16}}\.safetensors({TEMPORARY})?)?"
    rf"|(\.unfinished-)?checkpoint-\d{{8,16}}({TEMPORARY})?"
    rf"(/({IN_CHECKPOINT}|\.?({IN_CHECKPOINT}){TEMPORARY}))?",
    re.ASCII,
)
"""Paths in a run's folder that this program writes."""
LEFTOVER = re.compile(rf"\.lock|{NEW_TOKENIZER}|\.config\.json{TEMPORARY}", re.ASCII)
"""Those that a killed start can leave behind without a config.json."""


@contextmanager
def new_folder(
    runs_dir: Path, name: str | None, dataset: str, overwrite: bool
) -> Iterator[RunFolder]:
    """The locked folder of a new run: `name`, or the first free of dataset-1, dataset-2, …

    Raises:
        UserError: it exists and may not be overwritten, or `name` is not a plain name.
    """
    path = runs_dir / _choose_name(runs_dir, name, dataset)
    _check_free(path, overwrite)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    folder, was_locked_before = RunFolder(path), (path / ".lock").exists()
    try:
        with folder.lock():
            _check_free(path, overwrite)  # until now, another process may have been here
            before = set(os.listdir(path)) if was_locked_before else {*os.listdir(path)} - {".lock"}
            folder.new_tokenizer.unlink(missing_ok=True)  # of a start that was killed
            with _withdrawn_unless_started(folder, before):
                yield folder
    except BaseException:
        with suppress(OSError):  # not empty: then it is not ours to remove
            for empty in made:
                empty.rmdir()
        raise


def begin(folder: RunFolder, description: dict[str, Any]) -> None:
    """All is built: delete an older run's files; config.json makes the folder a run."""
    Checkpoints(folder.path).truncate_after(-1)
    entries = {path.name: path for path in folder.path.iterdir() if OURS.fullmatch(path.name)}
    for keep in (folder.config, folder.new_tokenizer, folder.path / ".lock"):
        entries.pop(keep.name, None)
    for entry in entries.values():
        _remove(entry)
    write_json(folder.config, description)
    os.replace(folder.new_tokenizer, folder.tokenizer)


def _choose_name(runs_dir: Path, name: str | None, dataset: str) -> str:
    if name is not None:
        check_name(name)
        return name
    taken = (path.name for path in runs_dir.glob(f"{dataset}-*"))
    numbers = [int(end) for end in (t.rpartition("-")[2] for t in taken) if end.isdecimal()]
    return f"{dataset}-{max(numbers, default=0) + 1}"


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_symlink():
        raise UserError(
            f"{path} is a symbolic link, and a run is never written through one: "
            "choose another --name, or remove the link"
        )
    if not path.exists():
        return
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: choose another --name")
    if all(LEFTOVER.fullmatch(entry.name) for entry in path.iterdir()):
        return
    if not overwrite:
        raise UserError(
            f"{path} exists: choose another --name, continue it with --resume {path}, "
            "or replace it with --overwrite"
        )
    _check_is_a_run(path)


def _check_is_a_run(path: Path) -> None:
    """
    Raises:
        UserError: it is not, or something is in it that this program has not written.
    """
    refusal = f"{path} is not overwritten"
    walk = os.walk(path)
    inside = [Path(root, name) for root, folders, files in walk for name in [*folders, *files]]
    strangers = sorted(
        str(entry.relative_to(path))
        for entry in inside
        if not OURS.fullmatch(entry.relative_to(path).as_posix())
    )
    if strangers:
        more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
        raise UserError(
            f"{refusal}: a run of this program does not have {', '.join(strangers[:3])}{more}; "
            "move that elsewhere, or choose another --name"
        )
    try:
        config = read_saved(path / "config.json")
        config.section("training")
        config.section("model")
    except UserError as error:
        raise UserError(
            f"{refusal}, it is not a run of this program ({error}); choose another --name"
        ) from None


@contextmanager
def _withdrawn_unless_started(folder: RunFolder, before: set[str]) -> Iterator[None]:
    """Remove what a failed start has made, unless a step was done."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.new_tokenizer.unlink(missing_ok=True)
            if not folder.metrics.exists() or not folder.metrics.stat().st_size:
                for entry in folder.path.iterdir():
                    if entry.name not in before and OURS.fullmatch(entry.name):
                        _remove(entry)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
