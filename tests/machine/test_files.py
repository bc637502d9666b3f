"""Full disks and other refusals: one sentence, the old file as it was, nothing left behind."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import torch
from processes import LIMIT
from safetensors.torch import save_file
from training_tools import load_command, train

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.errors import UserError
from transformer.machine.files import is_abandoned, whole_folder, written_whole
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file
from transformer.runs.run_folder import write_json
from transformer.sharing.hugging_face import export_model
from transformer.sharing.model_hub import save_pretrained

TOKENIZER = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)
TOY = ("--dataset", "toy", "--name", "a")
LARGE = {"w": torch.zeros(100_000)}


def model(width: int = 16) -> DecoderOnlyTransformer:
    return DecoderOnlyTransformer(ModelConfig(257, width, 2, 1, 32, 8))


def leave(folder: Path, free: int) -> Path:
    """Fill a disk until only this many bytes are free."""
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(folder).free - free))
    return ballast


def test_a_temporary_file_is_abandoned_when_its_process_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    assert ended.wait(LIMIT) == 0
    assert is_abandoned(Path(f"a/.shard.parquet.{ended.pid}-1.part"))
    for name in (f".shard.parquet.{os.getpid()}-1.part", ".shard.parquet.part", "notes.1-1.part"):
        assert not is_abandoned(Path("a") / name)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """`ulimit -f`: a refusal for which no small disk is needed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["text", "bytes", "library"])
