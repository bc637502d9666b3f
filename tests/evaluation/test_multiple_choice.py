"""Multiple choice and last words against one forward pass per continuation, and bad files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.errors import UserError
from transformer.evaluation.multiple_choice import (
    LastWord,
    Question,
    choice_accuracy,
    last_word_accuracy,
    read_last_words,
    read_questions,
    score_continuations,
)
from transformer.generation import generate
from transformer.model import DecoderOnlyTransformer

BYTES = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)


@pytest.fixture
def model() -> DecoderOnlyTransformer:
    config = ModelConfig(257, d_model=16, n_heads=2, n_layers=2, d_ff=32, max_seq_len=24)
    model = DecoderOnlyTransformer(config).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def by_hand(model: DecoderOnlyTransformer, context: bytes, continuation: bytes) -> float:
    ids = [256, *context, *continuation]
    total = 0.0
    for place in range(len(ids) - len(continuation), len(ids)):
        seen = ids[max(0, len(ids) - 1 - 24) : place]
        total += model(torch.tensor([seen]))[0, -1].log_softmax(dim=-1)[ids[place]].item()
    return total


def test_scores_equal_one_pass_per_token(model: DecoderOnlyTransformer) -> None:
    pairs = [("the cat", " sat"), ("the cat ", "sat"), ("the cat", "sat"), ("", "x"), ("a", " ☃☃")]
    pairs += [("long " * 20, "end")] * 15  # more than one batch, cut at the beginning
    split = [(b"the cat", b" sat")] * 3 + [(b"", b"x"), (b"a", " ☃☃".encode())]
    split += [(("long " * 20).rstrip().encode(), b" end")] * 15
    for score, (context, continuation) in zip(
        score_continuations(model, BYTES, pairs), split, strict=True
    ):
        expected = by_hand(model, context, continuation)
        assert score.log_probability == pytest.approx(expected, rel=1e-10)


def test_what_greedy_writes_is_the_first_choice(model: DecoderOnlyTransformer) -> None:
    letters = torch.arange(257)
    letters = (letters >= ord("a")) & (letters <= ord("z"))
    model.token_embedding.weight.data[~letters] = 0.0  # some letter is likelier than the rest
    start = torch.tensor([[BYTES.end_of_text]])
    text = BYTES.decode(generate(model, start, 6, temperature=0.0)[0, 1:].tolist())
    assert text.isalpha()
    other = text[:-1] + ("a" if text[-1] != "a" else "b")
    records = [LastWord("", text), LastWord("", other), LastWord("", text[:3])]
    assert last_word_accuracy(model, BYTES, records[:1])["accuracy"] == 1.0
    assert last_word_accuracy(model, BYTES, records)["accuracy"] == pytest.approx(2 / 3)


def test_total_and_normalised_scores_can_disagree(model: DecoderOnlyTransformer) -> None:
    """Gold is chosen from scores by hand; total prefers the short, normalised the long one."""
    choices = ("a", "bcdefgh")
    totals = [by_hand(model, b"q", b" " + choice.encode()) for choice in choices]
    means = [total / len(choice) for total, choice in zip(totals, choices, strict=True)]
    for gold in (0, 1):
        found = choice_accuracy(model, BYTES, [Question("q", choices, gold)])
        assert found["accuracy"] == float(totals[gold] == max(totals))
        assert found["accuracy_normalised"] == float(means[gold] == max(means))
        assert found["chance"] == 0.5
    assert totals.index(max(totals)) != means.index(max(means))


def write(path: Path, *records: Any) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return path


def test_files_are_read(tmp_path: Path) -> None:
    words = write(tmp_path / "w.jsonl", {"context": "a", "continuation": " b", "id": 7})
    assert read_last_words(words) == [LastWord("a", " b")]
    questions = write(tmp_path / "q.jsonl", {"query": "a", "choices": ["b", "c"], "gold": 1})
    assert read_questions(questions) == [Question("a", ("b", "c"), 1)]


BAD_LINES = {
    "{": "line 2",
    "[]": "line 2: it is not a JSON object",
    "[" * 100_000: "line 2",
    "\\xff": "line 2",
    '{"query": "a", "choices": ["b", "c"]}': "line 2: the field 'gold' is missing",
    '{"query": "a", "choices": ["b"], "gold": 0}': "line 2: .* at least 2",
    '{"query": "a", "choices": ["b", ""], "gold": 0}': "line 2: every choice",
    '{"query": "a", "choices": ["b", "c"], "gold": 2}': "line 2: gold must be",
    '{"query": "a", "choices": ["b", "c"], "gold": true}': "line 2: gold must be",
    '{"query": 1, "choices": ["b", "c"], "gold": 0}': "line 2: query must be text",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=lambda line: line[:45])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "q.jsonl", {"query": "a", "choices": ["b", "c"], "gold": 1})
    path.write_bytes(path.read_bytes() + line.encode().replace(b"\\xff", b"\xff") + b"\n")
    with pytest.raises(UserError, match=BAD_LINES[line]):
        read_questions(path)


def test_files_without_questions_are_refused(tmp_path: Path, model: DecoderOnlyTransformer) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match="is empty"):
        read_last_words(tmp_path / "empty.jsonl")
    with pytest.raises(UserError, match="there is no file"):
        read_questions(tmp_path / "absent.jsonl")
    bad = write(tmp_path / "w.jsonl", {"context": "a", "continuation": " "})
    with pytest.raises(UserError, match="line 1: the continuation is empty"):
        read_last_words(bad)
    with pytest.raises(UserError, match="1 to 24 tokens"):
        score_continuations(model, BYTES, [("a", "x" * 30)])
