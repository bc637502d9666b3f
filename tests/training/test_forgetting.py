"""What fine-tuning measures: before and after, on the new data and on the model's own."""

import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fine_tuning_tools import before_after, config_of, tune, validation
from fineweb_tools import write_dataset
from local_hub import LocalHub
from training_tools import metrics, train

from transformer.config import ModelConfig
from transformer.data.bpe import train_bpe
from transformer.errors import UserError
from transformer.evaluation.perplexity import evaluate
from transformer.ladder import build_model
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file, write_model_file
from transformer.training.fine_tuning import Origin
from transformer.training.forgetting import FRESH, check_start, describe_before

pytestmark = pytest.mark.usefixtures("folder")


def test_both_losses_are_measured_before_and_after(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against `evaluate`, and against what the old run wrote of itself."""
    tune(old, "--learning-rate", "0.02", "--steps", "30", "--name", "new")
    said = capsys.readouterr().out
    run = Path("runs/new")
    found = before_after(run)
    before, after = (
        read_model_file(path).model
        for path in (find_model_file(old), run / "checkpoint-00000030/model.safetensors")
    )
    for which, text in (("new", "new.txt"), ("old", "text.txt")):
        for when, model in (("before", before), ("after", after)):
            loss = evaluate(model, validation(old, text, 16)).loss
            assert found[which][when] == pytest.approx(loss, abs=1e-5)
            assert f"{loss:.4f}"[:5] in said
    best = int((old / "best").read_text().strip()[-8:])
    recorded = {r["step"]: r["val_loss"] for r in metrics(old) if "val_loss" in r}
    assert found["old"]["before"] == pytest.approx(recorded[best], abs=1e-6)
    last = [r["val_loss"] for r in metrics(run) if "val_loss" in r][-1]
    assert found["new"]["after"] == last < found["new"]["before"]
    assert found["old"]["after"] > found["old"]["before"] + 0.1  # it forgets
    assert said.index("before: ") < said.index("Training runs/new")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda run: Path("text.txt").write_text("other " * 900 + "words " * 900), "not what it"),
        (lambda run: Path("text.txt").unlink(), "no such file or folder: text.txt"),
        (lambda run: (run / "config.json").unlink(), "there is no .*config.json"),
        (lambda run: (run / "config.json").write_text('{"imported_from": "x"}'), "'training'"),
    ],
)
def test_old_data_that_is_gone_is_not_known(
    change: Any, reason: str, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(old, "runs/copy"))
    change(copy)
    assert tune(copy, "--text", "near.txt") == 0
    said = capsys.readouterr().out
    assert " its own data is not known (" in said
    assert "its own data: not known (" in said
    found = before_after(Path("runs/text-1"))
    assert (found["old"]["before"], found["old"]["after"]) == (None, None)
    assert config_of(Path("runs/text-1"))["from"]["unknown"]
    assert re.search(reason, said), said


@pytest.mark.slow
def test_old_fineweb_is_measured_from_its_cache(folder: Path) -> None:
    """Trained on FineWeb, and fine-tuned on text when there is no hub any more."""
    data = write_dataset(folder / "hub")
    with LocalHub({"HuggingFaceFW/fineweb": data}) as hub:
        flags = ("--dataset", "fineweb", "--hub-endpoint", hub.url, "--revision", "main")
        more = ("--cache-dir", str(folder / "cache"), "--tokens-per-epoch", "2000")
        web = (*flags, *more, "--workers", "0", "--name", "web", "--tokenizer", "bpe:300")
        assert train(*web, "--seq-length", "16", "--steps", "3") == 0
    assert tune(Path("runs/web"), "--name", "off") == 0
    found = before_after(Path("runs/off"))
    best = find_model_file(Path("runs/web")).parent.name[-8:]
    recorded = {r["step"]: r["val_loss"] for r in metrics(Path("runs/web")) if "val_loss" in r}
    assert found["old"]["before"] == pytest.approx(recorded[int(best)], abs=1e-6)


def test_a_model_that_is_worse_than_guessing_is_refused(old: Path) -> None:
    loaded = read_model_file(find_model_file(old))
    with torch.no_grad():
        loaded.model.token_embedding.weight.mul_(30)
    write_model_file(Path("loud.safetensors"), loaded.model, loaded.tokenizer, 40)
    message = r"loud.safetensors starts with a loss of \d+\.\d\d .* 300 tokens has ln V = 5\.70"
    with pytest.raises(UserError, match=message):
        tune(Path("loud.safetensors"))
    assert not Path("runs").exists()


def test_foreign_text_is_no_damage() -> None:
    """What a sound model says of its own data shows it."""
    origin = Origin(Path("it"), "", {"dataset": "toy"})
    guessing = math.log(1024)
    check_start(10.0, 0.65, 1024, origin)
    check_start(guessing + FRESH, None, 1024, origin)
    for new, known in ((10.0, None), (10.0, 7.0), (guessing + FRESH + 0.01, None)):
        with pytest.raises(UserError, match="starts with a loss of"):
            check_start(new, known, 1024, origin)
    with pytest.raises(UserError, match="loss on the new validation set is nan: nothing is scored"):
        check_start(math.nan, 0.65, 1024, origin)
    measured = Origin(Path("it"), "", {"dataset": "toy"}, new=10.0, old=0.65)
    assert "the text is foreign to it), 0.6500 on its own (toy)" in describe_before(
        measured, "text", 1024
    )


def test_a_tokenizer_that_the_model_did_not_learn_with_is_noticed(old: Path) -> None:
    """Put into the file by hand, as large as the right one."""
    loaded = read_model_file(find_model_file(old))
    other = train_bpe([Path("new.txt").read_text()], 300)
    with torch.no_grad():  # as sure of itself as a model that was trained for longer
        loaded.model.token_embedding.weight.mul_(4)
    write_model_file(Path("odd.safetensors"), loaded.model, other, 40)
    with pytest.raises(UserError, match="its weights and its tokenizer do not belong together"):
        tune(Path("odd.safetensors"))


def test_a_fresh_model_is_a_little_worse_than_guessing() -> None:
    model = build_model(ModelConfig(1024, d_model=128)).eval()
    ids = torch.randint(1024, (16, 65))
    with torch.no_grad():
        loss = model.loss(ids[:, :-1], ids[:, 1:]).item()
    assert 0.1 < loss - math.log(1024) < 0.2
    check_start(loss, None, 1024, Origin(Path("it"), ""))
