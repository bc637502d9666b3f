"""What is read back from disk is checked value by value."""

import json
from pathlib import Path
from typing import Any

import pytest

from transformer.data.batch import saved_position
from transformer.errors import UserError
from transformer.machine.saved_values import Saved, read_saved
from transformer.training.config import TrainingConfig, config_from_json, config_to_json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged: Expecting value"),
        (b"\xff\xfe", "is damaged: 'utf-8' codec"),
        (b"[1]", r"is damaged: it must be a JSON object, but is \[1\]"),
        (b"[" * 100_000, "is damaged: maximum recursion depth"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is damaged: Exceeds the limit"),
    ],
)
def test_a_file_must_hold_an_object(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"config\.json {message}"):
        read_saved(tmp_path / "config.json")
    with pytest.raises(UserError, match=r"there is no .*gone.json"):
        read_saved(tmp_path / "gone.json")
    with pytest.raises(UserError, match=r"cannot be read: Is a directory"):
        read_saved(tmp_path)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (True, int, "'x' must be a whole number, but is true"),
        (1.0, int, "'x' must be a whole number, but is 1.0"),
        ("6", int | None, "'x' must be a whole number or null, but is \"6\""),
        (None, dict, "'x' must be an object, but is null"),
        (float("nan"), float, "'x' must be a number, but is NaN"),
        (10**30, int, "'x' must be a whole number, but is 1000"),
        (["a", 1], tuple[Path, ...], "'x' must be a list, each item a path"),
    ],
)
def test_a_wrong_value_is_named(value: Any, kind: Any, message: str) -> None:
    with pytest.raises(UserError, match="a file: " + message):
        Saved("a file", {"x": value}).take("x", kind)


def test_only_whole_numbers_have_a_largest() -> None:
    assert Saved("a file", {"x": 1e30}).take("x", float) == 1e30  # such as a perplexity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seq_length": 16.5}, "'seq_length' must be a whole number, but is 16.5"),
        ({"d_model": "16"}, "'d_model' must be a whole number, but is \"16\""),
        ({"device": "toaster"}, "'device' must be 'auto' or 'cpu'"),
        ({"text": "book.txt"}, "'text' must be a list"),
        ({"batch_size": 0}, "--batch-size must be at least 1, but is 0"),
        ({"colour": 1}, "has a field that this program does not know: colour"),
    ],
)
def test_a_saved_configuration_with_an_odd_field_is_refused(
    change: dict[str, Any], message: str
) -> None:
    values = {**config_to_json(TrainingConfig()), **change}
    with pytest.raises(UserError, match=rf"config\.json.*{message}"):
        config_from_json(Saved("config.json", json.loads(json.dumps(values))))


def test_a_field_that_a_run_did_not_have_yet_takes_its_default() -> None:
    values = config_to_json(TrainingConfig(seed=3))
    del values["tensorboard"], values["text"], values["warmup"]
    assert config_from_json(Saved("config.json", values)) == TrainingConfig(seed=3)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"sequences": 3}, "has no 'fingerprint'"),
        ({"fingerprint": 5, "sequences": 3}, "'fingerprint' must be a text, but is 5"),
        ({"fingerprint": "theirs", "sequences": 3}, "belongs to other data"),
        ({"fingerprint": "ours"}, "has no 'sequences'"),
        ({"fingerprint": "ours", "sequences": -1}, "of at least 0, but is -1"),
        ({"fingerprint": "ours", "sequences": 2.5}, "must be a whole number"),
    ],
)
def test_an_impossible_position_in_the_data_is_refused(state: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"the saved position.*{message}"):
        saved_position(state, "ours", "sequences")
    assert saved_position({"fingerprint": "ours", "sequences": 7}, "ours", "sequences") == [7]
