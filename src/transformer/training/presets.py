"""Sets of flags that belong together. A flag given explicitly wins over its preset."""

from dataclasses import replace

from transformer.config import TrainingConfig

TOY = TrainingConfig(
    dataset="toy",
    tokenizer="bpe:1024",
    d_model=128,
    n_heads=4,
    n_layers=4,
    d_ff=512,
    seq_length=144,
    dropout=0.0,
    batch_size=16,
    accumulation_steps=1,
    learning_rate=3e-3,
    tokens_per_epoch=460_800,  # 200 steps
    epochs=9,
    weight_decay=0.0,
    eval_tokens=16_384,
    eval_every=200,
    checkpoint_every=200,
)


def preset(flags: TrainingConfig) -> TrainingConfig:
    """The defaults for the data set and size that `flags` ask for.

    The command line is read twice: once to learn which preset it means, and once more with
    that preset as the defaults, so that every explicit flag wins.
    """
    if flags.dataset == "toy":
        return TOY
    base = TrainingConfig()
    if flags.dataset == "text":
        base = replace(base, dataset="text", text=flags.text, tokens_per_epoch=None)
    return _smaller(base) if flags.quick else base


def _smaller(base: TrainingConfig) -> TrainingConfig:
    tokens = None if base.tokens_per_epoch is None else 10_000_000
    return replace(
        base, quick=True, d_model=128, n_layers=4, d_ff=512, tokens_per_epoch=tokens, epochs=10
    )
