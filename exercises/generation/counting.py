"""A model that counts: what generation is judged with where only its calls matter."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from exercises.judging.inside import CONFIG
from transformer.kv_cache import KVCache

V = 20


class Counter(nn.Module):
    """Not a transformer: after token t comes t + 1. It notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, bool]] = []  # (positions, with the cache)
        self.part = nn.Dropout(0.5)
        self.modes: set[tuple[bool, bool]] = set()  # (training, gradients)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        self.calls.append((ids.size(1), cache is not None))
        # A part of the model knows only what `eval` tells it, not what was set on the whole.
        self.modes.add((self.part.training, torch.is_grad_enabled()))
        if cache is not None:
            cache.advance(ids.size(1))
        return nn.functional.one_hot((ids + 1) % V, V).float()  # (B, n, V)


def best(logits: Tensor) -> Tensor:
    return logits.argmax(dim=-1)


def run(
    yours: ModuleType,
    prompts: list[list[int]],
    new: int,
    stop_id: int | None = None,
    choose: Callable[[Tensor], Tensor] = best,
) -> tuple[Any, Counter]:
    model, cache = Counter(), KVCache(CONFIG, len(prompts))
    ids = torch.tensor(prompts)
    return yours.generate(model, cache, ids, new, choose, stop_id), model


def shown(prompts: list[list[int]], new: int, stop_id: int | None = None) -> str:
    return (
        f"a model that counts: after 5 comes 6\nprompts = {prompts}, max_new_tokens = {new}, "
        f"stop_id = {stop_id}"
    )


# prompts, stop_id, the text after 4 new tokens, and what mistakes give
STOPS: list[tuple[list[list[int]], int, list[list[int]], dict[str, list[list[int]]]]] = [
    (
        [[1, 4], [3, 2]],
        5,
        [[1, 4, 5, 5, 5], [3, 2, 3, 4, 5]],
        {
            "generation ends as soon as one row ends; the others are not done": [
                [1, 4, 5],
                [3, 2, 3],
            ],
            "a row that has ended is continued; it should repeat stop_id": [
                [1, 4, 5, 6, 7],
                [3, 2, 3, 4, 5],
            ],
            "generation does not end when all rows have ended": [
                [1, 4, 5, 5, 5, 5],
                [3, 2, 3, 4, 5, 5],
            ],
            "`stop_id` is ignored, or all rows must choose it at once": [
                [1, 4, 5, 6, 7, 8],
                [3, 2, 3, 4, 5, 6],
            ],
            "the last stop token is missing in the result": [[1, 4, 5, 5], [3, 2, 3, 4]],
            "a row that has ended is filled with 0; it should repeat stop_id": [
                [1, 4, 5, 0, 0],
                [3, 2, 3, 4, 5],
            ],
        },
    ),
    (
        [[7, 4], [5, 2]],
        7,
        [[7, 4, 5, 6, 7, 7], [5, 2, 3, 4, 5, 6]],
        {
            "a stop_id in the prompt ends the row; only a new one should": [
                [7, 4, 7, 7, 7, 7],
                [5, 2, 3, 4, 5, 6],
            ],
        },
    ),
    (
        [[4, 7], [5, 2]],
        7,
        [[4, 7, 8, 9, 10, 11], [5, 2, 3, 4, 5, 6]],
        {
            "a stop_id at the end of the prompt ends the row; only a new one should": [
                [4, 7, 7, 7, 7, 7],
                [5, 2, 3, 4, 5, 6],
            ],
        },
    ),
]
