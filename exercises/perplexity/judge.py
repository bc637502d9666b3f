"""The judge of perplexity over a long text."""

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from exercises.judging.check import Check
from exercises.judging.inside import CONFIG, reference
from transformer.evaluation.perplexity import evaluate

FORBIDDEN = {
    "transformer.evaluation.perplexity.evaluate": "it is our solution",
    "transformer.evaluation.perplexity.score_tokens": "it is most of our solution",
    "transformer.evaluation.perplexity.strided_windows": "it is half of our solution",
    "transformer.training_utils.perplexity": "it is the last line of our solution",
}
V, SIZE = 5, 4
IDS = torch.tensor([1, 3, 0, 4, 2, 2, 1, 0, 3, 4])  # 9 targets
Window = tuple[int, int, int]  # first target, end, first one that is scored


class Surer(nn.Module):
    """Not a transformer: its logits grow with the place in the window, so context shows."""

    def __init__(self, check: Check) -> None:
        super().__init__()
        self.check = check
        self.part = nn.Dropout(0.5)
        self.modes: set[tuple[bool, bool]] = set()  # (training, gradients)

    def forward(self, ids: Tensor) -> Tensor:
        self.check.that(
            ids.dim() == 2,
            given="a model that reads (B, W)",
            came=f"ids of shape {tuple(ids.shape)}",
            expected="ids of shape (1, W)",
            mistake="the model reads batches: a batch of one window is window[None]",
        )
        self.check.that(
            ids.size(1) <= SIZE,
            given=f"size = {SIZE}",
            came=f"a window of {ids.size(1)} tokens",
            expected=f"at most {SIZE} tokens",
            mistake="the window is longer than size: the model cannot read that many",
        )
        # A part of the model knows only what `eval` tells it, not what was set on the whole.
        self.modes.add((self.part.training, torch.is_grad_enabled()))
        places = torch.arange(1.0, 1 + ids.size(1))[:, None]  # (W, 1)
        table = (torch.arange(V * V) * 7 % 11).reshape(V, V) / 5 - 1  # (V, V)
        return table[ids] * places / 2  # (B, W, V)


def in_small(yours: ModuleType, check: Check) -> None:
    """One window, then several, then what the model was asked with."""
    _one_window(yours, check)
    _windows(yours, check)
    _modes(yours, check)


def _losses(windows: list[Window], shift: int = 1) -> list[Tensor]:
    """For each window, the losses of what it scores."""
    model = Surer(Check("")).eval()
    losses = []
    for start, end, first in windows:
        log_p = model(IDS[None, start:end])[0].log_softmax(-1)
        targets = IDS[start + shift : end + shift]
        losses.append(-log_p.gather(1, targets[:, None])[first - start :, 0])
    return losses


def _one_window(yours: ModuleType, check: Check) -> None:
    ids = IDS[:4]
    losses = _losses([(0, 3, 0)])[0]
    mean, total = losses.mean().item(), losses.sum().item()
    itself = _losses([(0, 3, 0)], shift=0)[0].mean().item()
    whole = _losses([(0, 4, 0)], shift=0)[0].mean().item()
    given = f"ids = {ids.tolist()}, size = {SIZE}, stride = {SIZE}: one window, 3 targets"
    check.equal(
        _number(yours.perplexity(Surer(check), ids, SIZE, SIZE), given, check),
        math.exp(mean),
        given=given,
        mistakes={
            "this is the mean loss; perplexity is exp of it": mean,
            "this is the sum of the losses": total,
            "the sign is wrong: a loss is -ln p": math.exp(-mean),
            "this is 2 to the power of the loss, but the loss is in nats: exp": 2**mean,
            "the losses are added, not averaged": math.exp(total),
            "the sum is divided by the number of ids; the first one is not predicted": math.exp(
                total / 4
            ),
            "the targets are not shifted: each token is asked for itself, not for the next": (
                math.exp(itself)
            ),
            "the targets are not shifted, and the last token is read, too": math.exp(whole),
            "the perplexities of the tokens are averaged; average the losses": (
                losses.exp().mean().item()
            ),
            "the probabilities are averaged; average the losses": 1 / (-losses).exp().mean().item(),
        },
        otherwise="with a single window the perplexity is wrong",
    )


def _number(came: Any, given: str, check: Check) -> Any:
    if isinstance(came, Tensor):
        check.that(
            not came.requires_grad,
            given=given,
            came="a tensor with a graph",
            expected="a plain number",
            mistake="gradients are recorded: memory grows with each window, for nothing",
        )
    return came


def _windows(yours: ModuleType, check: Check) -> None:
    """9 targets. The last window would be short if it was not moved back."""
    given = f"ids = {IDS.tolist()}, size = {SIZE}, stride = 2: 9 targets, as in the picture"
    right: list[Window] = [(0, 4, 0), (2, 6, 4), (4, 8, 6), (5, 9, 8)]
    losses = _losses(right)
    check.equal(
        _number(yours.perplexity(Surer(check), IDS, SIZE, 2), given, check),
        torch.cat(losses).mean().exp().item(),
        given=given,
        mistakes=_wrong_windows(right, losses),
        otherwise="one window is right, several are not",
    )


