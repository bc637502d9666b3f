"""Which heads find how the text continued last time, how, and how well does the model copy?"""

import torch
from torch import Tensor

from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.stories import song_examples
from transformer.interpretability.circuit import COPIES, Circuit, describe, find_circuit
from transformer.interpretability.copying_heads import copying_scores
from transformer.interpretability.induction import (
    BestHead,
    Repeats,
    best_head,
    by_block,
    chance,
    duplicate_token_scores,
    fitting_length,
    induction_scores,
    repeated_random_tokens,
)
from transformer.interpretability.labels import head_names
from transformer.interpretability.many_heads import MANY, STRONGEST, has_many, head_map, strongest
from transformer.interpretability.report import Grid, Report
from transformer.interpretability.songs import copy_accuracy, sings
from transformer.model import DecoderOnlyTransformer

COPIED_SONGS = 500
SEQUENCES, FEW_SEQUENCES = 32, 8  # of random tokens; fewer where there are many heads to ablate


def ask_induction(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, songs: Repeats | None
) -> Report:
    """Every head's scores on random tokens and on repeated songs; how well the model copies."""
    length = fitting_length(model.config.max_seq_len, tokenizer.vocab_size)
    many = has_many(model.config)
    count = FEW_SEQUENCES if many else SEQUENCES
    random = repeated_random_tokens(tokenizer.vocab_size, tokenizer.start_of_text, length, count)
    kinds = {f"{length} random tokens, twice": random}
    if songs is not None:
        kinds["songs in toy stories"] = songs
    grids, lines = [], []
    for name, repeats in kinds.items():
        heads, best = _all_heads(model, name, repeats)
        grids += heads
        lines.append(
            f"{name}: best head {best.layer}.{best.head} with an induction score of "
            f"{best.score:.2f} (chance {chance(repeats):.2f})"
        )
        if best.score >= COPIES:
            circuit = find_circuit(model, repeats)
            lines.append(describe(circuit))
            grids += _earlier_heads(name, circuit)
    if songs is not None and sings(tokenizer):
        share = copy_accuracy(model, tokenizer, song_examples(COPIED_SONGS))
        lines.append(
            f"Given its first syllable, the model copies {share:.1%} of the second singing right "
            f"({COPIED_SONGS} held-out stories)"
        )
    return Report("Induction heads", lines, grids)


def _all_heads(
    model: DecoderOnlyTransformer, name: str, repeats: Repeats
) -> tuple[list[Grid], BestHead]:
    """The scores of every head, and the head with the best induction score."""

    def places(weights: Tensor) -> Tensor:
        kinds = (induction_scores, duplicate_token_scores)
        return torch.stack([kind(weights, repeats) for kind in kinds], dim=1)  # (1, 2, H)

    induction, duplicate = by_block(model, repeats.ids, places).unbind(dim=1)  # (n_layers, H)
    columns = [induction, duplicate, copying_scores(model, repeats)]
    values = torch.stack([column.flatten() for column in columns], dim=1).tolist()
    even = chance(repeats)
    grid = Grid(
        name,
        [*head_names(model.config), "chance"],
        ["induction", "duplicate token", "copying"],
        [*values, [even, even, float("nan")]],
        shown=strongest(model.config, [row[0] for row in values] + [even], also=1),
        note="Copying, -1 to 1, follows the direct path only: low, with high induction, it "
        "means that later parts turn what the head fetched into the token.",
    )
    whole = head_map(model.config, f"{name}: induction score of each head", induction)
    return [grid, *whole], best_head(induction)


def _earlier_heads(name: str, circuit: Circuit) -> list[Grid]:
    """What the best induction head scores without each head of the blocks before it."""
    if not circuit.helpers:
        return []
    best, helpers = circuit.best, circuit.helpers
    many = len(helpers) > MANY
    return [
        Grid(
            f"{name}: head {best.layer}.{best.head} without each earlier head",
            [f"head {helper.layer}.{helper.head}" for helper in helpers],
            ["induction", "probability", "previous token", "duplicate token"],
            [
                [helper.score, helper.probability, helper.previous_token, helper.duplicate_token]
                for helper in helpers
            ],
            shown=list(range(STRONGEST)) if many else None,
            note="Left: induction score of the best head, and probability of the copied token, "
            "while this head writes nothing. Right: where this head looks (circuit.py).",
        )
    ]
