"""Which earlier head an induction head leans on: planted circuits, and ablation by hand."""

import pytest
import torch
from interpretability import planted

from transformer.interpretability.circuit import Circuit, Helper, describe, find_circuit
from transformer.interpretability.induction import (
    NOT_REPEATED,
    BestHead,
    Repeats,
    chance,
    repeated_random_tokens,
)
from transformer.model import DecoderOnlyTransformer

REPEATS = repeated_random_tokens(planted.V, end_of_text=0, length=11)


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (planted.induction_model, "previous-token head"),
        (planted.duplicate_token_model, "duplicate-token head"),
    ],
)
def test_both_circuits_are_told_apart(plant, kind: str) -> None:
    circuit = find_circuit(plant(), REPEATS)
    assert circuit.best[1:] == (1, 2)
    assert circuit.best.score > 0.99
    assert circuit.probability > 0.9
    helper = circuit.leans_on
    assert helper is not None
    assert (helper.layer, helper.head, helper.kind) == (0, 1, kind)
    assert helper.score <= chance(REPEATS) + 0.02
    assert helper.probability < 0.3
    assert f"leans on head 0.1, a {kind}" in describe(circuit)
    others = circuit.helpers[1:]
    assert len(others) == planted.HEADS - 1
    assert all(other.score == pytest.approx(circuit.best.score) for other in others)


def test_of_two_heads_that_do_the_same_none_stands_out() -> None:
    model = planted.induction_model()
    planted.plant_previous_token_head(model, layer=0, head=0)
    circuit = find_circuit(model, REPEATS)
    assert circuit.leans_on is None
    assert "leans on no single earlier head" in describe(circuit)


def test_a_head_that_looks_elsewhere_is_called_neither() -> None:
    assert Helper(0, 0, 0.1, 0.1, previous_token=0.5, duplicate_token=0.4).kind != "neither"
    missed = Helper(0, 2, score=0.1, probability=0.2, previous_token=0.4, duplicate_token=0.3)
    found = describe(Circuit(BestHead(0.9, 1, 0), 0.9, [missed]))
    assert "head 0.2, neither a previous-token nor a duplicate-token head" in found


def test_without_copying_and_without_earlier_heads_there_is_nothing_to_find() -> None:
    circuit = find_circuit(planted.blank_model(), REPEATS)
    assert circuit.leans_on is None
    assert describe(circuit).startswith("No head has an induction score of 0.3:")
    alone = Circuit(BestHead(0.9, 0, 1), 0.9, [])
    assert describe(alone) == "Head 0.1 is in the first block: there is no earlier head to lean on"


def by_hand(model: DecoderOnlyTransformer, repeats: Repeats, layer: int, head: int) -> list[float]:
    """Score and probability for best head 1.x, with the head's columns of W_O set to zero."""
    K = model.config.d_model // model.config.n_heads
    blocked = model.blocks[layer].attention.output_projection.weight
    kept = blocked.detach().clone()
    with torch.no_grad():
        blocked[:, head * K : (head + 1) * K] = 0
    scores, probabilities = [], []
    for ids, first in zip(repeats.ids, repeats.first, strict=True):
        looks: list[torch.Tensor] = []
        tap = model.blocks[1].attention.weights
        handle = tap.register_forward_hook(lambda _m, _i, out, looks=looks: looks.append(out))
        with torch.no_grad():
            p = model(ids[None])[0].softmax(-1)
        handle.remove()
        for t in range(len(ids)):
            if first[t] != NOT_REPEATED:
                scores.append(looks[0][0, :, t, first[t] + 1])
                probabilities.append(float(p[t, ids[t + 1]]))
    with torch.no_grad():
        blocked.copy_(kept)
    per_head = torch.stack(scores).mean(dim=0)
    return [*per_head.tolist(), sum(probabilities) / len(probabilities)]


def test_numbers_equal_ablation_by_hand() -> None:
    """A model of random weights; instead of a hook, the output matrix loses the head's columns."""
    torch.manual_seed(1)
    model = DecoderOnlyTransformer(planted.CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    repeats = Repeats(REPEATS.ids[:4], REPEATS.first[:4])
    circuit = find_circuit(model, repeats)
    assert circuit.best.layer == 1  # so it has earlier heads
    for helper in circuit.helpers:
        *scores, probability = by_hand(model, repeats, helper.layer, helper.head)
        assert helper.score == pytest.approx(scores[circuit.best.head], abs=1e-6)
        assert helper.probability == pytest.approx(probability, abs=1e-6)
    assert [h.score for h in circuit.helpers] == sorted(h.score for h in circuit.helpers)
