import torch
from torch import Tensor, nn

from transformer.block import Block, layer_norm
from transformer.config import ModelConfig
from transformer.kv_cache import KVCache
from transformer.parts import CLASSIC

CONFIG = ModelConfig(vocab_size=11, d_model=16, n_heads=2, d_ff=24, max_seq_len=8, dropout=0.0)


def copy(ours: Block, theirs: nn.TransformerEncoderLayer) -> None:
    attention, feed_forward = ours.attention, ours.feed_forward
    pairs = (
        (theirs.self_attn.in_proj_weight, attention.qkv_projection.weight),
        (theirs.self_attn.in_proj_bias, attention.qkv_projection.bias),
        (theirs.self_attn.out_proj.weight, attention.output_projection.weight),
        (theirs.self_attn.out_proj.bias, attention.output_projection.bias),
        (theirs.linear1.weight, feed_forward.expand.weight),
        (theirs.linear1.bias, feed_forward.expand.bias),
        (theirs.linear2.weight, feed_forward.contract.weight),
        (theirs.linear2.bias, feed_forward.contract.bias),
        (theirs.norm1.weight, ours.attention_norm.weight),
        (theirs.norm1.bias, ours.attention_norm.bias),
        (theirs.norm2.weight, ours.feed_forward_norm.weight),
        (theirs.norm2.bias, ours.feed_forward_norm.bias),
    )
    with torch.no_grad():
        for their_tensor, our_tensor in pairs:
            our_tensor.normal_()
            their_tensor.copy_(our_tensor)


def test_it_equals_pytorchs_own_layer_with_the_norm_first() -> None:
    ours = Block(CONFIG, CLASSIC).double()
    theirs = nn.TransformerEncoderLayer(
        16, 2, 24, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    copy(ours, theirs)
    x = torch.randn(2, 8, 16, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, src_mask=mask), atol=1e-10, rtol=0)


def test_a_change_reaches_no_earlier_position() -> None:
    block = Block(CONFIG, CLASSIC)
    x = torch.randn(1, 8, 16)
    before = block(x)
    x[0, 5] += 1.0
    after = block(x)
    assert torch.equal(after[:, :5], before[:, :5])
    assert not torch.equal(after[:, 6:], before[:, 6:])


def test_silent_sublayers_leave_the_stream_and_its_gradient_as_they_are() -> None:
    """The path along the plus signs has derivative 1."""
    block = Block(CONFIG, CLASSIC)
    for layer in (block.attention.output_projection, block.feed_forward.contract):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = torch.randn(1, 8, 16, requires_grad=True)
    assert torch.equal(block(x), x)
    block(x).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_layer_norm_is_the_formula() -> None:
    norm = layer_norm(CONFIG).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(3, 16, dtype=torch.float64)
    mean = x.mean(dim=-1, keepdim=True)
    deviation = ((x - mean).square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    expected = (x - mean) / deviation * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), expected, atol=1e-12, rtol=0)


def test_in_pieces_through_a_cache_it_gives_the_same() -> None:
    block = Block(CONFIG, CLASSIC).double()
    x = torch.randn(1, 8, 16, dtype=torch.float64)
    cache = KVCache(ModelConfig(11, 16, 2, 1, 24, 8), batch_size=1, dtype=torch.float64)
    pieces: list[Tensor] = []
    for start, end in ((0, 3), (3, 4), (4, 8)):
        (layer,) = cache.layers(end - start)
        pieces.append(block(x[:, start:end], layer))
        cache.advance(end - start)
    torch.testing.assert_close(torch.cat(pieces, dim=1), block(x), atol=1e-12, rtol=0)
