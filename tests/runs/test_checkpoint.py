"""Checkpoints: whole or not at all, back bit for bit, and past a damaged one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.errors import UserError
from transformer.model import DecoderOnlyTransformer
from transformer.runs import checkpoint
from transformer.runs.checkpoint import Checkpoints, Snapshot, restore, take_snapshot
from transformer.training.optimizer import adamw

BYTES = BytePairTokenizer("bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256)
CONFIG = ModelConfig(vocab_size=257, d_model=8, n_heads=2, n_layers=1, d_ff=8, max_seq_len=8)


def trained(steps: int) -> tuple[DecoderOnlyTransformer, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = DecoderOnlyTransformer(CONFIG)
    optimizer = adamw(model, 0.01, 0.1)
    for _ in range(steps):
        train_once(model, optimizer)
    return model, optimizer


def train_once(model: DecoderOnlyTransformer, optimizer: torch.optim.AdamW) -> None:
    torch.manual_seed(7)
    ids = torch.randint(257, (2, 8))
    optimizer.zero_grad()
    model.loss(ids, ids).backward()
    optimizer.step()


def state(step: int, best: int | None = None) -> dict[str, Any]:
    return {
        **{"step": step, "tokens": 10 * step, "skipped": 0, "best_step": best},
        **{"source_fingerprint": "data", "source_state": {"next": step}},
    }


@pytest.fixture
def written(tmp_path: Path) -> Checkpoints:
    """Checkpoints of steps 1, 2, 3."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        model, optimizer = trained(step)
        checkpoints.write(take_snapshot(model, optimizer), model, BYTES, state(step, 1))
    return checkpoints


def test_training_continues_bit_for_bit(written: Checkpoints) -> None:
    snapshot, _ = written.read(2)
    model, optimizer = trained(0)
    restore(model, optimizer, snapshot)
    train_once(model, optimizer)
    expected = written.read(3)[0]
    after = take_snapshot(model, optimizer)
    for ours, theirs in ((after.weights, expected.weights), (after.moments, expected.moments)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("name", ["model.safetensors", "training_state.safetensors"])
def test_one_flipped_bit_is_noticed_and_passed_over(written: Checkpoints, name: str) -> None:
    file = written.folder(3) / name
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    found = written.read_newest()
    assert found is not None
    _, found_state, warnings = found
    assert found_state["step"] == 2
    assert "missing or damaged" in warnings[0]


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"version": 2}'])
def test_a_damaged_state_is_passed_over(written: Checkpoints, broken: str) -> None:
    (written.folder(3) / "training_state.json").write_text(broken)
    found = written.read_newest()
    assert found is not None
    assert found[1]["step"] == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sha256": None}, "'sha256' must be an object, but is null"),
        ({"sha256": {}}, "'sha256' has no 'model.safetensors'"),
        ({"sha256": {"model.safetensors": 5}}, "'model.safetensors' must be a text, but is 5"),
        ({"step": "3"}, "'step' must be a whole number of at least 0, but is \"3\""),
        ({"step": 2}, "is of step 2, its folder of 3"),
        ({"tokens": 1.5}, "'tokens' must be a whole number"),
        ({"skipped": -1}, "'skipped' must be a whole number of at least 0, but is -1"),
        ({"best_step": "1"}, "'best_step' must be a whole number or null"),
        ({"best_loss": "low"}, "'best_loss' must be a number or null"),
        ({"source_state": None}, "'source_state' must be an object, but is null"),
        ({"source_fingerprint": 7}, "'source_fingerprint' must be a text, but is 7"),
    ],
)
def test_a_wrong_value_in_the_state_is_named(
    written: Checkpoints, change: dict[str, Any], problem: str
) -> None:
    path = written.folder(3) / "training_state.json"
    values = json.loads(path.read_text())
    for text in (
        json.dumps({**values, **change}),
        json.dumps({name: v for name, v in values.items() if name not in change}),
    ):
        path.write_text(text)
        found = written.read_newest()
        assert found is not None
        _, found_state, warnings = found
        is_optional = "best_loss" in change and not set(change) & set(json.loads(text))
        assert found_state["step"] == (3 if is_optional else 2)
        if change.items() <= json.loads(text).items():
            assert f"{path}" in warnings[0]
            assert problem in warnings[0]


