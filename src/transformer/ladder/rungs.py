"""The ladder itself: what training changes from one rung to the next.

    classic ─ learned ─ schedule ─ rotary ─ rms_norm ─ zero_init ─ relu2 ─ qk_norm ─ untied ─ …
                                                           └ swiglu
    … muon ─ input_skip ─ value_embeddings ─ softcap
                                                └ grouped, window

`--rung NAME` means a rung's changes and those of all before it, a later value replacing an earlier
one. The side branches stand on what is named in `after`, and nothing stands on them.

| Rung | In one sentence |
|---|---|
| `classic` | Sinusoids, LayerNorm, GELU, AdamW, a cosine: 2017 with GPT's GELU and pre-norm |
| `learned` | Each place has a vector that is learned (GPT, 2018) |
| `schedule` | A short warm-up, twice the rate, and down to almost nothing in a straight line |
| `rotary` | Queries and keys are turned by an angle for their place (2021) |
| `rms_norm` | Norms that only divide by the size; no biases (2019, Llama 2023) |
| `zero_init` | Blocks start by adding nothing |
| `relu2` | Neurons of max(0, z)² (2021) |
| `qk_norm` | Queries and keys have a fixed size (2020, usual since 2024) |
| `untied` | An output table of its own, and an input table that learns ten times as fast |
| `muon` | The blocks' matrices move in all directions equally fast (2024) |
| `input_skip` | Each block may look back at the embedding (2024) |
| `value_embeddings` | A table in each block hands tokens to the values (2024) |
| `softcap` | Logits cannot leave −15 … 15 (2024) |
| `swiglu` | Neurons with a gate, at an equal number of parameters (2020) |
| `grouped` | Query heads share two heads of keys and values: of four, half the cache (2023) |
| `window` | A query sees the last 32 positions only (2020, 2023) |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

RungName = Literal[
    "classic", "learned", "schedule", "rotary", "rms_norm", "zero_init", "relu2", "qk_norm",
    "untied", "muon", "input_skip", "value_embeddings", "softcap",
    "swiglu", "grouped", "window", "all",
]  # fmt: skip
LARGEST_TABLE = 8192  # tokens; above, tables of their own are most of a small model


@dataclass(frozen=True)
class Rung:
    """What one rung changes.

    Attributes:
        sets: values of flags, by their names in Python.
        times: flags whose value is multiplied.
        after: the rung that a side branch stands on; None for the rung before it.
        needs_table: it costs V · D parameters or more.
    """

    sets: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    after: str | None = None
    needs_table: bool = False


RUNGS: dict[str, Rung] = {
    "classic": Rung(),
    "learned": Rung({"positions": "learned"}),
    "schedule": Rung({"schedule": "linear", "warmup": 0.02}, times={"learning_rate": 2.0}),
    "rotary": Rung({"positions": "rotary"}),
    "rms_norm": Rung({"norm": "rms", "norm_gain": False, "bias": False}),
    "zero_init": Rung({"zero_init": True}),
    "relu2": Rung({"feed_forward": "relu2"}),
    "qk_norm": Rung({"qk_norm": "gain"}),
    "untied": Rung({"tied_embeddings": False, "embedding_norm": True}, needs_table=True),
    "muon": Rung({"optimizer": "muon"}),
    "input_skip": Rung({"input_skip": True}),
    "value_embeddings": Rung({"value_embeddings": True}, needs_table=True),
    "softcap": Rung({"logit_softcap": 15.0}),
    "swiglu": Rung({"feed_forward": "swiglu"}, times={"d_ff": 2 / 3}, after="zero_init"),
    "grouped": Rung({"n_kv_heads": 2}, after="softcap"),
    "window": Rung({"window": 32}, after="softcap"),
}
LAST = "softcap"


def path_to(name: str) -> list[str]:
    """The rungs up to this one, from the classic model on.

    >>> path_to("rotary")
    ['classic', 'learned', 'schedule', 'rotary']
    """
    if name == "all":
        return path_to(LAST)
    after = RUNGS[name].after
    if after is not None:
        return [*path_to(after), name]
    main = [each for each, rung in RUNGS.items() if rung.after is None]
    return main[: main.index(name) + 1]


def left_out(name: str, vocab_size: int) -> list[str]:
    """The rungs on the way whose tables would be too large."""
    return [each for each in path_to(name) if is_too_large(each, vocab_size)]


def is_too_large(name: str, vocab_size: int) -> bool:
    """Whether a rung has a table of its own that is too large with so many tokens."""
    return RUNGS[name].needs_table and vocab_size > LARGEST_TABLE


def climbed(name: str, vocab_size: int, start: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that a rung changes, from where `start` has them.

    >>> climbed("schedule", 1024, {"learning_rate": 3e-3})["learning_rate"]
    0.006
    """
    path = [each for each in path_to(name) if not is_too_large(each, vocab_size)]
    return changes(path, start)


def changes(path: Sequence[str], start: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that rungs change which are climbed in this order.

    >>> changes(["classic", "muon", "rotary"], {})
    {'optimizer': 'muon', 'positions': 'rotary'}
    """
    changed: dict[str, Any] = {}
    for each in path:
        changed.update(RUNGS[each].sets)
        for flag, factor in RUNGS[each].times.items():
            changed[flag] = _times(changed.get(flag, start[flag]), factor)
    return changed


def _times(value: float, factor: float) -> float:
    """A whole number stays one, and divisible by 8, which processors like."""
    return max(8, round(value * factor / 8) * 8) if isinstance(value, int) else value * factor
