"""The tables of a model of GPT-2's shape: 12 blocks of 12 heads, 50,281 tokens, 80 columns."""

import json
import re
from collections.abc import Iterator

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from transformer.config import ModelConfig, Variant
from transformer.data.tokenizer import load_tokenizer
from transformer.interpretability import questions
from transformer.interpretability.attention_patterns import model_patterns
from transformer.interpretability.induction import (
    attention_weights,
    induction_scores,
    repeated_random_tokens,
)
from transformer.interpretability.induction_question import FEW_SEQUENCES, ask_induction
from transformer.interpretability.labels import MOST_CELLS, show_token
from transformer.interpretability.patching import PromptPair
from transformer.interpretability.prompts import encode_prompt
from transformer.interpretability.report import Report, print_report
from transformer.ladder import build_model
from transformer.model import DecoderOnlyTransformer

LAYERS = H = 12
TEXT = (
    "naïve 🙂 snow ☃ 雪"
    + " " * 40
    + "\t\t\t\t\t\n\n\n\n\n----------------"
    + "the snow, the snow" * 3
)
TOKENIZER = load_tokenizer("p50k_base")
IDS = encode_prompt(TOKENIZER, TEXT, 256)


@pytest.fixture(scope="module")
def model() -> Iterator[DecoderOnlyTransformer]:
    variant = Variant(positions="learned", logit_softcap=30.0)
    torch.manual_seed(0)
    model = build_model(ModelConfig(50_281, 24, H, LAYERS, 48, 256, 0.0, variant=variant)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        for block in model.blocks:
            block.attention.qkv_projection.weight[:48].mul_(4)  # heads that look at one place
    return model


@pytest.fixture(scope="module")
def reports(model: DecoderOnlyTransformer) -> dict[str, Report]:
    clean, corrupted = IDS[0], IDS[0].clone()
    corrupted[1] = 1000
    pair = PromptPair(clean, corrupted, 1, 2)
    targets, parts = questions.prompt_targets(IDS)
    return {
        "lens": questions.ask_lens(model, TOKENIZER, IDS),
        "attention": questions.ask_attention(model, TOKENIZER, IDS, (11, 11)),
        "induction": ask_induction(model, TOKENIZER, None),
        "patch": questions.ask_patch(model, TOKENIZER, pair, ["residual", "attention.output"]),
        "ablate": questions.ask_ablate(model, IDS, targets, parts, "mean"),
    }


def printed(report: Report, width: int = 80) -> list[str]:
    console = Console(width=width, record=True)
    print_report(report, console)
    return console.export_text().splitlines()


NUMBER = re.compile(r"(?<!head )(?<![\d.])-?\d+\.\d\d\b")  # 3.10 after "head" is a name
QUESTIONS = ("lens", "attention", "induction", "patch", "ablate")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("width", [60, 80, 132])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(
    question: str, width: int, reports: dict[str, Report]
) -> None:
    lines = printed(reports[question], width)
    assert max(map(cell_len, lines)) <= width
    assert not [line for line in lines if re.search(r"\d…|\bbl…|he…", line)]
    assert len(lines) < 200


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_number_that_is_shown_is_there_in_full(
    question: str, reports: dict[str, Report]
) -> None:
    """As often as it should be, whatever the width: folding loses no column."""
    shown = [
        grid.text(row, column)
        for grid in reports[question].grids
        if grid.medium != "picture"
        for row in grid.visible_rows
        for column in range(len(grid.columns))
    ]
    numbers = sorted(number for text in shown for number in re.findall(NUMBER, text))
    for width in (60, 80, 300):
        report = reports[question]
        lines = printed(Report(report.title, [], report.grids), width)
        noted = " ".join(
            [grid.note + grid.title for grid in report.grids if grid.medium != "picture"]
        )
        found = re.findall(NUMBER, " ".join(lines))
        for number in re.findall(NUMBER, noted):
            found.remove(number)
        assert sorted(found) == numbers


def test_heads_are_a_map_and_the_strongest_by_name(
    model: DecoderOnlyTransformer, reports: dict[str, Report]
) -> None:
    repeats = repeated_random_tokens(50_281, TOKENIZER.end_of_text, count=FEW_SEQUENCES)
    scores = induction_scores(attention_weights(model, repeats.ids), repeats)  # (12, 12)
    heads, grid, *_ = reports["induction"].grids
    assert len(heads.rows) == LAYERS * H + 1  # and chance
    order = sorted(range(LAYERS * H), key=lambda i: -float(scores.flatten()[i]))[:12]
    assert heads.shown == [*order, LAYERS * H]
    assert (len(grid.rows), len(grid.columns)) == (LAYERS, H)
    torch.testing.assert_close(torch.tensor(grid.values), scores)
    lines = printed(reports["induction"])
    for i in range(LAYERS):
        row = " ".join(f"{float(score):.2f}" for score in scores[i])
        assert f"block {i}".ljust(8) + " " + row in [line.rstrip() for line in lines]
    assert sum("head" in line for line in lines) < 40


def test_the_map_of_places_names_what_gets_most_attention(
    model: DecoderOnlyTransformer, reports: dict[str, Report]
) -> None:
    patterns, places, *_ = reports["attention"].grids
    found = model_patterns(model, IDS)
    kinds = {
        "prev": found.previous_token, "first": found.first_token,
        "self": found.current_token, "same": found.same_token,
    }  # fmt: skip
    names = {name for row in places.texts for name in row}
    assert len(names) > 1
    for i, row in enumerate(places.texts):
        for h, name in enumerate(row):
            strongest = max(kinds, key=lambda kind: float(kinds[kind][i, h]))
            value = float(kinds[strongest][i, h])
            assert name == (strongest if value > 0.5 else "·")
            assert places.values[i][h] == pytest.approx(value)
    for scores in kinds.values():
        assert int(scores.argmax()) in patterns.shown
    assert len(patterns.shown) <= 13


def test_the_softcap_is_said_in_text_and_table(
    model: DecoderOnlyTransformer, reports: dict[str, Report]
) -> None:
    written = reports["lens"].grids[-1]
    assert written.columns == ["logits before the softcap"]
    assert "before the softcap. Only the direct path" in written.note
    assert "30 · tanh(z / 30)" in reports["lens"].lines[0]
    last = model.hidden_states(IDS)[0, -1].detach()
    z = (last @ model.token_embedding.weight.T).detach()
    first, second = model(IDS)[0, -1].topk(2).indices.tolist()
    total = sum(value for (value,) in written.values)
    assert total == pytest.approx(float(z[first] - z[second]), abs=1e-4)


def test_json_has_all_rows_unrounded(reports: dict[str, Report]) -> None:
    data = json.loads(json.dumps(reports["ablate"].to_json(), allow_nan=False))
    grid = data["grids"][0]
    assert len(grid["rows"]) == len(grid["values"]) == LAYERS * (H + 2)
    assert grid["values"] == reports["ablate"].grids[0].values


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" snow", "␣snow"),
        (" " * 16, "␣×16"),
        ("\n\n", "\\n\\n"),
        ("----------------", "-×16"),
        ("<|endoftext|>", "<|endoftext|>"),
        (" internationally", "␣internationa…"),
    ],
)
def test_a_token_is_shown_in_few_cells(text: str, shown: str) -> None:
    ids = TOKENIZER.encode(text)
    special = [TOKENIZER.end_of_text]
    token = special if text == "<|endoftext|>" else ids
    assert len(token) == 1
    assert show_token(TOKENIZER, token[0]) == shown


def test_parts_of_characters_can_be_told_apart() -> None:
    shown = [show_token(TOKENIZER, token) for token in TOKENIZER.encode("🙂☃")]
    assert len(set(shown)) == len(shown) > 2
    assert all(re.fullmatch(r"(\\x[0-9a-f]{2})+|☃|🙂", text.removeprefix("␣")) for text in shown)


def test_every_token_of_a_real_vocabulary_fits() -> None:
    for token in range(TOKENIZER.vocab_size):
        shown = show_token(TOKENIZER, token)
        assert 0 < cell_len(shown) <= MOST_CELLS
        assert cell_len(shown[0]) > 0  # no accent that would land on what is before
        assert "\n" not in shown
        assert " " not in shown
