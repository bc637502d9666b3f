"""`train.py --from MODEL`: what is taken over, what is refused, what is measured, exact resume."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fineweb_tools import write_dataset
from local_hub import LocalHub
from parallel_tools import OBSERVED, PACE, torchrun
from published_models import publish
from safetensors.torch import load_file
from test_kills import check
from training_tools import (
    ROOT,
    assert_same_run,
    call,
    continue_training,
    metrics,
    newest_weights,
    train,
    write_text,
)

from transformer.data.bpe import train_bpe
from transformer.data.text.files import TextCorpus, TextFilesSource
from transformer.errors import UserError
from transformer.evaluation.perplexity import evaluate
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file, write_model_file
from transformer.training.config import TOY, TrainingConfig
from transformer.training.fine_tuning import Origin
from transformer.training.flags import parse
from transformer.training.forgetting import FRESH, check_start, describe_before

OLD = ("--dataset", "text", "--text", "text.txt", "--tokenizer", "bpe:300", "--seq-length", "16")
NEW = ("--dataset", "text", "--text", "new.txt")


def write_texts(folder: Path) -> None:
    """The old one, another of the same kind, and one that is foreign."""
    text = write_text(folder / "text.txt").read_text()
    (folder / "near.txt").write_text("\n".join(reversed(text[:9000].split("\n"))))
    words = [
        "ripe",
        "plums",
        "fell",
        "where",
        "nobody",
        "saw",
        "them",
        "and",
        "the",
        "wasps",
        "came",
        "early",
    ]
    lines = (" ".join(words[(i * k) % 11] for k in range(1, 9)) for i in range(600))
    numbered = (f"{line} {i}." for i, line in enumerate(lines))
    (folder / "new.txt").write_text("\n\n".join(numbered))


def train_in(folder: Path, *args: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_texts(folder)
        assert (
            train(*OLD, "--learning-rate", "0.02", "--steps", "40", "--eval-every", "20", *args)
            == 0
        )
    return folder / "runs/text-1"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classic run that has learned something."""
    return train_in(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with learned positions, Muon and all else of the ladder's first part."""
    flags = ("--rung", "untied", "--positions", "learned", "--dropout", "0.2")
    return train_in(tmp_path_factory.mktemp("learned"), *flags)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path)
    return tmp_path


def tune(model: Path, *flags: str) -> int:
    """Three steps of `model` on the new text, unless `flags` have other wishes."""
    return continue_training("--from", model, *NEW, "--steps", "3", *flags)


def config_of(run: Path) -> dict[str, Any]:
    saved: dict[str, Any] = json.loads((run / "config.json").read_text())
    return saved


def before_after(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "before_after.json").read_text())
    return found


