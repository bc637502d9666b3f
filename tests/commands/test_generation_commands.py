"""generate, evaluate, compare_sampling and the exports as a person uses them."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file
from transformer.sampling import PRESETS
from transformer.terminal.command_line import run

COMMANDS = Path(__file__).parents[2] / "commands"
BYTES = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that mostly writes ASCII letters."""
    torch.manual_seed(0)
    config = ModelConfig(257, d_model=16, n_heads=2, n_layers=2, d_ff=32, max_seq_len=32)
    model = DecoderOnlyTransformer(config)
    torch.nn.init.normal_(model.token_embedding.weight, std=0.5)
    model.token_embedding.weight.data[:97] = 0
    model.token_embedding.weight.data[123:] = 0
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    write_model_file(path, model, BYTES, step=3)
    return path


def load(name: str) -> ModuleType:
    import importlib.util

    spec = importlib.util.spec_from_file_location(f"command_{name}", COMMANDS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def call(name: str, *flags: str | Path) -> int:
    """Run the command in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        run(load(name).main, [str(flag) for flag in flags])
    return ended.value.code or 0  # type: ignore[return-value]


class Pipe(io.StringIO):
    """Standard input that is not a terminal."""

    def reconfigure(self, **_: Any) -> None:
        """As a real text stream has."""


@pytest.fixture(autouse=True)
def _streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Pipe("from a pipe\n"))


def test_the_text_is_on_standard_output_and_nothing_else(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("generate", model_file, "--prompt", "abc", "--seed", "1") == 0
    first = capsys.readouterr()
    assert first.out.startswith("abc")
    assert "step 3; balanced: temperature 0.8, top_p 0.95" in first.err
    assert " blocks of " in first.err.splitlines()[1]
    assert call("generate", model_file, "--prompt", "abc", "--seed", "1") == 0
    assert capsys.readouterr().out == first.out
    assert call("generate", model_file, "--seed", "1") == 0
    assert capsys.readouterr().out.startswith("from a pipe")


def test_json_holds_everything(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--samples", "3", "--seed", "5", "--max-new-tokens", "12", "--preset", "creative"]
    assert call("generate", model_file, "--prompt", "", "--json", *flags, "--top-k", "20") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["top_k"] == 20
    assert found["settings"]["temperature"] == PRESETS["creative"].temperature
    assert [sample["seed"] for sample in found["samples"]] == [5, 6, 7]
    for sample in found["samples"]:
        assert BYTES.decode(sample["ids"]) == sample["text"]
        assert len(sample["ids"]) == 12 or sample["ended_by"] == "end_of_text"
    alone = ["--json", "--prompt", "", "--seed", "6", *flags[4:], "--top-k", "20"]
    assert call("generate", model_file, *alone) == 0
    assert json.loads(capsys.readouterr().out)["samples"][0]["text"] == found["samples"][1]["text"]


def test_stop_and_probabilities(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = [model_file, "--prompt", "a", "--seed", "2", "--preset", "balanced"]
    assert call("generate", *base) == 0
    text = capsys.readouterr().out.rstrip("\n")
    stop = text[10:12]
    assert call("generate", *base, "--stop", stop) == 0
    assert capsys.readouterr().out.rstrip("\n") == "a" + text[1:].split(stop)[0]
    assert call("generate", *base, "--show-probabilities", "--max-new-tokens", "3") == 0
    out = capsys.readouterr().out
    assert out.count("top-p -") == 3
    assert out.rstrip().endswith(text[:4])


def test_the_help_gives_the_presets_true_values() -> None:
    said = load("generate").__file__
    text = " ".join(Path(str(said)).read_text().split())
    for name, values in PRESETS.items():
        parts = [f"temperature {values.temperature:g}"]
        parts += [f"top-k {values.top_k}"] if values.top_k else []
        parts += [f"top-p {values.top_p}"] if values.top_p else []
        parts += [f"min-p {values.min_p}"] if values.min_p else []
        assert f"{name} ({', '.join(parts)})" in text


BAD = {
    "temperature": (["--temperature", "-1"], "temperature"),
    "NaN": (["--temperature", "nan"], "temperature"),
    "top-p": (["--top-p", "1.5"], "top_p"),
    "top-k": (["--top-k", "0"], "top_k"),
    "samples": (["--samples", "0"], "--samples"),
    "length": (["--max-new-tokens", "-1"], "--max-new-tokens must be at least 0"),
    "stop": (["--stop", ""], "stop string"),
    "preset": (["--preset", "wild"], "wild"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_flags_end_in_one_message(
    model_file: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    flags, message = BAD[name]
    assert call("generate", model_file, "--prompt", "a", *flags) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_a_long_prompt_is_mentioned(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("generate", model_file, "--prompt", "a" * 100, "--max-new-tokens", "2") == 0
    assert "the model sees only its end" in capsys.readouterr().err


def test_evaluate_judges_several_models(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").write_text("abcdefg hijk " * 20)
    (tmp_path / "c.jsonl").write_text('{"context": "ab", "continuation": " c"}\n')
    (tmp_path / "q.jsonl").write_text('{"query": "ab", "choices": ["c", "d"], "gold": 0}\n')
    tests = ["--text", tmp_path / "t.txt", "--cloze", tmp_path / "c.jsonl"]
    tests += ["--choices", tmp_path / "q.jsonl", "--stride", "8"]
    assert call("evaluate", model_file, model_file, *tests, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["results"]
    assert first == second
    assert first["text"]["tokens"] == first["text"]["bytes"] + 1  # and the end-of-text
    assert first.keys() == {"model", "step", "text", "cloze", "choices"}
    assert call("evaluate", model_file, *tests) == 0
    out = capsys.readouterr().out
    assert f"{first['text']['loss']:.4f}" in out, out
    (tmp_path / "empty.txt").write_text("")
    assert call("evaluate", model_file, "--text", tmp_path / "empty.txt") == 2
    assert call("evaluate", model_file) == 2
    assert "nothing to judge on" in capsys.readouterr().err
    assert call("evaluate", model_file, "--dataset", "toy", "--stride", "4") == 2
    assert "--stride 4 says nothing without --text" in capsys.readouterr().err


def test_compare_sampling_prints_a_table_and_draws(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "s.png"
    flags = ["--samples", "2", "--max-new-tokens", "8", "--seed", "1", "--output", picture]
    assert call("compare_sampling", model_file, *flags) == 0
    out = capsys.readouterr().out
    for name in load("compare_sampling").STRATEGIES:
        assert name.split()[0] in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert call("compare_sampling", model_file, "--samples", "1") == 2


def test_export_hf_writes_the_folder(model_file: Path, tmp_path: Path) -> None:
    assert call("export_hf", model_file, "--output", tmp_path / "out") == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("config.json", "generation_config.json", "model.safetensors", "README.md"),
        *("tokenizer.json", "tokenizer_config.json"),
    }


def appears(terminal: int, wanted: bytes, limit: float) -> bool:
    """Whether the terminal shows `wanted` within this many seconds."""
    seen, end = b"", time.monotonic() + limit
    while wanted not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 1.0)[0]:
            seen += os.read(terminal, 4096)
    return wanted in seen


def read_until(terminal: int, wanted: bytes) -> None:
    assert appears(terminal, wanted, 200.0), f"{wanted!r} did not appear"


def interrupt(process: subprocess.Popen, terminal: int) -> None:
    """Press Ctrl-C until a new prompt appears.

    Once is not always enough. Python's input() shows the prompt, then waits for a key, and a
    signal that falls between the two is seen only when the wait ends; and what is raised while
    Python clears up an object is lost.
    """
    for _ in range(10):
        os.killpg(process.pid, signal.SIGINT)
        if appears(terminal, b"> ", 10.0):
            return
    raise AssertionError("ten times Ctrl-C, and no prompt")


@pytest.mark.slow
def test_a_session_survives_ctrl_c(model_file: Path) -> None:
    """A real terminal: a text is stopped, another is written, the end of input ends it."""
    ours, theirs = pty.openpty()
    flags = ["--max-new-tokens", "1000000", "--preset", "greedy", "--stop", "%%"]
    process = subprocess.Popen(
        [sys.executable, COMMANDS / "generate.py", model_file, *flags],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    try:
        read_until(ours, b"> ")
        os.write(ours, b"first\n")
        read_until(ours, b"first\r\nfirst")
        interrupt(process, ours)
        interrupt(process, ours)  # at the prompt too
        os.write(ours, b"second\n")
        read_until(ours, b"second\r\nsecond")
        interrupt(process, ours)
        os.write(ours, b"\x04")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
