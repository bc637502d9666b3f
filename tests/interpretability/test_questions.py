"""The five questions of interpret.py: the command, its tables, its pictures and its JSON."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from interpretability import planted
from rich.console import Console
from training_tools import load_command

from transformer.config import ModelConfig
from transformer.data.bpe import make_tokenizer
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.data.toy.source import tokenizer_stories
from transformer.data.toy.stories import song_examples
from transformer.errors import UserError
from transformer.interpretability import induction_question, questions
from transformer.interpretability.circuit import describe, find_circuit
from transformer.interpretability.induction import repeated_random_tokens
from transformer.interpretability.induction_question import ask_induction
from transformer.interpretability.labels import show_token
from transformer.interpretability.logit_lens import logit_lens
from transformer.interpretability.patching import PromptPair, sweep
from transformer.interpretability.prompts import demo_pair, demo_prompt, encode_pair, encode_prompt
from transformer.interpretability.report import Grid, Report, print_report, save_report
from transformer.interpretability.songs import copy_accuracy, demo_songs, sings
from transformer.ladder.describe import describe_model
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel, write_model_file
from transformer.terminal.command_line import run as start

COMMAND = Path(__file__).parents[2] / "commands" / "interpret.py"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return make_tokenizer("bpe:512", tokenizer_stories())


@pytest.fixture
def model(tokenizer: Tokenizer) -> DecoderOnlyTransformer:
    config = ModelConfig(
        tokenizer.vocab_size, d_model=32, n_heads=2, n_layers=2, d_ff=64, max_seq_len=256
    )
    model = DecoderOnlyTransformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def test_the_demo_pair_differs_in_the_syllable_that_is_next(tokenizer: Tokenizer) -> None:
    (clean, corrupted), (answer, other) = demo_pair(tokenizer, 256)
    assert clean == demo_prompt(tokenizer, 256)
    one, two = tokenizer.encode(clean), tokenizer.encode(corrupted)
    assert len(one) == len(two)
    assert clean.count(answer + " ") == 1  # in the first singing; the second has not come to it
    assert corrupted == clean.replace(answer + " ", other + " ")
    assert clean[-8:] == corrupted[-8:]


def test_the_reports_hold_what_the_measurements_say(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer
) -> None:
    ids = encode_prompt(tokenizer, demo_prompt(tokenizer, 256), 256)
    top, distance, written = questions.ask_lens(model, tokenizer, ids).grids
    lens = logit_lens(model, ids, k=2)
    assert distance.values == lens.kl.T.tolist()
    assert top.texts[-1][-1].startswith(show_token(tokenizer, int(lens.top_ids[-1, -1, 0])))
    answer, rival = lens.top_ids[-1, -1].tolist()
    logits = model(ids)[0, -1].detach()
    total = sum(value for (value,) in written.values)
    assert total == pytest.approx(float(logits[answer] - logits[rival]), abs=1e-4)
    corrupted = ids[0].clone()
    corrupted[-1] = int(ids[0, -1]) - 1
    pair = PromptPair(ids[0], corrupted, int(ids[0, -1]), int(corrupted[-1]))
    report = questions.ask_patch(model, tokenizer, pair, ["residual"])
    assert report.grids[0].values == sweep(model, pair, "residual").T.tolist()


def test_induction_says_how_well_a_model_of_songs_copies(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer
) -> None:
    songs = demo_songs(tokenizer, 256)
    *heads, copies = ask_induction(model, tokenizer, songs).lines
    share = copy_accuracy(model, tokenizer, song_examples(500))
    assert len(heads) == 2
    assert copies == (
        f"Given its first syllable, the model copies {share:.1%} of the second singing right "
        "(500 held-out stories)"
    )
    assert not sings(load_tokenizer("p50k_base"))  # it cuts syllables: another question


def test_induction_names_the_head_that_the_best_one_leans_on(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    repeats = repeated_random_tokens(planted.V, end_of_text=0, length=11)
    monkeypatch.setattr(induction_question, "repeated_random_tokens", lambda *_: repeats)
    model = planted.duplicate_token_model()
    report = ask_induction(model, tokenizer, None)
    circuit = find_circuit(model, repeats)
    assert report.lines[1] == describe(circuit)
    assert report.grids[1].rows[0] == "head 0.1"
    assert report.grids[1].values[0][2] < 0.2
    assert report.grids[1].values[0][3] > 0.9


def test_ablation_reports_the_rise_in_each_part(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer
) -> None:
    songs = demo_songs(tokenizer, 256)
    assert songs is not None
    targets, parts = questions.song_targets(songs)
    copied, before = parts.values()
    assert not (copied & before).any()
    assert torch.equal(copied | before, targets != -100)
    assert torch.equal(targets[copied], songs.ids.roll(-1, dims=1)[copied])
    report = questions.ask_ablate(model, songs.ids, targets, parts, "zero")
    whole = model.loss(songs.ids, torch.where(copied, targets, -100)).item()
    assert report.lines[0] == (
        f"Loss of the whole model on the second singing: {whole:.3f} nats per token."
    )
    with torch.no_grad():
        block = model.blocks[1].feed_forward.contract
        block.weight.zero_()
        block.bias.zero_()
    without = float(model.loss(songs.ids, torch.where(copied, targets, -100)))
    row = report.grids[0].rows.index("blocks.1.feed_forward.output")
    assert report.grids[0].values[row][0] == pytest.approx(without - whole, abs=1e-4)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_report_is_printed_drawn_and_written(suffix: str, tmp_path: Path) -> None:
    grid = Grid("$cost$ [red]", ["a$b$", "[bold]x"], ["one"], [[float("nan")], [-0.001]])
    report = Report("Title", ["a line"], [grid])
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["grids"][0]["values"] == [[None], [-0.001]]
    console = Console(record=True, width=80)
    print_report(replace(report, model="my [red] model, step 3"), console)
    text = console.export_text()
    assert "my [red] model, step 3\n" in text
    assert "[bold]x" in text  # tokens are text, not markup
    assert "0.00" in text
    assert "-0.00" not in text
    save_report(report, tmp_path / f"picture{suffix}")
    magic = {".png": b"\x89PNG", ".svg": b"<?xml"}[suffix]
    assert (tmp_path / f"picture{suffix}").read_bytes().startswith(magic)


def test_mistakes_are_named(model: DecoderOnlyTransformer, tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"ends in one of .png, .*, but is x.xyz"):
        save_report(Report("", [], []), Path("x.xyz"))
    with pytest.raises(UserError, match=r"BLOCK.HEAD, for example 2.1, but is 'first'"):
        questions.parse_head("first")
    ids = encode_prompt(tokenizer, "Once there was", 256)
    with pytest.raises(UserError, match=r"no head 2.0; blocks go from 0 to 1, heads from 0 to 1"):
        questions.ask_attention(model, tokenizer, ids, (2, 0))
    with pytest.raises(UserError, match=r"the prompt has 0 tokens"):
        encode_prompt(tokenizer, "", 256)
    with pytest.raises(UserError, match=r"can look at 1 to 3"):
        encode_prompt(tokenizer, "Once there was a bear who sang", 4)
    with pytest.raises(UserError, match=r"an answer is empty"):
        encode_pair(model, tokenizer, ("a", "b"), ("", "b"))


@pytest.mark.parametrize("context", [2, 3, 5, 6, 16])
def test_a_short_context_is_named(tokenizer: Tokenizer, context: int) -> None:
    config = ModelConfig(tokenizer.vocab_size, 16, 2, 1, 32, max_seq_len=context)
    model = DecoderOnlyTransformer(config).eval()
    for demo in (demo_prompt, demo_pair):
        with pytest.raises(
            UserError, match=f"context is {context} tokens; the demo needs at least "
        ):
            demo(tokenizer, context)
    if context < 5:
        with pytest.raises(UserError, match=f"context is {context} tokens .* at least 5"):
            ask_induction(model, tokenizer, None)
    else:
        assert len(ask_induction(model, tokenizer, None).grids) == 1


def test_the_context_that_the_demo_asks_for_is_enough(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError) as error:
        demo_prompt(tokenizer, 16)
    needed = int(re.findall(r"at least (\d+)", str(error.value))[0])
    assert len(encode_prompt(tokenizer, demo_prompt(tokenizer, needed), needed)[0]) == needed
    with pytest.raises(UserError, match=f"at least {needed}"):
        demo_prompt(tokenizer, needed - 1)


def test_the_demo_of_patch_has_its_own_answers(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    patch = load_command("interpret").Patch
    loaded = LoadedModel(model, tokenizer, 1, tmp_path)
    for given in ({"answers": (" a", " a")}, {"clean": "a"}, {"corrupted": "a"}):
        with pytest.raises(UserError, match="or --demo, which brings its own"):
            patch(demo=True, **given).answer(loaded)
    with pytest.raises(UserError, match="or --demo, which brings its own"):
        patch(clean="a").answer(loaded)
    with pytest.raises(UserError, match="both prompts have the same answer"):
        patch(clean="a", corrupted="b", answers=(" a", " a")).answer(loaded)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(COMMAND), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


ASKED = (
    ("lens", "--demo"),
    ("attention", "--prompt", "Once there was a bear who sang", "--head", "1.0"),
    ("induction",),
    ("patch", "--demo", "--sites", "residual", "--sites", "feed_forward.output"),
    ("ablate", "--prompt", "Once there was a bear", "--kind", "zero"),
)


@pytest.mark.parametrize("words", ASKED, ids=lambda words: words[0])
def test_json_is_one_document_with_the_numbers_of_the_tables(
    words: tuple[str, ...],
    model: DecoderOnlyTransformer,
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "model.safetensors"
    write_model_file(path, model, tokenizer, step=1)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(induction_question, "COPIED_SONGS", 5)
    question, *flags = words
    outputs = []
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            start(load_command("interpret").main, [question, str(path), *flags, *more])
        assert not ended.value.code
        outputs.append(capsys.readouterr().out)
    table, document = outputs
    assert document.count("\n") == 1
    found = json.loads(document)
    assert found["model"] == f"{path}, step 1: {describe_model(model)}"
    assert found["model"] in table
    assert all(line in table for line in found["lines"])
    printed = {
        tuple(cell.strip() for cell in line[1:-1].split("│"))
        for line in table.splitlines()
        if line.startswith("│")
    }
    rows: set[tuple[str, ...]] = set()
    for grid in found["grids"]:
        cells = grid.get("texts") or [[rounded(v) for v in row] for row in grid["values"]]
        named = zip(grid["rows"], cells, strict=True)
        own = {(name.strip(), *map(str.strip, row)) for name, row in named}
        assert grid["title"] not in table or own & printed
        assert {len(row) for row in grid["values"]} == {len(grid["columns"])}
        rows |= own
    assert len(printed) > 4
    assert printed <= rows
    numbers = [v for grid in found["grids"] for row in grid["values"] for v in row if v is not None]
    assert any(round(v, 6) != v for v in numbers)


def rounded(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"


@pytest.mark.slow
def test_the_command_answers_every_question(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_model_file(path, model, tokenizer, step=1)
    for question, *flags in (
        ("lens", "--demo"),
        ("attention", "--prompt", "Once there was a bear", "--head", "1.0"),
        ("induction",),
        ("patch", "--demo"),
        ("ablate", "--demo", "--kind", "zero"),
    ):
        done = run(question, str(path), *flags, "--json", "--save", str(tmp_path / "x.png"))
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["grids"]
        assert found["model"] == f"{path}, step 1: {describe_model(model)}"
        assert (tmp_path / "x.png").stat().st_size > 1000
    done = run("lens", str(path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: give either --prompt TEXT or --demo")
