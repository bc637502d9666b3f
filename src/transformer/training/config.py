"""Every flag of a training: names, bounds, defaults, and the sets of defaults that belong together.

flags ──▶ preset ──▶ TrainingConfig ──▶ config.json ──▶ TrainingConfig of a resumed run

One dataclass for each group of flags; `TrainingConfig` is all of them.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import tyro

from transformer.config import ModelConfig, Variant
from transformer.data.fineweb.config import FineWebConfig
from transformer.errors import UserError
from transformer.ladder.rungs import RungName, climbed
from transformer.machine.bounds import (
    AtLeast,
    AtLeastTwo,
    Positive,
    check_bounds,
    check_seed,
    flag,
)
from transformer.machine.device import DeviceName, Precision, Switch
from transformer.machine.saved_values import Saved

DatasetName = Literal["fineweb", "toy", "text"]
Parallel = Literal["ddp", "fsdp"]
Fall = Literal["cosine", "linear"]
Group = TypeVar("Group")


@dataclass(frozen=True)
class DatasetFlags:
    """What to train on."""

    dataset: DatasetName = "fineweb"
    """fineweb: web text, streamed and cached; toy: generated stories whose best possible
    loss is known, trained in minutes; text: your own files (--text)."""
    quick: bool = False
    """A smaller model and fewer tokens: FineWeb in hours instead of weeks."""
    text: tuple[Path, ...] = ()
    """Files or folders to train on (.txt, .md, .jsonl, .parquet), with --dataset text."""
    tokenizer: str = "p50k_base"
    """p50k_base (50,281 tokens), bpe:N (trained here on your data to N tokens), or a file."""
    stories: Positive | None = None
    """Only this many different toy stories: few enough, and the model learns them by heart."""


@dataclass(frozen=True)
class DataFlags(FineWebConfig, DatasetFlags):
    """What to train on, how much of it is an epoch, and where it is kept."""


@dataclass(frozen=True)
class ModelFlags:
    """How large the model is."""

    d_model: Positive = 256
    """Width of the residual stream."""
    n_heads: Positive = 4
    """Attention heads per block."""
    n_layers: Positive = 6
    """Blocks."""
    d_ff: Positive = 1024
    """Width of the feed-forward layer."""
    seq_length: AtLeastTwo = 128
    """Tokens per training sequence; also the context of a new model."""
    max_seq_len: tyro.conf.Suppress[tyro.conf.Fixed[int | None]] = None
    """The context that a model had before this training (--from); it never shrinks."""
    dropout: float = 0.1
    """Share of activations set to zero in training."""


@dataclass(frozen=True)
class YourFlags:
    """Parts that you have written (commands/exercise.py)."""

    mine: Path | None = None
    """A folder with your own parts, such as attention.py: they train in the place of ours."""
    unjudged: bool = False
    """Also what has not passed its judge."""


@dataclass(frozen=True)
class RungFlags:
    """Where on the ladder training begins."""

    rung: RungName = "classic"
    """This step of the ladder from 2017 to 2026 and all before it; the flags below win over it."""


@dataclass(frozen=True)
class LadderFlags(Variant, RungFlags):
    """How the model differs from that of 2017."""

    def __post_init__(self) -> None:
        """Checked with all others, in `TrainingConfig`."""


@dataclass(frozen=True)
class LearningFlags:
    """How it learns, and for how long."""

    epochs: Positive = 20
    """Epochs to train."""
    steps: Positive | None = None
    """Optimiser steps to train, instead of --epochs."""
    batch_size: Positive = 8
    """Sequences in one micro-batch: what has to fit into memory."""
    accumulation_steps: Positive = 16
    """Micro-batches per optimiser step, over all processes together."""
    learning_rate: float = 3e-4
    """The highest learning rate, reached after the warm-up."""
    warmup: float = 0.05
    """Share of the training over which the learning rate rises from zero."""
    schedule: Fall = "cosine"
    """How it falls: to a tenth in half a wave, or in a straight line to almost nothing."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw for everything, or muon for the blocks' matrices and adamw for the rest."""
    matrix_learning_rate: float = 0.02
    """Muon's highest learning rate."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.1
    """How strongly the optimiser pulls weight matrices towards zero."""
    max_grad_norm: float = 1.0
    """Gradients longer than this are shortened to it."""
    seed: int = 0
    """The same seed gives the same losses, bit for bit, on the same machine with the same threads,
    precision, compilation and PyTorch."""
    patience: Positive | None = None
    """Stop after this many evaluations without a better validation loss."""


@dataclass(frozen=True)
class RecordFlags:
    """How often it is judged and saved."""

    eval_every: Positive = 250
    """Optimiser steps between validations; each epoch ends with one too."""
    checkpoint_every: Positive = 100
    """Optimiser steps between checkpoints."""
    keep: Positive = 2
    """How many of the newest checkpoints to keep, in addition to the best."""
    film: AtLeastTwo | None = None
    """Keep this many snapshots of the weights, for the page to play: film.safetensors."""
    tensorboard: bool = False
    """Also write TensorBoard files into the run's folder."""


