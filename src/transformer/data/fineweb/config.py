"""Which data set of the hub is read, and how it is kept and counted."""

from dataclasses import dataclass
from pathlib import Path

from transformer.data.fineweb.shard import SHARD_BYTES
from transformer.errors import UserError

FINEWEB = "HuggingFaceFW/fineweb"
FINEWEB_REVISION = "9bb295ddab0e05d785b879661af7260fed5140fc"  # v1.4.0


@dataclass(frozen=True)
class FineWebConfig:
    """Which data set of the hub, and how it is kept and counted.

    Any data set with a text column in Parquet files works; FineWeb-Edu is
    `repo="HuggingFaceFW/fineweb-edu"`.
    """

    repo: str = FINEWEB
    """The data set on the hub, OWNER/NAME."""
    path: str = "sample/10BT"
    """The folder of its Parquet files: a configuration such as sample/10BT or sample/100BT."""
    revision: str | None = None
    """Commit, tag or branch; None is a fixed commit for FineWeb and "main" for the others."""
    text_column: str = "text"
    """The column that holds the documents."""
    hub_endpoint: str | None = None
    """Another hub's address; None is what HF_ENDPOINT says, else the public hub."""
    cache_dir: Path | None = None
    """Where shards are kept; None is data/fineweb_cache, data/NAME_cache for another data set.
    It must be on a local disk."""
    max_cached_shards: int = 5
    """Shards kept on disk, about 300 MB each; two more while one is being built."""
    tokens_per_epoch: int | None = 100_000_000
    """What counts as an epoch; None is a pass over the whole split."""
    eval_tokens: int = 262_144
    """Tokens of the validation split that an evaluation looks at, always the same ones."""
    workers: int = 1
    """Threads that fetch and tokenise blocks ahead; the order is the same for any number."""
    shard_bytes: int = SHARD_BYTES
    """About so much of a file makes a shard. Another value is another split."""

    def __post_init__(self) -> None:
        least = {"tokens_per_epoch": 1, "eval_tokens": 1, "workers": 0, "shard_bytes": 1}
        for name, minimum in least.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise UserError(f"{name} must be at least {minimum}, but is {value}")

    @property
    def pinned_revision(self) -> str:
        return self.revision or (FINEWEB_REVISION if self.repo == FINEWEB else "main")

    @property
    def folder(self) -> Path:
        name = "fineweb" if self.repo == FINEWEB else self.repo.split("/")[-1]
        return self.cache_dir or Path("data") / f"{name}_cache"
