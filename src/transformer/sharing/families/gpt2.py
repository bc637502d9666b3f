"""GPT-2 (2019), and the classic model in its form.

Three differences between the classic model and GPT-2 are expressed in the weights:

    positions     GPT-2 learns a table; our sinusoids go into it as they are
    embedding     GPT-2 does not scale by √D; its table is ours times √D …
    output        … and its output projection is our unscaled table, no longer tied to it

and two in its configuration: our GELU is the exact one instead of the tanh approximation, and our
dropout never acts on attention weights. A GPT-2 "Conv1D" is a Linear with its weight transposed.

Models of the ladder fit too as long as their blocks are built like GPT-2's: learned positions,
other neurons without a gate, no biases or gains (written as zeros and ones). Rotation, RMS norm
and all that was added to attention have no place in it.

Published files (`openai-community/gpt2`) lack the prefix `transformer.` and hold each block's
causal mask as a tensor; both forms are read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from transformer.config import ModelConfig, Variant
from transformer.machine.saved_values import Saved
from transformer.model import DecoderOnlyTransformer
from transformer.sharing.families.family import ANY, Family, Place, check_neutral, choice, unlike

NEURONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"} | {
    "relu2": "relu2"
}
SIZES = {  # theirs: the library's other name for it, which wins where both are given; the default
    "n_embd": ("hidden_size", 768),
    "n_head": ("num_attention_heads", 12),
    "n_layer": ("num_hidden_layers", 12),
    "n_positions": ("max_position_embeddings", 1024),
}
LAYERS = {  # ours: theirs, and whether it is a matrix
    "attention_norm": ("ln_1", False),
    "attention.qkv_projection": ("attn.c_attn", True),
    "attention.output_projection": ("attn.c_proj", True),
    "feed_forward_norm": ("ln_2", False),
    "feed_forward.expand": ("mlp.c_fc", True),
    "feed_forward.contract": ("mlp.c_proj", True),
}


class GPT2(Family):
    model_type = "gpt2"
    architectures = ("GPT2LMHeadModel", "GPT2Model")
    prefix = "transformer."
    ignored = r"transformer\.h\.\d+\.attn\.(masked_)?bias"
    embedding = "transformer.wte.weight"

    def read_config(self, saved: Saved) -> ModelConfig:
        check_neutral(saved, self.architecture, {})
        sizes = {
            name: saved.take(other, int, default=saved.take(name, int, default=usual))
            for name, (other, usual) in SIZES.items()
        }
        inner = saved.take("n_inner", int | None, default=None)
        neurons = choice(saved, self.architecture, "activation_function", "gelu_new", NEURONS)
        return ModelConfig(
            vocab_size=saved.take("vocab_size", int, default=50_257),
            d_model=sizes["n_embd"],
            n_heads=sizes["n_head"],
            n_layers=sizes["n_layer"],
            d_ff=4 * sizes["n_embd"] if inner is None else inner,
            max_seq_len=sizes["n_positions"],
            dropout=0.0,
            variant=Variant(
                positions="learned",
                embedding_scale=1.0,
                tied_embeddings=saved.take("tie_word_embeddings", bool, default=True),
                feed_forward=neurons,  # type: ignore[arg-type]
                norm_eps=saved.take("layer_norm_epsilon", float, default=1e-5),
            ),
        )

    def write_config(self, config: ModelConfig) -> dict[str, Any]:
        names = {"gelu_tanh": "gelu_new"}
        neurons = config.variant.feed_forward
        return {
            "vocab_size": config.vocab_size,
            "n_positions": config.max_seq_len,
            "n_embd": config.d_model,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_inner": config.d_ff,
            "activation_function": names.get(neurons, neurons),
            "layer_norm_epsilon": config.variant.norm_eps,
            "resid_pdrop": config.dropout,
            "embd_pdrop": config.dropout,
            "attn_pdrop": 0.0,
            "tie_word_embeddings": self.tied(config),
        }

    def differences(self, config: ModelConfig) -> list[str]:
        wanted = {
            "positions": ("sinusoidal", "learned"),
            "feed_forward": tuple(NEURONS.values()),
            "n_kv_heads": (None, config.n_heads),
            "head_size": (None, config.d_model / config.n_heads),
            **dict.fromkeys(("tied_embeddings", "norm_gain", "bias"), ANY),
        }
        return unlike(config, wanted)

    def places(self, config: ModelConfig) -> Iterator[Place]:
        yield Place("positions.table.weight", ("transformer.wpe.weight",))
        names = {"final_norm": ("transformer.ln_f", False)} | {
            f"blocks.{i}.{ours}": (f"transformer.h.{i}.{theirs}", matrix)
            for i in range(config.n_layers)
            for ours, (theirs, matrix) in LAYERS.items()
        }
        for ours, (theirs, matrix) in names.items():
            yield Place(f"{ours}.weight", (f"{theirs}.weight",), transposed=matrix)
            yield Place(f"{ours}.bias", (f"{theirs}.bias",))

    def written(
        self, name: str, model: DecoderOnlyTransformer, ours: Mapping[str, Tensor]
    ) -> Tensor:
        if name == "positions.table.weight":
            T, table = model.config.max_seq_len, ours["token_embedding.weight"]
            return model.positions(table.new_zeros(1, T, table.size(1)), slice(T))[0]
        return super().written(name, model, ours)
