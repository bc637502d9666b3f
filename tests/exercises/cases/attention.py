"""Scaled dot-product attention: what the judge has to tell apart."""

BUGS = [
    ("/ math.sqrt(K)", "", "not divided by √K"),
    ("/ math.sqrt(K)", "/ K", "divided by K, not by its root"),
    ("dim=-1)  # over the keys", "dim=-2)", "over the queries"),
    ("scores.masked_fill(~mask, ", "scores.masked_fill(mask, ", "the wrong way round"),
    ('float("-inf")', "-1e9", "large negative number"),
    ("if mask is not None", "if False", "the mask is ignored"),
    (
        "return weights @ values, weights",
        "return weights @ values",
        "two things are to be",
    ),
    ("return weights @ values, weights", "return weights @ keys, weights", "mixes the keys"),
    ("K = queries.size(-1)", "K = queries.size(-1); queries.mul_(1)", "was written into"),
    ("K = queries.size(-1)", "K = queries.size(-1); keys = keys.detach()", "the gradient is wrong"),
    (
        "K = queries.size(-1)",
        "return torch.nn.functional.scaled_dot_product_attention(queries, keys, values), None",
        "ready-made answer",
    ),
]
RIGHT = [
    '''
import torch


def hide(scores, mask):
    """In place: it is given what the other function has made."""
    scores.masked_fill_(~mask, -torch.inf)


def scaled_dot_product_attention(queries, keys, values, mask=None):
    scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
    if mask is not None:
        hide(scores, mask)
    weights = scores.softmax(-1)
    return weights @ values, weights
''',
    """
import torch


def scaled_dot_product_attention(queries, keys, values, mask=None):
    scores = queries @ keys.transpose(-2, -1) / torch.sqrt(torch.tensor(queries.shape[-1]))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(-1)
    return weights @ values, weights
""",
    """
import torch


def scaled_dot_product_attention(queries, keys, values, mask=None):
    queries = queries * queries.shape[-1] ** -0.5
    logits = torch.einsum("...tk,...sk->...ts", queries, keys)
    if mask is not None:
        logits = torch.where(mask, logits, torch.full_like(logits, -torch.inf))
    top = logits.amax(-1, keepdim=True)
    raw = (logits - top).exp()
    share = raw / raw.sum(-1, keepdim=True)
    return torch.einsum("...ts,...sk->...tk", share, values), share
""",
    '''
import torch


def scaled_dot_product_attention(queries, keys, values, mask=None):
    """Query by query."""
    outputs, all_weights = [], []
    for t in range(queries.shape[-2]):
        row = (queries[..., t : t + 1, :] * keys).sum(-1) / queries.shape[-1] ** 0.5
        if mask is not None:
            row = row + torch.zeros_like(row).masked_fill(~mask[..., t, :], -torch.inf)
        weights = row.softmax(-1)
        outputs.append((weights[..., None] * values).sum(-2))
        all_weights.append(weights)
    return torch.stack(outputs, -2), torch.stack(all_weights, -2)
''',
]
