"""A trained model in the form of scripts for the page.

A page opened from disk may not read other files, but it may run scripts. So what it shows is
written as scripts that assign data:

    page/model.data.js      the model: a safetensors file (half precision) in base64
    page/samples.data.js    held-out stories and songs, and how FineWeb is cut and split
    page/film.data.js       a film of a small training, in base64; fetched when it is asked for
    page/curves.data.js     what real runs logged, with the commands that made them
    page/p50k_base.data.js  the table of p50k_base, for models trained with it
    page/ladder.data.js     what each rung of the ladder was worth (ladder_table.py)

The model file inside is what `write_model_file` writes; the page reads it with the same code as
a file that a visitor drops onto it.
"""

import base64
import json
import struct
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.data.fineweb.block_order import Position, Visit, visits
from transformer.data.fineweb.hub import HubFile
from transformer.data.fineweb.shard import SHARD_BYTES, Shard, cut_into_shards, split_shards
from transformer.data.toy.kinds import kinds_of
from transformer.data.toy.stories import song_examples
from transformer.errors import UserError
from transformer.runs.film import read_film
from transformer.runs.metrics import Record, is_evaluation
from transformer.runs.model_file import LoadedModel, write_model_file
from transformer.sharing.training_command import training_command
from transformer.training.scheduler import make_schedule

LARGEST_MODEL = 3_000_000  # characters of base64
POINTS = 200  # in a training curve, at most
BYTES = 256
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


def model_script(loaded: LoadedModel, name: str, prompt: str) -> str:
    """The model in half precision, 16 bits per weight.

    Raises:
        UserError: it is too large for a page, or a weight does not fit 16 bits.
    """
    weights = {key: half(key, value) for key, value in loaded.model.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_model_file(path, loaded.model, loaded.tokenizer, loaded.step, weights)
        advice = "export a smaller model (the toy preset fits), or drop the file on the page"
        limits = "that works up to 600 MB and 200 million parameters"
        encoded = in_base64(path.read_bytes(), loaded.path, f"{advice}: {limits}")
    return script("modelData", {"name": name, "prompt": prompt, "base64": encoded})


def film_script(path: Path, name: str) -> str:
    """A film of a training (runs/film.py) as it is, in base64.

    Raises:
        UserError: it is no film, or too large for a page.
    """
    read_film(path)
    advice = "film a smaller model or fewer frames, or drop the file on the page"
    encoded = in_base64(path.read_bytes(), path, advice)
    return script("filmData", {"name": name, "base64": encoded})


def in_base64(data: bytes, path: Path, advice: str) -> str:
    """What a script can hold.

    Raises:
        UserError: it is too large; names `path`, the file that it comes from.
    """
    encoded = base64.b64encode(data).decode()
    if len(encoded) > LARGEST_MODEL:
        raise UserError(
            f"{path} would make a script of {len(encoded) / 1e6:.1f} MB, more than "
            f"{LARGEST_MODEL / 1e6:.0f} MB; {advice}"
        )
    return encoded


def half(name: str, weight: Tensor) -> Tensor:
    """float16, refused where a value would become infinite."""
    rounded = weight.to(torch.float16)
    if not bool(rounded.isfinite().all()):
        largest = float(weight.abs().max())
        raise UserError(f"{name} holds {largest:.3g}, too large for half precision")
    return rounded


def script(name: str, value: Any) -> str:
    """A classic script that assigns JSON to a field of the page's one global."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("</", "<\\/")
    return f'"use strict";\n(window.Page ??= {{}}).{name} = {text};\n'


def rank_pairs(tokenizer: BytePairTokenizer) -> dict[str, str]:
    """A BPE table in four bytes per token: each token joins two that came before it.

    >>> from transformer.data.byte_pair_tokenizer import p50k_base
    >>> table = rank_pairs(p50k_base())
    >>> len(base64.b64decode(table["pairs"])) == 4 * (50_280 - 256)
    True
    """
    tokens = sorted(tokenizer.ranks, key=lambda token: tokenizer.ranks[token])
    place = {token: index for index, token in enumerate(tokens)}
    pairs = bytearray()
    for index, token in enumerate(tokens[BYTES:], start=BYTES):
        cuts = ((place.get(token[:cut]), place.get(token[cut:])) for cut in range(1, len(token)))
        earlier = [(a, b) for a, b in cuts if a is not None and b is not None and max(a, b) < index]
        if not earlier:
            raise UserError(f"token {token!r} is not made of two earlier tokens")
        pairs += struct.pack("<HH", *earlier[0])
    head = b"".join(tokens[:BYTES])
    return {"bytes": base64.b64encode(head).decode(), "pairs": base64.b64encode(pairs).decode()}


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
                "kinds": {
                    kind: [[place.start, place.stop] for place in places]
                    for kind, places in kinds_of(story.text).items()
                },
            }
            for story in songs[:SONGS]
        ],
        "fineweb": fineweb_shards(),
    }


def fineweb_shards() -> dict[str, Any]:
    """How sample-10BT is cut, split and ordered, computed by the code that training uses.

    Sizes are rounded (2.147 GB per file, 575 MB the last, 2.06 MB per row group): they decide the
    number of shards in a file, while split and order depend on names and the seed alone.
    """
    sizes = [FILE_BYTES] * (FILES - 1) + [LAST_FILE_BYTES]
    files = [HubFile(f"sample/10BT/{i:03d}_00000.parquet", size) for i, size in enumerate(sizes)]
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


def read_curve(run: Path) -> dict[str, Any]:
    """What a run logged, thinned to `POINTS` lines; values are as logged, not averaged.

    Returns:
        {"command", "plan": of the steps' sizes, "floor" (or null),
        "train": [[step, tokens, loss, gradient norm]],
        "validation": [[step, train loss, validation loss, status, induction score or null]]}

    Raises:
        UserError: the run has no readable log.
    """
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        curve = _thinned([json.loads(line) for line in lines])
        command = training_command(config["training"], config.get("from", {"path": ""})["path"])
        plan = step_plan(config["training"], config["plan"]["schedule_steps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run} holds no readable metrics.jsonl and config.json: {error}") from None
    if not curve["train"] or not curve["validation"]:
        raise UserError(f"{run}/metrics.jsonl lacks training steps or evaluations")
    return {"command": command, "plan": plan, **curve}


def step_plan(flags: dict[str, Any], steps: int) -> dict[str, Any]:
    """The schedule of the learning rate, and the length above which gradients are clipped."""
    schedule = make_schedule(flags["learning_rate"], steps, flags["warmup"], flags["schedule"])
    return {
        "peak": schedule.peak,
        "steps": steps,
        "warmup": schedule.warmup_steps,
        "fall": schedule.fall,
        "clip": flags["max_grad_norm"],
    }


def _thinned(records: list[Record]) -> dict[str, Any]:
    """The curve without its command; its last step stays."""
    training = [record for record in records if not is_evaluation(record)]
    validation = [record for record in records if is_evaluation(record)]
    stride = max(1, -(-len(training) // POINTS))
    floors = [record["floor"] for record in validation if record.get("floor") is not None]
    return {
        "floor": floors[0] if floors else None,
        "train": [
            [r["step"], r["tokens"], rounded(r["train_loss"]), rounded(r["grad_norm"])]
            for r in [*training[stride - 1 : -1 : stride], *training[-1:]]
        ],
        "validation": [
            [
                r["step"],
                rounded(r["train_loss"]),
                rounded(r["val_loss"]),
                r["status"],
                rounded(r.get("induction")),
            ]
            for r in validation
        ],
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
