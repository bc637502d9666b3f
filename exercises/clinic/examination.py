"""One patient: trained, with everything written down that an engineer would look at."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from exercises.clinic.findings import examine, recorded
from exercises.clinic.patient import Patient, T
from transformer.generation import generate
from transformer.model import DecoderOnlyTransformer

EVERY = 20  # steps that one point of a curve is the mean of
EVALUATE = 100  # steps between two validations
SHOWN = 16  # places of the attention pictures

Told = Callable[[int], object]


@dataclass(frozen=True)
class Evidence:
    """What a training leaves behind; JSON holds it."""

    floor: float
    """The best possible loss on the validation stories, in nats per token."""
    train: list[float]
    """Loss, the mean of each `EVERY` steps."""
    gradient: list[float]
    """Length of the gradient before clipping, likewise."""
    validation: list[float]
    """Loss before the first step, and after each `EVALUATE`."""
    numbers: dict[str, float]
    """The findings."""
    sample: str
    tokens: list[str]
    """The beginning of a story, and ..."""
    attention: list[list[list[list[float]]]]
    """... the weights on it: block, head, place that looks, place looked at."""

    @property
    def curves(self) -> dict[str, Any]:
        """What is kept of many."""
        kept = asdict(self)
        return {name: kept[name] for name in ("train", "gradient", "validation", "numbers")}


def train(patient: Patient, told: Told = lambda step: None) -> Evidence:
    """Train it, and look at everything."""
    model = patient.model()
    validation = [patient.evaluate(model)]
    optimizer = patient.optimizer(model)
    losses, norms = [], []
    for step, pairs in enumerate(patient.micro_batches(), start=1):
        model.train()
        optimizer.zero_grad()
        losses.append(patient.accumulate(model, pairs))
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        for group in optimizer.param_groups:
            group["lr"] = patient.rate(step)
        optimizer.step()
        if step % EVALUATE == 0:
            validation.append(patient.evaluate(model))
        told(step)
    return _evidence(patient, model, losses, norms, validation)


def _evidence(
    patient: Patient,
    model: DecoderOnlyTransformer,
    losses: list[float],
    norms: list[float],
    validation: list[float],
) -> Evidence:
    assert patient.source.floor is not None
    patient.quiet(model)
    sample = _sample(patient, model)
    tokens, attention = _attention(patient, model.eval())
    return Evidence(
        floor=_rounded(patient.source.floor),
        train=_means(losses),
        gradient=_means(norms),
        validation=[_rounded(loss) for loss in validation],
        numbers=examine(patient, model),
        sample=sample,
        tokens=tokens,
        attention=attention,
    )


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def _means(values: list[float]) -> list[float]:
    """
    >>> len(_means([1.0] * STEPS)) == STEPS // EVERY
    True
    """
    starts = range(0, len(values), EVERY)
    return [_rounded(sum(values[i : i + EVERY]) / EVERY) for i in starts]


def _sample(patient: Patient, model: DecoderOnlyTransformer) -> str:
    """What it writes after end-of-text, up to the next."""
    tokenizer = patient.source.tokenizer
    end = tokenizer.end_of_text
    ids = generate(model, torch.tensor([[end]]), T - 1, seed=1, stop_ids=[end])
    return tokenizer.decode(ids[0, 1:].tolist())


@torch.no_grad()
def _attention(
    patient: Patient, model: DecoderOnlyTransformer
) -> tuple[list[str], list[list[list[list[float]]]]]:
    text: Tensor = next(iter(patient.source.validation_batches(batch_size=1))).inputs[:, :SHOWN]
    names = [f"blocks.{block}.attention.weights" for block in range(len(model.blocks))]
    with recorded(*map(model.get_submodule, names)) as passed:
        model(text)
    decode = patient.source.tokenizer.decode
    weights = [
        [[[_rounded(w) for w in row] for row in head] for head in kept[0][0].tolist()]
        for kept in passed
    ]
    return [decode([i]) for i in text[0].tolist()], weights
