"""The decoder without modules gives the numbers of the modules, and steps aside where it must."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from transformer.config import ModelConfig, Variant
from transformer.generation import CLASSIC_MODULES, decode_one_token, prefill
from transformer.kv_cache import KVCache
from transformer.ladder import build_model
from transformer.machine.decoding import flat_decoder
from transformer.machine.device import InferencePrecision, for_inference
from transformer.model import DecoderOnlyTransformer

CONFIG = ModelConfig(300, d_model=32, n_heads=4, n_layers=3, d_ff=48, max_seq_len=24)


def _model(precision: InferencePrecision = "fp32") -> DecoderOnlyTransformer:
    torch.manual_seed(0)
    model = DecoderOnlyTransformer(CONFIG)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return for_inference(model, precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("lengths", [[5], [5, 5, 5], [7, 2, 5]])
@torch.no_grad()
def test_equal_to_the_bit(precision: InferencePrecision, lengths: list[int]) -> None:
    model = _model(precision)
    decoder = flat_decoder(model, CLASSIC_MODULES)
    assert decoder is not None
    texts = [list(range(10, 10 + length)) for length in lengths]
    weight = model.token_embedding.weight
    caches = [KVCache(CONFIG, len(texts), dtype=weight.dtype) for _ in range(2)]
    for cache in caches:
        prefill(model, texts, cache)
    ids = torch.tensor(lengths)
    for _ in range(12):
        ours, theirs = decoder(ids, caches[0]), decode_one_token(model, ids, caches[1])
        assert torch.equal(ours, theirs)
        ids = ours.argmax(-1)
    assert torch.equal(caches[0].keys, caches[1].keys)
    assert caches[0].row_lengths() == caches[1].row_lengths()


class Louder(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def _hook(model: DecoderOnlyTransformer) -> None:
    model.blocks[1].residual.register_forward_hook(lambda module, given, output: 0 * output)


def _part(model: DecoderOnlyTransformer) -> None:
    model.blocks[0].feed_forward.expand = Louder(32, 48)


def _own_forward(model: DecoderOnlyTransformer) -> None:
    model.final_norm.forward = lambda x: x  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "change", [_hook, _part, _own_forward, DecoderOnlyTransformer.train, nn.Module.requires_grad_]
)
def test_modules_are_called_where_one_of_them_is_watched_changed_or_trained(
    change: Callable[[DecoderOnlyTransformer], object],
) -> None:
    model = _model()
    with torch.no_grad():
        assert flat_decoder(model, CLASSIC_MODULES) is not None
    change(model)
    with torch.set_grad_enabled(change is nn.Module.requires_grad_):
        assert flat_decoder(model, CLASSIC_MODULES) is None


@torch.no_grad()
def test_a_variant_and_the_explicit_path_are_left_to_their_modules() -> None:
    for variant, attention in ((Variant(norm="rms"), "auto"), (Variant(), "explicit")):
        config = ModelConfig(30, 16, 2, 1, 16, 8, attention=attention, variant=variant)  # type: ignore[arg-type]
        assert flat_decoder(build_model(config).eval(), CLASSIC_MODULES) is None


@torch.no_grad()
def test_a_hook_sees_every_token_that_is_generated() -> None:
    from transformer.generation import generate

    model, seen = _model(), []
    model.blocks[0].attention.output.register_forward_hook(
        lambda module, given, output: seen.append(output.shape[1])
    )
    generate(model, torch.tensor([[1, 2, 3]]), 5, seed=0)
    assert seen == [3, 1, 1, 1, 1]