def _wrong_windows(right: list[Window], losses: list[Tensor]) -> dict[str, float]:
    """What the usual mistakes give."""
    return {
        "the windows' means are averaged; every token weighs the same": (
            torch.stack([each.mean() for each in losses]).mean().exp().item()
        ),
        "the windows' perplexities are averaged; every token weighs the same": (
            torch.stack([each.mean().exp() for each in losses]).mean().item()
        ),
        "all tokens of each window are scored, so many twice: score only new ones": _of(
            [(0, 4, 0), (2, 6, 2), (4, 8, 4), (5, 9, 5)]
        ),
        "all tokens of each window are scored, and the last window is short": _of(
            [(0, 4, 0), (2, 6, 2), (4, 8, 4), (6, 9, 6)]
        ),
        "the windows do not overlap: each starts stride, not size, after the last": _of(
            [(0, 4, 0), (4, 8, 4), (5, 9, 8)]
        ),
        "the windows do not overlap, and the last one is short": _of(
            [(0, 4, 0), (4, 8, 4), (8, 9, 8)]
        ),
        "the windows have stride tokens each; they have size, the first ones as context": _of(
            [(0, 2, 0), (2, 4, 2), (4, 6, 4), (6, 8, 6), (8, 9, 8)]
        ),
        "the last window is short: move it back, so that it is full, too": _of(
            [(0, 4, 0), (2, 6, 4), (4, 8, 6), (6, 9, 8)]
        ),
        "the last target is left out: the last window ends with the text": _of(right[:-1]),
        "only the last stride targets of the first window are scored": _of([(0, 4, 2), *right[1:]]),
        "only the last stride targets of the last window are new, but it has fewer": _of(
            [*right[:-1], (5, 9, 7)]
        ),
        "the last target is left out, but counted": _of(right[:-1], 9),
        "only the first window is scored": _of(right[:1]),
        "only the first window is scored, but all targets are counted": _of(right[:1], 9),
    }


def _of(windows: list[Window], n: int | None = None) -> float:
    """Perplexity with these windows, the sum divided by n, or by what was scored."""
    losses = torch.cat(_losses(windows))
    return math.exp(losses.sum().item() / (n or len(losses)))


def _modes(yours: ModuleType, check: Check) -> None:
    for training in (True, False):
        model = Surer(check).train(training)
        yours.perplexity(model, IDS, SIZE, 2)
        given = f"a model that is {'' if training else 'not '}in training mode"
        trained, recorded = (any(values) for values in zip(*model.modes, strict=True))
        check.that(
            not trained,
            given=given,
            came="training mode in a call of the model",
            expected="model.eval() before",
            mistake="dropout is still on: the model is asked with parts missing",
        )
        check.that(
            not recorded,
            given=given,
            came="a call of the model that records gradients",
            expected="torch.no_grad()",
            mistake="gradients are recorded: memory is spent for a backward that never comes",
        )
        check.that(
            model.training == training,
            given=given,
            came=f"model.training is {model.training} afterwards",
            expected=f"model.training is {training}",
            mistake="the model is left in another mode: training would continue without dropout"
            if training
            else "the model is left in another mode: it was not in training before",
        )


def at_random(yours: ModuleType, check: Check) -> None:
    """A real model, target by target: each in the first window that reaches it."""
    model = reference().eval()
    for N, size, stride in [(2, 9, 9), (2, 1, 1), (10, 9, 3), (11, 9, 9), (23, 7, 2), (14, 5, 1)]:
        ids = torch.randint(CONFIG.vocab_size, (2 * N,))[::2]  # not contiguous
        nats = 0.0
        for t in range(N - 1):
            end = size
            while end <= t:
                end += stride
            end = min(end, N - 1)
            start = max(0, end - size)
            with torch.no_grad():
                p = model(ids[None, start : t + 1])[0, -1].softmax(-1)
            nats -= math.log(p[ids[t + 1]].item())
        check.equal(
            yours.perplexity(model, ids, size, stride),
            math.exp(nats / (N - 1)),
            given=f"a model of 2 blocks, {N} ids, size = {size}, stride = {stride}",
            otherwise="target by target, the perplexity is another",
        )


def in_the_model(yours: ModuleType, check: Check) -> None:
    """Against the project's evaluation."""
    model = reference().train()
    size = CONFIG.max_seq_len
    ids = torch.randint(CONFIG.vocab_size, (60,))
    for stride in (1, 4, size):
        check.equal(
            yours.perplexity(model, ids, size, stride),
            evaluate(model, ids, stride=stride).perplexity,
            given=f"a model of 2 blocks, 60 ids, size = {size}, stride = {stride}",
            otherwise="commands/evaluate.py would say another perplexity",
        )


STAGES = (in_small, at_random, in_the_model)


def typical(module: ModuleType) -> object:
    ids = torch.arange(100) % CONFIG.vocab_size
    return module.perplexity(reference(), ids, CONFIG.max_seq_len, 4)