def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    writers: dict[str, Callable[[Path], object]] = {
        "text": lambda path: path.write_text("new" * 1000),
        "bytes": lambda path: path.write_bytes(bytes(3000)),
        "library": lambda path: save_file(LARGE, path),
    }
    with (
        file_size_limit(1000),
        pytest.raises(UserError, match=r"cannot write .*file: files may not become this large"),
        written_whole(path) as temporary,
    ):
        writers[kind](temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("free", [0, 4096, 65_536])
def test_a_full_disk(tmpfs: Path, free: int) -> None:
    (tmpfs / "file").write_text("old")
    leave(tmpfs, free)
    with (
        pytest.raises(UserError, match=r"cannot write .*file: the disk is full; make room"),
        written_whole(tmpfs / "file") as temporary,
    ):
        save_file(LARGE, temporary)
    with (
        pytest.raises(UserError, match=r"folder \(it needs 0.4 MB\): the disk is full"),
        whole_folder(tmpfs / "folder", 400_000) as unfinished,
    ):
        save_file(LARGE, unfinished / "w")
    assert (tmpfs / "file").read_text() == "old"
    assert {path.name for path in tmpfs.iterdir()} == {"file", "ballast"}


def test_a_bug_while_writing_stays_a_bug_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "a") as temporary:
        temporary.write_text("half" * (1 // len(list(tmp_path.iterdir()))))
    assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_file_by_file(tmp_path: Path) -> None:
    for content in ("one", "two"):
        with whole_folder(tmp_path / "folder") as unfinished:
            (unfinished / "ours").write_text(content)
        (tmp_path / "folder" / "theirs").write_text("stays")
    assert (tmp_path / "folder" / "ours").read_text() == "two"
    assert (tmp_path / "folder" / "theirs").read_text() == "stays"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_two_writers_of_a_folder_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is here, "."; what a dead process had begun goes."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / ".unfinished-here.999999999-1.part").mkdir()
    with whole_folder(Path()) as first:
        (first / "a").write_text("first")
        thread = Thread(target=_write_second)
        thread.start()
        thread.join(60)
        assert Path("a").read_text() == "second"
        (first / "b").write_text("first")
    assert (Path("a").read_text(), Path("b").read_text()) == ("first", "first")
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def _write_second() -> None:
    with whole_folder(Path()) as second:
        (second / "a").write_text("second")


@pytest.mark.slow
@pytest.mark.parametrize("tmpfs", ["2m"], indirect=True)
def test_training_continues_when_there_is_room_again(tmpfs: Path) -> None:
    runs = ("--runs-dir", str(tmpfs), "--keep", "1")
    assert train(*TOY, *runs, "--steps", "6") == 0
    ballast = leave(tmpfs, 60_000)
    with pytest.raises(UserError, match=r"the disk is full.*00000006 is whole: .*--resume"):
        train(*TOY, *runs, "--resume", "--steps", "12")
    held = {path.name for path in (tmpfs / "a").iterdir()}
    assert not [name for name in held if "unfinished" in name or name.endswith(".part")]
    assert (tmpfs / "a" / "latest").read_text() == "checkpoint-00000006\n"
    ballast.unlink()
    assert train(*TOY, *runs, "--resume", "--steps", "12") == 0
    assert (tmpfs / "a" / "latest").read_text() == "checkpoint-00000012\n"


def test_an_export_for_transformers_is_whole_or_not_there(tmp_path: Path) -> None:
    export_model(model(), TOKENIZER, tmp_path / "exported")
    before = {path: path.read_bytes() for path in (tmp_path / "exported").iterdir()}
    with file_size_limit(20_000), pytest.raises(UserError, match=r"cannot write .*exported: "):
        export_model(model(64), TOKENIZER, tmp_path / "exported")
    assert {path: path.read_bytes() for path in (tmp_path / "exported").iterdir()} == before
    with file_size_limit(20_000), pytest.raises(UserError, match=r"cannot write .*new: "):
        export_model(model(64), TOKENIZER, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]
    export_model(model(64), TOKENIZER, tmp_path / "exported")
    assert {path.name for path in (tmp_path / "exported").iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "README.md"),
        *("tokenizer.json", "tokenizer_config.json"),
    }


def test_an_export_replaces_nothing_but_an_export(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_model_file(run / "checkpoint-00000003" / "model.safetensors", model(), TOKENIZER, step=3)
    write_json(run / "config.json", {"training": {}})
    hub, lone = tmp_path / "hub", tmp_path / "lone"
    save_pretrained(model(), hub)
    write_model_file(lone / "model.safetensors", model(), TOKENIZER, step=1)
    command = load_command("export_hf")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my own")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="is not UTF-8"):
        command.main(command.Arguments(run=run, output=Path("ex\udcffport")))
    for target in (run, run / "checkpoint-00000003", hub, lone, run / "config.json", mine):
        with pytest.raises(UserError, match=r"is not from such an export|is a file"):
            command.main(command.Arguments(run=run, output=target))
    command = load_command("export_onnx")
    for target in (run / "checkpoint-00000003" / "model.safetensors", run):
        with pytest.raises(UserError, match=r"a file that ends in .onnx, but is"):
            command.main(command.Arguments(run=run, output=target))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_the_page_gets_all_scripts_or_none(tmp_path: Path) -> None:
    write_model_file(tmp_path / "model.safetensors", model(), TOKENIZER, step=1)
    page = tmp_path / "page"
    page.mkdir()
    (page / "model.data.js").write_text("old")
    command = load_command("export_page")
    with file_size_limit(100_000), pytest.raises(UserError, match=r"cannot write .*data.js: "):
        command.main(tmp_path / "model.safetensors", output=page)
    with pytest.raises(UserError, match="--name x names a model, and none is written"):
        command.main(output=page, film=tmp_path / "film.safetensors", name="x")
    assert [(path.name, path.read_text()) for path in page.iterdir()] == [("model.data.js", "old")]


@pytest.mark.slow
def test_an_onnx_file_is_whole_or_not_there(tmp_path: Path) -> None:
    from transformer.sharing.onnx import export_onnx

    (tmp_path / "model.onnx").write_text("old")
    with file_size_limit(20_000), pytest.raises(UserError, match=r"cannot write .*model.onnx: "):
        export_onnx(model(64), tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").read_text() == "old"
