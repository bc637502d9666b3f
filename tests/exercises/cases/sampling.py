"""Temperature, top-k, top-p and the draw: what the judge has to tell apart."""

SORT = "logits.sort(dim=-1, descending=True, stable=True)"
BACK = "torch.empty_like(logits).scatter(-1, order, sorted_logits)"
BEFORE = "before = probabilities.cumsum(dim=-1) - probabilities"
TOP_K = """    order = logits.sort(dim=-1, descending=True, stable=True).indices  # (B, V)
    # Not "all logits >= the k-th": several may be equal to it.
    removed = order[:, k:]  # (B, V - k); empty if k >= V
    return logits.scatter(-1, removed, float("-inf"))"""
PIPELINE = "    logits = apply_temperature(logits, temperature)\n"
TOP_K_STEP = "    if top_k is not None:\n        logits = keep_top_k(logits, top_k)\n"
TOP_P_STEP = "    if top_p is not None:\n        logits = keep_top_p(logits, top_p)\n"
NORMAL = "    cumulative = cumulative / cumulative[:, -1:]\n"
BUGS = [
    ("return logits / temperature", "return logits * temperature", "they should be divided"),
    ("return logits / temperature", "return (logits / temperature).softmax(-1)", "softmax was"),
    ("return logits / temperature", "return logits.softmax(-1) / temperature", "probabilities are"),
    ("if temperature == 0:", "if False:", "divided by 0"),
    (
        "best = logits.argmax(dim=-1, keepdim=True)",
        "best = logits.shape[-1] - 1 - logits.flip(-1).argmax(dim=-1, keepdim=True)",
        "not the last",
    ),
    (
        'float("-inf")).scatter(-1, best, 0.0)',
        "0.0).scatter(-1, best, logits.gather(-1, best))",
        "the other logits become 0",
    ),
    ('removed, float("-inf")', "removed, 0.0", "becomes 0"),
    ("removed = order[:, k:]", "removed = order[:, k + 1 :]", "one token too many"),
    ("removed = order[:, k:]", "removed = order[:, :k]", "the k most likely tokens are removed"),
    (
        TOP_K,
        "    return logits.masked_fill(logits < logits.topk(k).values[:, -1:], -torch.inf)",
        "of equal logits all stay",
    ),
    (
        TOP_K,
        "    least = logits.sort(descending=True).values[:, min(k, logits.size(-1)) - 1 :][:, :1]\n"
        "    return logits.masked_fill(logits < least, -torch.inf)",
        "of equal logits all stay",
    ),
    (
        "removed = order[:, k:]",
        "logits.topk(k); removed = order[:, k:]",
        "`k` may be larger than V",
    ),
    ("before >= p", "before > p", "those before it have p already"),
    (BEFORE, "before = probabilities.cumsum(dim=-1)", "the token that crosses p is removed"),
    (BEFORE, f"{BEFORE} - probabilities.roll(1, -1)", "one token too many"),
    (
        f"    sorted_logits, order = {SORT}  # (B, V)",
        "    sorted_logits, order = logits, torch.arange(logits.size(-1)).expand_as(logits)",
        "sort before adding up",
    ),
    (BACK, "logits.masked_fill(before >= p, -torch.inf)", "the sorted mask meets unsorted"),
    (BACK, "sorted_logits", "the logits stay in sorted order"),
    (
        f"sorted_logits, order = {SORT}",
        f"sorted_logits, order = {SORT.replace('True, s', 'False, s')}",
        "in descending order",
    ),
    (
        BACK,
        "torch.empty_like(logits).scatter(-1, order[:1].expand_as(order), sorted_logits)",
        "two are not",
    ),
    (TOP_K_STEP + TOP_P_STEP, TOP_P_STEP + TOP_K_STEP, "top-p comes before top-k"),
    (
        PIPELINE + TOP_K_STEP + TOP_P_STEP,
        TOP_K_STEP + TOP_P_STEP + PIPELINE,
        "top-p comes before the temperature",
    ),
    ("return logits.softmax(dim=-1)", "return logits", "softmax is missing"),
    ("cumulative <= uniform", "cumulative < uniform", "a token of probability 0"),
    (NORMAL, "", "token V does not exist"),
    (
        NORMAL,
        "    return (cumulative <= uniform[:, None]).sum(-1).clamp(max=cumulative.size(-1) - 1)\n",
        "rounding ended the sum below u",
    ),
    ("uniform[:, None]", "uniform[:1, None]", "both rows use the first number"),
    (
        "return (cumulative <= uniform[:, None]).sum(dim=-1)",
        "return probabilities.argmax(dim=-1)",
        "this is the most likely token, always",
    ),
    (
        "cumulative = probabilities.double()",
        "cumulative = probabilities.double().sort(descending=True).values",
        "the tokens were sorted",
    ),
    (
        "cumulative = probabilities.double()",
        "return torch.multinomial(probabilities, 1)[:, 0]; cumulative = probabilities",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch


def apply_temperature(logits, temperature):
    if temperature == 0:
        place = torch.arange(logits.shape[-1])
        first = logits.max(-1, keepdim=True).indices
        return torch.where(place == first, logits, -torch.inf)
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def rank(logits):
    return logits.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)


def keep_top_k(logits, k):
    return torch.where(rank(logits) < k, logits, -torch.inf)


def keep_top_p(logits, p):
    probs, place = logits.softmax(-1), rank(logits)
    earlier = place[:, None, :] < place[:, :, None]  # (B, V, V)
    return logits.masked_fill((earlier * probs[:, None, :]).sum(-1) >= p, -torch.inf)


def next_token_distribution(logits, *, temperature=1.0, top_k=None, top_p=None):
    logits = apply_temperature(logits, temperature)
    logits = keep_top_k(logits, top_k or logits.shape[-1])
    return keep_top_p(logits, top_p or 2.0).softmax(-1)


def draw(probabilities, uniform):
    sums = probabilities.cumsum(-1, dtype=torch.float64)
    found = torch.searchsorted(sums / sums[:, -1:], uniform.double()[:, None], right=True)
    return found.squeeze(-1)
""",
    '''
import torch


def apply_temperature(logits, temperature):
    if temperature == 0:
        return keep_top_k(logits, 1)
    return logits / temperature


def keep_top_k(logits, k):
    """Row by row, with Python's sort."""
    new = torch.full_like(logits, float("-inf"))
    for b, row in enumerate(logits.tolist()):
        for i in sorted(range(len(row)), key=row.__getitem__, reverse=True)[:k]:
            new[b, i] = logits[b, i]
    return new


def keep_top_p(logits, p):
    new = torch.full_like(logits, float("-inf"))
    for b, row in enumerate(logits.softmax(-1).tolist()):
        mass = 0.0
        for i in sorted(range(len(row)), key=row.__getitem__, reverse=True):
            if mass >= p:
                break
            mass += row[i]
            new[b, i] = logits[b, i]
    return new


def next_token_distribution(logits, *, temperature=1.0, top_k=None, top_p=None):
    logits = apply_temperature(logits, temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return logits.softmax(-1)


def draw(probabilities, uniform):
    chosen = []
    for row, u in zip(probabilities.tolist(), uniform.tolist()):
        u *= sum(row)
        token = 0
        while u >= row[token]:
            u -= row[token]
            token += 1
        chosen.append(token)
    return torch.tensor(chosen)
''',
]
