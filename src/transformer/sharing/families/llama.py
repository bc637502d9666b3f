"""Llama (2023) and two descendants, Qwen3 (2025) and nanochat (2025).

    Llama      rotary positions, RMS norm, SwiGLU, no biases, perhaps fewer heads of keys and values
    Qwen3      the same, and queries and keys are normed, with a gain for each channel
    nanochat   ReLU² in place of SwiGLU, no gains anywhere, a norm after the embedding, a softcap,
               and a rotation in the other direction

In nanochat queries and keys are rotated first and normed then. Without gains the order does not
matter, because a rotation leaves the length of a vector as it is.

`SmolLM2` is a Llama. Published files call the base of the rotation `rope_theta`; newer ones keep it
in `rope_parameters`. A rotation that is stretched for long contexts (`rope_scaling`) is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from transformer.config import ModelConfig, Variant
from transformer.machine.saved_values import Saved
from transformer.model import DecoderOnlyTransformer
from transformer.sharing.families.family import (
    ANY,
    Family,
    Place,
    check_neutral,
    choice,
    refuse,
    unlike,
)

BASE = 10_000.0  # where a configuration names none


class Llama(Family):
    model_type = "llama"
    architectures = ("LlamaForCausalLM", "LlamaModel")
    prefix = "model."
    ignored = r".*\.rotary_emb\.inv_freq"
    embedding = "model.embed_tokens.weight"
    sizes: ClassVar[dict[str, int]] = {
        "vocab_size": 32_000,
        "intermediate_size": 11_008,
        "max_position_embeddings": 2048,
    }
    heads: int | None = None  # of keys and values, where the configuration does not say
    head_size: int | None = None
    eps = 1e-6
    neurons: ClassVar[dict[str, str]] = {"silu": "swiglu", "swish": "swiglu"}
    activation = "silu"

    def read_config(self, saved: Saved) -> ModelConfig:
        sizes = {name: saved.take(name, int, default=size) for name, size in self.sizes.items()}
        return ModelConfig(
            vocab_size=sizes["vocab_size"],
            d_model=saved.take("hidden_size", int, default=4096),
            n_heads=saved.take("num_attention_heads", int, default=32),
            n_layers=saved.take("num_hidden_layers", int, default=32),
            d_ff=sizes["intermediate_size"],
            max_seq_len=sizes["max_position_embeddings"],
            dropout=0.0,
            variant=Variant(**self.read_variant(saved)),
        )

    def read_variant(self, saved: Saved) -> dict[str, Any]:
        self.check(saved)
        heads = saved.take("num_attention_heads", int, default=32)
        usual = saved.take("hidden_size", int, default=4096) / heads if heads else None
        shared = saved.take("num_key_value_heads", int | None, default=self.heads)
        size = saved.take("head_dim", int | None, default=self.head_size)
        return {
            "positions": "rotary",
            "rotary_base": rotary_base(saved, self.architecture),
            "embedding_scale": 1.0,
            "tied_embeddings": saved.take("tie_word_embeddings", bool, default=False),
            "norm": "rms",
            "norm_eps": saved.take("rms_norm_eps", float, default=self.eps),
            "bias": self.read_bias(saved),
            "feed_forward": choice(
                saved, self.architecture, "hidden_act", self.activation, self.neurons
            ),
            "n_kv_heads": None if shared == heads else shared,
            "head_size": None if size == usual else size,
        }

    def check(self, saved: Saved) -> None:
        """Refuse what no field of ours can say."""
        more = {"sliding_window": (), "final_logit_softcapping": ()}
        check_neutral(saved, self.architecture, more)

    def read_bias(self, saved: Saved) -> bool:
        """Ours is in every linear layer or in none."""
        attention = saved.take("attention_bias", bool, default=False)
        mlp = saved.take("mlp_bias", bool, default=False)
        if attention != mlp:
            why = f"and mlp_bias = {mlp}: it has biases everywhere or nowhere"
            raise refuse(saved, self.architecture, "attention_bias", attention, why)
        return bool(attention)

    def write_config(self, config: ModelConfig) -> dict[str, Any]:
        variant = config.variant
        return {
            "vocab_size": config.vocab_size,
            "hidden_size": config.d_model,
            "intermediate_size": config.d_ff,
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_kv_heads,
            "head_dim": config.head_size,
            "max_position_embeddings": config.max_seq_len,
            "hidden_act": self.activation,
            "rms_norm_eps": variant.norm_eps,
            "rope_theta": variant.rotary_base,  # where libraries before 5.0 look, and after
            "rope_parameters": {"rope_type": "default", "rope_theta": variant.rotary_base},
            "tie_word_embeddings": self.tied(config),
            **self.write_bias(config),
        }

    def write_bias(self, config: ModelConfig) -> dict[str, Any]:
        return {"attention_bias": config.variant.bias, "mlp_bias": config.variant.bias}

    wanted: ClassVar[dict[str, tuple[Any, ...]]] = {
        "positions": ("rotary",),
        "norm": ("rms",),
        "feed_forward": ("swiglu",),
        **dict.fromkeys(("tied_embeddings", "norm_gain", "bias", "n_kv_heads", "head_size"), ANY),
    }

    def differences(self, config: ModelConfig) -> list[str]:
        return unlike(config, self.wanted)

    def places(self, config: ModelConfig) -> Iterator[Place]:
        yield from self.norm("final_norm", "model.norm")
        for i in range(config.n_layers):
            yield from self.block(config, f"blocks.{i}.", f"model.layers.{i}.")

    def block(self, config: ModelConfig, ours: str, theirs: str) -> Iterator[Place]:
        yield from self.norm(f"{ours}attention_norm", f"{theirs}input_layernorm")
        yield from self.norm(f"{ours}feed_forward_norm", f"{theirs}post_attention_layernorm")
        attention = tuple(f"{theirs}self_attn.{name}_proj" for name in "qkv")
        layers = {"attention.qkv_projection": attention} | {
            name: (f"{theirs}{layer}",) for name, layer in self.layers.items()
        }
        for name, their_layers in layers.items():
            for kind in ("weight", "bias")[: 1 + config.variant.bias]:
                names = tuple(f"{layer}.{kind}" for layer in their_layers)
                turned = self.turned and len(names) == 3
                yield Place(f"{ours}{name}.{kind}", names, turned=turned)

    layers: ClassVar[dict[str, str]] = {
        "attention.output_projection": "self_attn.o_proj",
        "feed_forward.gate": "mlp.gate_proj",
        "feed_forward.expand": "mlp.up_proj",
        "feed_forward.contract": "mlp.down_proj",
    }
    turned = False

    def norm(self, ours: str, theirs: str) -> Iterator[Place]:
        yield Place(f"{ours}.weight", (f"{theirs}.weight",))


class Qwen3(Llama):
    """With a norm for queries and keys. Its head size need not be D / H."""

    model_type = "qwen3"
    architectures = ("Qwen3ForCausalLM", "Qwen3Model")
    sizes: ClassVar[dict[str, int]] = {
        "vocab_size": 151_936,
        "intermediate_size": 22_016,
        "max_position_embeddings": 32_768,
    }
    heads = 32
    head_size = 128

    def read_variant(self, saved: Saved) -> dict[str, Any]:
        return {**super().read_variant(saved), "qk_norm": "gain", "qk_scale": 1.0}

    def check(self, saved: Saved) -> None:
        kinds = saved.values.get("layer_types") or []
        if other := [kind for kind in kinds if kind != "full_attention"]:
            raise refuse(saved, self.architecture, "layer_types", other[0])
        check_neutral(saved, self.architecture, {})  # its sliding_window waits for the flag

    def write_bias(self, config: ModelConfig) -> dict[str, Any]:
        return {"attention_bias": False}

    wanted: ClassVar = {**Llama.wanted, "qk_norm": ("plain", "gain"), "bias": (False,)}

    def written(
        self, name: str, model: DecoderOnlyTransformer, ours: Mapping[str, Tensor]
    ) -> Tensor:
        if ".qk_norm.gains." in name and name not in ours:  # a constant, which theirs are not
            return torch.full((model.config.head_size,), model.config.variant.qk_scale)
        return super().written(name, model, ours)

    def block(self, config: ModelConfig, ours: str, theirs: str) -> Iterator[Place]:
        yield from super().block(config, ours, theirs)
        for i, name in enumerate("qk"):
            ours_name = f"{ours}attention.qk_norm.gains.{i}"
            yield Place(ours_name, (f"{theirs}self_attn.{name}_norm.weight",))


class NanoChat(Llama):
    model_type = "nanochat"
    architectures = ("NanoChatForCausalLM", "NanoChatModel")
    sizes: ClassVar[dict[str, int]] = {
        "vocab_size": 50_304,
        "intermediate_size": 8192,
        "max_position_embeddings": 2048,
    }
    neurons: ClassVar[dict[str, str]] = {"relu2": "relu2"}
    activation = "relu2"
    turned = True

    def read_variant(self, saved: Saved) -> dict[str, Any]:
        return {
            **super().read_variant(saved),
            "norm_gain": False,
            "qk_norm": "plain",
            "qk_scale": 1.0,
            "embedding_norm": True,
            "logit_softcap": saved.take("final_logit_softcapping", float | None, default=15.0),
        }

    def check(self, saved: Saved) -> None:
        check_neutral(saved, self.architecture, {"sliding_window": ()})

    def write_config(self, config: ModelConfig) -> dict[str, Any]:
        cap = config.variant.logit_softcap
        return {**super().write_config(config), "final_logit_softcapping": cap}

    def write_bias(self, config: ModelConfig) -> dict[str, Any]:
        return {"attention_bias": False}

    wanted: ClassVar = {
        **Llama.wanted,
        "feed_forward": ("relu2",),
        "qk_norm": ("plain",),
        "norm_gain": (False,),
        "bias": (False,),
        "embedding_norm": (True,),
        "logit_softcap": ANY,
    }

    def differences(self, config: ModelConfig) -> list[str]:
        scale = config.variant.qk_scale
        other = [f"qk_scale={scale}"] if scale != 1.0 and config.variant.qk_norm == "plain" else []
        return super().differences(config) + other

    layers: ClassVar[dict[str, str]] = {
        "attention.output_projection": "self_attn.o_proj",
        "feed_forward.expand": "mlp.fc1",
        "feed_forward.contract": "mlp.fc2",
    }

    def norm(self, ours: str, theirs: str) -> Iterator[Place]:
        yield from ()


def rotary_base(saved: Saved, architecture: str) -> float:
    """The base of the rotation, in the older or the newer form.

    Raises:
        UserError: it is not the plain rotation.
    """
    base: float = saved.take("rope_theta", float, default=BASE)
    for name in ("rope_scaling", "rope_parameters"):
        rope = saved.take(name, dict | None, default=None) or {}
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default" or rope.get("partial_rotary_factor", 1.0) != 1.0:
            raise refuse(saved, architecture, name, rope)
        base = Saved(f"{saved.where}, {name!r}", rope).take("rope_theta", float, default=base)
    return float(base)
