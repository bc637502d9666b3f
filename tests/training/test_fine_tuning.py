"""`train.py --from MODEL`: what is taken over, what is refused, exact resume, several processes."""

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fine_tuning_tools import NEW, OLD, before_after, config_of, tune, weights
from parallel_tools import OBSERVED, torchrun
from parallel_tools import PACE as PACE_OF_TWO
from published_models import publish
from test_kills import check
from training_tools import (
    ROOT,
    assert_same_run,
    call,
    continue_training,
    metrics,
    newest_weights,
    train,
)

from transformer.errors import UserError
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file
from transformer.sharing.training_command import training_command
from transformer.training.config import TOY, config_to_json
from transformer.training.flags import parse

pytestmark = pytest.mark.usefixtures("folder")


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
    command = shlex.split(training_command(saved, str(best)))  # as the model card has it
    config = parse(command[command.index("--dataset") :])[0].config
    again = config_to_json(config)
    changed = {name for name in saved if saved[name] != again[name]}
    assert changed <= {"device", "precision", "compile"}


@pytest.mark.parametrize(
    "flags",
    [
        "--dataset toy --rung muon --optimizer adamw",
        "--dataset toy --rung all --tied-embeddings",
        "--dataset toy --rung value_embeddings --steps 800 --learning-rate 0.012",
        "--dataset toy --tokens-per-epoch None",
        "--quick --d-model 256",
        "--quick --tokens-per-epoch 100000000",
        "--quick --rung rotary",
    ],
)
def test_the_printed_command_trains_the_same(flags: str) -> None:
    config = parse(flags.split())[0].config
    command = shlex.split(training_command(config_to_json(config)))
    assert parse(command[command.index("--dataset") :])[0].config == config


def test_the_printed_command_of_a_run_that_was_given_steps_later() -> None:
    saved = config_to_json(replace(TOY, epochs=3, steps=900))
    assert training_command(saved).endswith("train.py --dataset toy --steps 900")


def test_defaults_are_a_tenth_of_the_models_rate_and_the_models_dropout(learned: Path) -> None:
    config = parse(["--from", str(learned), "--dataset", "toy"])[0].config
    assert (config.learning_rate, config.matrix_learning_rate) == pytest.approx((2e-3, 2e-3))
    assert (config.dropout, config.warmup, config.seq_length) == (0.2, TOY.warmup, 16)
    assert (config.d_model, config.positions, config.norm) == (16, "learned", "rms")
    given = ("--learning-rate", "0.5", "--dropout", "0.3", "--seq-length", "8")
    config = parse(["--from", str(learned), "--dataset", "toy", *given])[0].config
    assert (config.learning_rate, config.dropout, config.seq_length) == (0.5, 0.3, 8)
    file = shutil.copy(find_model_file(learned), "alone.safetensors")  # nothing is known of it
    config = parse(["--from", file, "--dataset", "toy"])[0].config
    assert (config.learning_rate, config.matrix_learning_rate) == pytest.approx((3e-4, 2e-3))
    assert tune(learned, "--name", "tuned", "--text", "near.txt") == 0
    config = parse(["--from", "tuned", "--dataset", "toy"])[0].config
    assert config.learning_rate == pytest.approx(2e-3)  # no tenth of a tenth


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
    assert config.learning_rate == pytest.approx(6e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--d-model", "64"), r"--d-model 64 \(the model has 16\); leave these flags out"),
        (("--norm", "layer", "--bias"), r"--norm layer \(the model has rms\), --bias True \("),
        (("--seq-length", "17"), "--seq-length 17 is more than the 16 positions that this model"),
        (("--tokenizer", "bpe:300"), r"keeps the model's tokenizer bpe:300 .* would train another"),
        (("--tokenizer", "p50k_base"), "--tokenizer p50k_base has the fingerprint [0-9a-f]{16}"),
        (("--resume",), "--resume continues a run with its own weights, --from begins"),
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


def test_an_imported_model_is_fine_tuned(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish("gpt2", folder / "published")
    assert call("import_hf", "published", "--output", "runs/gpt2") == 0
    file = "runs/gpt2/model.safetensors"
    for way in (("runs/gpt2",), ("gpt2",), (file,), ("--name", "gpt2"), ()):
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
    ours, yours = (metrics(Path("runs", name)) for name in ("ours", "mine"))
    for one, other in zip(ours, yours, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
    assert "attention" in config_of(Path("runs/mine"))["yours"]


def test_your_parts_are_no_parts_of_another_variant(learned: Path) -> None:
    Path("mine").mkdir()
    shutil.copy(ROOT / "exercises/attention/solution.py", "mine/attention.py")
    with pytest.raises(UserError, match="and this one is another; leave out --rung, --from"):
        tune(learned, "--mine", "mine", "--unjudged")


@pytest.mark.slow
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
    check(folder, 3, *NEW, "--from", str(old), "--steps", "24")
    texts = {path.read_text() for path in folder.glob("*/before_after.json")}
    assert len(texts) == 1


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_fine_tune_as_one(old: Path, folder: Path, parallel: str) -> None:
    """And as two of which one died and was started again with the same flags."""
    shutil.copytree(old, folder / "runs/old")
    flags = ("--from", "old", "--text", "near.txt", "--steps", "30", "--learning-rate", "0.01")
    assert continue_training(*PACE_OF_TWO, *flags, "--name", "one") == 0
    done = torchrun(folder, 2, *flags, "--name", "two", "--parallel", parallel, flags=PACE_OF_TWO)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("before: ") == 1
    one, two = metrics(folder / "runs/one"), metrics(folder / "runs/two")
    for a, b in zip(one, two, strict=True):
        for name in ("train_loss", "val_loss", "tokens"):
            assert a.get(name) == pytest.approx(b.get(name), abs=1e-5), (a, b)
    first, second = (before_after(folder / "runs" / name) for name in ("one", "two"))
    for which in ("new", "old"):
        for when in ("before", "after"):
            assert first[which][when] == pytest.approx(second[which][when], abs=1e-5)
    if parallel == "fsdp":
        return
    death = {"DIE": "1 3"}
    more = {"flags": PACE_OF_TWO, "script": OBSERVED, "restarts": 1, "environment": death}
    done = torchrun(folder, 2, *flags, "--name", "died", **more)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same_run(folder / "runs/two", folder / "runs/died")
