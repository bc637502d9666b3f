"""Training that begins with a trained model: what it takes over, and what may be chosen.

    MODEL ──▶ weights · variant · sizes · tokenizer      taken over: another value is an error
              context                                    learned positions end with their table;
                                                         the others are computed for any length
    flags ──▶ data · sequence length · optimiser · …     chosen as in any training

Fine-tuning starts near a good place, and large steps leave it: what the model knew is overwritten
before anything new is learned. So the highest learning rate is a share of the one that the preset
has for fresh weights (docs/experiments.md compares). Dropout is the model's own: it never saw its
activations with more of them missing.

What a run needs of the model it began with is in its config.json ("from") and in its first
checkpoint, so it is resumed without that model.

Source: Howard and Ruder, "Universal Language Model Fine-tuning" (2018).
"""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from transformer.config import ModelConfig, Variant
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.errors import UserError
from transformer.ladder.rungs import climbed
from transformer.machine.bounds import flag
from transformer.machine.saved_values import read_saved
from transformer.runs.checkpoint import checkpoint_step
from transformer.runs.model_file import read_header
from transformer.training.config import TrainingConfig

RATE_SHARE = 0.1  # of the preset's highest learning rate
KEPT = "the model's"  # stands for its tokenizer until the flags are read
SIZES = ("d_model", "n_heads", "n_layers", "d_ff")
SHAPE = (*SIZES, *(field.name for field in fields(Variant)))


@dataclass(frozen=True)
class Origin:
    """The model that a run began with."""

    path: Path
    """Its file."""
    sha256: str
    """Of its weights; empty where the file does not say."""
    training: dict[str, Any] | None = None
    """What it was trained on, if that stands next to it: "training" of its run's config.json."""
    data: str | None = None
    """The fingerprint of that data."""
    new: float | None = None
    """Its loss on the new validation set, before the first step, in nats per token."""
    old: float | None = None
    """Its loss on its own validation set; None where that is not known."""
    unknown: str = ""
    """Why it is not."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def read_origin(path: Path) -> Origin:
    """Of a model file, with what its run says of its data."""
    _, metadata = read_header(path)
    inside = checkpoint_step(path.parent) is not None
    config = (path.parent.parent if inside else path.parent) / "config.json"
    origin = Origin(path, metadata.get("sha256", ""))
    try:
        saved = read_saved(config)
        training, data = saved.take("training", dict), saved.section("data")
        return replace(origin, training=training, data=data.take("fingerprint", str))
    except UserError as error:
        return replace(origin, unknown=str(error))


def saved_origin(config: Path) -> Origin | None:
    """The origin that a run's config.json names; None for a run that began with fresh weights."""
    saved = read_saved(config)
    if saved.take("from", dict | None, default=None) is None:
        return None
    values = saved.section("from")
    return Origin(
        values.take("path", Path),
        values.take("sha256", str),
        values.take("training", dict | None),
        values.take("data", str | None),
        values.take("new", float | None),
        values.take("old", float | None),
        values.take("unknown", str),
    )


def fine_tuned(base: TrainingConfig, model: ModelConfig) -> TrainingConfig:
    """The defaults `base` of a data set (and rung), for a training that begins with `model`.

    Raises:
        UserError: the rung means another model.
    """
    on_way = climbed(base.rung, model.vocab_size, vars(base)) if base.rung != "classic" else {}
    variant = vars(model.variant)
    _check_same(variant, vars(base), f"--rung {base.rung} means ", set(on_way) & set(variant))
    return replace(
        base,
        **{name: getattr(model, name) for name in SIZES},
        **variant,
        max_seq_len=model.max_seq_len,
        seq_length=min(base.seq_length, model.max_seq_len),
        dropout=model.dropout,
        learning_rate=RATE_SHARE * base.learning_rate,
        matrix_learning_rate=RATE_SHARE * base.matrix_learning_rate,
        tokenizer=KEPT,
    )


def checked(
    defaults: TrainingConfig, given: TrainingConfig, tokenizer: Tokenizer
) -> TrainingConfig:
    """`given`, whose defaults were `fine_tuned`, with the name of the model's tokenizer.

    Raises:
        UserError: flags that would make another model; shows both values.
    """
    _check_same(vars(defaults), vars(given), "", set(SHAPE))
    longest = defaults.max_seq_len
    assert longest is not None
    if given.positions == "learned" and given.seq_length > longest:
        raise UserError(
            f"--seq-length {given.seq_length} is more than the {longest} positions that this model "
            f"has learned; give at most {longest}"
        )
    _check_tokenizer(given.tokenizer, tokenizer)
    return replace(given, tokenizer=tokenizer.name)


def _check_same(ours: dict[str, Any], given: dict[str, Any], who: str, names: set[str]) -> None:
    differing = [
        f"{flag(name)} {given[name]} (the model has {ours[name]})"
        for name in SHAPE
        if name in names and given[name] != ours[name]
    ]
    if differing:
        raise UserError(
            f"--from continues with the model as it is, but {who or 'got '}{', '.join(differing)}; "
            f"leave {'that rung' if who else 'these flags'} out"
        )


def _check_tokenizer(spec: str, ours: Tokenizer) -> None:
    if spec == KEPT:
        return
    kept = f"--from keeps the model's tokenizer {ours.name} (fingerprint {ours.fingerprint})"
    if spec.startswith("bpe:"):
        raise UserError(f"{kept}, but --tokenizer {spec} would train another one; leave it out")
    found = load_tokenizer(spec).fingerprint
    if found != ours.fingerprint:
        raise UserError(
            f"{kept}, but --tokenizer {spec} has the fingerprint {found}: its ids mean other "
            "tokens; leave it out"
        )
