"""How much memory a training or a generation needs at least, known before anything is built.

    training     16 bytes per parameter: weight, gradient and AdamW's two means in float32
                 4 · T · D   the table of positions
                 2 · B · T · n_layers · (4·D + F)   what each block keeps for its gradient: its
                             input, queries, keys, values and what the feed-forward layer made
                             of them, in bfloat16
                 16 · B · T · accumulation_steps    ids and targets of one optimiser step
    generation   2 · n_layers · B · T · D numbers, the keys and values (kv_cache.py)

All are lower bounds: what is refused here cannot fit, and what passes may still be too much
(interruptions.py says so then). Nobody meets this with a size that makes sense; it catches a slip
of the finger before the machine starts to swap.
"""

import os
from dataclasses import replace
from math import prod

import torch

from transformer.config import ModelConfig, TrainingConfig, flag
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import tensor_shapes

STORY_BYTES = 400  # of a toy story's text, at least
FEWEST_IDS = 257  # of any tokenizer: the bytes and end-of-text


def memory_of(device: torch.device) -> int | None:
    """Bytes that the device has in all, None where nobody says."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def count_parameters(config: ModelConfig) -> int:
    """Parameters of the model that `config` describes, without building it.

    >>> count_parameters(ModelConfig(vocab_size=50_281))
    17611008
    """
    shapes = tensor_shapes(replace(config, n_layers=1))
    block = sum(prod(shape) for name, shape in shapes.items() if name.startswith("blocks."))
    return sum(map(prod, shapes.values())) + (config.n_layers - 1) * block


def training_bytes(config: TrainingConfig, vocab_size: int = FEWEST_IDS, processes: int = 1) -> int:
    """The least that one process of a training takes; see above."""
    B, T, D, F = config.batch_size, config.seq_length, config.d_model, config.d_ff
    model = ModelConfig(vocab_size, D, config.n_heads, config.n_layers, F, T)
    copies = processes if config.parallel == "fsdp" else 1
    kept = 2 * B * T * config.n_layers * (4 * D + F)
    batches = 16 * B * T * (config.accumulation_steps // processes)
    return 16 * count_parameters(model) // copies + 4 * T * D + kept + batches


def check_training(
    config: TrainingConfig,
    device: torch.device,
    vocab_size: int = FEWEST_IDS,
    processes: int = 1,
) -> None:
    """
    Raises:
        UserError: the training cannot fit into the memory of `device`.
    """
    names = ("d_model", "n_layers", "d_ff", "seq_length", "batch_size", "accumulation_steps")
    sizes = {flag(name): getattr(config, name) for name in names}
    _compare("the training", training_bytes(config, vocab_size, processes), device, sizes)
    if config.dataset == "toy":
        stories = config.stories or 0
        _compare("keeping the stories", STORY_BYTES * stories, device, {"--stories": stories})
        eval_tokens = config.eval_tokens
        _compare("validation", 16 * eval_tokens, device, {"--eval-tokens": eval_tokens})


def check_generation(model: DecoderOnlyTransformer, samples: int) -> None:
    """
    Raises:
        UserError: the keys and values of so many samples cannot fit into the model's device.
    """
    config, weight = model.config, model.token_embedding.weight
    per_sample = 2 * config.n_layers * config.max_seq_len * config.d_model * weight.itemsize
    _compare("generation", samples * per_sample, weight.device, {"--samples": samples})


def _compare(what: str, needed: int, device: torch.device, sizes: dict[str, int]) -> None:
    there = memory_of(device)
    if there is None or needed <= there:
        return
    flags = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    raise UserError(
        f"{what} needs at least {_gigabytes(needed)} of memory, and this machine has "
        f"{_gigabytes(there)}: lower {'one of ' if len(sizes) > 1 else ''}{flags}"
    )


def _gigabytes(size: int) -> str:
    """
    >>> _gigabytes(25_000_000_000), _gigabytes(10**40)
    ('25 GB', '1e+31 GB')
    """
    return f"{size / 1e9:,.0f} GB" if size < 1e18 else f"{size / 1e9:.0e} GB"
