"""Exporting a trained model into the page: what is written is what was trained."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.data.tokenizer import Tokenizer
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import LoadedModel, read_model_file
from transformer.sharing.page import (
    curves,
    half,
    model_script,
    rank_pairs,
    read_curve,
    samples,
    script,
)


@pytest.fixture
def tokenizer() -> Tokenizer:
    tokens = [bytes([byte]) for byte in range(256)] + [b"th", b"the", b" a"]
    return BytePairTokenizer(
        "bpe", "few", {token: i for i, token in enumerate(tokens)}, len(tokens)
    )


def loaded(tokenizer: Tokenizer, **sizes: int) -> LoadedModel:
    given = {"d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 24, "max_seq_len": 32, **sizes}
    model = DecoderOnlyTransformer(ModelConfig(tokenizer.vocab_size, dropout=0.0, **given))
    return LoadedModel(model, tokenizer, 12, Path("runs/x/checkpoint-00000012/model.safetensors"))


def assigned(text: str, name: str) -> Any:
    """The JSON that a script assigns to `Page.name`."""
    start, end = f'"use strict";\n(window.Page ??= {{}}).{name} = ', ";\n"
    assert text.startswith(start)
    assert text.endswith(end)
    assert "</" not in text
    return json.loads(text[len(start) : -len(end)])


def test_the_script_holds_the_weights_in_half_precision(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    original = loaded(tokenizer)
    data = assigned(model_script(original, "</script>", "Once"), "modelData")
    assert data["name"] == "</script>"
    assert data["prompt"] == "Once"
    path = tmp_path / "model.safetensors"
    path.write_bytes(base64.b64decode(data["base64"]))
    back = read_model_file(path)
    assert back.step == 12
    assert back.tokenizer.ranks == tokenizer.ranks
    for name, weight in original.model.state_dict().items():
        assert torch.equal(back.model.state_dict()[name], weight.half())


def test_what_does_not_fit_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"more than 3 MB"):
        model_script(loaded(tokenizer, d_model=512, d_ff=2048), "large", "")
    with pytest.raises(UserError, match=r"1e\+05, too large for half precision"):
        half("w", torch.tensor([1.0, 1e5]))


def test_a_table_is_rebuilt_from_its_pairs(tokenizer: Tokenizer) -> None:
    table = rank_pairs(tokenizer)
    tokens = [bytes([byte]) for byte in base64.b64decode(table["bytes"])]
    for a, b in struct.iter_unpack("<HH", base64.b64decode(table["pairs"])):
        tokens.append(tokens[a] + tokens[b])
    assert {token: i for i, token in enumerate(tokens)} == tokenizer.ranks


def test_a_token_without_parts_is_an_error() -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b"abcd"]
    odd = BytePairTokenizer("bpe", "odd", {token: i for i, token in enumerate(tokens)}, len(tokens))
    with pytest.raises(UserError, match="not made of two earlier tokens"):
        rank_pairs(odd)


def test_songs_are_where_the_samples_say() -> None:
    held_out = samples()
    assert len(held_out["stories"]) == 32
    assert len(held_out["songs"]) == 12
    for song in held_out["songs"]:
        first, again = (song["text"][slice(*song[name])] for name in ("song", "repetition"))
        assert first == again
        assert len(again.split()) >= 4
        assert song["song"][1] < song["repetition"][0]
    assert assigned(script("samples", held_out), "samples") == held_out


def write_run(folder: Path, steps: int) -> None:
    folder.mkdir()
    flags: dict[str, Any] = {"dataset": "toy", "stories": 9, "device": "cpu", "text": []}
    flags |= {"learning_rate": 3e-3, "warmup": 0.05, "schedule": "cosine", "max_grad_norm": 1.0}
    config = {"training": flags, "plan": {"schedule_steps": steps}}
    (folder / "config.json").write_text(json.dumps(config))
    records: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        loss = 3.0 / step
        records.append({"step": step, "tokens": 10 * step, "train_loss": loss, "grad_norm": 1.0})
        if step % 100 == 0:
            evaluation = {"val_loss": loss + 1, "status": "learning", "floor": 0.5}
            records.append({"step": step, "train_loss": loss, **evaluation, "induction": 0.25})
    text = "\n".join(json.dumps(record) for record in records)
    (folder / "metrics.jsonl").write_text(text)


def test_curves_are_thinned_but_not_averaged(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 1000)
    curve = read_curve(tmp_path / "run")
    assert curve["command"] == "uv run python commands/train.py --dataset toy --stories 9"
    assert curve["plan"] == {
        "peak": 3e-3, "steps": 1000, "warmup": 50, "fall": "cosine", "clip": 1.0
    }  # fmt: skip
    assert curve["floor"] == 0.5
    assert len(curve["train"]) == 200
    assert curve["train"][0] == [5, 50, 0.6, 1.0]
    assert curve["train"][-1] == [1000, 10000, 0.003, 1.0]
    write_run(tmp_path / "odd", 999)
    assert [row[0] for row in read_curve(tmp_path / "odd")["train"]][-2:] == [995, 999]
    assert curve["validation"][0] == [100, 0.03, 1.03, "learning", 0.25]
    assert list(curves((f"learning={tmp_path / 'run'}",))) == ["learning"]


@pytest.mark.parametrize("pair", ["nonsense=runs/x", "learning", "learning="])
def test_odd_pairs_are_refused(pair: str) -> None:
    with pytest.raises(UserError, match="NAME=RUN"):
        curves((pair,))


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable metrics"):
        read_curve(tmp_path)


def test_a_log_that_lacks_a_value_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 100)
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('\n{"step": 101}')
    with pytest.raises(UserError, match=r"no readable metrics.*tokens"):
        read_curve(tmp_path / "run")
