"""The same model for the `transformers` library: a checkpoint in the shape of GPT-2.

Three differences from GPT-2 are expressed in the weights:

    positions     GPT-2 learns a table; ours goes into it as it is
    embedding     GPT-2 does not scale by √D; its table is ours times √D …
    output        … and its output projection is our unscaled table, no longer tied to it

and two in its configuration: our GELU is the exact one instead of the tanh approximation, and
our dropout never acts on attention weights. A GPT-2 "Conv1D" is a Linear with its weight
transposed.

Models of the ladder fit too as long as their blocks are built like GPT-2's: learned positions,
other neurons without a gate, a table of its own for the output, no biases or gains (written as
zeros and ones). Rotation, RMS norm and all that was added to attention have no place in it.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from transformer.config import ModelConfig, Variant
from transformer.errors import UserError
from transformer.machine.files import whole_folder
from transformer.machine.saved_values import read_saved
from transformer.model import DecoderOnlyTransformer

CONFIG, WEIGHTS = "config.json", "model.safetensors"
NEURONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu2": "relu2"}  # gelu is the exact one
LAYERS = {
    "attention_norm": "ln_1",
    "attention.qkv_projection": "attn.c_attn",
    "attention.output_projection": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.contract": "mlp.c_proj",
}


def gpt2_config(config: ModelConfig, end_of_text: int) -> dict[str, Any]:
    """config.json of the exported model."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.max_seq_len,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "activation_function": NEURONS[config.variant.feed_forward],
        "layer_norm_epsilon": config.variant.norm_eps,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": False,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
    }


def gpt2_weights(model: DecoderOnlyTransformer) -> dict[str, Tensor]:
    """The weights under GPT-2's names, in GPT-2's layout."""
    T, D = model.config.max_seq_len, model.config.d_model
    table = model.token_embedding.weight  # (V, D)
    weights = {
        "transformer.wte.weight": table * model.config.embedding_scale,
        "transformer.wpe.weight": model.positions(table.new_zeros(1, T, D), slice(T))[0],
        "lm_head.weight": dict(model.output.named_parameters()).get("weight", table),
    }
    places = {"final_norm": "transformer.ln_f"} | {
        f"blocks.{i}.{ours}": f"transformer.h.{i}.{theirs}"
        for i in range(model.config.n_layers)
        for ours, theirs in LAYERS.items()
    }
    for ours, theirs in places.items():
        layer = dict(model.get_submodule(ours).named_parameters())
        gain = layer.get("weight", torch.ones(D))  # (D,) of a norm, else (out, in)
        weights[f"{theirs}.weight"] = gain.T if gain.dim() == 2 else gain
        weights[f"{theirs}.bias"] = layer.get("bias", torch.zeros(len(gain)))
    return {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}


def export_gpt2(model: DecoderOnlyTransformer, end_of_text: int, folder: Path) -> None:
    """Write `folder` for `GPT2LMHeadModel.from_pretrained`; an earlier export is replaced.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    check_target(folder)
    check_gpt2(model.config)
    config = json.dumps(gpt2_config(model.config, end_of_text), indent=2)
    with whole_folder(folder) as unfinished:
        (unfinished / CONFIG).write_text(config + "\n", encoding="utf-8")
        save_file(gpt2_weights(model), unfinished / WEIGHTS, metadata={"format": "pt"})


def check_gpt2(config: ModelConfig) -> None:
    """
    Raises:
        UserError: GPT-2's form has no equal for this variant; names the fields.
    """
    variant = config.variant
    plain = Variant()
    wrong = {
        "positions": variant.positions == "rotary",
        "feed_forward": variant.feed_forward not in NEURONS,
        "n_kv_heads": config.n_kv_heads != config.n_heads,
        "head_size": config.head_size * config.n_heads != config.d_model,
    }
    for name in (
        *("embedding_norm", "norm", "qk_norm", "window"),
        *("value_embeddings", "input_skip", "logit_softcap"),
    ):
        wrong[name] = getattr(variant, name) != getattr(plain, name)
    differing = [f"{name}={getattr(variant, name)}" for name in wrong if wrong[name]]
    if differing:
        raise UserError(f"GPT-2's form has no equal for this model's {', '.join(differing)}")


def check_target(folder: Path) -> None:
    """
    Raises:
        UserError: `folder` is a file, or has a config.json or weights that are no such export:
            those of a run, of a checkpoint, or of another model.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file; choose the name of a folder")
    config, weights = folder / CONFIG, folder / WEIGHTS
    if config.exists() and read_saved(config).values.get("model_type") != "gpt2":
        raise UserError(f"{config} is not from such an export; choose another --output")
    if weights.exists() and not config.exists():
        raise UserError(f"{weights} is not from such an export; choose another --output")
