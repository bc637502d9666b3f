"""The README's commands and links, as a reader would follow them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
TRAIN = "pip install uv && uv run python commands/train.py --dataset toy"
TEST = "pip install uv && uv run pytest"


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_there_are_exactly_two_set_up_commands() -> None:
    lines = [line for block in code_blocks(README) for line in block.splitlines()]
    assert [line for line in lines if "pip install" in line] == [TRAIN, TEST]


def test_ci_runs_the_test_command() -> None:
    assert "uv run pytest" in (ROOT / ".ci/run").read_text()


def test_every_link_and_command_leads_somewhere() -> None:
    links = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if not t.startswith("http")]
    commands = re.findall(r"commands/\w+\.py", README)
    assert len(links) > 15
    assert [name for name in links + commands if not (ROOT / name).exists()] == []


def test_every_command_is_in_the_readme() -> None:
    commands = {f"commands/{path.name}" for path in (ROOT / "commands").glob("*.py")}
    assert commands - set(re.findall(r"commands/\w+\.py", README)) == set()


@pytest.mark.parametrize("command", sorted((ROOT / "commands").glob("*.py")), ids=lambda p: p.name)
def test_every_flag_is_explained(command: Path) -> None:
    done = subprocess.run(
        [sys.executable, command, "--help"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_the_training_line_trains_and_prints_text(tmp_path: Path) -> None:
    """The README's line, shortened by --steps, in an empty folder."""
    words = TRAIN.split("uv run python ")[1].split()
    words[0] = str(ROOT / words[0])
    done = subprocess.run(
        [sys.executable, *words, "--steps", "4", "--eval-every", "2"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "floor" in done.stdout
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 1
    assert {"config.json", "metrics.jsonl", "samples.md", "latest", "best"} <= {
        path.name for path in runs[0].iterdir()
    }
