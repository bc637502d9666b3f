"""Step 0: the sizes of a model, and the legend of shapes that every file uses.

    B  batch          sequences processed together
    T  positions      tokens in a sequence; of queries, where keys are counted apart
    S  key positions  those that a query can look at: T, and what a cache holds before them
    D  d_model        width of the residual stream
    H  n_heads        attention heads
    K  head size      D // H
    F  d_ff           width of the feed-forward layer
    V  vocab_size     tokens the model knows

Tensor-producing lines end in a comment with their shape: `# (B, H, T, K)`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from transformer.errors import UserError
from transformer.machine.seeds import check_seed

AttentionPath = Literal["auto", "fused", "explicit"]
DatasetName = Literal["fineweb", "toy", "text"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
Switch = Literal["auto", "on", "off"]
Parallel = Literal["ddp", "fsdp"]


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of a `DecoderOnlyTransformer`.

    The defaults (with p50k_base's 50,281 ids) make a model of 17.6 million parameters,
    12.9 million of which are the embedding table.

    Raises:
        UserError: a field has an impossible value; the message names field and value.
    """

    vocab_size: int
    """V: number of token ids."""
    d_model: int = 256
    """D: width of the residual stream; even, and divisible by n_heads."""
    n_heads: int = 4
    """H: attention heads in each block."""
    n_layers: int = 6
    """Number of blocks."""
    d_ff: int = 1024
    """F: width of the feed-forward layer, usually 4 · d_model."""
    max_seq_len: int = 128
    """The most positions the model can look at: its context."""
    dropout: float = 0.1
    """Share of values set to zero in training, 0 to below 1."""
    attention: AttentionPath = "auto"
    """"explicit": the hand-written lines, which can be looked into; "fused": PyTorch's kernel;
    "auto": whichever is faster here. They agree within rounding."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_seq_len"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, but is {value!r}")
        if self.d_model % self.n_heads:
            raise UserError(
                f"d_model must be divisible by n_heads, but {self.d_model} / {self.n_heads} "
                f"leaves {self.d_model % self.n_heads}; try d_model="
                f"{self.d_model // self.n_heads * self.n_heads or self.n_heads}"
            )
        if self.d_model % 2:
            raise UserError(f"d_model must be even (sine and cosine pairs), but is {self.d_model}")
        if not isinstance(self.dropout, (int, float)) or not 0.0 <= self.dropout < 1.0:
            raise UserError(f"dropout must be at least 0 and below 1, but is {self.dropout!r}")
        if self.attention not in get_args(AttentionPath):
            choices = " or ".join(map(repr, get_args(AttentionPath)))
            raise UserError(f"attention must be {choices}, but is {self.attention!r}")

    @property
    def head_size(self) -> int:
        """K: width of one head."""
        return self.d_model // self.n_heads


@dataclass(frozen=True)
class TrainingConfig:
    """What to train, on what, for how long, and how: each field is a flag of
    `commands/train.py`, and the text under it is what `--help` prints.

    The defaults train on FineWeb; presets.py has others, for the toy stories and `--quick`.

    Raises:
        UserError: a field has an impossible value; the message names field and value.
    """

    # -- data ------------------------------------------------------------------------
    dataset: DatasetName = "fineweb"
    """fineweb: web text, streamed and cached; toy: generated stories whose best possible
    loss is known, trained in minutes; text: your own files (--text)."""
    quick: bool = False
    """A smaller model and fewer tokens, to see FineWeb training work in hours instead of
    weeks."""
    text: tuple[Path, ...] = ()
    """Files or folders to train on (.txt, .md, .jsonl, .parquet), with --dataset text."""
    text_column: str = "text"
    """The column or JSON field that holds the text."""
    tokenizer: str = "p50k_base"
    """p50k_base (50,281 tokens), bpe:N (trained here on your data to N tokens), or a file."""
    stories: int | None = None
    """Only this many different toy stories: few enough, and the model learns them by heart."""
    repo: str = "HuggingFaceFW/fineweb"
    """Data set on the hub, with --dataset fineweb."""
    path: str = "sample/10BT"
    """Folder of Parquet files inside the data set."""
    revision: str | None = None
    """Version of the data set; without it, the one this project was tested with."""
    hub_endpoint: str | None = None
    """Another address to download from (a mirror)."""
    cache_dir: Path | None = None
    """Where downloaded shards, or the tokens of --text, are kept; without it data/fineweb_cache,
    data/NAME_cache for another data set, data/text_cache. Toy stories need none."""
    max_cached_shards: int = 5
    """How many shards to keep (about 300 MB each); at least 2."""
    tokens_per_epoch: int | None = 100_000_000
    """Tokens that count as one epoch; text files: one pass over them."""
    eval_tokens: int = 262_144
    """Held-out tokens per validation, the same ones every time."""
    workers: int = 1
    """Threads that fetch and tokenise FineWeb ahead; 0: nothing is read ahead."""

    # -- model -----------------------------------------------------------------------
    d_model: int = 256
    """Width of the residual stream."""
    n_heads: int = 4
    """Attention heads per block."""
    n_layers: int = 6
    """Blocks."""
    d_ff: int = 1024
    """Width of the feed-forward layer."""
    seq_length: int = 128
    """Tokens per training sequence; also the context of the model."""
    dropout: float = 0.1
    """Share of activations set to zero in training."""

    # -- training --------------------------------------------------------------------
    epochs: int = 20
    """Epochs to train."""
    steps: int | None = None
    """Optimiser steps to train, instead of --epochs."""
    batch_size: int = 8
    """Sequences in one micro-batch: what has to fit into memory."""
    accumulation_steps: int = 16
    """Micro-batches per optimiser step, over all processes together."""
    learning_rate: float = 3e-4
    """The highest learning rate, reached after the warm-up."""
    warmup: float = 0.05
    """Share of the training over which the learning rate rises from zero."""
    weight_decay: float = 0.1
    """AdamW's pull of the weight matrices towards zero."""
    max_grad_norm: float = 1.0
    """Gradients longer than this are shortened to it."""
    seed: int = 0
    """The same seed gives the same losses, bit for bit, on the same machine."""
    patience: int | None = None
    """Stop after this many evaluations without a better validation loss."""

    # -- the run ---------------------------------------------------------------------
    eval_every: int = 250
    """Optimiser steps between validations; each epoch ends with one too."""
    checkpoint_every: int = 100
    """Optimiser steps between checkpoints."""
    keep: int = 2
    """How many of the newest checkpoints to keep, besides the best."""
    tensorboard: bool = False
    """Also write TensorBoard files into the run's folder."""

    # -- the machine -----------------------------------------------------------------
    device: DeviceName = "auto"
    """auto takes CUDA, then MPS, then the CPU."""
    mps: bool = False
    """The same as --device mps (Apple silicon)."""
    precision: Precision = "auto"
    """bf16 halves memory traffic where the processor knows it; auto measures it."""
    compile: Switch = "auto"
    """Let torch.compile fuse operations: faster steps for a start-up of up to a minute."""
    parallel: Parallel = "ddp"
    """Under torchrun: ddp copies the model to each process, fsdp cuts it into pieces."""

    def __post_init__(self) -> None:
        for name, smallest in SMALLEST.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise UserError(f"{flag(name)} must be at least {smallest}, but is {value}")
        check_seed(self.seed)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(
                    f"{flag(name)} must be one of {', '.join(choices)}, "
                    f"but is {getattr(self, name)!r}"
                )
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{flag(name)} must be a finite number, but is {value}")
            if isinstance(value, int) and value > LARGEST:
                raise UserError(f"{flag(name)} must be at most {LARGEST}, but is {value}")
        for name in ("learning_rate", "max_grad_norm"):
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

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one optimiser step learns from, at most."""
        return self.batch_size * self.accumulation_steps * self.seq_length


LARGEST = 2**64 - 1
SMALLEST: dict[str, float] = {
    **dict.fromkeys(("max_cached_shards", "seq_length"), 2),
    **dict.fromkeys(("eval_every", "checkpoint_every", "keep", "patience", "stories"), 1),
    **dict.fromkeys(("batch_size", "accumulation_steps", "epochs", "steps", "eval_tokens"), 1),
    **dict.fromkeys(("d_model", "n_heads", "n_layers", "d_ff", "tokens_per_epoch"), 1),
    **dict.fromkeys(("workers", "weight_decay"), 0),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "dataset": get_args(DatasetName),
    "device": get_args(DeviceName),
    "precision": get_args(Precision),
    "compile": get_args(Switch),
    "parallel": get_args(Parallel),
}


def flag(name: str) -> str:
    """A field's name as it is typed: `batch_size` -> `--batch-size`."""
    return "--" + name.replace("_", "-")
