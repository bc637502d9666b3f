"""What every command does with the terminal it is given: streams, flags, names."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from training_tools import call, load_command

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file
from transformer.terminal.command_line import parse_flags, plain_console, run_guarded
from transformer.terminal.progress import Reporter
from transformer.training.flags import parse

COMMANDS = Path(__file__).parents[2] / "commands"
BYTES = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)
EXACT = ["--seed", "1", "--max-new-tokens", "3"]


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """In a folder whose name looks like a style and a picture, and is not ASCII."""
    model = DecoderOnlyTransformer(ModelConfig(257, 16, 2, 1, 32, max_seq_len=16))
    torch.nn.init.normal_(model.token_embedding.weight, std=0.5)
    path = tmp_path / "[bold]é :cat: x" / "model.safetensors"
    write_model_file(path, model, BYTES, step=3)
    return path


class Ascii(io.TextIOWrapper):
    """A stream of a terminal that knows ASCII only."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]


def test_an_ascii_terminal_gets_every_text(
    monkeypatch: pytest.MonkeyPatch, model_file: Path
) -> None:
    out, errors = Ascii(), Ascii()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)
    assert call("generate", model_file, "--prompt", "a☃b", *EXACT) == 0
    assert out.text().startswith(r"a\u2603b")
    assert r"[bold]\xe9 :cat: x" in errors.text()
    assert call("interpret", "lens", model_file, "--prompt", "a b é") == 0
    assert r"\u2423" in out.text()  # how a space is shown
    assert call("generate", "☃") == 2
    assert r"\u2603" in errors.text()
    with pytest.raises(SystemExit):
        run_guarded(lambda: Reporter().say("é\udcff"))  # what training says
    assert r"\xe9\udcff" in out.text()


def test_closed_streams_are_the_null_device(
    monkeypatch: pytest.MonkeyPatch, model_file: Path
) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert call("generate", model_file, *EXACT) == 0  # an empty prompt
    assert call("generate", model_file, "--top-k", "0") == 2


@pytest.mark.slow
def test_a_shell_can_close_all_streams(model_file: Path) -> None:
    line = 'exec "$0" "$1" "$2" --max-new-tokens 3 <&- >&- 2>&-'
    command = ["bash", "-c", line, sys.executable, COMMANDS / "generate.py", model_file]
    assert subprocess.run(command, timeout=120, check=False).returncode == 0


