"""save_pretrained, push_to_hub, from_pretrained: a folder and a hub on this machine."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from upload_hub import UploadHub

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file
from transformer.sharing.model_hub import from_pretrained, save_pretrained

BYTES = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)
CONFIG = ModelConfig(257, d_model=16, n_heads=2, n_layers=2, d_ff=24, max_seq_len=12)


@pytest.fixture
def model() -> DecoderOnlyTransformer:
    return DecoderOnlyTransformer(CONFIG).eval()


def same(one: DecoderOnlyTransformer, other: DecoderOnlyTransformer) -> bool:
    ids = torch.randint(257, (2, 12))
    return one.config == other.config and torch.equal(one(ids), other(ids))


def test_a_saved_folder_is_a_model_and_with_a_tokenizer_a_run(
    model: DecoderOnlyTransformer, tmp_path: Path
) -> None:
    save_pretrained(model, tmp_path / "bare")
    assert same(from_pretrained(tmp_path / "bare"), model)
    with pytest.raises(UserError, match="no readable 'tokenizer'"):
        read_model_file(find_model_file(tmp_path / "bare"))
    save_pretrained(model, tmp_path / "whole", tokenizer=BYTES, step=9)
    loaded = read_model_file(find_model_file(tmp_path / "whole"))
    assert same(loaded.model, model)
    assert (loaded.step, loaded.tokenizer.fingerprint) == (9, BYTES.fingerprint)
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["d_ff"] == 24
    assert "transformer-by-hand" in (tmp_path / "whole" / "README.md").read_text()


class Bomb:
    """A pickle that leaves a file behind when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("exploded",))


SCRIPT = """
import json, sys
from transformer.errors import UserError
from transformer.data.tokenizer import load_tokenizer
from transformer.sharing.model_hub import from_pretrained, push_to_hub, save_pretrained

model = from_pretrained("saved")
tokenizer = load_tokenizer("saved")
commit = push_to_hub(model, "someone/model", tokenizer=tokenizer, step=5, token="hf_test")
save_pretrained(from_pretrained("someone/model"), "downloaded")
errors = []
for name in ("someone/other", "someone/pickled"):
    try:
        from_pretrained(name)
    except UserError as error:
        errors.append(str(error))
print(json.dumps({"commit": commit, "errors": errors}))
"""


@pytest.mark.slow
def test_what_is_pushed_is_what_is_downloaded_and_no_pickle_is_opened(
    model: DecoderOnlyTransformer, tmp_path: Path
) -> None:
    """In a process of its own: the client reads the hub's address when it is imported."""
    save_pretrained(model, tmp_path / "saved", tokenizer=BYTES)
    pickled = tmp_path / "hub" / "someone" / "pickled"
    pickled.mkdir(parents=True)
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with UploadHub(tmp_path / "hub") as hub:
        settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=tmp_path,
            env={**os.environ, **settings, "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["commit"].startswith(hub.url)
    assert hub.created == ["someone/model"]
    assert len(hub.objects) == 1  # the weights went by git-LFS
    assert same(from_pretrained(tmp_path / "downloaded"), model)
    pushed = read_model_file(tmp_path / "hub" / "someone" / "model" / "model.safetensors")
    assert (pushed.step, pushed.tokenizer.fingerprint) == (5, BYTES.fingerprint)
    assert "no model on the hub named someone/other" in found["errors"][0]
    assert "someone/pickled has no model.safetensors" in found["errors"][1]
    assert not any("pytorch_model" in path for path in hub.requested)
    assert not (tmp_path / "exploded").exists()


def test_names_and_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="no model file"):
        from_pretrained(tmp_path)
    with pytest.raises(UserError, match="not a name!"):
        from_pretrained("not a name!")
