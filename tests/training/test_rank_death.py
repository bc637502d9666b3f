"""One of the processes that torchrun started dies in the middle of the run."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from parallel_tools import OBSERVED, torchrun
from training_tools import assert_same_run, write_text

pytestmark = pytest.mark.slow
STEPS = ("--steps", "60")  # a checkpoint after 25 and 50 of them


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_text(folder / "text.txt")
    done = torchrun(folder, 2, *STEPS, "--name", "run")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "runs/run"


def processes_in(folder: Path) -> list[str]:
    """Processes whose working folder it is."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # another user's, or gone by now
            if link.readlink() == folder:
                found.append(link.parent.name)
    return found


@pytest.mark.parametrize(
    ("death", "starts"),
    [("1 30", ["0", "25"]), ("0 55", ["0", "50"]), ("1 3", ["0", "0"]), ("1 0", ["0"])],
)
def test_torchrun_restarts_all_and_they_continue_from_the_last_checkpoint(
    tmp_path: Path, undisturbed: Path, death: str, starts: list[str]
) -> None:
    """`death`: which rank in which of its steps."""
    write_text(tmp_path / "text.txt")
    flags = ("--name", "run", *STEPS)
    done = torchrun(tmp_path, 2, *flags, script=OBSERVED, restarts=1, environment={"DIE": death})
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.findall(r"from step (\d+)\.", done.stdout) == starts
    assert_same_run(tmp_path / "runs/run", undisturbed)


def test_the_run_that_continues_is_their_own(tmp_path: Path, undisturbed: Path) -> None:
    """Not another one that has been used more recently."""
    write_text(tmp_path / "text.txt")
    other = shutil.copytree(undisturbed, tmp_path / "runs/other")
    os.utime(other / "metrics.jsonl", (2e9, 2e9))
    death = {"DIE": "1 30"}
    done = torchrun(tmp_path, 2, *STEPS, script=OBSERVED, restarts=1, environment=death)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same_run(tmp_path / "runs/text-1", undisturbed)


def test_a_refused_start_stays_refused(tmp_path: Path, undisturbed: Path) -> None:
    """torchrun starts again whatever the reason was: that does not make it a resumption."""
    write_text(tmp_path / "text.txt")
    mine = shutil.copytree(undisturbed, tmp_path / "runs/mine")
    done = torchrun(tmp_path, 2, "--name", "mine", "--steps", "80", restarts=1)
    assert done.returncode != 0
    assert "error: runs/mine exists" in done.stderr
    assert_same_run(mine, undisturbed)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes by /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_without_restarts_all_end_and_say_how_to_continue(
    tmp_path: Path, undisturbed: Path, rank: int
) -> None:
    write_text(tmp_path / "text.txt")
    assert processes_in(Path.cwd()).count(str(os.getpid())) == 1
    death = {"DIE": f"{rank} 30"}
    flags = ("--name", "run", *STEPS)
    done = torchrun(tmp_path, 2, *flags, script=OBSERVED, environment=death)
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL)" in done.stderr
    assert "error: lost contact with another process of this run" in done.stderr
    assert "--resume continues from the last checkpoint" in done.stderr
    assert processes_in(tmp_path) == []
    again = torchrun(tmp_path, 2, *flags, "--resume")
    assert again.returncode == 0, again.stderr[-2000:]
    assert "from step 25." in again.stdout
    assert_same_run(tmp_path / "runs/run", undisturbed)
