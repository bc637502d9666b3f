"""Which parameters decay and at what rate; AdamW against its equations; Muon beside it."""

from dataclasses import replace

import pytest
import torch

from transformer.ladder.muon import Muon
from transformer.machine.device import Precision
from transformer.model import DecoderOnlyTransformer
from transformer.training.config import TOY, TrainingConfig, on_rung
from transformer.training.optimizer import (
    BETAS,
    Together,
    adamw,
    block_matrices,
    make_optimizer,
    prepare,
)
from transformer.training.start import initial_model


def test_only_matrices_decay(tiny_model: DecoderOnlyTransformer) -> None:
    optimizer = adamw(tiny_model, learning_rate=0.1, weight_decay=0.5)
    before = {name: p.detach().clone() for name, p in tiny_model.named_parameters()}
    for parameter in tiny_model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in tiny_model.named_parameters():
        share = 0.95 if parameter.dim() == 2 else 1.0
        torch.testing.assert_close(parameter.detach(), share * before[name], msg=name)


def test_two_steps_follow_the_equations() -> None:
    layer = torch.nn.Linear(3, 2, dtype=torch.float64)
    optimizer = adamw(layer, learning_rate=0.01, weight_decay=0.1)
    w = layer.weight.detach().clone()
    m = v = torch.zeros_like(w)
    for t, scale in enumerate((1.0, -0.3), start=1):
        g = scale * torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
        layer.weight.grad, layer.bias.grad = g, torch.zeros(2, dtype=torch.float64)
        optimizer.step()
        m, v = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g**2
        m_hat, v_hat = m / (1 - BETAS[0] ** t), v / (1 - BETAS[1] ** t)
        w = w - 0.01 * 0.1 * w - 0.01 * m_hat / (v_hat.sqrt() + 1e-8)
        torch.testing.assert_close(layer.weight.detach(), w)


SMALL = replace(TOY, d_model=16, n_heads=2, n_layers=2, d_ff=32, seq_length=8)


def rates(config: TrainingConfig, step: int = 10_000) -> dict[str, tuple[float, float]]:
    """Learning rate and momentum (0 under AdamW) of each parameter, at a schedule's 0.25."""
    model = initial_model(config, 40)
    optimizer = make_optimizer(model, config)
    prepare(optimizer, step, 0.25)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = [
        (names[parameter], (group["lr"], group.get("momentum", 0.0)))
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert len(found) == len(names) == len(dict(found))  # each once
    return dict(found)


def test_the_classic_model_has_one_rate() -> None:
    assert set(rates(SMALL).values()) == {(0.25, 0.0)}


def test_rates_of_their_own() -> None:
    config = replace(on_rung(SMALL, "all", 40), learning_rate=0.01, matrix_learning_rate=0.04)
    found = rates(config)
    assert found.pop("token_embedding.weight") == (2.5, 0.0)
    for name, (rate, momentum) in found.items():
        if name.endswith(".keep"):
            assert (rate, momentum) == (0.0025, 0.0)
        elif name.endswith(("_projection.weight", "expand.weight", "contract.weight")):
            assert (rate, momentum) == (1.0, 0.95)  # 0.25 · 0.04 / 0.01
    assert found["blocks.0.skip"] == found["output.weight"] == (0.25, 0.0)
    assert found["blocks.0.attention.value_embedding.weight"] == (0.25, 0.0)
    assert found["blocks.0.attention.qk_norm.gains.1"] == (0.25, 0.0)


def test_the_momentum_grows() -> None:
    config = replace(SMALL, optimizer="muon")
    name = "blocks.0.feed_forward.expand.weight"
    assert rates(config, 150)[name][1] == pytest.approx(0.9)
    assert rates(config, 300)[name][1] == rates(config, 10_000)[name][1] == 0.95


def test_queries_keys_and_values_are_split() -> None:
    model = initial_model(replace(SMALL, n_kv_heads=1, value_embeddings=True), 40)
    rows = block_matrices(model)
    assert rows["blocks.1.attention.qkv_projection.weight"] == [16, 8, 8]
    assert rows["blocks.1.feed_forward.expand.weight"] is None
    assert len(rows) == 8


def test_two_optimisers_together_are_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(6, 4, generator=generator) for _ in range(2)]
    (a, b), (c, d) = ([torch.nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    together = Together(Muon([a], lr=0.1), torch.optim.AdamW([b], lr=0.1))
    apart = Muon([c], lr=0.1), torch.optim.AdamW([d], lr=0.1)
    for _ in range(3):
        gradient = torch.randn(6, 4, generator=generator)
        for parameter in (a, b, c, d):
            parameter.grad = gradient.clone()
        for optimizer in (together, *apart):
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(a, c)
    assert torch.equal(b, d)
    assert not torch.equal(a, b)
    assert together.state.keys() == {a, b}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_muon_multiplies_in_the_precision_of_the_training(precision: Precision) -> None:
    config = replace(on_rung(SMALL, "muon", 40), precision=precision)
    together = make_optimizer(initial_model(config, 40), config)
    assert isinstance(together, Together)
    muon = together.optimizers[0]
    assert isinstance(muon, Muon)
    assert muon.bf16 == (precision == "bf16")
