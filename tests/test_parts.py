"""What is built in each place can be changed, and the classic parts are the default."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from transformer.block import Block, Extras
from transformer.config import ModelConfig
from transformer.kv_cache import LayerCache
from transformer.loss import TiedOutput, cross_entropy
from transformer.model import DecoderOnlyTransformer
from transformer.parts import CLASSIC, Parts


def test_every_part_is_built_where_it_belongs(tiny_config: ModelConfig) -> None:
    built: list[str] = []

    def noted(name: str, part: Any) -> Any:
        return lambda *args: built.append(name) or part(*args)

    parts = Parts(**{f.name: noted(f.name, getattr(CLASSIC, f.name)) for f in fields(Parts)})
    torch.manual_seed(5)
    ours = DecoderOnlyTransformer(tiny_config, parts).eval()
    block = ["block", "norm", "attention", "norm", "feed_forward"]
    assert built == ["embedding", "positions", *block * tiny_config.n_layers, "norm", "output"]
    torch.manual_seed(5)
    classic = DecoderOnlyTransformer(tiny_config).eval()
    ids = torch.randint(61, (2, 9))
    assert torch.equal(ours(ids), classic(ids))


class Unmoved(nn.Module):
    """Attention that only looks at its own position."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.d_model, config.d_model)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        return self.project(x)


def test_another_attention_takes_its_place(tiny_config: ModelConfig) -> None:
    model = DecoderOnlyTransformer(tiny_config, replace(CLASSIC, attention=Unmoved)).eval()
    ids = torch.randint(61, (1, 9))
    before = model(ids)
    ids[0, 3] = (ids[0, 3] + 1) % 61
    changed = (model(ids) - before).abs().sum(dim=-1)[0].nonzero().flatten()
    assert changed.tolist() == [3]  # nothing travels between positions any more


class Untied(TiedOutput):
    """A projection of its own; the table is ignored."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.weight = nn.Parameter(torch.randn(config.vocab_size, config.d_model) * 0.1)

    def logits(self, hidden: Tensor, table: Tensor) -> Tensor:
        return super().logits(hidden, self.weight)

    def loss(self, hidden: Tensor, table: Tensor, targets: Tensor, *more: Any) -> Tensor:
        return super().loss(hidden, self.weight, targets, *more)


def test_another_output_gives_logits_and_the_loss_of_these(tiny_config: ModelConfig) -> None:
    model = DecoderOnlyTransformer(tiny_config, replace(CLASSIC, output=Untied)).eval()
    ids, targets = torch.randint(61, (2, 2, 9))
    expected = cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    torch.testing.assert_close(model.loss(ids, targets), expected)
    assert "output.weight" in model.state_dict()


class Curious(Block):
    """A block that notes what it is given besides the stream."""

    told: list[Extras]

    def forward(self, x: Tensor, cache: Any = None, extras: Extras | None = None) -> Tensor:
        assert extras is not None
        self.told.append(extras)
        return super().forward(x, cache, extras)


def test_blocks_are_told_ids_places_and_the_stream_before_the_first(
    tiny_config: ModelConfig,
) -> None:
    Curious.told = []
    model = DecoderOnlyTransformer(tiny_config, replace(CLASSIC, block=Curious)).eval()
    ids = torch.randint(61, (1, 9))
    model(ids)
    assert len(Curious.told) == tiny_config.n_layers
    for extras in Curious.told:
        assert torch.equal(extras.ids, ids)
        assert torch.equal(extras.embedded, model.embed(ids, slice(9)))
        assert extras.places == slice(9)
