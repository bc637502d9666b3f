"""What `commands/interpret.py` asks a model, each question answered with a report.

The question about induction heads is in induction_question.py.
"""

import torch
from torch import Tensor

from transformer.config import ModelConfig
from transformer.data.batch import IGNORED
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.interpretability.ablation import Kind, replacements, token_losses
from transformer.interpretability.attention_patterns import chance_scores, model_patterns
from transformer.interpretability.attribution import logit_contributions
from transformer.interpretability.hooks import record, streams
from transformer.interpretability.induction import NOT_REPEATED, Repeats
from transformer.interpretability.labels import (
    block_names,
    head_names,
    position_names,
    show_token,
)
from transformer.interpretability.logit_lens import LogitLens, logit_lens
from transformer.interpretability.many_heads import clearest, head_map, place_map, strongest
from transformer.interpretability.patching import PromptPair, Site, sweep, sweep_heads
from transformer.interpretability.report import Grid, Report
from transformer.model import DecoderOnlyTransformer

LAST_POSITIONS = 16  # of a long prompt, how many are printed
READINGS = 96  # at most, of the lens, are printed in one table
DEEP = 8  # blocks from which the lens prints the last position in a table of its own
LARGEST_CONTRIBUTIONS = 15
LAST_QUERIES = 64  # of one head
FAVOURITES = 3
SMALLEST_SHOWN = 0.02  # of the recovered logit difference
MOST_MOVED = 16  # positions, of a patched site
PATTERNS = ("previous_token", "first_token", "current_token", "same_token", "uniform", "entropy")


