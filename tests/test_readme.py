"""The README's commands and links, as a reader would follow them."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from transformer.data.toy.stories import story_at
from transformer.training_utils import EXPLANATIONS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TRAIN = "pip install uv && uv run python commands/train.py --dataset toy"
TEST = "pip install uv && uv run --group dev pytest"


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_there_are_exactly_two_set_up_commands() -> None:
    lines = [line for block in code_blocks(README) for line in block.splitlines()]
    assert [line for line in lines if "pip install" in line] == [TRAIN, TEST]


def test_what_is_said_of_the_sample_is_true_of_it() -> None:
    findings = runpy.run_path(str(ROOT / "benchmarks/experiments/readme_sample.py"))["findings"]
    block = next(block for block in code_blocks(README) if "It writes:" in block)
    story = " ".join(block.split("It writes:")[1].split())
    assert " ".join(findings(story)) in " ".join(README.split())


def test_findings_on_stories() -> None:
    findings = runpy.run_path(str(ROOT / "benchmarks/experiments/readme_sample.py"))["findings"]
    story = story_at(3).text
    assert list(findings(story)) == ["The grammar could have written this story word for word."]
    names = re.findall(r"named (\w+)", story)
    foreign = list(findings(story.replace(f"named {names[1]}", "named Zulza")))
    assert f"{names[1]} was never introduced." in foreign
    treasure = story_at(0).text
    assert "kept the " in treasure
    swapped = re.sub(r"kept the (\w+) \w+", r"kept the \1 spoons", treasure)
    assert any("have become spoons by the end" in said for said in findings(swapped))
    song = re.findall(r": ((?:[a-z]+ )*[a-z]+)!", story)[0]
    other = list(findings(story.replace(song, song.split()[-1] + " " + song, 1)))
    assert any("repeats a syllable when it is first sung" in said for said in other)


def test_the_readme_names_each_status() -> None:
    assert [name for name in EXPLANATIONS if f"`{name}`" not in README] == []
    assert f"  learning: {EXPLANATIONS['learning']}\n" in README


def test_ci_runs_the_test_command() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert TEST.split(" && ")[1] + " -q" in lines  # a line of its own, not a comment


def test_every_link_and_command_leads_somewhere() -> None:
    links = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if not t.startswith("http")]
    commands = re.findall(r"commands/\w+\.py", README)
    assert len(links) > 15
    assert [name for name in links + commands if not (ROOT / name).exists()] == []


def test_every_command_is_in_the_readme() -> None:
    commands = {f"commands/{path.name}" for path in (ROOT / "commands").glob("*.py")}
    assert commands - set(re.findall(r"commands/\w+\.py", README)) == set()


QUESTIONS = [["interpret", kind] for kind in ("lens", "attention", "induction", "patch", "ablate")]
COMMANDS = [[path.stem] for path in sorted((ROOT / "commands").glob("*.py"))]
COMMANDS.remove(["bare_loop"])  # has no flags


@pytest.mark.parametrize("words", COMMANDS + QUESTIONS, ids=" ".join)
def test_every_flag_is_explained(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = str(ROOT / "commands" / f"{words[0]}.py")
    monkeypatch.setenv("COLUMNS", "90")  # more, and the boxes come in two columns
    monkeypatch.setattr(sys, "argv", [command, *words[1:], "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(command, run_name="__main__")
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "None}" not in out
    flags = explanations(out)
    assert "-h, --help" in flags
    assert [flag for flag, text in flags.items() if not text] == []


def explanations(text: str) -> dict[str, str]:
    """Flag → what --help says of it, without its default; the flag is at the left edge."""
    flags: dict[str, str] = {}
    flag = None
    for line in re.findall(r"^[│ ] (.*?)[│ ]*$", text, flags=re.MULTILINE):
        if re.match(r"--?\w", line):  # else it may be a rule between two groups
            flag, _, said = line.rstrip().partition("  ")
            flags[flag] = said.strip()
        elif line.startswith(" ") and flag:
            flags[flag] += " " + line.strip()
        elif not line.rstrip().endswith("}"):  # else the end of a long list of choices
            flag = None
    return {
        flag: re.sub(r"\((default|required).*", "", said).strip() for flag, said in flags.items()
    }


def test_a_flag_without_a_text_would_be_found() -> None:
    help_text = "│ --a INT   One. (default: 1)  │\n│ --b INT   (default: 2)       │\n"
    assert explanations(help_text) == {"--a INT": "One.", "--b INT": ""}


def test_the_bare_loop_is_shown_as_it_is() -> None:
    code = (ROOT / "commands/bare_loop.py").read_text()
    shown = code[code.index("import torch") :]
    assert shown in code_blocks(README)
    assert 25 <= len(shown.splitlines()) <= 40


@pytest.mark.slow
def test_the_bare_loop_learns() -> None:
    """Shortened to a quarter of its steps, in a process of its own, to a text of full length."""
    code = (ROOT / "commands/bare_loop.py").read_text()
    short = code.replace("STEPS = 400", "STEPS = 100").replace(", stop_ids=[end]", "")
    assert "stop_ids" not in short
    words = [sys.executable, "-c", short]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=240)
    losses = [float(loss) for loss in re.findall(r"loss (\S+),", done.stdout)]
    assert losses[-1] < losses[0] < 3.5  # 6.9 before the first step
    text = done.stdout.split("at best")[-1].split("\n", 1)[1]
    assert len(text.split()) > 20


@pytest.mark.slow
def test_the_training_line_trains_and_prints_text(tmp_path: Path) -> None:
    """The README's line, shortened by --steps and without the compiler, in an empty folder."""
    words = TRAIN.split("uv run python ")[1].split()
    words[0] = str(ROOT / words[0])
    done = subprocess.run(
        [sys.executable, *words, "--steps", "4", "--eval-every", "2", "--compile", "off"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "floor" in done.stdout
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 1
    assert {"config.json", "metrics.jsonl", "samples.md", "latest", "best"} <= {
        path.name for path in runs[0].iterdir()
    }
