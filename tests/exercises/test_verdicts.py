"""What a learner is told of code that is wrong, unkind, slow or late."""

from pathlib import Path

import pytest
from learner import write
from training_tools import call, load_command

from exercises.contents import EXERCISES
from exercises.judging.check import Failure
from exercises.judging.judge import Verdict
from exercises.judging.process import judged
from exercises.judging.show import show_verdict
from exercises.judging.skeleton import skeleton
from transformer.terminal.command_line import plain_console

SOLUTION = EXERCISES["attention"].folder / "solution.py"
pytestmark = pytest.mark.usefixtures("folder")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("while True: pass", "after 2 seconds it was not done"),
        ("import os; os._exit(3)", "ended without a verdict"),
        ("raise SystemExit", "ended the program"),
        ("raise BaseException('odd')", "BaseException: odd"),
        ("raise KeyError", "KeyError: no message"),
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return None", "two things are to be returned"),
        ("return torch.nn.Module()(queries)", "NotImplementedError: Module [Module] is missing"),
    ],
)
def test_unkind_code_gets_a_verdict(line: str, says: str) -> None:
    text = SOLUTION.read_text("utf-8").replace("K = queries.size(-1)", line)
    verdict = judged("attention", write(text=text), limit=2.0 if "while" in line else 30.0)
    assert verdict.failure is not None
    assert says in verdict.failure.mistake


@pytest.mark.parametrize(
    ("name", "result", "expected"),
    [
        ("heads", "self.output_projection(joined)", "a tensor (1, 1, 6)"),
        ("rotary", "turned.to(x.dtype)", "a tensor (1, 1, 1, 6)"),
        ("block", "x + self.dropout(written)", "a tensor (1, 50, 2)"),
        ("schedule", "lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2", "a number"),
    ],
)
def test_a_forgotten_return_is_named(name: str, result: str, expected: str) -> None:
    text = (EXERCISES[name].folder / "solution.py").read_text("utf-8")
    assert f"return {result}" in text
    failure = judged(name, write(name, text.replace(f"return {result}", result))).failure
    assert failure is not None
    assert failure.mistake == "nothing is returned: is there a `return`?"
    assert failure.expected == expected


def test_an_argument_that_is_written_into_is_counted_from_the_first() -> None:
    text = (EXERCISES["generation"].folder / "solution.py").read_text("utf-8")
    unread = "unread = ids  # first"
    failure = judged("generation", write("generation", text.replace(unread, f"ids += 0; {unread}")))
    assert failure.failure is not None
    assert failure.failure.mistake.startswith("argument 3 was written into")


class Late(str):
    """A text that takes its time to arrive in another process."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"__import__('time').sleep(2.5) or {str(self)!r}",)


def test_the_limit_counts_from_when_the_judge_is_there() -> None:
    verdict = judged(Late("attention"), write(text=skeleton(SOLUTION.read_text("utf-8"))), 2.0)
    assert verdict.failure is not None
    assert verdict.failure.mistake == "this is still to be written"


@pytest.mark.parametrize(
    ("mistake", "shown"),
    [
        ("the loss is wrong", "The loss is wrong."),
        ("is there a loop?", "Is there a loop?"),
        ("`weight` is a plain tensor", "`weight` is a plain tensor."),
        ("RuntimeError: it ends in a stop.", "RuntimeError: it ends in a stop."),
    ],
)
def test_mistakes_are_sentences(
    capsys: pytest.CaptureFixture[str], mistake: str, shown: str
) -> None:
    failure = Failure("in small", "x = 1", "", "", mistake)
    verdict = Verdict(False, failure, remarks=("right, but slow: is there a loop?",))
    show_verdict(plain_console(), EXERCISES["mask"], verdict, Path("mine"))
    said = capsys.readouterr().out.splitlines()
    assert "Note: right, but slow: is there a loop?" in said
    assert shown in said


def test_another_folder_is_named_in_what_is_to_be_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def says(*flags: str) -> str:
        call("exercise", *load_command("exercise").with_default(list(flags)))
        told = capsys.readouterr()
        return " ".join((told.out + told.err).split())

    mine = ("--mine", "my own")
    assert "start positions --mine 'my own'" in says(*mine)
    assert "start mask --mine 'my own' writes it" in says(*mine, "check", "mask")
    assert "begin with uv run python commands/exercise.py list --mine" in says(*mine, "check")
    assert "check mask --mine 'my own'" in says("start", "mask", "--mine=my own")
    assert "hint mask --mine 'my own'" in says("--mine=my own", "check", "mask")
    assert "clinic 1 --mine 'my own'" in says("clinic", *mine)
    assert "clinic 1 --mine 'my own'" in says("clinic", "1", "--answer", "no-mask", *mine)
    assert "--mine" not in says("list")


def test_a_file_that_cannot_be_read_gets_a_verdict() -> None:
    verdict = judged("attention", write(text="def broken(:\n"))
    assert verdict.failure is not None
    assert "line 1" in verdict.failure.given
    verdict = judged("attention", write(text="x = 1\n"))
    assert verdict.failure is not None
    assert "there is no scaled_dot_product_attention" in verdict.failure.mistake


def test_what_code_does_besides_is_told_and_undone() -> None:
    lines = (
        "print('hello')",
        "torch.set_default_dtype(torch.float64)",
        "torch.set_grad_enabled(torch.is_grad_enabled())",
        "torch.manual_seed(1)",
        "open('left-behind.txt', 'w').close()",
        "K = queries.size(-1)",
    )
    text = SOLUTION.read_text("utf-8").replace("K = queries.size(-1)", "; ".join(lines))
    verdict = judged("attention", write(text=text))
    assert verdict.failure is None
    told = " ".join(verdict.remarks)
    for part in ("it printed", "hello", "the default type of numbers", "torch.manual_seed"):
        assert part in told
    assert "it opened left-behind.txt for writing" in told


def test_slow_code_passes_with_a_remark() -> None:
    slow = "import time; time.sleep(0.3 * (queries.shape == (4, 4, 128, 32))); K = queries.size(-1)"
    text = SOLUTION.read_text("utf-8").replace("K = queries.size(-1)", slow)
    verdict = judged("attention", write(text=text))
    assert verdict.passed
    assert any("times as slow as the solution" in remark for remark in verdict.remarks)
