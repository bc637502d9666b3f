"""Gradient accumulation: what the judge has to tell apart."""

SHARE = "share = count / max(total, 1)"
BACKWARD = "(loss * share).backward()"
COUNT = "int((targets != -100).sum()) for"
LOOP = "for (inputs, targets), count in zip(micro_batches, scored, strict=True):"
MEAN = "mean += loss.item() * share"
BUGS = [
    (
        "(loss * share).backward()",
        "(loss * share).backward(retain_graph=True)",
        "activations of earlier micro-batches are kept",
    ),
    (SHARE, "share = 1 / len(micro_batches)", "a mean of means is not the mean"),
    (SHARE, "share = 1", "without their shares"),
    (SHARE, "share = count", "the gradient is wrong"),
    (SHARE, "share = targets.numel() / sum(t.numel() for _, t in micro_batches)", "count all pos"),
    (SHARE, "share = count / sum(t.numel() for _, t in micro_batches)", "divide by all positions"),
    (SHARE, "share = count / total", "0 / 0"),
    (
        f"{SHARE}  # nothing scored: 0, not 0 / 0",
        "so_far = locals().get('so_far', 0) + count; share = count / max(so_far, 1)",
        "count all before the first backward",
    ),
    (BACKWARD, "pass", "nobody called backward"),
    (BACKWARD, "loss.backward()", "without their shares"),
    (BACKWARD, "(loss * share / count).backward()", "one division too many"),
    (BACKWARD, "(loss.detach().requires_grad_() * share).backward()", "nobody called backward"),
    (MEAN, "mean = mean + loss * share", "still holds its graph"),
    (MEAN, "mean += loss.item() / len(scored)", "in the loss that is returned, a mean of means"),
    (MEAN, "mean = loss.item()", "that of the last micro-batch"),
    ("return mean, total", "return mean", "two things"),
    ("return mean, total", "return mean, sum(t.numel() for _, t in micro_batches)", "are counted"),
    (
        LOOP,
        "import torch\n"
        "    micro_batches = [tuple(torch.cat(x) for x in zip(*micro_batches))]\n"
        "    scored = [total]\n"
        f"    {LOOP}",
        "joined into a big one",
    ),
    (
        BACKWARD,
        "whole = locals().get('whole', 0) + loss * share\n"
        "        if targets is micro_batches[-1][1]:\n"
        "            whole.backward()",
        "backward comes only after the loop",
    ),
    (LOOP, f"micro_batches[0][1].fill_(3)\n    {LOOP}", "was written into"),
    (
        LOOP,
        "from transformer.training_utils import GradientAccumulator\n"
        "    GradientAccumulator(None, None)\n"
        f"    {LOOP}",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch


def accumulate(loss_of, micro_batches):
    counts = torch.tensor([(t != -100).sum() for _, t in micro_batches], dtype=torch.float32)
    shares = counts / counts.sum().clamp(min=1)
    mean = 0.0
    for share, (x, t) in zip(shares, micro_batches):
        loss = loss_of(x, t) * share
        loss.backward()
        mean += loss.item()
    return mean, int(counts.sum())
""",
    """
import torch


def accumulate(loss_of, micro_batches):
    n = sum(torch.count_nonzero(t + 100).item() for _, t in micro_batches)
    mean = torch.zeros(())
    for x, t in micro_batches:
        own = torch.count_nonzero(t + 100)
        part = loss_of(x, t) * own / max(1, n)
        part.backward()
        mean = mean + part.detach()
    return mean, n
""",
    '''
def accumulate(loss_of, micro_batches):
    """What is not scored at all is read but has no part."""
    counts = {}
    for place, (_, targets) in enumerate(micro_batches):
        counts[place] = sum(t != -100 for row in targets.tolist() for t in row)
    all_of_them = sum(counts.values())
    sums = []
    for place, (inputs, targets) in enumerate(micro_batches):
        total = loss_of(inputs, targets) * counts[place]
        if counts[place]:
            (total / all_of_them).backward()
        sums.append(total.item())
    return (sum(sums) / all_of_them if all_of_them else 0.0), all_of_them
''',
]
