"""Perplexity: what the judge has to tell apart."""

RETURN = "return math.exp(nats / len(targets))"
START = "start = max(0, end - size)"
END = "end = min(scored + (stride if scored else size), len(targets))"
NATS = "nats -= new.gather(1, targets[scored:end, None]).sum().item()"
NEW = "new = logits[scored - start :].log_softmax(dim=-1)"
BUGS = [
    ("model.eval()", "model.training = False", ""),
    (RETURN, "return nats / len(targets)", "this is the mean loss"),
    (RETURN, "return int(math.exp(nats / len(targets)))", ""),
    (RETURN, "return 2 ** (nats / len(targets))", "2 to the power"),
    (RETURN, "return math.exp(nats)", "added, not averaged"),
    (RETURN, "return math.exp(nats / len(ids))", "divided by the number of ids"),
    ("nats -= new", "nats += new", "the sign is wrong"),
    ("inputs, targets = ids[:-1], ids[1:]", "inputs, targets = ids[:-1], ids[:-1]", "not shifted"),
    (
        "inputs, targets = ids[:-1], ids[1:]",
        "inputs, targets = ids, ids",
        "the last token is read, too",
    ),
    (START, "start = max(0, scored + stride - size) if scored else 0", "the last window is short"),
    ("(stride if scored else size)", "size", "the windows do not overlap"),
    (
        START,
        "start = scored; end = min(start + stride, len(targets))",
        "stride tokens each",
    ),
    (
        "while scored < len(targets):",
        "while scored + (stride if scored else 1) <= len(targets):",
        "the last target is left out",
    ),
    ("while scored < len(targets):", "if True:", "only the first window is scored"),
    (
        f"{NATS}\n            scored = end",
        "nats -= new.gather(1, targets[scored:end, None]).mean().item() * len(targets)\n"
        "            count = locals().get('count', 0) + 1\n"
        "            scored = end\n"
        "        nats /= count",
        "the windows' means are averaged",
    ),
    (START, "start = 0", "longer than size"),
    ("inputs[None, start:end]", "inputs[start:end]", "a batch of one window"),
    ("    model.eval()\n", "", "dropout is still on"),
    ("with torch.no_grad():", "if True:", "gradients are recorded"),
    ("    model.train(was_training)\n", "", "without dropout"),
    ("model.train(was_training)", "model.train()", "it was not in training before"),
    (
        f"{NEW}  # (new, V)\n            {NATS}\n",
        "all_of_them = locals().get('all_of_them', []) + ["
        "-logits.log_softmax(dim=-1).gather(1, targets[start:end, None])]\n"
        "            nats = torch.cat(all_of_them).mean().item() * len(targets)\n",
        "so many twice",
    ),
    (
        "was_training = model.training",
        "from transformer.evaluation.perplexity import evaluate as ready\n"
        "    was_training = model.training; ready(model, ids)",
        "ready-made answer",
    ),
]
RIGHT = [
    '''
import torch
from torch.nn import functional as F


@torch.inference_mode()
def perplexity(model, ids, size, stride):
    """All windows in one batch."""
    training = model.training
    model.eval()
    n = len(ids) - 1
    width = min(size, n)
    ends = [*range(width, n, stride), n]
    windows = torch.stack([ids[end - width : end] for end in ends])
    targets = torch.stack([ids[end - width + 1 : end + 1] for end in ends])
    for row, (before, end) in enumerate(zip(ends, ends[1:]), 1):
        targets[row, : width - (end - before)] = -100
    loss = F.cross_entropy(model(windows).flatten(0, 1), targets.flatten())
    model.train(training)
    return loss.exp()
''',
    '''
import math

import torch


def perplexity(model, ids, size, stride):
    """Token by token: the chain of probabilities."""
    mode = model.training
    model.train(False)
    n, surprise = len(ids) - 1, []
    for t in range(n):
        steps = max(0, math.ceil((t + 1 - size) / stride))
        end = min(size + steps * stride, n)
        start = max(0, end - size)
        with torch.no_grad():
            logits = model(ids[start : t + 1].unsqueeze(0))[0, -1]
        surprise.append((logits.logsumexp(0) - logits[ids[t + 1]]).item())
    model.train(mode)
    return math.exp(math.fsum(surprise) / n)
''',
]
