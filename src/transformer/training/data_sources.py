"""From flags to the data set they mean."""

from collections.abc import Callable
from pathlib import Path

from transformer.data.batch import BatchSource
from transformer.data.bpe import make_tokenizer
from transformer.data.text.files import CACHE_DIR, TextCorpus, TextFilesSource
from transformer.data.tokenizer import Tokenizer, load_tokenizer
from transformer.training.config import TrainingConfig


def open_source(
    config: TrainingConfig, tokenizer_file: Path, notify: Callable[[str], None] = print
) -> BatchSource:
    """The data set of `config`.

    A run keeps its tokenizer: if `tokenizer_file` exists it is used, otherwise the one that
    `config.tokenizer` describes is made (for bpe:N: trained on the training split) and saved.
    `notify` is called, from any thread, with what a download is doing.
    """
    match config.dataset:
        case "toy":
            return _toy(config, tokenizer_file)
        case "text":
            return _text(config, tokenizer_file)
        case "fineweb":
            return _fineweb(config, tokenizer_file, notify)


def _toy(config: TrainingConfig, tokenizer_file: Path) -> BatchSource:
    from transformer.data.toy.source import ToyStoriesSource, tokenizer_stories

    tokenizer = _kept(tokenizer_file) or make_tokenizer(config.tokenizer, tokenizer_stories())
    _keep(tokenizer, tokenizer_file)
    return ToyStoriesSource(
        tokenizer,
        seq_length=config.seq_length,
        seed=config.seed,
        stories=config.stories,
        eval_tokens=config.eval_tokens,
    )


def _text(config: TrainingConfig, tokenizer_file: Path) -> BatchSource:
    corpus = TextCorpus(config.text, config.text_column)
    tokenizer = _kept(tokenizer_file)
    tokenizer = tokenizer or make_tokenizer(config.tokenizer, corpus.documents("train"))
    _keep(tokenizer, tokenizer_file)
    return TextFilesSource(
        corpus,
        tokenizer,
        seq_length=config.seq_length,
        seed=config.seed,
        eval_tokens=config.eval_tokens,
        cache_dir=config.cache_dir or CACHE_DIR,
    )


def _fineweb(
    config: TrainingConfig, tokenizer_file: Path, notify: Callable[[str], None]
) -> BatchSource:
    from transformer.fineweb_dataset import FineWebConfig, FineWebSource, training_texts

    data = config.group(FineWebConfig)
    tokenizer = _kept(tokenizer_file)
    tokenizer = tokenizer or make_tokenizer(config.tokenizer, training_texts(data, notify))
    _keep(tokenizer, tokenizer_file)
    return FineWebSource(
        tokenizer, data, seq_length=config.seq_length, seed=config.seed, notify=notify
    )


def _kept(tokenizer_file: Path) -> Tokenizer | None:
    return load_tokenizer(tokenizer_file) if tokenizer_file.exists() else None


def _keep(tokenizer: Tokenizer, tokenizer_file: Path) -> None:
    if not tokenizer_file.exists():
        tokenizer.save(tokenizer_file)