def weights(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(path / "model.safetensors")
    return loaded


def validation(run: Path, text: str, seq_length: int) -> TextFilesSource:
    tokenizer = read_model_file(find_model_file(run)).tokenizer
    corpus = TextCorpus(Path(text))
    return TextFilesSource(corpus, tokenizer, seq_length=seq_length, eval_tokens=600)


def test_weights_variant_sizes_and_tokenizer_are_the_models(learned: Path) -> None:
    flags = ("--learning-rate", "0.001", "--steps", "3", "--keep", "9", "--name", "new")
    assert tune(learned, *flags) == 0
    run, best = Path("runs/new"), find_model_file(learned)
    first = weights(run / "checkpoint-00000000")
    for name, tensor in weights(best.parent).items():
        assert torch.equal(first[name], tensor), name
    ours, theirs = read_model_file(find_model_file(run)), read_model_file(best)
    assert ours.model.config == theirs.model.config
    assert ours.tokenizer.fingerprint == theirs.tokenizer.fingerprint
    assert not torch.equal(newest_weights(run)["output.weight"], first["output.weight"])
    saved = config_of(run)["training"]
    assert saved["tokenizer"] == "bpe:300"
    assert (saved["seq_length"], saved["dropout"]) == (16, 0.2)
    assert config_of(run)["from"]["path"] == str(best)


def test_defaults_are_a_tenth_of_the_rate_and_the_models_dropout(learned: Path) -> None:
    config = parse(["--from", str(learned), "--dataset", "toy"])[0].config
    assert (config.learning_rate, config.matrix_learning_rate) == pytest.approx((3e-4, 2e-3))
    assert (config.dropout, config.warmup, config.seq_length) == (0.2, TOY.warmup, 16)
    assert (config.d_model, config.positions, config.norm) == (16, "learned", "rms")
    given = ("--learning-rate", "0.5", "--dropout", "0.3", "--seq-length", "8")
    config = parse(["--from", str(learned), "--dataset", "toy", *given])[0].config
    assert (config.learning_rate, config.dropout, config.seq_length) == (0.5, 0.3, 8)
    assert TrainingConfig().learning_rate == parse([])[0].config.learning_rate


def test_a_rung_sets_how_it_learns_but_not_what_the_model_is(learned: Path, old: Path) -> None:
    config = parse(["--from", str(old), "--rung", "classic"])[0].config
    assert config.positions == "sinusoidal"
    with pytest.raises(UserError, match=r"--rung learned means --positions learned \(the model "):
        parse(["--from", str(old), "--rung", "learned"])
    with pytest.raises(UserError, match=r"means --positions rotary \(the model has learned\)"):
        parse(["--from", str(learned), "--rung", "untied"])
    assert train(*OLD, "--rung", "muon", "--steps", "2", "--name", "muon") == 0
    config = parse(["--from", "muon", "--dataset", "toy", "--rung", "muon"])[0].config
    assert (config.optimizer, config.schedule, config.rung) == ("muon", "linear", "muon")
    assert config.learning_rate == pytest.approx(6e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--d-model", "64"), r"--d-model 64 \(the model has 16\); leave these flags out"),
        (("--norm", "layer", "--bias"), r"--norm layer \(the model has rms\), --bias True \("),
        (("--seq-length", "17"), "--seq-length 17 is more than the 16 positions that this model"),
        (("--tokenizer", "bpe:300"), r"keeps the model's tokenizer bpe:300 .* would train another"),
        (("--tokenizer", "p50k_base"), "--tokenizer p50k_base has the fingerprint [0-9a-f]{16}"),
        (("--resume",), "--resume continues a run, --from begins a new one"),
        (("--dataset", "toy", "--text", "new.txt"), "--text goes with --dataset text"),
    ],
)
def test_another_model_is_refused(flags: tuple[str, ...], message: str, learned: Path) -> None:
    with pytest.raises(UserError, match=message):
        tune(learned, *flags)
    assert not list(Path().glob("runs/*"))


def test_the_models_own_tokenizer_may_be_named(old: Path) -> None:
    assert tune(old, "--tokenizer", str(old / "tokenizer.json")) == 0
    assert config_of(Path("runs/text-1"))["training"]["tokenizer"] == "bpe:300"


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_a_context_never_shrinks_and_grows_where_positions_are_computed(positions: str) -> None:
    flags = ("--positions", positions, "--n-heads", "2", "--steps", "2")
    assert train(*OLD, *flags, "--name", "one") == 0
    assert tune(Path("one"), "--seq-length", "8", "--name", "short") == 0
    short = read_model_file(find_model_file(Path("short")))
    assert short.model.config.max_seq_len == 16
    assert metrics(Path("runs/short"))[0]["tokens"] == 2 * 2 * 8
    if positions == "rotary":
        assert tune(Path("short"), "--seq-length", "24", "--name", "long") == 0
        assert read_model_file(find_model_file(Path("long"))).model.config.max_seq_len == 24


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


