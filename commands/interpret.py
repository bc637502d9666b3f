"""Look inside a trained model, and change what is there.

uv run python commands/interpret.py lens --demo
uv run python commands/interpret.py attention runs/toy --demo --head 2.1 --save attention.png
uv run python commands/interpret.py induction runs/toy
uv run python commands/interpret.py patch runs/toy --demo
uv run python commands/interpret.py ablate runs/toy --demo --kind zero
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from transformer.errors import UserError
from transformer.interpretability import questions
from transformer.interpretability.ablation import Kind
from transformer.interpretability.induction import Repeats
from transformer.interpretability.induction_question import ask_induction
from transformer.interpretability.many_heads import has_many
from transformer.interpretability.patching import Site
from transformer.interpretability.prompts import demo_pair, demo_prompt, encode_pair, encode_prompt
from transformer.interpretability.report import (
    Report,
    print_report,
    save_report,
)
from transformer.interpretability.songs import demo_songs, sings
from transformer.ladder.describe import describe_model
from transformer.runs.curves import check_picture
from transformer.runs.model_file import LoadedModel
from transformer.terminal.command_line import RunArguments, plain_console, run

SITES: tuple[Site, ...] = ("residual", "attention.output", "feed_forward.output")


@dataclass(frozen=True)
class _Question(RunArguments):
    save: Path | None = None
    """Also draw a picture: a name that ends in .png, .svg, .pdf or .jpg."""
    json: bool = False
    """Print one JSON document instead of tables, every number unrounded: title, model, lines and
    grids; a grid has title, rows, columns, values (null: nothing to measure), note, and texts
    where its cells say more than their number."""

    def answer(self, loaded: LoadedModel) -> Report:
        raise NotImplementedError


@dataclass(frozen=True)
class _AboutPrompt(_Question):
    prompt: str | None = None
    """A text to look at."""
    demo: bool = False
    """Look at held-out toy stories whose song is sung twice."""

    def ids(self, loaded: LoadedModel) -> torch.Tensor:
        if (self.prompt is None) == (not self.demo):
            raise UserError("give either --prompt TEXT or --demo (for models of toy stories)")
        longest = loaded.model.config.max_seq_len
        text = self.prompt if self.prompt is not None else demo_prompt(loaded.tokenizer, longest)
        return encode_prompt(loaded.tokenizer, text, longest)


@dataclass(frozen=True)
class Lens(_AboutPrompt):
    """What would the model say after each block, and what wrote its answer?"""

    def answer(self, loaded: LoadedModel) -> Report:
        return questions.ask_lens(loaded.model, loaded.tokenizer, self.ids(loaded))


@dataclass(frozen=True)
class Attention(_AboutPrompt):
    """What kinds of place do the heads look at?"""

    head: str | None = None
    """BLOCK.HEAD: show where this head looks, for example 2.1."""

    def answer(self, loaded: LoadedModel) -> Report:
        head = None if self.head is None else questions.parse_head(self.head)
        return questions.ask_attention(loaded.model, loaded.tokenizer, self.ids(loaded), head)


@dataclass(frozen=True)
class Induction(_Question):
    """Which heads find how the text continued last time, and which earlier head do they lean on?"""

    def answer(self, loaded: LoadedModel) -> Report:
        return ask_induction(loaded.model, loaded.tokenizer, songs_for(loaded))


@dataclass(frozen=True)
class Patch(_Question):
    """Which place, given its value from the clean run, is sufficient to bring back its answer?"""

    clean: str | None = None
    """A prompt."""
    corrupted: str | None = None
    """One of as many tokens that calls for another answer."""
    answers: tuple[str, str] | None = None
    """What comes next after each (their first tokens); by default the model's own answers."""
    sites: tyro.conf.UseAppendAction[tuple[Site, ...]] = ()
    """What to patch at each block and position; give it again for more. By default residual,
    attention.output and feed_forward.output."""
    demo: bool = False
    """A toy story, and the same with another syllable in the first singing."""

    def answer(self, loaded: LoadedModel) -> Report:
        given = (self.clean, self.corrupted)
        if None in given if not self.demo else (*given, self.answers) != (None, None, None):
            raise UserError(
                "give --clean TEXT and --corrupted TEXT (with --answers, if you like), or --demo, "
                "which brings its own"
            )
        texts, answers = (self.clean or "", self.corrupted or ""), self.answers
        if self.demo:
            texts, answers = demo_pair(loaded.tokenizer, loaded.model.config.max_seq_len)
        pair = encode_pair(loaded.model, loaded.tokenizer, texts, answers)
        return questions.ask_patch(loaded.model, loaded.tokenizer, pair, list(self.sites or SITES))


@dataclass(frozen=True)
class Ablate(_AboutPrompt):
    """Which parts are necessary: how far does the loss rise without them?"""

    kind: Kind = "mean"
    """What a part writes instead: its mean over the text, or nothing."""

    def answer(self, loaded: LoadedModel) -> Report:
        ids = self.ids(loaded)
        targets, parts = questions.prompt_targets(ids)
        songs = songs_for(loaded) if self.demo else None
        if songs is not None:
            ids, (targets, parts) = songs.ids, questions.song_targets(songs)
        return questions.ask_ablate(loaded.model, ids, targets, parts, self.kind)


def songs_for(loaded: LoadedModel) -> Repeats | None:
    """Toy stories, but not for a large model that never read any: it would take minutes."""
    if has_many(loaded.model.config) and not sings(loaded.tokenizer):
        return None
    return demo_songs(loaded.tokenizer, loaded.model.config.max_seq_len)


AnyQuestion = Lens | Attention | Induction | Patch | Ablate


@tyro.conf.configure(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
def main(question: Annotated[AnyQuestion, tyro.conf.arg(name="")]) -> None:
    """Look inside a trained model."""
    if question.save is not None:
        check_picture(question.save)
    loaded = question.load()
    loaded.model.float()  # a file may hold half precision
    introduction = f"{loaded.path}, step {loaded.step}: {describe_model(loaded.model)}"
    report = replace(question.answer(loaded), model=introduction)
    if question.save is not None:
        save_report(report, question.save)
    if question.json:
        print(json.dumps(report.to_json()))
    else:
        print_report(report, plain_console())


if __name__ == "__main__":
    run(main)
