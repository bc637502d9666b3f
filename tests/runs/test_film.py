"""The film of a training: its frames, its file, and what is refused."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_tools import continue_training, train, write_text

from transformer.errors import UserError
from transformer.ladder import build_model
from transformer.runs.film import FilmRecorder, film_steps, read_film, thinned

TEXT = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "text.txt")
    return tmp_path


def checkpoint(run: Path, step: int) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(run / f"checkpoint-{step:08d}/model.safetensors")
    return weights


def test_frames_are_dense_early_and_no_step_comes_twice() -> None:
    for total, frames in ((1800, 60), (10, 60), (59, 60), (1, 2)):
        steps = film_steps(total, frames)
        assert steps[0] == 0
        assert steps[-1] == total
        assert len(steps) == min(frames, total + 1)
        assert steps == sorted(set(steps))
    steps = film_steps(1800, 60)
    gaps = [b - a for a, b in pairwise(steps)]
    assert gaps == sorted(gaps)


def test_a_frame_is_the_model_of_its_step_in_half_precision(folder: Path) -> None:
    flags = ("--steps", "12", "--film", "5", "--checkpoint-every", "3", "--keep", "9")
    assert train(*TEXT, *flags, "--name", "a") == 0
    run = folder / "runs" / "a"
    film = read_film(run / "film.safetensors")
    assert film.steps == [0, 1, 3, 7, 12]
    assert not (run / "film").exists()
    for step in (3, 12):
        frame = film.weights(film.steps.index(step))
        expected = checkpoint(run, step)
        assert frame.keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(frame[name], tensor.half()), name
    model = build_model(film.config)
    model.load_state_dict(film.weights(0))
    assert film.tokenizer.vocab_size == film.config.vocab_size
    measured = json.loads(film.metadata["film"])
    assert [point[0] for point in measured["train"]] == list(range(1, 13))
    assert [point[0] for point in measured["validation"]] == [5, 10, 12]


def test_a_film_goes_on_with_its_run(folder: Path) -> None:
    """More steps, or back to an earlier checkpoint: frames before it stay, others are taken."""
    flags = ("--steps", "6", "--film", "4", "--checkpoint-every", "2", "--keep", "9")
    assert train(*TEXT, *flags, "--name", "a") == 0
    run = folder / "runs" / "a"
    before = read_film(run / "film.safetensors")
    first = {step: before.weights(i) for i, step in enumerate(before.steps)}
    assert continue_training("--resume", run / "checkpoint-00000004", "--steps", "20") == 0
    after = read_film(run / "film.safetensors")
    assert after.steps == [0, 1, 3, 9, 20]
    for step in (0, 1, 3):
        for name, tensor in after.weights(after.steps.index(step)).items():
            assert torch.equal(tensor, first[step][name])
    assert continue_training("--resume", run) == 0  # nothing is left to train: it stays
    assert read_film(run / "film.safetensors").steps == after.steps


def test_the_last_step_of_a_run_without_patience_is_a_frame(folder: Path) -> None:
    flags = ("--steps", "4000", "--film", "3", "--patience", "1", "--learning-rate", "0.5")
    assert train(*TEXT, *flags, "--name", "a", "--eval-every", "2") == 0
    film = read_film(folder / "runs/a/film.safetensors")
    assert film.steps[0] == 0
    assert 0 < film.steps[-1] < 4000
    assert len(film.steps) == 2


def test_one_that_was_being_put_together_is_put_together(tmp_path: Path) -> None:
    """Killed while the frames were removed: what is left of them is no film."""
    recorder = FilmRecorder(tmp_path, total=4, frames=3)
    (tmp_path / ".unfinished-film").mkdir()
    (tmp_path / ".unfinished-film/00000004.safetensors").touch()
    recorder.take(0, {"w": torch.ones(2)})
    recorder.take(1, {"w": torch.ones(2)})
    recorder.begin(1)
    assert not recorder.rest.exists()
    recorder.begin(0)
    assert [path.name for path in recorder.folder.iterdir()] == ["00000000.safetensors"]


def test_measurements_are_thinned_like_frames() -> None:
    steps = [
        {"step": s, "train_loss": 1.0, "learning_rate": 0.1, "grad_norm": None}
        for s in range(1, 5001)
    ]
    found = thinned([*steps, {"step": 5000, "val_loss": 2.0, "val_perplexity": 7.0}], 5000)
    assert len(found["train"]) == 299
    assert found["train"][0] == [1, 1.0, 0.1, None]
    assert found["train"][-1][0] == 5000
    assert found["validation"] == [[5000, 2.0]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "transformer"}, "was not written by this program"),
        ({"film": '{"steps": [0, 1.5]}'}, "its steps must be whole numbers"),
        ({"film": "{"}, "no readable 'film'"),
        ({"film": '{"steps": [0]}'}, "must be 1 frames of"),
        ({"config": '{"vocab_size": 9, "d_model": 8}'}, "must be 3 frames of"),
    ],
)
def test_what_is_no_film_is_refused(folder: Path, change: dict[str, str], said: str) -> None:
    assert train(*TEXT, "--steps", "2", "--film", "3", "--name", "a") == 0
    path = folder / "runs/a/film.safetensors"
    film, weights = read_film(path), load_file(path)
    save_file(weights, path, {**film.metadata, **change})
    with pytest.raises(UserError, match=said):
        read_film(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match="cut short"):
        read_film(path)
