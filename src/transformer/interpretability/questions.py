"""What `commands/interpret.py` asks a model, each question answered with a report.

The question about induction heads is in induction_question.py.
"""

import torch
from torch import Tensor

from transformer.data.batch import IGNORED
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.interpretability.ablation import Kind, replacements, token_losses
from transformer.interpretability.attention_patterns import chance_scores, pattern_scores
from transformer.interpretability.attribution import logit_contributions
from transformer.interpretability.induction import NOT_REPEATED, Repeats, attention_weights
from transformer.interpretability.logit_lens import LogitLens, logit_lens
from transformer.interpretability.patching import PromptPair, Site, sweep, sweep_heads
from transformer.interpretability.report import Grid, Report
from transformer.model import DecoderOnlyTransformer

LAST_POSITIONS = 16  # of a long prompt, how many are printed
LARGEST_CONTRIBUTIONS = 15
FAVOURITES = 3
SMALLEST_SHOWN = 0.02  # of the recovered logit difference
PATTERNS = ("previous_token", "first_token", "current_token", "same_token", "uniform", "entropy")


def show_token(tokenizer: Tokenizer, token: int) -> str:
    """A token as it can be printed: a space as ␣, whatever cannot be seen as its code."""
    text = tokenizer.decode([token]).replace(" ", "␣")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _positions(tokenizer: Tokenizer, ids: Tensor) -> list[str]:
    return [f"{t:>3} {show_token(tokenizer, int(token))}" for t, token in enumerate(ids)]


def head_names(model: DecoderOnlyTransformer) -> list[str]:
    """In the order in which scores (n_layers, H) are flattened."""
    config = model.config
    return [f"head {i}.{h}" for i in range(config.n_layers) for h in range(config.n_heads)]


def ask_lens(model: DecoderOnlyTransformer, tokenizer: Tokenizer, ids: Tensor) -> Report:
    """Logit lens at every position, and what wrote the last prediction. `ids` is (1, T)."""
    lens = logit_lens(model, ids, k=2)
    columns = ["embedding", *(f"block {i}" for i in range(model.config.n_layers))]
    positions = _positions(tokenizer, ids[0])
    last = list(range(len(positions)))[-LAST_POSITIONS:]
    top = Grid(
        "Most probable next token, read off the residual stream after each block",
        positions,
        columns,
        lens.top_probabilities[:, :, 0].T.tolist(),
        texts=_lens_texts(lens, tokenizer),
        shown=last,
        note="The last column is the model's output.",
    )
    distance = Grid(
        "KL(output ‖ reading) in nats",
        positions,
        columns,
        lens.kl.T.tolist(),
        shown=last,
        note="How far a block's reading still is from the output.",
    )
    first, second = lens.top_ids[-1, -1].tolist()
    written = _contributions(model, tokenizer, ids, first, second)
    return Report("Logit lens", [], [top, distance, written])


def _lens_texts(lens: LogitLens, tokenizer: Tokenizer) -> list[list[str]]:
    tokens, probabilities = lens.top_ids[:, :, 0].T, lens.top_probabilities[:, :, 0].T
    return [
        [f"{show_token(tokenizer, t)} {p:.2f}" for t, p in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), probabilities.tolist(), strict=True)
    ]


def _contributions(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, ids: Tensor, answer: int, rival: int
) -> Grid:
    """Direct logit attribution of the difference between two tokens at the last position."""
    pair = [logit_contributions(model, ids, torch.full_like(ids, t)) for t in (answer, rival)]
    values = [float(pair[0][name][0, -1] - pair[1][name][0, -1]) for name in pair[0]]
    order = sorted(range(len(values)), key=lambda i: -abs(values[i]))
    capped = model.config.variant.logit_softcap is not None
    names = f"{show_token(tokenizer, answer)} over {show_token(tokenizer, rival)}"
    return Grid(
        f"What wrote the lead of {names} at the last position (direct logit attribution)",
        list(pair[0]),
        ["logits"],
        [[value] for value in values],
        shown=order[:LARGEST_CONTRIBUTIONS],
        note=f"All {len(values)} contributions sum to the lead of {sum(values):.2f}"
        f"{', before the softcap' if capped else ''}. "
        "Only the direct path counts: what helps later parts does not show.",
    )


def ask_attention(
    model: DecoderOnlyTransformer,
    tokenizer: Tokenizer,
    ids: Tensor,
    head: tuple[int, int] | None = None,
) -> Report:
    """What kinds of place each head looks at; where one head looks. `ids` is (1, T)."""
    weights = attention_weights(model, ids)  # (n_layers, 1, H, T, T)
    found, even = pattern_scores(weights, ids), chance_scores(ids)
    columns = [name.replace("_", " ") for name in PATTERNS]
    per_head = torch.stack([getattr(found, name).flatten() for name in PATTERNS], dim=1)
    baseline = [float(getattr(even, name)) for name in PATTERNS]
    grids = [
        Grid(
            "Attention patterns of this prompt, by head",
            [*head_names(model), "chance"],
            columns,
            [*per_head.tolist(), baseline],
            shade_columns=True,
            note="Chance: a head that looks at all positions equally. Entropy in nats.",
        )
    ]
    if head is not None:
        grids += _one_head(tokenizer, ids[0], weights[:, 0], *head)
    return Report("Attention patterns", [], grids)


