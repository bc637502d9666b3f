"""Judge trained models: loss, perplexity, bits per byte, last words, multiple choice.

uv run python commands/evaluate.py --dataset toy                      the newest run, with the floor
uv run python commands/evaluate.py runs/a runs/b --text book.txt      two runs side by side
uv run python commands/evaluate.py --cloze lambada.jsonl --choices piqa.jsonl
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.table import Column, Table

from transformer.data.batch import BatchSource
from transformer.data.packing import join_documents
from transformer.data.text.files import text_documents
from transformer.data.toy.source import ToyStoriesSource
from transformer.errors import UserError
from transformer.evaluation.multiple_choice import (
    choice_accuracy,
    last_word_accuracy,
    read_last_words,
    read_questions,
)
from transformer.evaluation.perplexity import Evaluation, evaluate
from transformer.fineweb_dataset import FineWebConfig, FineWebSource
from transformer.machine.device import choose_device
from transformer.runs.model_file import LoadedModel
from transformer.terminal.command_line import RunsDir, plain_console, run


@dataclass(frozen=True)
class Arguments(RunsDir):
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Run folders, checkpoint folders or .safetensors files; without any, the newest run."""
    dataset: Literal["toy", "fineweb"] | None = None
    """The validation set of the toy stories (with the best possible loss) or of FineWeb."""
    text: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """A file or folder to judge on (.txt, .md, .jsonl, .parquet); give it again for more."""
    cloze: Path | None = None
    """JSON lines {"context", "continuation"}: is the continuation the model's first choice?"""
    choices: Path | None = None
    """JSON lines {"query", "choices", "gold"}: does the right choice get the best score?"""
    stride: int | None = None
    """With --text: tokens between the starts of windows; a smaller one gives each token more
    context and takes longer. Half the context if not given."""
    batch_size: int = 8
    """Windows computed together."""
    json: bool = False
    """Print one JSON object instead of tables."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    fineweb: Annotated[FineWebConfig, tyro.conf.arg(name="")] = field(default_factory=FineWebConfig)


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Judge trained models on a text, a data set, last words or multiple choice."""
    if not (args.dataset or args.text or args.cloze or args.choices):
        raise UserError(
            "nothing to judge on: give --dataset toy, --dataset fineweb, --text PATH, "
            "--cloze FILE or --choices FILE"
        )
    if args.stride is not None and not args.text:
        raise UserError(f"--stride {args.stride} says nothing without --text: leave it out")
    if args.batch_size < 1:
        raise UserError(f"--batch-size must be at least 1, but is {args.batch_size}")
    results = []
    for path in args.runs or (None,):
        loaded = args.read(path)
        loaded.model.to(choose_device(args.device))
        results.append({"model": str(loaded.path), "step": loaded.step, **judge(loaded, args)})
    if args.json:
        print(json.dumps({"results": results}))
    else:
        print_tables(results)


def judge(loaded: LoadedModel, args: Arguments) -> dict[str, Any]:
    """The result of each test that the flags name."""
    model, tokenizer = loaded.model, loaded.tokenizer
    figures: dict[str, Any] = {}
    if args.dataset:
        figures[args.dataset] = on_source(loaded, open_source(loaded, args), args.batch_size)
    if args.text:
        documents = map(tokenizer.encode, text_documents(args.text, args.fineweb.text_column))
        ids = join_documents(documents, tokenizer.end_of_text, "int64")
        if (ids == tokenizer.end_of_text).all():
            raise UserError(f"there is no text to judge on in {', '.join(map(str, args.text))}")
        judged = evaluate(
            model, ids.tolist(), tokenizer=tokenizer, stride=args.stride, batch_size=args.batch_size
        )
        figures["text"] = as_figures(judged)
    if args.cloze:
        figures["cloze"] = last_word_accuracy(model, tokenizer, read_last_words(args.cloze))
    if args.choices:
        figures["choices"] = choice_accuracy(model, tokenizer, read_questions(args.choices))
    return figures


def open_source(loaded: LoadedModel, args: Arguments) -> BatchSource:
    context = loaded.model.config.max_seq_len
    if args.dataset == "toy":
        return ToyStoriesSource(
            loaded.tokenizer, seq_length=context, eval_tokens=args.fineweb.eval_tokens
        )
    return FineWebSource(loaded.tokenizer, args.fineweb, seq_length=context, notify=notify)


def notify(message: str) -> None:
    """What FineWeb is waiting for."""
    print(message, file=sys.stderr)


def on_source(loaded: LoadedModel, source: BatchSource, batch_size: int) -> dict[str, Any]:
    try:
        judged = evaluate(loaded.model, source, tokenizer=loaded.tokenizer, batch_size=batch_size)
    finally:
        source.close()
    floor = {} if source.floor is None else {"floor": source.floor}
    return as_figures(judged) | floor


def as_figures(judged: Evaluation) -> dict[str, Any]:
    names = ("loss", "perplexity", "bits_per_byte", "tokens", "bytes")
    return {name: getattr(judged, name) for name in names}


def short(path: Path) -> str:
    """The two folders that a checkpoint's file is in: RUN/CHECKPOINT."""
    return "/".join(path.parts[-3:-1])


def print_tables(results: list[dict[str, Any]]) -> None:
    """One table per test, one line per model."""
    for test in [key for key in results[0] if key not in ("model", "step")]:
        headings = [name.replace("_", " ") for name in ("step", *results[0][test])]
        table = Table(Column("model", overflow="fold"), *headings, title=test)
        for result in results:
            values = result[test].values()
            figures = [f"{x:,}" if isinstance(x, int) else f"{x:.4f}" for x in values]
            table.add_row(short(Path(result["model"])), str(result["step"]), *figures)
        plain_console().print(table)


if __name__ == "__main__":
    run(main)
