"""What README shows of its first command: run it, and say what is right and wrong in the story.

    uv run python benchmarks/experiments/readme_sample.py            trains, a few minutes
    uv run python benchmarks/experiments/readme_sample.py RUN        a run that is there already

Rewrites the part of README.md between the two marks. tests/test_readme.py holds the sentences under
the story to that story.
"""

import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro

from transformer.data.toy.stories import parse_story, song_examples
from transformer.data.toy.words import (
    FIRST_SYLLABLES,
    FOOD,
    LAST_SYLLABLES,
    NUMBERS,
    TREASURE,
)
from transformer.errors import UserError
from transformer.interpretability.induction_question import COPIED_SONGS
from transformer.interpretability.songs import copy_accuracy
from transformer.runs.find import find_model_file
from transformer.runs.metrics import read_metrics
from transformer.runs.model_file import read_model_file
from transformer.runs.samples import sample_text
from transformer.terminal.command_line import run
from transformer.terminal.progress import describe

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- what the first command prints -->", "<!-- until here -->"
SHOWN = (200, 600, 1000, 1800)  # steps
SUMS = (  # how a story says that things are given away, lost or found
    (r"gave (\w+) to \w+ and kept (\w+)", -1),
    (r"lost (\w+) on the way and had (\w+) left", -1),
    (r"found (\w+) more, and now they had (\w+)", +1),
)


def main(where: Annotated[Path | None, tyro.conf.Positional] = None) -> None:
    """Rewrite README's sample from RUN, or from a new run of the first command.

    Args:
        where: a finished run of the first command.
    """
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    with tempfile.TemporaryDirectory() as folder:
        new = section(where or train(Path(folder)))
    readme.write_text(f"{before}{BEGIN}\n{new}\n{END}{after}", encoding="utf-8")


def train(folder: Path) -> Path:
    words = [sys.executable, str(ROOT / "commands/train.py"), "--dataset", "toy"]
    subprocess.run([*words, "--runs-dir", str(folder), "--name", "toy-1"], check=True)
    return folder / "toy-1"


def section(where: Path) -> str:
    """The lines of some evaluations, the story that the command ends with, and its faults."""
    records = {r["step"]: r for r in read_metrics(where / "metrics.jsonl") if "val_loss" in r}
    lines = [describe(records[step]).splitlines()[0] for step in SHOWN]
    loaded = read_model_file(find_model_file(where, where.parent))
    story = sample_text(loaded.model.eval(), loaded.tokenizer, seed=1)  # as train.py does
    block = "\n".join([*lines, "", "It writes:", "", textwrap.fill(story, 100)])
    examples = song_examples(COPIED_SONGS)
    share = copy_accuracy(loaded.model, loaded.tokenizer, examples)
    copying = (
        f"Given a song's first syllable, this model copies {share:.1%} of the rest right in "
        f"{len(examples)} stories that it never saw (`commands/interpret.py induction`)."
    )
    said = textwrap.fill(" ".join([*findings(story), copying]), 100)
    return f"```\n{block}\n```\n\n{said}"


def findings(story: str) -> Iterator[str]:
    """Sentences on a story, computed from it."""
    try:
        parse_story(story)
        yield "The grammar could have written this story word for word."
        return
    except UserError:
        yield "The grammar would not have written this story."
    yield names_found(story)
    yield sum_found(story)
    yield things_found(story)
    yield songs_found(story)


def names_found(story: str) -> str:
    made_up = f"(?:{'|'.join(FIRST_SYLLABLES)})(?:{'|'.join(LAST_SYLLABLES)})"
    introduced = re.findall(r"named (\w+)", story)
    strangers = sorted(set(re.findall(rf"\b{made_up}\b", story)) - set(introduced))
    if strangers:
        return f"{' and '.join(strangers)} was never introduced."
    return f"The names agree ({' and '.join(introduced)})."


def sum_found(story: str) -> str:
    found = re.search(r"found (\w+) \w+ \w+", story)
    for pattern, sign in SUMS:
        changed = re.search(pattern, story)
        if found and changed:
            words = [found[1], changed[1], changed[2]]
            if all(word in NUMBERS for word in words):
                n, k, left = map(NUMBERS.index, words)
                verdict = "right" if n + sign * k == left else "wrong"
                sense = "less" if sign < 0 else "and"
                return f"The sum is {verdict}: {found[1]} {sense} {changed[1]} are {changed[2]}."
    return "There is no sum in it."


def things_found(story: str) -> str:
    """What is eaten or put away at the end is what was found."""
    found = re.search(r"found \w+ \w+ (\w+)", story)
    left = re.search(r"(?:ate|kept) the (?:\w+) (\w+)(?: in a box)?\.", story)
    if not found or not left:
        return "What was found is not mentioned at the end."
    one_of = {many: one for one, many in (FOOD | TREASURE).items()}
    if left[1] in (found[1], one_of.get(found[1])):
        return f"The {found[1]} are still {found[1]} at the end."
    return f"The {found[1]} have become {left[1]} by the end."


def songs_found(story: str) -> str:
    songs = [song.split() for song in re.findall(r": ((?:[a-z]+ )*[a-z]+)!", story)]
    if len(songs) != 2:
        return "The song is not sung twice."
    first, second = songs
    faults = []
    if len(set(first)) < len(first):
        faults.append("repeats a syllable when it is first sung")
    if second not in [first[start:] for start in range(len(first) - 1)]:
        faults.append("is another one when it is sung again")
    if not faults:
        return "The song is sung again from one of its syllables to the end, as it should be."
    return f"The song {' and '.join(faults)}, which the grammar does not allow."


if __name__ == "__main__":
    run(main)
