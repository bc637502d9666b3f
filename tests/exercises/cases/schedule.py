"""Warm-up and cosine: what the judge has to tell apart."""

FALL = "lowest + (peak - lowest) * (1 + math.cos(math.pi * done)) / 2"
DONE = "done = (step - warmup_steps) / (total_steps - warmup_steps)"
RISE = "peak * step / warmup_steps"
ORDER = "if step >= total_steps:"
BUGS = [
    (RISE, "peak * (step - 1) / warmup_steps", "count from 1, not from 0"),
    (RISE, "peak * (step + 1) / warmup_steps", "one was added again"),
    (RISE, "peak * step / (warmup_steps + 1)", "at W + 1"),
    (RISE, "peak * step / total_steps", "takes all steps"),
    (RISE, "lowest + (peak - lowest) * step / warmup_steps", "should start at 0"),
    ("if step < warmup_steps:", "if False:", "the first step has a wrong rate"),
    (DONE, "done = step / total_steps", "counted from step 0"),
    (DONE, "done = (step - warmup_steps) / total_steps", "it has S - W"),
    (FALL, "peak * (1 + math.cos(math.pi * done)) / 2", "it should end at lowest"),
    (FALL, "max(lowest, peak * (1 + math.cos(math.pi * done)) / 2)", "land there softly"),
    (FALL, "lowest + peak * (1 + math.cos(math.pi * done)) / 2", "`lowest` is added"),
    (FALL, "peak + (lowest - peak) * done", "the fall is straight"),
    (FALL, "lowest + (peak - lowest) * math.cos(math.pi * done / 2)", "goes from 1 to 0"),
    (FALL, "lowest + (peak - lowest) * math.cos(math.pi * done)", "goes from 1 to -1"),
    ("math.pi * ", "180 * ", "takes radians"),
    ("math.pi * ", "", "takes radians"),
    ("(1 + math.cos", "(1 - math.cos", "upside down"),
    (f"{ORDER}\n", "if False:\n", "rises again"),
    (
        "return lowest\n",
        "return 0.0 if step > total_steps else lowest\n",
        "would learn nothing",
    ),
    (ORDER, "if step > total_steps > warmup_steps:", "the fall divides by S - W = 0"),
    ("if step < warmup_steps:", "if step < warmup_steps or step == 1:", "the rise divides by 0"),
    (
        ORDER,
        "from transformer.training.scheduler import Schedule\n"
        "    Schedule(peak, total_steps, warmup_steps)\n"
        f"    {ORDER}",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import math


def learning_rate(step, peak, total_steps, warmup_steps, lowest):
    if step < warmup_steps:
        return step * (peak / warmup_steps)
    rest = max(0, total_steps - step)
    if rest == 0:
        return lowest
    # sin² of the half angle, counted from the end
    return lowest + (peak - lowest) * math.sin(
        0.5 * math.pi * rest / (total_steps - warmup_steps)
    ) ** 2
""",
    '''
import torch


def learning_rate(n, top, last, warm, bottom):
    """With tensors."""
    if n >= last:
        return torch.tensor(bottom)
    rise = torch.tensor(n / max(1, warm))
    if n < warm:
        return top * rise
    share = torch.tensor((n - warm) / (last - warm), dtype=torch.float64)
    return (top + bottom) / 2 + (top - bottom) / 2 * torch.cos(share * torch.pi)
''',
]
