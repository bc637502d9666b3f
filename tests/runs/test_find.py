"""Whatever a person calls a run, it is found; what is not there is named."""

import os
from pathlib import Path

import pytest

from transformer.errors import UserError
from transformer.runs.find import find_model_file


def make_run(runs: Path, name: str, **pointers: str) -> Path:
    for checkpoint in ("checkpoint-00000010", "checkpoint-00000020"):
        (runs / name / checkpoint).mkdir(parents=True)
        (runs / name / checkpoint / "model.safetensors").touch()
    for pointer, target in pointers.items():
        (runs / name / pointer).write_text(target + "\n")
    return runs / name


def test_a_run_is_found_by_every_name_it_has(tmp_path: Path) -> None:
    best, latest = "checkpoint-00000010", "checkpoint-00000020"
    both = make_run(tmp_path, "both", best=best, latest=latest)
    unjudged = make_run(tmp_path, "unjudged", latest=latest)
    os.utime(both / "latest", (2e9, 2e9))
    os.utime(unjudged / "latest", (1e9, 1e9))
    model = both / best / "model.safetensors"
    assert find_model_file(both) == model
    assert find_model_file(unjudged) == unjudged / latest / "model.safetensors"
    assert find_model_file(both / latest) == both / latest / "model.safetensors"
    assert find_model_file(model) == model
    assert find_model_file(Path("both"), runs_dir=tmp_path) == model
    assert find_model_file(None, runs_dir=tmp_path) == model


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trained model in"):
        find_model_file(None, runs_dir=tmp_path)
    with pytest.raises(UserError, match="at nowhere"):
        find_model_file(Path("nowhere"), runs_dir=tmp_path)
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        find_model_file(make_run(tmp_path, "new"))


@pytest.mark.parametrize("target", ["../other/checkpoint-00000010", ".."])
def test_a_pointer_cannot_lead_out_of_its_run(tmp_path: Path, target: str) -> None:
    make_run(tmp_path, "other")
    (tmp_path / "model.safetensors").touch()
    lured = make_run(tmp_path, "lured", best=target, latest="checkpoint-00000020")
    assert find_model_file(lured).is_relative_to(lured)
    assert ".." not in find_model_file(lured).parts


def test_a_beginner_is_sent_to_the_toy_stories(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train one first, .* --dataset toy$"):
        find_model_file(None, tmp_path)