def parse_head(text: str) -> tuple[int, int]:
    """ "2.1" -> (2, 1): block and head.

    >>> parse_head("2.1")
    (2, 1)
    """
    layer, _, head = text.partition(".")
    if not (layer.isdecimal() and head.isdecimal()):
        raise UserError(f"a head is given as BLOCK.HEAD, for example 2.1, but is {text!r}")
    return int(layer), int(head)


def _one_head(
    tokenizer: Tokenizer, ids: Tensor, weights: Tensor, layer: int, head: int
) -> list[Grid]:
    """`weights` is (n_layers, H, T, T)."""
    layers, heads = weights.shape[:2]
    if not (0 <= layer < layers and 0 <= head < heads):
        raise UserError(
            f"there is no head {layer}.{head}; blocks go from 0 to {layers - 1}, "
            f"heads from 0 to {heads - 1}"
        )
    positions, name = _positions(tokenizer, ids), f"head {layer}.{head}"
    matrix = weights[layer, head]  # (T, T)
    tops = matrix.topk(min(FAVOURITES, len(ids)), dim=-1)
    favourites = Grid(
        f"Where {name} looks most",
        positions,
        ["1st", "2nd", "3rd"][: tops.values.size(1)],
        tops.values.tolist(),
        texts=[
            [
                f"{positions[s].strip()} {w:.2f}" if w >= 0.005 else ""
                for s, w in zip(*row, strict=True)
            ]
            for row in zip(tops.indices.tolist(), tops.values.tolist(), strict=True)
        ],
        medium="terminal",
    )
    title = f"Attention of {name}: queries down, keys across"
    whole = Grid(title, positions, positions, matrix.tolist(), medium="picture")
    return [favourites, whole]


def ask_patch(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, pair: PromptPair, sites: list[Site]
) -> Report:
    """Recovered logit difference of each site × block × position, and of each head."""
    answers = [show_token(tokenizer, t) for t in (pair.clean_answer, pair.corrupted_answer)]
    changed = (pair.clean != pair.corrupted).nonzero().flatten().tolist()
    lines = [
        f"Clean answer {answers[0]}, corrupted answer {answers[1]}; the prompts differ at "
        f"{'position' if len(changed) == 1 else 'positions'} {', '.join(map(str, changed))}.",
        "0: as in the corrupted run. 1: as in the clean run, so this place alone is sufficient.",
    ]
    layers = [f"block {i}" for i in range(model.config.n_layers)]
    positions = _positions(tokenizer, pair.corrupted)
    grids = []
    for site in sites:
        recovered = sweep(model, pair, site)  # (n_layers, T)
        moved = (recovered.abs().amax(dim=0) >= SMALLEST_SHOWN).nonzero().flatten().tolist()
        grids.append(
            Grid(
                f"Recovered by {site}",
                positions,
                layers,
                recovered.T.tolist(),
                shown=moved,
                note=f"{len(positions) - len(moved)} positions below {SMALLEST_SHOWN} not shown.",
            )
        )
    heads = [f"head {h}" for h in range(model.config.n_heads)]
    per_head = sweep_heads(model, pair).tolist()
    grids.append(Grid("Recovered by one head, at all positions", layers, heads, per_head))
    return Report("Activation patching: clean values put into the corrupted run", lines, grids)


def ask_ablate(
    model: DecoderOnlyTransformer,
    ids: Tensor,
    targets: Tensor,
    parts: dict[str, Tensor],
    kind: Kind,
) -> Report:
    """Rise of the loss without each head and sublayer.

    Args:
        ids, targets: (B, T), -100 where nothing is scored, as at padding.
        parts: name -> (B, T) bool, the tokens over which to take the mean loss.
    """
    whole = token_losses(model, ids, targets)  # (B, T)
    names, values = [], []
    for component, value in replacements(model, ids, kind, targets != IGNORED).items():
        rise = token_losses(model, ids, targets, component, value) - whole  # (B, T)
        names.append(str(component))
        values.append([float(rise[part].mean()) for part in parts.values()])
    lines = [
        f"Loss of the whole model on {k}: {float(whole[v].mean()):.3f} nats per token."
        for k, v in parts.items()
    ]
    grid = Grid(
        f"Rise of the loss, in nats per token, without a part ({kind} ablation)",
        names,
        list(parts),
        values,
        note="A rise shows that the part is necessary here; none does not show that it is idle.",
    )
    return Report("Ablation", lines, [grid])


def song_targets(songs: Repeats) -> tuple[Tensor, dict[str, Tensor]]:
    """Targets and parts for `ask_ablate`: the copied tokens, and all the text before them."""
    copied = songs.first != NOT_REPEATED  # (B, T)
    places = torch.arange(copied.size(1))
    is_text = places <= (copied * places).amax(dim=1, keepdim=True)  # (B, T), without padding
    targets = torch.where(is_text, songs.ids.roll(-1, dims=1), IGNORED)
    return targets, {"the second singing": copied, "everything before it": is_text & ~copied}


def prompt_targets(ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Targets and parts for `ask_ablate`: every token of one prompt, (1, T)."""
    targets = ids.roll(-1, dims=1)
    targets[:, -1] = IGNORED  # nothing follows the last token
    return targets, {"the prompt": targets != IGNORED}