@dataclass(frozen=True)
class MachineFlags:
    """What it runs on."""

    device: DeviceName = "auto"
    """auto takes CUDA, then MPS, then the CPU."""
    mps: bool = False
    """The same as --device mps (Apple silicon)."""
    precision: Precision = "auto"
    """bf16 multiplies matrices in 16 bits; auto takes it where it is faster here."""
    compile: Switch = "auto"
    """Let torch.compile fuse operations: faster steps, after a start of up to a minute."""
    parallel: Parallel = "ddp"
    """Under torchrun: ddp gives each process the whole model, fsdp a piece of it."""


@dataclass(frozen=True)
class TrainingConfig(
    MachineFlags, RecordFlags, LearningFlags, YourFlags, LadderFlags, ModelFlags, DataFlags
):
    """All of them. (Python takes the fields of the last base first.)

    The defaults train on FineWeb; `preset` has others for each data set, and smaller sinusoids.

    Raises:
        UserError: a field has an impossible value; the message names field and value.
    """

    def __post_init__(self) -> None:
        check_bounds(self)
        self.group(Variant)  # checks itself
        check_seed(self.seed)
        for name in ("learning_rate", "matrix_learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"{flag(name)} must be above 0, but is {getattr(self, name)}")
        if not 0.0 <= self.warmup <= 1.0:
            raise UserError(f"--warmup is a share from 0 to 1, but is {self.warmup}")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"--dropout must be at least 0 and below 1, but is {self.dropout}")
        if self.mps and self.device not in ("auto", "mps"):
            raise UserError(f"--mps contradicts --device {self.device}")

    def check_data(self) -> None:
        """
        Raises:
            UserError: flags that belong to another data set than the chosen one.
        """
        if self.dataset == "text" and not self.text:
            raise UserError("--dataset text needs --text PATH: the files to train on")
        if self.text and self.dataset != "text":
            raise UserError(f"--text goes with --dataset text, but the data set is {self.dataset}")
        if self.stories is not None and self.dataset != "toy":
            raise UserError("--stories limits the toy stories: use it with --dataset toy")

    def model(self, vocab_size: int) -> ModelConfig:
        """The shape of the model.

        Raises:
            UserError: two of its numbers do not fit together.
        """
        context = max(self.seq_length, self.max_seq_len or 0)
        sizes = (self.d_model, self.n_heads, self.n_layers, self.d_ff, context)
        variant = self.group(Variant)
        return ModelConfig(vocab_size, *sizes, dropout=self.dropout, variant=variant)

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimiser step learns from, at most."""
        return self.batch_size * self.accumulation_steps * self.seq_length

    def group(self, flags: type[Group]) -> Group:
        """The values of one group, such as `LearningFlags`."""
        return flags(**{field.name: getattr(self, field.name) for field in fields(flags)})  # type: ignore[arg-type]


POSITION_SCALE = 0.5
"""What trainings begin with; see token_embedding.py. (1, the default, is what older files mean.)"""

TOY = TrainingConfig(
    dataset="toy",
    tokenizer="bpe:1024",
    d_model=128,
    n_heads=4,
    n_layers=4,
    d_ff=512,
    seq_length=144,
    position_scale=POSITION_SCALE,
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
    base = TrainingConfig(position_scale=POSITION_SCALE)
    if flags.dataset == "text":
        base = replace(base, dataset="text", text=flags.text, tokens_per_epoch=None)
    if not flags.quick:
        return base
    tokens = None if base.tokens_per_epoch is None else 10_000_000
    return replace(
        base, quick=True, d_model=128, n_layers=4, d_ff=512, tokens_per_epoch=tokens, epochs=10
    )


def on_rung(base: TrainingConfig, rung: RungName, vocab_size: int) -> TrainingConfig:
    """`base` with what the ladder changes up to `rung`."""
    return replace(base, rung=rung, **climbed(rung, vocab_size, vars(base)))


def config_to_json(config: TrainingConfig) -> dict[str, Any]:
    """A dictionary of JSON values from which `config_from_json` makes the same again."""
    plain = {field.name: getattr(config, field.name) for field in fields(config)}
    plain["text"] = [str(path) for path in config.text]
    return {name: str(v) if isinstance(v, Path) else v for name, v in plain.items()}


def config_from_json(saved: Saved) -> TrainingConfig:
    """The inverse of `config_to_json`. A field that a run did not have yet takes its default.

    Raises:
        UserError: a field is unknown or has an impossible value; names both.
    """
    kinds = get_type_hints(TrainingConfig)
    unknown = sorted(saved.values.keys() - kinds.keys())
    if unknown:
        strange = ", ".join(unknown)
        raise UserError(f"{saved.where} has a field that this program does not know: {strange}")
    defaults = {field.name: field.default for field in fields(TrainingConfig)}
    read = {name: saved.take(name, kinds[name], default=defaults[name]) for name in defaults}
    try:
        return TrainingConfig(**read)
    except UserError as error:
        raise UserError(f"{saved.where}: {error}") from None
