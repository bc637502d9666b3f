"""Generation with a KV cache: the model writes, and reads each token only once.

    prompt ──▶ model ──▶ logits of the last position ──▶ choose ──▶ token ──┐
                 ▲                                                          │ only this one:
                 └──────────────────────────────────────────────────────────┘ the rest is cached

The keys and values of a position never change, because it looks only at positions up to its own. So
the cache keeps them. The first call of the model reads the whole prompt at once ("prefill"); each
further call reads one token ("decoding") and sees everything before it in the cache. The model
itself takes care of positions and masks, and appends to the cache what it reads.

Without the cache, token number 1,000 would cost 1,000 positions again.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from transformer.kv_cache import KVCache


def generate(
    model: nn.Module,
    cache: KVCache,
    ids: Tensor,
    max_new_tokens: int,
    choose: Callable[[Tensor], Tensor],
    stop_id: int | None = None,
) -> Tensor:
    """Continue each row of `ids` by up to `max_new_tokens` tokens.

    Args:
        model: `model(ids, cache)` takes (B, n) ids that follow what is in the cache, appends them
            to it, and returns logits (B, n, V), position by position, for the token after each.
            The text is written without dropout (`model.eval()`) and without gradients
            (`torch.no_grad`); afterwards the model is in the mode in which it was before
            (`model.training`, `model.train(mode)`).
        cache: empty, for B rows.
        ids: (B, T), the prompts, all equally long; T >= 1.
        max_new_tokens: 0 or more. The cache has room for T + max_new_tokens - 1 positions: the
            last token is chosen, but nobody has to read it.
        choose: (B, V) logits -> (B,) ids, one for each row. Call it once per new token.
        stop_id: a row ends with the first *new* token that is this (it may well be in the
            prompt), and repeats it from then on, whatever is chosen. When all rows have ended,
            generation ends too. None: never.

    Returns:
        (B, T + n) ids, prompts included, n <= max_new_tokens.
    """
    was_training = model.training
    model.eval()
    ended = torch.zeros(len(ids), dtype=torch.bool)  # (B,)
    unread = ids  # first the whole prompt, then one token at a time
    # no_grad: otherwise every step would keep its activations for a backward that never comes.
    with torch.no_grad():
        for _ in range(max_new_tokens):
            # At the head of the loop, so that the last token is not read.
            logits = model(unread, cache)[:, -1]  # (B, V): only the last position is new
            new = choose(logits)  # (B,)
            if stop_id is not None:
                new = torch.where(ended, stop_id, new)
                ended = ended | (new == stop_id)
            unread = new[:, None]  # (B, 1)
            ids = torch.cat([ids, unread], dim=1)  # a new tensor: the caller's stays as it is
            if ended.all():
                break
    model.train(was_training)
    return ids
