"""Testing a base model, which cannot answer questions: which continuation does it find likelier?

    last word        {"context": "…", "continuation": " word"}         as in LAMBADA
    multiple choice  {"query": "…", "choices": ["…", "…"], "gold": 0}  as in HellaSwag, PIQA

Files have one such record per line. A last word counts as found if every token of it was the
model's first choice. Of several choices, the model's answer is the one with the highest
log-probability: its *total* favours short answers, so it is also divided by the bytes of the
answer ("normalised").

Sources: Paperno et al., "The LAMBADA dataset" (2016); Zellers et al., "HellaSwag" (2019).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from transformer.data.batch import IGNORED
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.evaluation.perplexity import score_tokens
from transformer.generation import pad
from transformer.model import DecoderOnlyTransformer

BATCH = 16
Record = TypeVar("Record")


@dataclass(frozen=True)
class LastWord:
    """A text without its end, and the end."""

    context: str
    continuation: str


@dataclass(frozen=True)
class Question:
    """A text and the continuations to choose from; `gold` is the index of the right one."""

    query: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True)
class Score:
    """What a model thinks of one continuation."""

    log_probability: float
    """Σ ln p(token), nats."""
    is_first_choice: bool
    """Greedy decoding would have written exactly this."""


def score_continuations(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]
) -> list[Score]:
    """The log-probability of each continuation after its context.

    A context that does not fit is cut at its beginning; white space at its end goes to the
    continuation, where the tokenizer had it in training (" word" is one token).

    Raises:
        UserError: a continuation is empty, or alone longer than the model's context.
    """
    rows = [_row(tokenizer, *pair, model.config.max_seq_len) for pair in pairs]
    scores: list[Score] = []
    for first in range(0, len(rows), BATCH):
        ids, targets = zip(*rows[first : first + BATCH], strict=True)
        cpu = torch.device("cpu")
        scored = pad(targets, cpu, padding=IGNORED)  # (B, T)
        log_probabilities, is_first = score_tokens(model, pad(ids, cpu), scored)
        found = (is_first | (scored == IGNORED)).all(dim=1)
        totals = log_probabilities.double().sum(dim=1)
        scores += map(Score, totals.tolist(), found.tolist())
    return scores


def _row(
    tokenizer: Tokenizer, context: str, continuation: str, size: int
) -> tuple[list[int], list[int]]:
    """Inputs and targets of one continuation; the context is not scored."""
    stem = context.rstrip()
    gap = context[len(stem) :]
    if not gap and stem and not continuation[:1].isspace():
        gap = " "
    before = tokenizer.encode_prompt(stem)
    after = tokenizer.encode(gap + continuation)
    if not continuation.strip() or len(after) > size:
        raise UserError(
            f"a continuation must have 1 to {size} tokens, but {continuation[:40]!r} has "
            f"{len(after) if continuation.strip() else 0}"
        )
    before = before[-(size + 1 - len(after)) :]
    ids = [*before, *after]
    return ids[:-1], [IGNORED] * (len(before) - 1) + after


def last_word_accuracy(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, records: Sequence[LastWord]
) -> dict[str, float]:
    """Share of continuations that greedy decoding finds, and their mean log-probability."""
    pairs = [(record.context, record.continuation) for record in records]
    scores = score_continuations(model, tokenizer, pairs)
    return {
        "accuracy": sum(score.is_first_choice for score in scores) / len(scores),
        "log_probability": sum(score.log_probability for score in scores) / len(scores),
    }


def choice_accuracy(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, questions: Sequence[Question]
) -> dict[str, float]:
    """Share of questions answered correctly, by total and by normalised log-probability."""
    pairs = [(question.query, choice) for question in questions for choice in question.choices]
    scores = iter(score_continuations(model, tokenizer, pairs))
    right, right_normalised = 0, 0
    for question in questions:
        totals = [next(scores).log_probability for _ in question.choices]
        each = zip(totals, question.choices, strict=True)
        normalised = [total / len(choice.encode(errors="replace")) for total, choice in each]
        right += totals.index(max(totals)) == question.gold
        right_normalised += normalised.index(max(normalised)) == question.gold
    n = len(questions)
    chance = sum(1 / len(question.choices) for question in questions) / n
    return {"accuracy": right / n, "accuracy_normalised": right_normalised / n, "chance": chance}


def read_last_words(path: Path) -> list[LastWord]:
    """Raises UserError with the number of a line that is not a last-word record."""
    return _read_lines(path, _last_word)


def read_questions(path: Path) -> list[Question]:
    """Raises UserError with the number of a line that is not a multiple-choice record."""
    return _read_lines(path, _question)


def _last_word(record: dict[str, Any]) -> LastWord:
    context, continuation = record["context"], record["continuation"]
    if not isinstance(context, str) or not isinstance(continuation, str):
        raise ValueError("context and continuation must be text")
    if not continuation.strip():
        raise ValueError("the continuation is empty")
    return LastWord(context, continuation)


def _question(record: dict[str, Any]) -> Question:
    query, choices, gold = record["query"], record["choices"], record["gold"]
    if not isinstance(query, str) or not isinstance(choices, list) or len(choices) < 2:
        raise ValueError("query must be text, choices a list of at least 2")
    if not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise ValueError("every choice must be text that is not empty")
    if type(gold) is not int or not 0 <= gold < len(choices):
        raise ValueError(f"gold must be an index from 0 to {len(choices) - 1}, but is {gold!r}")
    return Question(query, tuple(choices), gold)


def _read_lines(path: Path, parse: Callable[[dict[str, Any]], Record]) -> list[Record]:
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("it is not a JSON object")
            records.append(parse(record))
        except KeyError as error:
            raise UserError(f"{path}, line {number}: the field {error} is missing") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: {error}") from error
    if not records:
        raise UserError(f"{path} is empty: it has no line to evaluate")
    return records