def ask_lens(model: DecoderOnlyTransformer, tokenizer: Tokenizer, ids: Tensor) -> Report:
    """Logit lens at every position, and what wrote the last prediction. `ids` is (1, T)."""
    lens = logit_lens(model, ids, k=FAVOURITES)
    columns = ["embedding", *block_names(model.config)]
    positions = position_names(tokenizer, ids[0])
    shown = max(1, min(LAST_POSITIONS, READINGS // len(columns)))
    last = list(range(len(positions)))[-shown:]
    top = Grid(
        "Most probable next token, read off the residual stream after each block",
        positions,
        columns,
        lens.top_probabilities[:, :, 0].T.tolist(),
        texts=_lens_texts(lens.top_ids[:, :, 0].T, lens.top_probabilities[:, :, 0].T, tokenizer),
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
    first, second = lens.top_ids[-1, -1, :2].tolist()
    written = _contributions(model, tokenizer, ids, first, second)
    deep = [_last_position(lens, tokenizer, columns)] if model.config.n_layers >= DEEP else []
    lines = _about_softcap(model.config)
    return Report("Logit lens", lines, [*deep, top, distance, written])


def _lens_texts(tokens: Tensor, probabilities: Tensor, tokenizer: Tokenizer) -> list[list[str]]:
    """What the cells of (rows, columns) say."""
    return [
        [f"{show_token(tokenizer, t)} {p:.2f}" for t, p in zip(*row, strict=True)]
        for row in zip(tokens.tolist(), probabilities.tolist(), strict=True)
    ]


def _last_position(lens: LogitLens, tokenizer: Tokenizer, names: list[str]) -> Grid:
    """Block by block, what is read off after the last token."""
    probabilities, distance = lens.top_probabilities[:, -1], lens.kl[:, -1:]  # (L, k), (L, 1)
    texts = _lens_texts(lens.top_ids[:, -1], probabilities, tokenizer)
    distances = [f"{value + 0.0:.2f}" for value in distance[:, 0].round(decimals=2).tolist()]
    return Grid(
        "After the last token: most probable next tokens, and KL(output ‖ reading) in nats",
        names,
        [*("1st", "2nd", "3rd")[: probabilities.size(1)], "KL"],
        torch.cat([probabilities, distance], dim=1).tolist(),
        texts=[[*row, value] for row, value in zip(texts, distances, strict=True)],
        shade_columns=True,
        note="The last row is the model's output.",
    )


def _about_softcap(config: ModelConfig) -> list[str]:
    cap = config.variant.logit_softcap
    if cap is None:
        return []
    return [
        f"This model's logits are z → {cap:g} · tanh(z / {cap:g}) (softcap). The lens reads them "
        "like that; the attribution splits the logit z, before the softcap."
    ]


def _contributions(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, ids: Tensor, answer: int, rival: int
) -> Grid:
    """Direct logit attribution of the difference between two tokens at the last position."""
    last = slice(ids.size(1) - 1, ids.size(1))
    pair = [logit_contributions(model, ids, ids.new_tensor([[t]]), last) for t in (answer, rival)]
    values = [float(pair[0][name] - pair[1][name]) for name in pair[0]]
    order = sorted(range(len(values)), key=lambda i: -abs(values[i]))
    capped = model.config.variant.logit_softcap is not None
    names = f"{show_token(tokenizer, answer)} over {show_token(tokenizer, rival)}"
    return Grid(
        f"What wrote the lead of {names} at the last position (direct logit attribution)",
        list(pair[0]),
        ["logits before the softcap" if capped else "logits"],
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
    looks = [] if head is None else _one_head(model, tokenizer, ids, *head)
    found, even = model_patterns(model, ids), chance_scores(ids)
    scores = torch.stack([getattr(found, name) for name in PATTERNS])  # (6, n_layers, H)
    per_head = scores.flatten(1).T  # (n_layers · H, 6)
    baseline = [float(getattr(even, name)) for name in PATTERNS]
    grid = Grid(
        "Attention patterns of this prompt, by head",
        [*head_names(model.config), "chance"],
        [name.replace("_", " ") for name in PATTERNS],
        [*per_head.tolist(), baseline],
        shown=clearest(model.config, scores),
        shade_columns=True,
        note="Chance: a head that looks at all positions equally. Entropy in nats.",
    )
    return Report("Attention patterns", [], [grid, *place_map(model.config, scores), *looks])


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
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, ids: Tensor, layer: int, head: int
) -> list[Grid]:
    layers, heads = model.config.n_layers, model.config.n_heads
    if not (0 <= layer < layers and 0 <= head < heads):
        raise UserError(
            f"there is no head {layer}.{head}; blocks go from 0 to {layers - 1}, "
            f"heads from 0 to {heads - 1}"
        )
    positions, name = position_names(tokenizer, ids[0]), f"head {layer}.{head}"
    tap = f"blocks.{layer}.attention.weights"
    matrix = record(model, ids, [tap])[tap][0, head]  # (T, T)
    tops = matrix.topk(min(FAVOURITES, len(matrix)), dim=-1)
    texts = [
        [f"{positions[s].strip()} {w:.2f}" if w >= 0.005 else "" for s, w in zip(*row, strict=True)]
        for row in zip(tops.indices.tolist(), tops.values.tolist(), strict=True)
    ]
    favourites = Grid(
        f"Where {name} looks most",
        positions,
        ["1st", "2nd", "3rd"][: tops.values.size(1)],
        tops.values.tolist(),
        texts=texts,
        shown=list(range(len(positions)))[-LAST_QUERIES:],
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
    layers = block_names(model.config)
    positions = position_names(tokenizer, pair.corrupted)
    grids = []
    for site in sites:
        recovered = sweep(model, pair, site)  # (n_layers, T)
        largest = recovered.abs().amax(dim=0)  # (T,)
        most = largest.topk(min(MOST_MOVED, len(largest))).indices.tolist()
        moved = sorted(t for t in most if largest[t] >= SMALLEST_SHOWN)
        less = "that recover less" if len(moved) == MOST_MOVED else f"below {SMALLEST_SHOWN}"
        grids.append(
            Grid(
                f"Recovered by {site}",
                positions,
                layers,
                recovered.T.tolist(),
                shown=moved,
                note=f"{len(positions) - len(moved)} positions {less} not shown.",
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
    known = streams(model, ids)
    names, values = [], []
    for component, value in replacements(model, ids, kind, targets != IGNORED).items():
        rise = token_losses(model, ids, targets, component, value, known) - whole  # (B, T)
        names.append(str(component))
        values.append([float(rise[part].mean()) for part in parts.values()])
    lines = [
        f"Loss of the whole model on {k}: {float(whole[v].mean()):.3f} nats per token."
        for k, v in parts.items()
    ]
    title = f"Rise of the loss, in nats per token, without a part ({kind} ablation)"
    grid = Grid(
        title,
        names,
        list(parts),
        values,
        shown=strongest(model.config, [row[0] for row in values]),
        note="A rise shows that the part is necessary here; none does not show that it is idle.",
    )
    per_block = torch.tensor([row[0] for row in values]).view(model.config.n_layers, -1)
    maps = head_map(model.config, f"{title}: each head, on {next(iter(parts))}", per_block[:, :-2])
    return Report("Ablation", lines, [grid, *maps])


def song_targets(songs: Repeats) -> tuple[Tensor, dict[str, Tensor]]:
    """Targets and parts for `ask_ablate`: the copied tokens, and all the text before them."""
    copied = songs.first != NOT_REPEATED  # (B, T)
    places = torch.arange(copied.size(1))
    is_text = places <= (copied * places).amax(dim=1, keepdim=True)  # (B, T), without padding
    targets = torch.where(is_text, songs.ids.roll(-1, dims=1), IGNORED)
    return targets, {"the second singing": copied, "everything before it": is_text & ~copied}


def prompt_targets(ids: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Targets and parts for `ask_ablate`: every token of one prompt, (1, T)."""
    if ids.size(1) < 2:
        raise UserError("ablation needs at least 2 tokens; give a longer prompt")
    targets = ids.roll(-1, dims=1)
    targets[:, -1] = IGNORED  # nothing follows the last token
    return targets, {"the prompt": targets != IGNORED}
