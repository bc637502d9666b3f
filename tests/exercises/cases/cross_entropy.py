"""Cross-entropy: what the judge has to tell apart."""

LOG_P = "rows - rows.logsumexp(dim=-1, keepdim=True)"
PICK = "losses = -log_probabilities.gather(1, ids[:, None])[:, 0]  # (n,)"
BUGS = [
    (
        "rows - rows.logsumexp(dim=-1, keepdim=True)",
        "(lambda m: rows - (rows - m).exp().sum(-1, True).log() - m)"
        "(rows.max() if len(rows) else 0.0)",
        "the largest logit of each row",
    ),
    ("losses = -log", "losses = log", "the sign is wrong"),
    (LOG_P, "rows", "softmax is missing: the target's logit itself was taken"),
    (LOG_P, "rows.softmax(dim=-1)", "its logarithm is missing"),
    (LOG_P, "rows.softmax(dim=-1).log_softmax(dim=-1)", "softmax was applied twice"),
    (LOG_P, f"({LOG_P}) / 0.6931472", "base 2"),
    (LOG_P, "rows - rows.logsumexp(dim=0, keepdim=True)", "runs over the positions"),
    (LOG_P, "rows - rows.flatten().logsumexp(dim=0)", "that of all rows"),
    (LOG_P, "rows.softmax(dim=-1).log()", "has the logarithm -inf"),
    (LOG_P, "(rows.softmax(dim=-1) + 1e-9).log()", "cut off"),
    (LOG_P, "rows - rows.exp().sum(dim=-1, keepdim=True).log()", "exp(300) is infinite"),
    (LOG_P, "rows - rows.logsumexp(dim=-1, keepdim=True).detach()", "it is detached"),
    (PICK, "losses = -log_probabilities[:, ids].flatten()", "makes a table"),
    ("return losses.sum() / max(len(ids), 1)", "return losses.sum()", "added, not averaged"),
    ("max(len(ids), 1)", "len(targets)", "divided by all positions"),
    ("losses.sum() / max(len(ids), 1)", "losses.mean()", "a mean over nothing"),
    ("losses.sum() / max(len(ids), 1)", "losses.sum().item() / max(len(ids), 1)", "backward()"),
    (
        "scored = targets != -100  # (N,)",
        "scored = targets != -100\n"
        "    if not scored.any():\n"
        "        return logits.new_zeros(()).requires_grad_()",
        "none that reaches the logits",
    ),
    ("scored = targets != -100", "scored = targets != -1", "was looked up in the row"),
    (
        "ids = logits[scored], targets[scored]",
        "ids = logits, targets.clamp(min=0)",
        "counted as token 0",
    ),
    ("scored = targets != -100  # (N,)", "logits += 0; scored = targets != -100", "was written"),
    (
        "scored = targets != -100  # (N,)",
        "from torch.nn import functional as F; return F.cross_entropy(logits, targets)",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch


def cross_entropy(logits, targets):
    shifted = logits - logits.detach().amax(-1, keepdim=True)
    log_p = shifted - shifted.exp().sum(-1, keepdim=True).log()
    onehot = torch.arange(logits.shape[-1]) == targets[:, None]
    return -torch.where(onehot, log_p, 0.0).sum() / (targets != -100).sum().clamp(min=1)
""",
    '''
def cross_entropy(scores, wanted):
    """Row by row."""
    total, n = scores.sum() * 0.0, 0
    for row, target in zip(scores, wanted.tolist()):
        if target == -100:
            continue
        total = total + row.logsumexp(0) - row[target]
        n += 1
    return total / n if n else total
''',
]
