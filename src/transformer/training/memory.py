"""How much memory a training run needs at least, known before anything is built.

    16 bytes per parameter: weight, gradient and AdamW's two means in float32 (12 with Muon, which
                keeps one mean of the blocks' matrices)
    4 · T · D   the table of sinusoids
    2 · B · T · n_layers · (D + (H + 2·H_kv)·K + F)   what each block keeps for its gradient: its
                input, queries, keys, values and the feed-forward layer's activations, in bfloat16
    16 · B · T · accumulation_steps    ids and targets of one optimiser step

A lower bound: what is refused here cannot fit, and what passes may still be too much
(interruptions.py then reports it).
"""

from dataclasses import replace
from math import prod

import torch

from transformer.config import ModelConfig
from transformer.machine.bounds import flag
from transformer.machine.memory import check_fits
from transformer.runs.implied_tensors import tensor_shapes
from transformer.training.config import TrainingConfig

STORY_BYTES = 400  # of a toy story's text, at least
FEWEST_IDS = 257  # of any tokenizer: the bytes and end-of-text


def count_parameters(config: ModelConfig) -> int:
    """Parameters of the model that `config` describes, without memory for any of them.

    >>> count_parameters(ModelConfig(vocab_size=50_281))
    17611008
    """
    try:  # with one block, because by a slip of the finger there may be a billion
        shapes = tensor_shapes(replace(config, n_layers=1))
    except (RuntimeError, TypeError):  # a size is more than PyTorch can count
        return config.d_model * (config.vocab_size + config.d_ff)
    block = sum(prod(shape) for name, shape in shapes.items() if name.startswith("blocks."))
    return sum(map(prod, shapes.values())) + (config.n_layers - 1) * block


def training_bytes(config: TrainingConfig, vocab_size: int = FEWEST_IDS, processes: int = 1) -> int:
    """The least that one process of a training run takes; see above."""
    B, T, D, F = config.batch_size, config.seq_length, config.d_model, config.d_ff
    model = config.model(vocab_size)
    heads = (model.n_heads + 2 * model.n_kv_heads) * model.head_size
    per_parameter = 16 if config.optimizer == "adamw" else 12
    copies = processes if config.parallel == "fsdp" else 1
    kept = 2 * B * T * config.n_layers * (D + heads + F)
    batches = 16 * B * T * (config.accumulation_steps // processes)
    table = 4 * T * D if config.positions == "sinusoidal" else 0
    return per_parameter * count_parameters(model) // copies + table + kept + batches


def check_training(
    config: TrainingConfig,
    device: torch.device,
    vocab_size: int = FEWEST_IDS,
    processes: int = 1,
) -> None:
    """
    Raises:
        UserError: training cannot fit into the memory of `device`.
    """
    names = ("d_model", "n_layers", "d_ff", "seq_length", "batch_size", "accumulation_steps")
    sizes = {flag(name): getattr(config, name) for name in names}
    check_fits("training", training_bytes(config, vocab_size, processes), device, sizes)
    if config.dataset == "toy":
        stories = config.stories or 0
        check_fits("keeping the stories", STORY_BYTES * stories, device, {"--stories": stories})
        eval_tokens = config.eval_tokens
        check_fits("validation", 16 * eval_tokens, device, {"--eval-tokens": eval_tokens})
