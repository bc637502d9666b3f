import math
import re

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from transformer.config import ModelConfig
from transformer.data.batch import IGNORED
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer


def as_gpt2(model: DecoderOnlyTransformer) -> GPT2LMHeadModel:
    """Hugging Face's GPT-2 with our weights: an implementation that knows nothing of ours."""
    c = model.config
    gpt2 = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=c.vocab_size, n_positions=c.max_seq_len, n_embd=c.d_model,
            n_layer=c.n_layers, n_head=c.n_heads, n_inner=c.d_ff, activation_function="gelu",
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    table = model.token_embedding.weight
    copies = {"transformer.wte.weight": table * math.sqrt(c.d_model), "lm_head.weight": table}
    copies["transformer.wpe.weight"] = model.positions.table
    copies |= {f"transformer.ln_f.{k}": v for k, v in model.final_norm.named_parameters()}
    names = {
        "ln_1": "attention_norm", "attn.c_attn": "attention.qkv_projection",
        "attn.c_proj": "attention.output_projection", "ln_2": "feed_forward_norm",
        "mlp.c_fc": "feed_forward.expand", "mlp.c_proj": "feed_forward.contract",
    }  # fmt: skip
    for i, block in enumerate(model.blocks):
        for theirs, ours in names.items():
            module = block.get_submodule(ours)
            weight = module.weight if theirs.startswith("ln") else module.weight.T  # Conv1D
            copies[f"transformer.h.{i}.{theirs}.weight"] = weight
            copies[f"transformer.h.{i}.{theirs}.bias"] = module.bias
    missing, unexpected = gpt2.load_state_dict(copies, strict=False)
    assert not unexpected
    assert all(name.endswith(("attn.bias", "masked_bias")) for name in missing)
    return gpt2


@pytest.mark.parametrize("attention", ["fused", "explicit"])
def test_logits_equal_hugging_faces_gpt2(attention: str) -> None:
    config = ModelConfig(101, 48, 4, 3, 96, max_seq_len=24, attention=attention)  # type: ignore[arg-type]
    model = DecoderOnlyTransformer(config).eval()
    for parameter in model.parameters():  # random biases and norms too, larger than at the start
        torch.nn.init.normal_(parameter, std=0.1)
    ids = torch.randint(101, (3, 24))
    with torch.no_grad():
        logits = model(ids)
        assert logits.std() > 0.05
        assert (logits - as_gpt2(model)(ids).logits).abs().max() < 1e-5


@pytest.mark.parametrize("trains", [False, True])  # the fused and the explicit path
def test_changing_a_token_leaves_all_earlier_logits_bit_identical(
    tiny_model: DecoderOnlyTransformer, trains: bool
) -> None:
    tiny_model.requires_grad_(trains)
    ids = torch.randint(61, (2, 16))
    before = tiny_model(ids)
    for position in range(16):
        changed = ids.clone()
        changed[:, position] = (changed[:, position] + 1) % 61
        after = tiny_model(changed)
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.equal(after[:, position], before[:, position])


def test_an_untrained_model_is_as_good_as_guessing() -> None:
    config = ModelConfig(vocab_size=5_000, d_model=128, n_layers=4, d_ff=512)
    model = DecoderOnlyTransformer(config).eval()
    ids = torch.randint(5_000, (4, 129))
    loss = model.loss(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    assert loss.item() == pytest.approx(math.log(5_000), rel=0.02)


def test_one_batch_is_memorised_and_every_parameter_has_a_gradient(
    tiny_config: ModelConfig,
) -> None:
    model = DecoderOnlyTransformer(tiny_config)
    ids = torch.randint(61, (4, 17))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(200):
        optimizer.zero_grad()
        loss = model.loss(inputs, targets)
        loss.backward()
        if step == 0:
            silent = [n for n, p in model.named_parameters() if not p.grad.abs().sum() > 0]
            assert silent == []
        optimizer.step()
    assert loss.item() < 0.05


def test_loss_and_its_gradients_equal_plain_cross_entropy(tiny_config: ModelConfig) -> None:
    model = DecoderOnlyTransformer(tiny_config).double()
    ids, targets = torch.randint(61, (2, 40, 16)).unbind(0)
    targets = targets.masked_fill(torch.rand(40, 16) < 0.3, IGNORED)
    model.loss(ids, targets).backward()
    ours = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    plain = torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    plain.backward()
    assert model.loss(ids, targets).item() == pytest.approx(plain.item(), rel=1e-6)
    for mine, parameter in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, atol=1e-9, rtol=1e-6)


