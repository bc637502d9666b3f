"""Models to and from the Hugging Face hub, or a folder that looks like a repository there.

    save_pretrained(model, "folder", tokenizer=tokenizer)
    push_to_hub(model, "OWNER/NAME", tokenizer=tokenizer)
    model = from_pretrained("OWNER/NAME")      or "folder"

The weights travel as the same `model.safetensors` that a checkpoint holds, so with a
tokenizer such a folder works wherever a command takes a RUN. Upload, download, config.json and
model card are huggingface_hub's, through its model mixin. The mixin for PyTorch models would
unpickle a `pytorch_model.bin` where there is no safetensors file; this one never does, and
checks what it downloads as strictly as model_file.py does.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import FILE_NAME, read_model, write_model_file


class _HubModel(
    ModelHubMixin,
    library_name="transformer-by-hand",
    license="mit",
    pipeline_tag="text-generation",
):
    """What the mixin needs to know: how a model is written to a folder, and read."""

    def __init__(
        self, model: DecoderOnlyTransformer, tokenizer: Tokenizer | None = None, step: int = 0
    ) -> None:
        self.model, self.tokenizer, self.step = model, tokenizer, step
        self._hub_mixin_config = asdict(model.config)

    def _save_pretrained(self, save_directory: Path) -> None:
        write_model_file(save_directory / FILE_NAME, self.model, self.tokenizer, self.step)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> "_HubModel":
        if Path(model_id).is_dir():
            return cls(read_model(Path(model_id) / FILE_NAME)[0])
        names = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        path = hf_hub_download(model_id, FILE_NAME, **{name: options[name] for name in names})
        return cls(read_model(Path(path))[0])


def save_pretrained(
    model: DecoderOnlyTransformer,
    folder: Path | str,
    *,
    tokenizer: Tokenizer | None = None,
    step: int = 0,
    **options: Any,
) -> None:
    """Write model.safetensors, config.json and a model card into `folder`.

    Further options are those of `ModelHubMixin.save_pretrained`.
    """
    _HubModel(model, tokenizer, step).save_pretrained(folder, **options)


def push_to_hub(
    model: DecoderOnlyTransformer,
    repo_id: str,
    *,
    tokenizer: Tokenizer | None = None,
    step: int = 0,
    **options: Any,
) -> str:
    """Upload the same files to OWNER/NAME; returns the address of the commit.

    Further options (token, private, branch, …) are those of `ModelHubMixin.push_to_hub`.
    """
    return _HubModel(model, tokenizer, step).push_to_hub(repo_id, **options)


def from_pretrained(name: Path | str, **options: Any) -> DecoderOnlyTransformer:
    """The model in a folder or on the hub, on the CPU, in evaluation mode.

    Options (revision, token, cache_dir, …) are those of `ModelHubMixin.from_pretrained`.

    Raises:
        UserError: no such model, or its file is not one of ours.
    """
    try:
        return _HubModel.from_pretrained(str(name), **options).model
    except RepositoryNotFoundError as error:
        raise UserError(f"there is no folder and no model on the hub named {name}") from error
    except LocalEntryNotFoundError as error:  # an EntryNotFoundError too, but of the network
        raise UserError(f"{name} is not on this machine, and the hub cannot be reached") from error
    except EntryNotFoundError as error:
        raise UserError(
            f"{name} has no {FILE_NAME}; other files are not loaded, "
            "because reading them could run code"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(f"{name} could not be downloaded: {error}") from error
