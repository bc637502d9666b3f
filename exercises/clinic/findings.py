"""What an engineer finds out about a trained model: each examination gives one or two numbers.

`examine` makes them all. What each number is of a healthy patient, and what it says, is in
EXAMINATIONS.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from exercises.clinic.patient import PEAK, ROWS, STEPS, WARMUP, Patient
from transformer.kv_cache import KVCache
from transformer.model import DecoderOnlyTransformer

NOISE = 1e-4  # logits that differ by less are equal
PLACES = 40  # of a text that examinations read
CHANGED = 30  # the place whose token is changed


@dataclass(frozen=True)
class Examination:
    """One that can be asked for."""

    question: str
    numbers: dict[str, str]
    """What each of its numbers is."""


EXAMINATIONS = {
    "future": Examination(
        "One token is changed. Which predictions before it change?",
        {"reach": "how many places before it the first of them is"},
    ),
    "weights": Examination(
        "What do the attention weights look like as numbers?",
        {
            "row_error": "how far a row's sum is from 1, at most",
            "future_weight": "share of the weight that is on later places",
            "score_scale": "a score, over the dot product of its query and key",
            "sharpness": "the largest weight of a row, on average",
        },
    ),
    "repeat": Examination(
        "The text is one token again and again. How much do the predictions differ?",
        {"place_spread": "the largest difference of a logit between two places"},
    ),
    "cache": Examination(
        "A text is read at once, and token by token with the KV cache.",
        {"cache_error": "the largest difference of a logit"},
    ),
    "twice": Examination(
        "The validation loss is measured twice.",
        {"twice_change": "the difference, in nats"},
    ),
    "split": Examination(
        "Eight rows, as one batch and as two micro-batches of 7 and 1.",
        {"split_error": "the difference of the gradients, relative to their length"},
    ),
    "rest": Examination(
        "One step of the optimiser in which every gradient is 0.",
        {
            "matrices_shrink": "what the matrices lose of their length",
            "gains_shrink": "what the gains of the norms lose of theirs",
        },
    ),
    "stream": Examination(
        "What is left of the stream behind the first attention, without what that wrote?",
        {
            "stream_kept": "its length, over the length before",
            "stream_turned": "1 - cosine between before and behind",
        },
    ),
    "size": Examination("How many parameters does the model have?", {"parameters": "all of them"}),
    "says": Examination(
        "What does it predict on validation stories?",
        {
            "echo": "share of places where it predicts the token that it has just read",
            "end": "probability of end-of-text where a story ends",
        },
    ),
    "rate": Examination(
        "The learning rate of each step.",
        {"rises": "steps after the warm-up at which it rises"},
    ),
}
NUMBERS = {name: text for each in EXAMINATIONS.values() for name, text in each.numbers.items()}


def examine(patient: Patient, model: DecoderOnlyTransformer) -> dict[str, float]:
    """All examinations of a model that has been trained."""
    model.train()  # as it is when a validation begins
    first = patient.evaluate(model)
    changes = abs(patient.evaluate(model) - first)
    model.eval()
    with torch.no_grad():
        numbers = {
            "reach": _reach(model, patient),
            **_weights(model, patient),
            "place_spread": _place_spread(model, patient),
            "cache_error": _cache_error(model, patient),
            "twice_change": changes,
            **_stream(model, patient),
            "parameters": float(sum(p.numel() for p in model.parameters())),
            **_says(model, patient),
        }
    numbers["split_error"] = _split_error(model, patient)
    numbers |= _rest(patient)
    rates = [patient.rate(step) for step in range(WARMUP, STEPS + 1)]
    numbers["rises"] = sum(b > a for a, b in pairwise(rates))
    return {name: float(f"{numbers[name]:.4g}") for name in NUMBERS}


def _text(patient: Patient) -> Tensor:
    return patient.batch().inputs[:1, :PLACES]  # (1, PLACES)


@contextmanager
def recorded(*places: nn.Module) -> Iterator[list[list[Tensor]]]:
    """What passes through these taps: a list for each."""
    passed: list[list[Tensor]] = [[] for _ in places]

    def keep_in(kept: list[Tensor]) -> object:
        return lambda module, inputs, output: kept.append(output.detach())

    hooks = [
        place.register_forward_hook(keep_in(kept))  # type: ignore[arg-type]
        for place, kept in zip(places, passed, strict=True)
    ]
    try:
        yield passed
    finally:
        for hook in hooks:
            hook.remove()


def _reach(model: DecoderOnlyTransformer, patient: Patient) -> float:
    text = _text(patient)
    other = text.clone()
    other[0, CHANGED] = (text[0, CHANGED] + 1) % model.config.vocab_size
    changes = (model(text) - model(other))[0].abs().amax(-1)  # (PLACES,)
    changed = (changes[:CHANGED] > NOISE).nonzero().flatten()
    return CHANGED - float(changed[0]) if len(changed) else 0.0


def _weights(model: DecoderOnlyTransformer, patient: Patient) -> dict[str, float]:
    names = ("weights", "scores", "queries", "keys")
    taps = [model.get_submodule(f"blocks.0.attention.{name}") for name in names]
    with recorded(*taps) as passed:
        model(_text(patient))
    weights, scores, queries, keys = (kept[0] for kept in passed)  # (1, H, T, …) each
    products = queries @ keys.transpose(-2, -1)
    return {
        "row_error": float((weights.sum(-1) - 1).abs().max()),
        "future_weight": float(weights.triu(1).sum() / weights.sum()),
        "score_scale": float((scores * products).sum() / (products * products).sum()),
        "sharpness": float(weights.amax(-1).mean()),
    }


def _place_spread(model: DecoderOnlyTransformer, patient: Patient) -> float:
    logits = model(torch.full((1, PLACES), patient.source.tokenizer.end_of_text))[0]  # (T, V)
    return float((logits.amax(0) - logits.amin(0)).max())


def _cache_error(model: DecoderOnlyTransformer, patient: Patient) -> float:
    text, cache = _text(patient), KVCache(model.config, 1)
    steps = [model(text[:, i : i + 1], cache) for i in range(PLACES)]
    return float((torch.cat(steps, dim=1) - model(text)).abs().max())


def _stream(model: DecoderOnlyTransformer, patient: Patient) -> dict[str, float]:
    names = ("embedding", "blocks.0.residual_middle", "blocks.0.attention.output")
    with recorded(*map(model.get_submodule, names)) as passed:
        model(_text(patient))
    before, behind, written = (kept[0].flatten() for kept in passed)
    left = behind - written
    cosine = torch.cosine_similarity(before, left, dim=0, eps=1e-3)
    return {
        "stream_kept": float(left.norm() / before.norm()),
        "stream_turned": 1 - float(cosine),
    }


def _says(model: DecoderOnlyTransformer, patient: Patient) -> dict[str, float]:
    batch = next(iter(patient.source.validation_batches(batch_size=ROWS)))
    end = patient.source.tokenizer.end_of_text
    logits = model(batch.inputs)  # (B, T, V)
    scored = batch.targets >= 0
    echo = (logits.argmax(-1) == batch.inputs)[scored].float().mean()
    ends = logits.softmax(-1)[batch.targets == end][:, end].mean()
    return {"echo": float(echo), "end": float(ends)}


def _split_error(model: DecoderOnlyTransformer, patient: Patient) -> float:
    inputs, targets = patient.pair(patient.batch())
    whole = _gradient(model, patient, [(inputs, targets)])
    pairs = [(inputs[:-1], targets[:-1]), (inputs[-1:], targets[-1:])]
    parts = _gradient(model, patient, pairs)
    return float((whole - parts).norm() / whole.norm())


def _gradient(
    model: DecoderOnlyTransformer, patient: Patient, pairs: list[tuple[Tensor, Tensor]]
) -> Tensor:
    model.zero_grad()
    patient.accumulate(model, pairs)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _rest(patient: Patient) -> dict[str, float]:
    model = patient.model()
    optimizer = patient.optimizer(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = PEAK
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    lost = {
        name: 1 - float(p.detach().norm() / before[name].norm())
        for name, p in model.named_parameters()
        if p.dim() == 2 or "norm.weight" in name
    }
    gains = {name: loss for name, loss in lost.items() if "norm" in name}
    matrices = {name: loss for name, loss in lost.items() if name not in gains}
    return {
        "matrices_shrink": sum(matrices.values()) / len(matrices),
        "gains_shrink": sum(gains.values()) / len(gains),
    }
