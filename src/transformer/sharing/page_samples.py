"""What the page shows beside the model: held-out stories and songs, FineWeb's shards, and what
real runs logged."""

from itertools import groupby
from pathlib import Path
from typing import Any

from transformer.data.fineweb.block_order import Position, Visit, visits
from transformer.data.fineweb.hub import HubFile
from transformer.data.fineweb.shard import SHARD_BYTES, Shard, cut_into_shards, split_shards
from transformer.data.toy.stories import song_examples
from transformer.errors import UserError
from transformer.sharing.page import read_curve

STORIES, SONGS = 32, 12
LONG_ENOUGH = 4  # repeated syllables, so that there is something to follow
PROMPT = (
    "Long ago, by the sea, lived a shy frog named Kelmi. "
    "Her best friend was a boy named Tambo. One sunny day Kel"
)
RUNS = ("learning", "underfitting", "overfitting", "accumulation-1", "accumulation-16")
FILES, FILE_BYTES, LAST_FILE_BYTES, ROW_GROUP_BYTES = 15, 2_147_000_000, 575_000_000, 2_058_000
ORDER_KEY = ("train", 0)  # the default seed
SHOWN = 8  # shards whose blocks the page's figure walks through


def samples() -> dict[str, Any]:
    """Stories of the held-out tenth, songs with the places of what is repeated, and the shards."""
    stories = song_examples(STORIES + 5 * SONGS, seed=1)
    songs = [s for s in stories[STORIES:] if len(s.text[s.repetition].split()) >= LONG_ENOUGH]
    return {
        "prompt": PROMPT,
        "stories": [story.text for story in stories[:STORIES]],
        "songs": [
            {
                "text": story.text,
                "song": [story.song.start, story.song.stop],
                "repetition": [story.repetition.start, story.repetition.stop],
            }
            for story in songs[:SONGS]
        ],
        "fineweb": fineweb_shards(),
    }


def fineweb_shards() -> dict[str, Any]:
    """How sample-10BT is cut, split and ordered; the code that trains decides all of it.

    Sizes are rounded (2.147 GB a file, 575 MB the last, 2.06 MB a row group): they decide the
    number of shards in a file, while split and order depend on names and the seed alone.
    """
    sizes = [FILE_BYTES] * (FILES - 1) + [LAST_FILE_BYTES]
    files = [
        HubFile(f"sample/10BT/{i:03d}_00000.parquet", size, "") for i, size in enumerate(sizes)
    ]
    groups = {file.path: round(file.size / ROW_GROUP_BYTES) for file in files}
    shards = cut_into_shards(files, SHARD_BYTES, lambda file: groups[file.path])
    train, validation = split_shards(shards)
    walk = visits(
        train, Position(), lambda shard: shard.blocks(groups[shard.file.path]), *ORDER_KEY, passes=1
    )
    turns = [
        (shard.number, [visit.block for visit in turn]) for shard, turn in groupby(walk, _shard)
    ]
    return {
        "shards": [
            [files.index(shard.file), shard.part, shard.parts, groups[shard.file.path]]
            for shard in shards
        ],
        "validation": [shard.number for shard in validation],
        "order": [number for number, _ in turns],
        "blocks": [blocks for _, blocks in turns[:SHOWN]],
    }


def _shard(visit: Visit) -> Shard:
    return visit.shard


def curves(pairs: tuple[str, ...]) -> dict[str, Any]:
    """{name: curve} for NAME=RUN pairs.

    Raises:
        UserError: a pair is not of this form, or its name is not one that the page shows.
    """
    found = {}
    for pair in pairs:
        name, _, run = pair.partition("=")
        if name not in RUNS or not run:
            raise UserError(
                f"--curves-of takes NAME=RUN with NAME one of {', '.join(RUNS)}, but got {pair!r}"
            )
        found[name] = read_curve(Path(run))
    return found