def test_old_fineweb_is_measured_from_its_cache(
    old: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is fine-tuned on FineWeb, and then on text when there is no hub any more."""
    data = write_dataset(folder / "hub")
    with LocalHub({"HuggingFaceFW/fineweb": data}) as hub:
        flags = ("--dataset", "fineweb", "--hub-endpoint", hub.url, "--revision", "main")
        more = ("--cache-dir", str(folder / "cache"), "--tokens-per-epoch", "2000")
        web = ("--from", old, *flags, *more, "--workers", "0", "--name", "web")
        assert continue_training(*web, "--steps", "3") == 0
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


def test_an_imported_model_is_fine_tuned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish("gpt2", folder / "published")
    assert call("import_hf", "published", "--output", "runs/gpt2") == 0
    for way in (
        ("runs/gpt2",),
        ("gpt2",),
        ("runs/gpt2/model.safetensors",),
        ("--name", "gpt2"),
        (),
    ):
        with pytest.raises(UserError, match=r"a model without a training .*: --from runs/gpt2"):
            continue_training("--resume", *way)
    assert tune(Path("runs/gpt2"), "--name", "tuned") == 0
    model = read_model_file(find_model_file(Path("tuned")))
    assert (model.model.config.max_seq_len, model.tokenizer.kind) == (40, "hf")
    assert config_of(Path("runs/tuned"))["training"]["seq_length"] == 40
    shutil.rmtree("runs/gpt2")
    assert continue_training("--resume", "runs/tuned", "--steps", "5") == 0
    capsys.readouterr()
    assert call("generate", "runs/tuned", "--prompt", "Once", "--seed", "0") == 0
    assert "Once" in capsys.readouterr().out


def test_a_run_that_is_the_model_is_not_replaced(old: Path) -> None:
    run = Path(shutil.copytree(old, "runs/mine"))
    with pytest.raises(UserError, match="is in the run mine that this one would replace"):
        tune(run, "--name", "mine", "--overwrite")
    assert_same_run(run, old)


def test_your_parts_continue_with_our_weights(old: Path) -> None:
    """The weights have the same names and shapes, so both give the same losses."""
    Path("mine").mkdir()
    shutil.copy(ROOT / "exercises/attention/solution.py", "mine/attention.py")
    assert tune(old, "--name", "ours") == 0
    assert tune(old, "--mine", "mine", "--unjudged", "--name", "mine") == 0
    for ours, yours in zip(
        *(metrics(Path("runs", name)) for name in ("ours", "mine")), strict=True
    ):
        assert ours["train_loss"] == pytest.approx(yours["train_loss"], abs=1e-5)
    assert "attention" in config_of(Path("runs/mine"))["yours"]


def test_your_parts_are_no_parts_of_another_variant(learned: Path) -> None:
    Path("mine").mkdir()
    shutil.copy(ROOT / "exercises/attention/solution.py", "mine/attention.py")
    with pytest.raises(UserError, match="and this one is another; leave out --rung, --from"):
        tune(learned, "--mine", "mine", "--unjudged")


@pytest.mark.parametrize("rung", ["classic", pytest.param("all", marks=pytest.mark.slow)])
def test_a_run_is_resumed_without_the_model_it_began_with(rung: str) -> None:
    """From the weights of step 0, from the middle, and before there was any checkpoint."""
    assert train(*OLD, "--rung", rung, "--steps", "12", "--name", "old") == 0
    flags = ("--dropout", "0.1", "--steps", "12", "--keep", "9")
    assert tune(Path("old"), *flags, "--name", "whole") == 0
    whole = Path("runs/whole")
    end = (whole / "before_after.json").read_text()
    early = Path(shutil.copytree(whole, "runs/early"))
    for path in [*early.glob("checkpoint-*"), early / "tokenizer.json"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert continue_training("--resume", "early") == 0  # needs the model once more
    shutil.rmtree("runs/old")
    for step in (0, 6):
        again = Path(shutil.copytree(whole, f"runs/from-{step}"))
        (again / "before_after.json").write_text("{}")
        assert continue_training("--resume", str(again / f"checkpoint-{step:08}")) == 0
    for name in ("early", "from-0", "from-6"):
        assert_same_run(whole, Path("runs", name))
        assert Path("runs", name, "before_after.json").read_text() == end
    assert metrics(whole)[0]["step"] == 1


@pytest.mark.slow
def test_killed_while_fine_tuning(old: Path, folder: Path) -> None:
    """`check` starts anew with the same flags whenever there is no config.json yet."""
    check(folder, 4, *NEW, "--from", str(old), "--steps", "24")
    texts = {path.read_text() for path in folder.glob("*/before_after.json")}
    assert len(texts) == 1


PARALLEL = ("--from", "old", "--text", "near.txt", "--steps", "30", "--learning-rate", "0.01")


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_fine_tune_as_one(old: Path, folder: Path, parallel: str) -> None:
    shutil.copytree(old, folder / "runs/old")
    for name, processes in (("one", 1), ("two", 2)):
        way = ("--name", name, "--parallel", parallel)
        done = torchrun(folder, processes, *PARALLEL, *way, flags=PACE)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("before: ") == done.stdout.count("its own (text)") == 1
    one, two = metrics(folder / "runs/one"), metrics(folder / "runs/two")
    for a, b in zip(one, two, strict=True):
        for name in ("train_loss", "val_loss", "tokens"):
            assert a.get(name) == pytest.approx(b.get(name), abs=1e-5), (a, b)
    first, second = (before_after(folder / "runs" / name) for name in ("one", "two"))
    for which in ("new", "old"):
        for when in ("before", "after"):
            assert first[which][when] == pytest.approx(second[which][when], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("death", ["1 3", "0 28"])
def test_torchrun_restarts_a_fine_tuning(old: Path, folder: Path, death: str) -> None:
    shutil.copytree(old, folder / "runs/old")
    done = torchrun(folder, 2, *PARALLEL, "--name", "whole", flags=PACE)
    assert done.returncode == 0, done.stderr[-2000:]
    more = {"flags": PACE, "script": OBSERVED, "restarts": 1, "environment": {"DIE": death}}
    done = torchrun(folder, 2, *PARALLEL, "--name", "died", **more)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same_run(folder / "runs/whole", folder / "runs/died")
