"""Models with random weights in the form in which others publish theirs."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    NanoChatConfig,
    NanoChatForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from transformer.data.toy.source import tokenizer_stories

TEXT = " ".join([*tokenizer_stories()][:40])
SPECIAL = ("<|endoftext|>", "<|bos|>")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
V = 320


def byte_level(kind: str = "gpt2") -> Tokenizer:
    """GPT-2's, or with what Llama 3 and Qwen add: other pieces, NFC, a beginning, plain tokens."""
    tokenizer = Tokenizer(models.BPE())
    if kind == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.normalizer = normalizers.NFC()
        pieces = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pieces, rest])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [TEXT], BpeTrainer(vocab_size=V - 3, show_progress=False, initial_alphabet=alphabet)
    )
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in SPECIAL])
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    if kind != "gpt2":
        start = ("<|bos|>", tokenizer.token_to_id("<|bos|>"))
        tokenizer.post_processor = TemplateProcessing("<|bos|> $A", special_tokens=[start])
    assert tokenizer.get_vocab_size() == V
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Llama 2's: characters as they are, "▁" for a space, bytes for what has no token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    first = ["<unk>", "<s>", "</s>", *bytes_]
    tokenizer.train_from_iterator(
        [TEXT], BpeTrainer(vocab_size=400, show_progress=False, special_tokens=first)
    )
    # the trainer marks all of them as special; only the first three are
    text = json.loads(tokenizer.to_str())
    text["added_tokens"] = text["added_tokens"][:3]
    start = ("<s>", 1)
    tokenizer = Tokenizer.from_str(json.dumps(text))
    tokenizer.post_processor = TemplateProcessing("<s> $A", special_tokens=[start])
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Tokenizer, eos: str, bos: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos, "bos_token": bos}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))


SMALL: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GPT2_SMALL = {"n_positions": 40, "n_embd": 48, "n_layer": 3, "n_head": 4}
BASE_5000 = {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}}
CASES: dict[str, dict[str, Any]] = {
    "gpt2": GPT2_SMALL,
    "gpt2 wide": {**GPT2_SMALL, "n_inner": 100, "n_head": 3, "layer_norm_epsilon": 1e-3},
    "gpt2 untied, exact gelu": {
        **GPT2_SMALL,
        "activation_function": "gelu",
        "tie_word_embeddings": False,
    },
    "llama": {**SMALL, **BASE_5000, "num_key_value_heads": 2, "tie_word_embeddings": True},
    "llama untied, one key head": {**SMALL, "num_key_value_heads": 1, "rms_norm_eps": 1e-3},
    "llama biased, wide heads": {
        **SMALL,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 20,
    },
    "qwen3": {**SMALL, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True},
    "qwen3 padded": {**SMALL, "vocab_size": V + 9, "num_key_value_heads": 4, "head_dim": 12},
    "qwen3 far": {
        **SMALL,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    },
    "nanochat": {**SMALL, "num_key_value_heads": 4},
    "nanochat padded, grouped": {**SMALL, "vocab_size": V + 64, "num_key_value_heads": 2},
    "nanochat without cap": {**SMALL, "final_logit_softcapping": None, "rms_norm_eps": 1e-4},
}
CLASSES: dict[str, tuple[Any, Any]] = {
    "gpt2": (GPT2Config, GPT2LMHeadModel),
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "nanochat": (NanoChatConfig, NanoChatForCausalLM),
}


def publish(case: str, folder: Path) -> PreTrainedModel:
    """Write the model of a case, its tokenizer too, and return it."""
    family = case.split()[0]
    config, model = CLASSES[family]
    torch.manual_seed(len(case))
    theirs: PreTrainedModel = model(config(**{"vocab_size": V, **CASES[case]}))
    with torch.no_grad():
        for parameter in theirs.parameters():  # norms and biases too: none is left at 0 or 1
            parameter.normal_(std=0.2)
    theirs.save_pretrained(folder)
    kind = "gpt2" if family == "gpt2" else "llama 3"
    bos = SPECIAL[0] if family == "gpt2" else SPECIAL[1]
    write_tokenizer(folder, byte_level(kind), SPECIAL[0], bos)
    return theirs.eval()


def as_published(folder: Path) -> None:
    """The older form: base of the rotation by itself, GPT-2 without prefix and with its masks, and
    else two files in bfloat16."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters", None)
    if rope:
        config |= {"rope_theta": rope["rope_theta"], "rope_scaling": None}
    path.write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    if config["model_type"] == "gpt2":
        weights = {name.removeprefix("transformer."): t for name, t in weights.items()}
        size = config["n_positions"]
        for i in range(config["n_layer"]):
            weights[f"h.{i}.attn.bias"] = torch.ones(size, size).tril()[None, None]
            weights[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
        save_file(weights, folder / "model.safetensors")
        return
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002-of-00002.safetensors": names[1::2],
    }
    for file, held in parts.items():
        save_file({name: weights[name].bfloat16() for name in held}, folder / file)
    places = {name: file for file, held in parts.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": places})
    )
