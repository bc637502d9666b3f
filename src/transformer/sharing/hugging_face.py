"""A model of ours as other programs publish one: a folder that is enough by itself.

    config.json  model.safetensors       the same logits, computed by another program
    tokenizer.json  tokenizer_config.json      the same ids
    generation_config.json               where a text ends
    README.md                            what it was trained on, and how well it does

`AutoModelForCausalLM`, `AutoTokenizer` and `pipeline("text-generation", FOLDER)` of the library
`transformers` read it. Which family of models it is written as follows from what it computes; the
classic model becomes a GPT-2 (families/gpt2.py says how). Where no family computes the same, the
message says which of the model's fields has no equal.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.data.hf_tokenizer import HfTokenizer
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.machine.files import whole_folder
from transformer.model import DecoderOnlyTransformer
from transformer.sharing.families.family import Family
from transformer.sharing.families.known import family_for
from transformer.sharing.published import CONFIG, TOKENIZER, WEIGHTS
from transformer.sharing.published_tokenizer import tokenizer_json

SETTINGS = ("generation_config.json", "tokenizer_config.json")
WRITTEN = (CONFIG, WEIGHTS, TOKENIZER, *SETTINGS, "README.md")
MARK = {"format": "pt", "written_by": "transformer-by-hand"}  # how an earlier export is known


def export_model(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, folder: Path, card: str = ""
) -> Family:
    """Write `folder`; an earlier export is replaced.

    Args:
        card: the text of README.md.

    Raises:
        UserError: no family computes what the model does; the folder holds something else, or
            cannot be written.
    """
    check_target(folder)
    family = family_for(model.config)
    ends = {"bos_token_id": tokenizer.start_of_text, "eos_token_id": tokenizer.end_of_text}
    names = {"architectures": [family.architecture], "model_type": family.model_type}
    weights = family.spread(model)
    dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
    config = {**names, **family.write_config(model.config), **ends, "dtype": dtype}
    texts = {
        CONFIG: _json(config),
        "generation_config.json": _json({**ends, "pad_token_id": tokenizer.end_of_text}),
        TOKENIZER: published(tokenizer),
        "tokenizer_config.json": _json(tokenizer_config(tokenizer, model.config)),
        "README.md": card,
    }
    with whole_folder(folder) as unfinished:
        for name, text in texts.items():
            (unfinished / name).write_text(text, encoding="utf-8")
        save_file(weights, unfinished / WEIGHTS, metadata=MARK)
    return family


def published(tokenizer: Tokenizer) -> str:
    """The text of its tokenizer.json: an imported one as it came, ours translated."""
    if isinstance(tokenizer, HfTokenizer):
        return tokenizer.text
    assert isinstance(tokenizer, BytePairTokenizer)
    return tokenizer_json(tokenizer)


def tokenizer_config(tokenizer: Tokenizer, config: ModelConfig) -> dict[str, Any]:
    """What the library `transformers` wants to know besides the table."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokenizer.decode([tokenizer.start_of_text]),
        "eos_token": tokenizer.decode([tokenizer.end_of_text]),
        "model_max_length": config.max_seq_len,
        "clean_up_tokenization_spaces": False,
    }


def check_target(folder: Path) -> None:
    """
    Raises:
        UserError: `folder` is a file, its name is not text, or it has files that are no such
            export: those of a run, of a checkpoint, of another model, or yours.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UserError(f"--output {str(folder)!r} is not UTF-8; choose another name") from None
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file; choose the name of a folder")
    for path in (folder / name for name in WRITTEN):
        if path.exists() and not _is_export(folder / WEIGHTS):
            raise UserError(f"{path} is not from such an export; choose another --output")


def _is_export(weights: Path) -> bool:
    try:
        with safe_open(weights, "pt") as file:
            return bool(file.metadata() == MARK)
    except (SafetensorError, OSError):
        return False


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
