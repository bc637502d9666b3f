"""Which data set of the hub is read, and how it is kept and counted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from transformer.machine.bounds import AtLeast, AtLeastTwo, Positive, check_bounds

FINEWEB = "HuggingFaceFW/fineweb"
FINEWEB_REVISION = "9bb295ddab0e05d785b879661af7260fed5140fc"  # v1.4.0


@dataclass(frozen=True)
class FineWebConfig:
    """Which data set of the hub, and how it is kept and counted.

    Any data set with a text column in Parquet files works; FineWeb-Edu is
    `repo="HuggingFaceFW/fineweb-edu"`. Each field is also a flag of the commands that read it.

    Raises:
        UserError: a field has an impossible value; the message names field and value.
    """

    repo: str = FINEWEB
    """The data set on the hub, OWNER/NAME."""
    path: str = "sample/10BT"
    """The folder of its Parquet files: a configuration such as sample/10BT or sample/100BT."""
    revision: str | None = None
    """Commit, tag or branch; without it, the FineWeb that this project was tested with, and
    "main" of other data sets."""
    hub_endpoint: str | None = None
    """Another hub's address (a mirror); without it HF_ENDPOINT, else the public hub."""
    text_column: str = "text"
    """The column that holds the documents (with --text also the field of a JSON line)."""
    cache_dir: Path | None = None
    """Where shards, or the tokens of --text, are kept, on a local disk; without it
    data/fineweb_cache, data/NAME_cache for another data set, data/text_cache."""
    max_cached_shards: AtLeastTwo = 5
    """Shards to keep, about 300 MB each: at least the one in use and the next. While one is
    being built, it needs the room of up to two more."""
    tokens_per_epoch: Positive | None = 100_000_000
    """Tokens that count as one epoch; None is one pass, where its length is known."""
    eval_tokens: Positive = 262_144
    """Tokens of the validation split in one evaluation, the same ones every time."""
    workers: Annotated[int, AtLeast(0)] = 1
    """Threads that fetch and tokenise in advance; 0: nothing is read ahead. The order is the
    same for any number."""

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def pinned_revision(self) -> str:
        return self.revision or (FINEWEB_REVISION if self.repo == FINEWEB else "main")

    @property
    def cache_folder(self) -> Path:
        """Where shards are kept: `cache_dir`, or a folder named after the data set."""
        name = "fineweb" if self.repo == FINEWEB else self.repo.split("/")[-1]
        return self.cache_dir or Path("data") / f"{name}_cache"