def test_folders_with_other_names_are_not_checkpoints(written: Checkpoints) -> None:
    for name in ("best-copy", "00000002.bak", "7", "0000000007", "٠٠٠٠٠٠٠٧"):
        (written.run / f"checkpoint-{name}").mkdir()
    (written.run / "checkpoint-00000008").write_text("a file")
    (written.run / "checkpoint-00000009").symlink_to("checkpoint-7")
    assert written.steps() == [1, 2, 3, 9]
    written.truncate_after(2)
    assert written.steps() == [1, 2]
    assert (written.run / "checkpoint-7").is_dir()  # the link is gone, not what it led to


def test_a_model_of_another_shape_is_refused(written: Checkpoints) -> None:
    snapshot, _ = written.read(3)
    for name, problem in (("d_model", "shape"), ("n_layers", "nothing")):
        model = DecoderOnlyTransformer(replace(CONFIG, **{name: 2 * getattr(CONFIG, name)}))
        with pytest.raises(UserError, match=f"does not fit the model.*{problem}"):
            restore(model, adamw(model, 0.01, 0.1), snapshot)


def test_all_that_is_remembered_goes_to_the_device_of_its_weight(written: Checkpoints) -> None:
    """The count of steps too: a fused AdamW on a GPU looks for it there."""
    snapshot, _ = written.read(2)
    model = DecoderOnlyTransformer(CONFIG).to("meta")
    optimizer = adamw(model, 0.01, 0.1)
    restore(model, optimizer, snapshot)
    found = [value for each in optimizer.state.values() for value in each.values()]
    assert len(found) == 3 * len(list(model.parameters()))
    assert {value.device.type for value in found} == {"meta"}


def test_a_checkpoint_before_the_first_update_has_no_moments_to_restore() -> None:
    model, optimizer = trained(0)
    restore(model, optimizer, take_snapshot(model, optimizer))
    assert not any(optimizer.state.values())


def test_all_damaged_is_an_error_and_none_is_none(written: Checkpoints, tmp_path: Path) -> None:
    for step in written.steps():
        (written.folder(step) / "model.safetensors").unlink()
    with pytest.raises(UserError, match="falling back"):
        written.read_newest()
    assert Checkpoints(tmp_path / "empty").read_newest() is None


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    model, optimizer = trained(1)
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        checkpoints.write(take_snapshot(model, optimizer), model, BYTES, state(step, min(step, 2)))
    assert checkpoints.steps() == [2, 5, 6]
    assert (tmp_path / "latest").read_text() == "checkpoint-00000006\n"
    assert (tmp_path / "best").read_text() == "checkpoint-00000002\n"


def test_a_full_disk_leaves_the_old_checkpoints(
    written: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    model, optimizer = trained(1)
    said = r"00000004 \(it needs 0.\d MB\): the disk is full.*00000003 is whole: .*--resume"
    with pytest.raises(UserError, match=said):
        written.write(take_snapshot(model, optimizer), model, BYTES, state(4, 4))
    assert written.steps() == [1, 2, 3]
    assert (written.run / "latest").read_text() == "checkpoint-00000003\n"
    assert not list(written.run.glob(".unfinished-*"))


def test_what_comes_after_a_step_can_be_removed(written: Checkpoints) -> None:
    (written.run / ".unfinished-checkpoint-00000004").mkdir()
    written.truncate_after(2)
    assert written.steps() == [1, 2]
    assert not list(written.run.glob(".unfinished-*"))


def test_an_untrained_model_has_no_moments(tmp_path: Path) -> None:
    model, optimizer = trained(0)
    assert take_snapshot(model, optimizer).moments == {}
    assert isinstance(take_snapshot(model, optimizer), Snapshot)
