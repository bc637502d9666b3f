"""Our model of each published family, and the one of `transformers` with the same weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    NanoChatConfig,
    NanoChatForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from transformer.config import ModelConfig, Variant
from transformer.ladder import build_model
from transformer.model import DecoderOnlyTransformer

V, D, H, LAYERS, F, T = 50, 32, 4, 2, 48, 16
COMMON = {
    "vocab_size": V,
    "hidden_size": D,
    "num_attention_heads": H,
    "num_key_value_heads": 2,
    "num_hidden_layers": LAYERS,
    "intermediate_size": F,
    "max_position_embeddings": T,
    "attn_implementation": "eager",
}
MODERN = {"positions": "rotary", "norm": "rms", "bias": False, "embedding_scale": 1.0}


def build(**variant: object) -> DecoderOnlyTransformer:
    """With weights at random, so that nothing is zero because it starts so."""
    config = ModelConfig(V, D, H, LAYERS, F, T, dropout=0.0, variant=Variant(**variant))  # type: ignore[arg-type]
    model = build_model(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 1 + 0.1 * noise if parameter.dim() == 1 else 0.2 * noise
    return model


def copy_weights(model: DecoderOnlyTransformer, theirs: nn.Module) -> None:
    """From ours to a model of the Llama family."""
    weights: dict[str, Tensor] = {"model.embed_tokens.weight": model.token_embedding.weight}
    ours = dict(model.named_parameters())
    weights["lm_head.weight"] = ours.get("output.weight", model.token_embedding.weight)
    if "final_norm.weight" in ours:
        weights["model.norm.weight"] = ours["final_norm.weight"]
    sizes = [n * model.config.head_size for n in (H, model.config.n_kv_heads)]
    for i in range(LAYERS):
        block, there = f"blocks.{i}.", f"model.layers.{i}."
        q, k, v = ours[f"{block}attention.qkv_projection.weight"].split(
            [sizes[0], sizes[1], sizes[1]]
        )
        weights |= {
            f"{there}self_attn.{n}_proj.weight": w for n, w in zip("qkv", (q, k, v), strict=True)
        }
        names = {
            "attention.output_projection.weight": "self_attn.o_proj.weight",
            "attention.qk_norm.gains.0": "self_attn.q_norm.weight",
            "attention.qk_norm.gains.1": "self_attn.k_norm.weight",
            "attention_norm.weight": "input_layernorm.weight",
            "feed_forward_norm.weight": "post_attention_layernorm.weight",
            "feed_forward.gate.weight": "mlp.gate_proj.weight",
        }
        has_gate = f"{block}feed_forward.gate.weight" in ours
        names["feed_forward.expand.weight"] = "mlp.up_proj.weight" if has_gate else "mlp.fc1.weight"
        names["feed_forward.contract.weight"] = (
            "mlp.down_proj.weight" if has_gate else "mlp.fc2.weight"
        )
        weights |= {there + t: ours[block + o] for o, t in names.items() if block + o in ours}
    theirs.load_state_dict(weights, strict=True)


def llama(tied: bool = True) -> tuple[DecoderOnlyTransformer, nn.Module]:
    """Rotary, RMS norm, no biases, SwiGLU, grouped heads."""
    model = build(**MODERN, feed_forward="swiglu", n_kv_heads=2, tied_embeddings=tied)
    config = LlamaConfig(**COMMON, rms_norm_eps=1e-5, rope_theta=10_000.0, tie_word_embeddings=tied)
    theirs = LlamaForCausalLM(config)
    copy_weights(model, theirs)
    return model, theirs.eval()


def untied_llama() -> tuple[DecoderOnlyTransformer, nn.Module]:
    return llama(tied=False)


def qwen3() -> tuple[DecoderOnlyTransformer, nn.Module]:
    """The same with normed queries and keys, gains before the rotation, heads of their own size,
    and an output table of its own."""
    model = build(
        **MODERN, feed_forward="swiglu", n_kv_heads=2, head_size=12, qk_norm="gain",
        tied_embeddings=False,
    )  # fmt: skip
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            **COMMON, head_dim=12, rms_norm_eps=1e-5, rope_theta=10_000.0, tie_word_embeddings=False
        )
    )
    copy_weights(model, theirs)
    return model, theirs.eval()


def nanochat() -> tuple[DecoderOnlyTransformer, nn.Module]:
    """ReLU², plain QK-norm, norms without gains, a norm after the embedding, softcap. (That it
    norms after turning makes no difference.)"""
    model = build(
        **MODERN, feed_forward="relu2", n_kv_heads=2, qk_norm="plain", qk_scale=1.0,
        norm_gain=False, embedding_norm=True, tied_embeddings=False, logit_softcap=15.0,
    )  # fmt: skip
    theirs = NanoChatForCausalLM(NanoChatConfig(**COMMON, rms_norm_eps=1e-5))
    copy_weights(model, theirs)
    for layer in theirs.model.layers:  # it turns the other way: the halves of each head change
        for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
            heads = projection.weight.data.view(-1, 2, D // H // 2, D)
            projection.weight.data = heads.flip(1).reshape(-1, D)
    return model, theirs.eval()


def gpt2() -> tuple[DecoderOnlyTransformer, nn.Module]:
    """Learned positions and the tanh form of GELU."""
    model = build(positions="learned", feed_forward="gelu_tanh", embedding_scale=1.0)
    sizes = {"n_embd": D, "n_head": H, "n_layer": LAYERS, "n_inner": F, "n_positions": T}
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=V, **sizes, attn_implementation="eager"))
    ours, weights = model.state_dict(), {}
    pairs: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
        ("token_embedding", "wte", Tensor.clone),
        ("positions.table", "wpe", Tensor.clone),
        ("final_norm", "ln_f", Tensor.clone),
    ]
    for i in range(LAYERS):
        pairs += [
            (f"blocks.{i}.attention_norm", f"h.{i}.ln_1", Tensor.clone),
            (f"blocks.{i}.attention.qkv_projection", f"h.{i}.attn.c_attn", Tensor.t),
            (f"blocks.{i}.attention.output_projection", f"h.{i}.attn.c_proj", Tensor.t),
            (f"blocks.{i}.feed_forward_norm", f"h.{i}.ln_2", Tensor.clone),
            (f"blocks.{i}.feed_forward.expand", f"h.{i}.mlp.c_fc", Tensor.t),
            (f"blocks.{i}.feed_forward.contract", f"h.{i}.mlp.c_proj", Tensor.t),
        ]
    for name, there, change in pairs:
        weights[f"transformer.{there}.weight"] = change(ours[f"{name}.weight"])
        if f"{name}.bias" in ours:
            weights[f"transformer.{there}.bias"] = ours[f"{name}.bias"]
    weights["lm_head.weight"] = ours["token_embedding.weight"]
    theirs.load_state_dict(weights, strict=True)
    return model, theirs.eval()


FAMILIES: dict[str, Callable[[], tuple[DecoderOnlyTransformer, nn.Module]]] = {
    "gpt2": gpt2,
    "llama": llama,
    "untied llama": untied_llama,
    "qwen3": qwen3,
    "nanochat": nanochat,
}
