"""A GPU computes what a CPU computes. Without a GPU the same tests compare the CPU with itself in
double precision, so that they are known to work where there is one.

`uv run --group dev python benchmarks/gpu.py` runs them, and measures.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from processes import LIMIT, wait
from training_tools import metrics, start_killable, train
from variant_tools import VARIANTS, V, model_of, some_ids

from transformer.generation import generate
from transformer.ladder.muon import Muon
from transformer.loss import LossModule, linear_cross_entropy
from transformer.machine.device import for_inference
from transformer.model import DecoderOnlyTransformer
from transformer.training.optimizer import adamw
from transformer.training_utils import GradientAccumulator

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def _exact_products() -> Iterator[None]:
    """TF32 would round what is compared."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def _step(model: DecoderOnlyTransformer, ids: torch.Tensor) -> list[torch.Tensor]:
    """The loss and all gradients, in double precision on the CPU."""
    loss = model.loss(ids[:, :-1], ids[:, 1:])
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [tensor.detach().cpu().double() for tensor in (loss, *gradients)]


@pytest.mark.parametrize("attention", ["fused", "explicit", "auto"])
@pytest.mark.parametrize("name", VARIANTS)
def test_loss_and_gradients_of_every_variant_and_path(name: str, attention: str) -> None:
    exact = model_of(name, "explicit")
    rounded = model_of(name, attention).float().to(DEVICE)
    ids = some_ids(rows=4)
    wanted, found = _step(exact, ids), _step(rounded, ids.to(DEVICE))
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-3)


@pytest.mark.parametrize("name", ["scaled", "all"])
def test_bfloat16_products_change_the_loss_by_less_than_two_percent(name: str) -> None:
    exact, rounded = model_of(name), model_of(name).float().to(DEVICE)
    ids = some_ids(rows=16)
    wanted = float(exact.loss(ids[:, :-1], ids[:, 1:]).detach())
    on_device = ids.to(DEVICE)
    found = float(LossModule(rounded, bf16=True)(on_device[:, :-1], on_device[:, 1:]).detach())
    assert found == pytest.approx(wanted, rel=0.02)
    assert found != pytest.approx(wanted, rel=1e-9)  # it did round


def test_a_loss_of_more_rows_than_are_held_at_once() -> None:
    hidden = torch.randn(9000, 16, dtype=torch.float64)
    table, targets = torch.randn(V, 16, dtype=torch.float64), torch.randint(V, (9000,))
    results = []
    for device, dtype in (("cpu", torch.float64), (DEVICE, torch.float32)):
        h, w = (x.to(device, dtype).requires_grad_() for x in (hidden, table))
        loss = linear_cross_entropy(h, w, targets.to(device))
        results.append(
            [x.detach().cpu().double() for x in (loss, *torch.autograd.grad(loss, (h, w)))]
        )
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["scaled", "all", "all, and the sides"])
def test_a_cache_changes_no_token(name: str) -> None:
    model = model_of(name).float().to(DEVICE)
    ids = some_ids(rows=3, length=4).to(DEVICE)
    texts = [generate(model, ids, 30, temperature=0.0, use_cache=kept) for kept in (True, False)]
    assert torch.equal(*texts)


def test_equal_seeds_write_equal_texts_on_every_device() -> None:
    ids = some_ids(rows=2, length=4)
    texts = [
        generate(model_of("scaled").float().to(device), ids.to(device), 12, seed=3, top_k=8).cpu()
        for device in ("cpu", DEVICE)
    ]
    assert torch.equal(*texts)


def test_inference_in_bfloat16_is_near() -> None:
    ids = some_ids()
    model = for_inference(model_of("scaled").float().to(DEVICE), "bf16")
    near = model(ids.to(DEVICE)).float().cpu().softmax(-1)
    torch.testing.assert_close(near, model_of("scaled")(ids).float().softmax(-1), atol=0.05, rtol=0)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_steps_of_both_optimizers(kind: str) -> None:
    weights = []
    for device, dtype in (("cpu", torch.float64), (DEVICE, torch.float32)):
        model = model_of("all", dtype=torch.float64).to(device, dtype)
        matrices = [{"params": [p], "splits": None, "rate": 1.0} for p in _matrices(model)]
        optimizer = Muon(matrices, 0.02) if kind == "muon" else adamw(model, 1e-3, 0.1)
        ids = some_ids(rows=4).to(device)
        pair = (ids[:, :-1], ids[:, 1:])
        for _ in range(3):
            GradientAccumulator(model, optimizer, 2).step([pair, pair])
        weights.append(torch.cat([p.detach().cpu().double().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*weights, atol=2e-4, rtol=1e-3)


def _matrices(model: DecoderOnlyTransformer) -> list[torch.nn.Parameter]:
    return [p for p in model.blocks.parameters() if p.dim() == 2]


@pytest.mark.slow
def test_a_training_that_is_stopped_and_resumed_ends_where_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums on a GPU may come in another order each time, so losses are near and not equal."""
    monkeypatch.chdir(tmp_path)
    flags = ("--dataset", "toy", "--stories", "200", "--device", DEVICE, "--steps", "12")
    train("--runs-dir", str(tmp_path), "--name", "whole", *flags)
    process = start_killable("--runs-dir", str(tmp_path), "--name", "cut", *flags)
    deadline = time.monotonic() + LIMIT
    while not (tmp_path / "cut" / "latest").exists():
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    wait(process)
    train("--runs-dir", str(tmp_path), "--name", "cut", *flags, "--resume")
    whole, cut = ([r["train_loss"] for r in metrics(tmp_path / name)] for name in ("whole", "cut"))
    assert cut == pytest.approx(whole, rel=1e-3)
