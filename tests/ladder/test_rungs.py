"""The ladder's rungs: each one's flags, and a training of each in small."""

from dataclasses import fields, replace
from typing import get_args

import pytest
import torch

from transformer.errors import UserError
from transformer.ladder.rungs import RUNGS, RungName, climbed, left_out, path_to
from transformer.loss import LossModule
from transformer.training.config import TOY, TrainingConfig, on_rung
from transformer.training.optimizer import make_optimizer, prepare
from transformer.training.start import initial_model
from transformer.training_utils import GradientAccumulator

V = 64
SMALL = replace(TOY, d_model=32, n_heads=4, n_layers=2, d_ff=48, seq_length=40)


def test_every_rung_has_a_name_and_changes_flags_that_exist() -> None:
    assert [*RUNGS, "all"] == list(get_args(RungName))
    flags = {field.name for field in fields(TrainingConfig)}
    for rung in RUNGS.values():
        assert rung.sets.keys() | rung.times.keys() <= flags


def test_each_rung_stands_on_those_before() -> None:
    assert path_to("rotary") == ["classic", "learned", "schedule", "rotary"]
    assert path_to("swiglu")[-2:] == ["zero_init", "swiglu"]
    assert path_to("all") == path_to("softcap")
    assert path_to("window") == [*path_to("all"), "window"]
    start = {"learning_rate": 1.0, "d_ff": 512}
    assert climbed("learned", V, start) == {"positions": "learned"}
    assert climbed("rotary", V, start)["positions"] == "rotary"
    assert climbed("rotary", V, start)["learning_rate"] == 2.0
    assert climbed("swiglu", V, start)["d_ff"] == 344  # two thirds, divisible by 8
    assert "d_ff" not in climbed("relu2", V, start)


def test_large_tables_are_left_out() -> None:
    assert left_out("all", 8192) == []
    assert left_out("all", 8193) == ["untied", "value_embeddings"]
    assert left_out("qk_norm", 50_281) == []
    large = on_rung(SMALL, "all", 50_281)
    assert large.tied_embeddings
    assert not large.value_embeddings
    assert large.optimizer == "muon"


@pytest.mark.parametrize("rung", RUNGS)
def test_each_rung_learns(rung: str) -> None:
    """Random tokens by heart: nothing else can bring the loss under ln V."""
    config = on_rung(SMALL, rung, V)
    model = initial_model(config, V)
    optimizer = make_optimizer(model, config)
    accumulator = GradientAccumulator(LossModule(model), optimizer, 1)
    ids = torch.randint(V, (4, 41), generator=torch.Generator().manual_seed(0))
    losses = []
    for step in range(1, 41):
        prepare(optimizer, step, config.learning_rate)
        losses.append(accumulator.step([(ids[:, :-1], ids[:, 1:])]).loss)
    assert losses[0] > 4.0
    assert losses[-1] < 3.0


def test_every_parameter_of_the_full_stack_moves() -> None:
    config = on_rung(SMALL, "all", V)
    model = initial_model(config, V)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, config)
    ids = torch.randint(V, (4, 40), generator=torch.Generator().manual_seed(0))
    for step in range(1, 4):  # what starts at zero lets gradients through from the second step on
        prepare(optimizer, step, config.learning_rate)
        model.loss(ids, ids.roll(-1, 1)).backward()
        optimizer.step()
        optimizer.zero_grad()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "rotary", "d_model": 12, "n_heads": 4}, "head_size must be even"),
        ({"n_kv_heads": 3}, "n_heads must be divisible by n_kv_heads"),
        ({"window": 0}, "window must be at least 1"),
        ({"logit_softcap": 0.0}, "logit_softcap must be a finite number above 0"),
        ({"matrix_learning_rate": 0.0}, "--matrix-learning-rate must be above 0"),
        ({"positions": "alibi"}, "positions must be one of"),
        ({"rung": "2027"}, "--rung must be one of"),
    ],
)
def test_impossible_combinations_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SMALL, **change).model(V)
