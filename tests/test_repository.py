"""The rules that CONTRIBUTING states, held by a test."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GENERATED = {"page/model.data.js", "page/film.data.js", "page/curves.data.js"}


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "-z", "--", *patterns]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=60)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def test_no_file_is_longer_than_300_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py", "*.js", "*.css")
        if str(path.relative_to(ROOT)) not in GENERATED and (lines := code_lines(path)) > 300
    }
    assert long == {}


def test_no_link_is_tracked() -> None:
    """A link to a virtual environment would replace that of whoever checks it out."""
    assert [path.name for path in tracked("*", ".*") if path.is_symlink()] == []


def code_lines(path: Path) -> int:
    """Lines of a file, without the text at the top of a Python file."""
    text = path.read_text()
    opening = ast.get_docstring(ast.parse(text), clean=False) if path.suffix == ".py" else None
    return len(text.splitlines()) - len((opening or "").splitlines())


def test_no_function_is_longer_than_40_lines() -> None:
    long = {}
    for path in tracked("src/*.py", "commands/*.py", "benchmarks/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                lines = node.end_lineno - node.lineno + 1 - docstring.count("\n")
                limit = 20 if node.name == "forward" else 40
                if lines - bool(docstring) > limit:
                    long[f"{path.name}:{node.name}"] = lines
    # The one forward that also computes its gradient (loss.py) may take the room of two.
    assert {name: n for name, n in long.items() if n > 40 or name != "loss.py:forward"} == {}


ROOMS = sorted(path.parent for path in (ROOT / "src/transformer").rglob("*/__init__.py"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_rooms_table_names_every_file_in_it(room: Path) -> None:
    text = (room / "__init__.py").read_text()
    table = re.findall(r"^\|[^`]* `(\w+\.py)` \| \S.*\? \|$", text, re.M)
    assert sorted(table) == sorted(path.name for path in room.glob("[!_]*.py"))


def test_what_is_flat_is_a_step_of_the_course() -> None:
    """Everything else has a room; the package's own text names each step."""
    flat = {path.name for path in (ROOT / "src/transformer").glob("[!_]*.py")}
    text = (ROOT / "src/transformer/__init__.py").read_text()
    assert set(re.findall(r"^\|[^`]* `(\w+\.py)` \| \S.*\? \|$", text, re.M)) == flat
    readme = (ROOT / "README.md").read_text()
    assert {name for name in flat if f"(src/transformer/{name})" not in readme} == {"errors.py"}


def test_pytorchs_ready_made_transformer_is_not_used() -> None:
    forbidden = re.compile(r"nn\.(Transformer|MultiheadAttention)|torch\.(save|load)\(|pickle\.")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked("src/*.py", "commands/*.py")
        if (match := forbidden.search(path.read_text()))
    ]
    assert found == []


def test_nothing_large_or_generated_is_tracked() -> None:
    large = {p.name for p in tracked() if p.stat().st_size > 900 * 1024}
    assert large <= {"model.data.js", "film.data.js"}
    assert not tracked("uv.lock", "runs/*", "data/*")


def test_no_test_forks_its_own_process() -> None:
    """A fork copies the locks that other threads of the tests hold at that moment."""
    forks = re.compile(r"get_context\(.fork.\)|os\.fork\(|multiprocessing_context=.fork.")
    found = {path.name for path in tracked("tests/*.py") if forks.search(path.read_text())}
    assert found <= {"forked_workers.py", Path(__file__).name}


def test_every_package_that_is_needed_is_pinned_to_one_version() -> None:
    """So that the README's commands install in three years what was tested today."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"]]
    groups += project["project"]["optional-dependencies"].values()
    groups += project["dependency-groups"].values()
    needed = {re.split("[><=]", one)[0] for group in groups for one in group}
    pins = dict(pin.split("==") for pin in project["tool"]["uv"]["constraint-dependencies"])
    assert needed <= pins.keys()
    assert all(re.fullmatch(r"\d[\w.]*", version) for version in pins.values())