def test_dropout_is_off_in_eval_and_acts_once_where_the_docstring_says() -> None:
    config = ModelConfig(61, 32, 4, 2, 64, max_seq_len=8, dropout=0.5)
    model = DecoderOnlyTransformer(config)
    ids = torch.randint(61, (1, 8))
    assert not torch.equal(model(ids), model(ids))
    calls: list[str] = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    model(ids)
    assert calls == ["dropout", *["blocks.0.dropout"] * 2, *["blocks.1.dropout"] * 2]
    model.eval()
    assert torch.equal(model(ids), model(ids))


def test_the_residual_stream_starts_at_the_same_size_at_any_depth() -> None:
    """The initialisation accounts for depth: more blocks do not write more in sum."""
    spread = []
    streams: list[torch.Tensor] = []
    for n_layers in (2, 32):
        streams.clear()
        model = DecoderOnlyTransformer(ModelConfig(61, 64, 4, n_layers, 256, dropout=0.0)).eval()
        for tap in (model.embedding, model.blocks[-1].residual):
            tap.register_forward_hook(lambda *args: streams.append(args[2]))
        model(torch.randint(61, (4, 64)))
        spread.append((streams[1] - streams[0]).std().item())
    assert 0.5 < spread[1] / spread[0] < 2


@pytest.mark.parametrize(("d_model", "n_heads"), [(128, 4), (256, 4), (768, 12)])
def test_attention_scores_start_at_the_same_size_at_any_width(d_model: int, n_heads: int) -> None:
    """With a std of 0.02 they would be D · 0.02²: at D = 128 a sixth of those at D = 768."""
    torch.manual_seed(0)
    config = ModelConfig(32, d_model, n_heads, n_layers=1, attention="explicit")
    attention = DecoderOnlyTransformer(config).blocks[0].attention
    scores: list[float] = []
    attention.scores.register_forward_hook(
        lambda _m, _i, output: scores.append(output.std().item())
    )
    x = torch.randn(4, 128, d_model)  # as large as after a LayerNorm
    attention(x)
    attention.qkv_projection.weight.data *= 0.02 / (0.5 / d_model**0.5)
    attention(x)
    assert scores == pytest.approx([0.25, d_model * 0.02**2], rel=0.1)


def test_the_position_table_is_not_a_weight(tiny_model: DecoderOnlyTransformer) -> None:
    assert "positions" not in tiny_model.state_dict()
    assert "token_embedding.weight" in tiny_model.state_dict()


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (torch.zeros(2, 17, dtype=torch.int64), "T=17 positions exceed max_seq_len=16"),
        (torch.full((1, 3), 61), "id 61 is outside 0 … 60"),
        (torch.full((1, 3), -1), "id -1 is outside 0 … 60"),
        (torch.zeros(1, 3), "ids must be int64, but are torch.float32"),
        (torch.zeros(3, dtype=torch.int64), "ids must have shape (B, T)"),
        (torch.zeros(1, 0, dtype=torch.int64), "ids must have shape (B, T)"),
    ],
)
def test_wrong_ids_are_named(
    tiny_model: DecoderOnlyTransformer, ids: torch.Tensor, said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        tiny_model(ids)


def test_targets_of_another_shape_are_refused(tiny_model: DecoderOnlyTransformer) -> None:
    with pytest.raises(UserError, match=r"targets have shape \(1, 4\), ids \(1, 5\)"):
        tiny_model.loss(torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long))
