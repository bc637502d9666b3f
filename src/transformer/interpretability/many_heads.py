"""A hundred heads on one screen: the strongest by name, and all of them as a map.

A small model's heads are the rows of one table. GPT-2 has 144, and who looks at 144 rows sees
none. So of more than 36, those with the highest scores are printed, and next to them a map whose
rows are blocks and whose columns are heads. Pictures show the same; JSON has every number.
"""

from dataclasses import replace

from torch import Tensor

from transformer.config import ModelConfig
from transformer.interpretability.labels import block_names
from transformer.interpretability.report import Grid

MANY = 36  # heads
STRONGEST = 12
PLACES = ("prev", "first", "self", "same")  # the first four of attention_patterns.py
OF_EACH_PLACE = 3
MOSTLY = 0.5  # of a head's attention


def has_many(config: ModelConfig) -> bool:
    """Whether there are too many heads for a row each."""
    return config.n_layers * config.n_heads > MANY


def strongest(config: ModelConfig, values: list[float], also: int = 0) -> list[int] | None:
    """The rows to print of a table of heads, the largest first, and the last `also` ones.

    None, all of them, where they are few.
    """
    if not has_many(config):
        return None
    rows = len(values) - also
    largest = sorted(range(rows), key=lambda row: -abs(values[row]))[:STRONGEST]
    return [*largest, *range(rows, len(values))]


def head_map(config: ModelConfig, title: str, scores: Tensor, note: str = "") -> list[Grid]:
    """A map of scores (n_layers, H); none where a table has them all."""
    if not has_many(config):
        return []
    heads = [f"head {h}" for h in range(config.n_heads)]
    return [Grid(title, block_names(config), heads, scores.tolist(), note=note)]


def clearest(config: ModelConfig, scores: Tensor) -> list[int] | None:
    """The rows to print of a table of attention patterns: heads that look at each kind of place
    most, and the last row, which is chance. `scores` is (kinds, n_layers, H)."""
    if not has_many(config):
        return None
    flat = scores[: len(PLACES)].flatten(1).nan_to_num()  # (4, n_layers · H)
    best = flat.topk(OF_EACH_PLACE, dim=1).indices.flatten().tolist()
    return [*dict.fromkeys(best), flat.size(1)]


def place_map(config: ModelConfig, scores: Tensor) -> list[Grid]:
    """A map of the kinds of place that get more than half of each head's attention."""
    most, kind = scores[: len(PLACES)].nan_to_num().max(dim=0)  # (n_layers, H) each
    texts = [
        [PLACES[k] if value > MOSTLY else "·" for value, k in zip(*row, strict=True)]
        for row in zip(most.tolist(), kind.tolist(), strict=True)
    ]
    title = "The kind of place that gets more than half of a head's attention"
    note = (
        "prev: the token before. first: the first one, where heads often look that find nothing. "
        "self: the present one. same: earlier copies of it. ·: none of these."
    )
    return [replace(grid, texts=texts) for grid in head_map(config, title, most, note)]
