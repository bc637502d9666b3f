"""A published model from the Hugging Face hub into the hub's own cache on this machine.

    what is there, at which commit ─▶ config.json ─▶ can we build it? ─▶ tokenizer ─▶ weights

The small files come first, so that a model that cannot be built is refused before gigabytes are
fetched. The client library shows the progress, continues a file that was cut short, and shares
its cache with other programs; what fails in passing is tried again by `retry.Retry`. Weights on
the hub are named by their SHA-256, which is compared with what arrived. Nothing that comes from
the hub is run: of a repository only JSON and safetensors are fetched.
"""

import re
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from transformer.data.fineweb.retry import Advice, Retry, UnreadableError
from transformer.errors import UserError
from transformer.machine.files import hash_file
from transformer.sharing.families.known import read_family
from transformer.sharing.published import (
    CONFIG,
    INDEX,
    PICKLES,
    TOKENIZER,
    WEIGHTS,
    pickled,
    shard_names,
)

SMALL = (TOKENIZER, "tokenizer_config.json")
ADVICE = Advice(
    gave_up="what has arrived is kept: try again later",
    missing="check the name and --revision",
    unreachable="without a network, give a folder that holds the model's files",
)
SHA256 = re.compile(r"[0-9a-f]{64}")


def download(repo: str, revision: str, endpoint: str | None = None) -> Path:
    """The folder that holds the files of a repository's model.

    Raises:
        UserError: there is no such repository, revision or file; it is a model that we cannot
            build; its weights are only there as a pickle; or the hub does not answer.
    """
    if re.fullmatch(r"[\w.-]+/[\w.-]+", repo) is None:
        raise UserError(f"there is no folder {repo}, and a model on the hub is named OWNER/NAME")
    retry = Retry(f"the hub ({endpoint or 'default endpoint'}, {repo})", print, advice=ADVICE)
    api = HfApi(endpoint=endpoint)
    info = retry(lambda: api.model_info(repo, revision=revision, timeout=10))
    names = {file.rfilename for file in info.siblings or ()}

    def get(name: str) -> Path:
        return retry(lambda: _checked(repo, name, info.sha or revision, endpoint))

    if CONFIG not in names:
        raise UserError(f"{repo} has no {CONFIG}, so it is no model of the library transformers")
    config = get(CONFIG)
    family, saved = read_family(config)
    family.read_config(saved)  # refused here, if at all
    if TOKENIZER not in names:
        raise UserError(f"{repo} has no {TOKENIZER}, which says what its token ids mean")
    weights = _weights(repo, names, get)
    for name in (name for name in SMALL if name in names):
        get(name)
    for name in weights:
        print(f"Fetching {name} of {repo}")
        get(name)
    return config.parent


def _weights(repo: str, names: set[str], get: Callable[[str], Path]) -> list[str]:
    if WEIGHTS in names:
        return [WEIGHTS]
    if INDEX in names:
        return shard_names(get(INDEX))
    if pickle := next((name for name in PICKLES if name in names), None):
        raise UserError(pickled(repo, pickle))
    raise UserError(f"{repo} has no {WEIGHTS} and no {INDEX}")


def _checked(repo: str, name: str, commit: str, endpoint: str | None) -> Path:
    """One file, from the cache or the hub."""
    try:
        path = Path(hf_hub_download(repo, name, revision=commit, endpoint=endpoint))
    except LocalEntryNotFoundError as error:  # hides what went wrong
        raise error.__cause__ or error from None
    blob = path.resolve()
    if SHA256.fullmatch(blob.name) and hash_file(blob) != blob.name:
        blob.unlink()
        path.unlink()
        raise UnreadableError(f"{name} arrived damaged")
    return path
