"""A test that hangs, wherever it does, ends the run with an error and its stacks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import LIMIT

TESTS = Path(__file__).parent
HANG = """
import threading
import pytest

def hang():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
"""
PLACES = {
    "body": """
def test_it():
    hang()
""",
    "set_up": """
@pytest.fixture
def held():
    hang()

def test_it(held):
    pass
""",
    "tear_down_of_a_failure": """
@pytest.fixture
def held():
    yield
    hang()

def test_it(held):
    assert False
""",
    "catching_everything": """
def test_it():
    while True:
        try:
            hang()
        except BaseException:
            pass
""",
}
ENDS = {
    "tear-down of the session": """
@pytest.fixture(scope="session")
def held():
    yield
    hang()

def test_it(held):
    pass
""",
    "end of the process": """
def test_it():
    threading.Thread(target=hang).start()
""",
}


def run_pytest(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "limits", "-p", "no:cacheprovider", *flags]
    return subprocess.run(
        [*command, "--rootdir", folder, folder],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.slow
def test_a_hang_anywhere_is_a_crash_that_shows_where(tmp_path: Path) -> None:
    for place, body in PLACES.items():
        (tmp_path / f"test_{place}.py").write_text(HANG + body)
    done = run_pytest(tmp_path, "-n", "1", "-o", "test_limit=2")
    assert done.returncode == 1, done.stdout
    assert done.stdout.count("crashed while running") >= len(PLACES)
    for place in PLACES:
        assert re.search(rf"test_{place}.py\", line \d+ in hang", done.stderr), place


@pytest.mark.slow
@pytest.mark.parametrize("body", ENDS.values(), ids=ENDS)
def test_a_run_over_its_limit_is_an_error_that_shows_where(tmp_path: Path, body: str) -> None:
    (tmp_path / "test_hanging.py").write_text(HANG + body)
    done = run_pytest(tmp_path, "-o", "run_limit=-12")  # 3 s in the process that starts others
    assert done.returncode == 1, done.stdout
    assert re.search(r'test_hanging.py", line \d+ in hang', done.stderr), done.stderr


@pytest.mark.slow
def test_what_ends_in_time_passes(tmp_path: Path) -> None:
    lines = ["import time, pytest", "def test_quick():", "    pass", "@pytest.mark.limit(60)"]
    lines += ["def test_slow():", "    time.sleep(2)"]
    (tmp_path / "test_ending.py").write_text("\n".join(lines))
    done = run_pytest(tmp_path, "-o", "test_limit=1")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