def test_names_are_printed_as_they_are(
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    folder = str(model_file.parent.name)
    assert call("generate", model_file, "--prompt", "", *EXACT) == 0
    assert folder in capsys.readouterr().err
    (tmp_path / "t.txt").write_text("some text")
    assert call("evaluate", model_file, "--text", tmp_path / "t.txt") == 0
    assert folder in capsys.readouterr().out
    console = Console(width=20)
    assert plain_console().render_str("[bold]x[/bold] :cat:").plain == "[bold]x[/bold] :cat:"
    assert console.render_str("[bold]x[/bold]").plain == "x"  # what is avoided
    picture = tmp_path / "[red]p.png"
    flags = ["--samples", "2", "--output", picture]
    assert call("compare_sampling", model_file, *flags, *EXACT) == 0
    out = "".join(capsys.readouterr().out.split())  # the title is folded to the table's width
    assert f"picture:{picture}" in out
    assert "[bold]é:cat:x" in out


FLAGS = {
    "--temperature abc": "--temperature: 'abc' is not a number",
    "--max-new-tokens 1.5": "--max-new-tokens: '1.5' is not a whole number",
    "--preset wild": "'wild' for argument '--preset'. Expected one of ('greedy', 'precise', ",
    "--promt a": "Unrecognized options: --promt, a; perhaps you meant --prompt",
    "--prompt": "Missing value for argument '--prompt'",
}


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("flags", FLAGS)
def test_a_mistake_in_a_flag_is_one_line(
    flags: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    with pytest.raises(UserError) as error:
        parse_flags(load_command("generate").main, flags.split())
    assert FLAGS[flags] in str(error.value)
    assert str(error.value).endswith("; --help explains the flags")
    assert "\n" not in str(error.value)


def test_values_of_the_configuration_and_subcommands_are_one_line() -> None:
    for flags, message in (
        ("--batch-size 0", "^--batch-size must be at least 1, but is 0; --help explains"),
        ("--seed -1", "^--seed must be from 0 to 9223372036854775807 .*but is -1"),
        (f"--seed {2**64}", f"--seed must be .* but is {2**64}"),
        ("--n-layers x", "^--n-layers: 'x' is not a whole number"),
    ):
        with pytest.raises(UserError, match=message):
            parse(flags.split())
    with pytest.raises(
        UserError, match=r"^--max-cached-shards must be at least 2, but is 1; --help"
    ):
        parse_flags(load_command("download").main, ["--max-cached-shards", "1"])
    with pytest.raises(UserError, match="there are: lens, attention, induction, patch, ablate"):
        parse_flags(load_command("interpret").main, ["lense"])
    assert parse(["--seed", str(2**63 - 1)])[0].training.seed == 2**63 - 1


def test_help_is_not_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("generate", "--help") == 0
    assert "Let a trained model write" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["train", "generate"])
def test_help_may_be_cut_short(command: str) -> None:
    """As in `train.py --help | head`, closed before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, str(COMMANDS / f"{command}.py"), "--help"]
    ended = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, timeout=120, text=True)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("command", ["generate", "compare_sampling"])
@pytest.mark.parametrize("seed", [2**64, 2**64 - 1, 2**63, -1])
def test_impossible_seeds_are_named(
    command: str, seed: int, model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(command, model_file, "--samples", "2", "--seed", str(seed)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"--seed must be from 0 to {2**63 - 1} (2^63 - 1), but is {seed}" in captured.err
    flags = ["--prompt", "", "--samples", "2", "--seed", str(2**63 - 1), "--max-new-tokens", "2"]
    assert call("generate", model_file, *flags) == 0


def test_flags_with_several_values_leave_the_run_alone(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    texts = ["--text", tmp_path / "a.txt", "--text", tmp_path / "b.txt"]
    assert call("evaluate", *texts, model_file, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert found["model"] == str(model_file)
    assert found["text"]["bytes"] == 10
    flags = ["--prompt", "a", "--stop", "zz", "--stop", "yy", str(model_file)]
    assert call("generate", *flags, *EXACT) == 0
    assert str(model_file) in capsys.readouterr().err
    pair = ["--clean", "a", "--corrupted", "b", "--sites", "residual", str(model_file)]
    assert call("interpret", "patch", *pair) == 0
    out = capsys.readouterr().out
    assert "Recovered by residual\n" in out
    assert "Recovered by attention.output" not in out


def test_a_picture_that_cannot_be_saved_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model does not even exist."""
    for output, message in (
        (tmp_path / "x.xyz", "ends in one of .png, .svg, .pdf, .jpg, but is x.xyz"),
        (tmp_path / "folder.png", "folder.png is a folder"),
    ):
        (tmp_path / "folder.png").mkdir(exist_ok=True)
        assert call("compare_sampling", "nowhere", "--output", output) == 2
        assert message in capsys.readouterr().err
        assert call("interpret", "lens", "nowhere", "--demo", "--save", output) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [("generate",), ("interpret", "lens"), ("evaluate",)])
def test_a_run_is_looked_for_in_runs_dir(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    (tmp_path / "text.txt").write_text("a b c")
    given = {"generate": [*EXACT, "--prompt", "a"], "interpret": ["--prompt", "a b"]}
    flags = given.get(command[0], ["--text", tmp_path / "text.txt"])
    name = model_file.parent.name
    assert call(*command, name, "--json", *flags) == 2
    assert "there is no run, checkpoint folder or model file at" in capsys.readouterr().err
    assert call(*command, name, "--json", *flags, "--runs-dir", tmp_path) == 0
    assert str(model_file) in str(json.loads(capsys.readouterr().out))
