"""The command that made a run, for people who want to make it again."""

import shlex
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from transformer.data.bpe import count_ids
from transformer.errors import UserError
from transformer.machine.bounds import flag
from transformer.training.config import TrainingConfig, on_rung, preset
from transformer.training.fine_tuning import RATES, SHAPE

PRESET = {"quick": False, "rung": "classic"}  # flags that decide what others are by default
MACHINE = ("device", "mps", "precision", "compile", "cache_dir")


def training_command(flags: dict[str, Any], begins_with: str = "") -> str:
    """The command that makes such a run: the flags that differ from those of the preset and rung.

    What was chosen for the machine (device, precision, compilation) is left out, and for a run
    that began with a model what that model decides.

    >>> training_command({"dataset": "toy", "stories": 200, "device": "cpu", "bias": False})
    'uv run python commands/train.py --dataset toy --stories 200 --no-bias'
    >>> training_command({"dataset": "text", "text": ["a b"], "d_model": 64}, "runs/gpt2")
    "uv run python commands/train.py --dataset text --from runs/gpt2 --text 'a b'"
    """
    named = {name: flags.get(name, default) for name, default in PRESET.items()}
    base = preset(TrainingConfig(dataset=flags["dataset"], quick=named["quick"]))
    if named["rung"] != "classic" and not begins_with:
        with suppress(UserError):  # the file of its tokenizer is gone: every flag is written out
            base = on_rung(base, named["rung"], count_ids(flags.get("tokenizer", base.tokenizer)))
    usual = {**asdict(base), **PRESET}
    words = ["--dataset", str(flags["dataset"])]
    words += ["--from", begins_with] if begins_with else []
    decided = (*SHAPE, "tokenizer", "max_seq_len") if begins_with else ()
    for name, value in flags.items():
        unchanged = value == [] or value == usual.get(name)
        if name in RATES and begins_with:
            unchanged = False  # what is usual depends on the model
        if unchanged or name in (*MACHINE, "dataset", *decided):
            continue
        if name == "epochs" and flags.get("steps"):  # which say how long, whatever else was asked
            continue
        if isinstance(value, bool):
            words.append(flag(name if value else f"no_{name}"))
        else:
            words += [flag(name), *map(str, value if isinstance(value, list) else [value])]
    return f"uv run python commands/train.py {shlex.join(words)}"
