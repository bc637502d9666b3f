"""The commands that look at FineWeb and fill its cache, run as a user runs them."""

import importlib.util
import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fineweb_tools import PATH, REPO, make_text, write_dataset, write_file
from local_hub import LocalHub

from transformer.config import ModelConfig
from transformer.data.byte_pair_tokenizer import BytePairTokenizer
from transformer.model import DecoderOnlyTransformer
from transformer.runs.model_file import write_model_file
from transformer.terminal.command_line import run

COMMANDS = Path(__file__).parents[2] / "commands"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub({REPO: write_dataset(tmp_path_factory.mktemp("data"))}) as hub:
        yield hub


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in an empty folder; its status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *flags: str) -> tuple[int, str, str]:
        spec = importlib.util.spec_from_file_location(f"command_{name}", COMMANDS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        with pytest.raises(SystemExit) as ended:
            run(module.main, list(flags))
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def test_looking_at_fineweb_shows_all_and_says_that_training_can_start(
    command: Command, hub: LocalHub
) -> None:
    status, out, _ = command("test_fineweb", "--hub-endpoint", hub.url, "--seq-length", "16")
    assert status == 0
    for expected in (
        "3 (0.00 GB)",
        "0 of at most 5 shards",
        "p50k_base, 50,281 tokens",
        "first batch after",
        "second reading",
        "3 from disk",
        "training can start",
    ):
        assert expected in out
    assert "from the hub" not in out.split("second reading")[1]


def test_looking_at_few_and_hostile_documents(command: Command, tmp_path: Path) -> None:
    """Shards of one row group; text that would clear the screen."""
    text = f"\x1b[2J{make_text(random.Random(0), 50)}"
    for n in range(3):
        write_file(tmp_path / "few" / PATH / f"{n:03d}.parquet", [[text] * 6])
    with LocalHub({REPO: tmp_path / "few"}) as hub:
        status, out, errors = command(
            "test_fineweb", "--hub-endpoint", hub.url, "--seq-length", "16"
        )
    assert status == 0, errors
    assert "training can start" in out
    assert "\N{REPLACEMENT CHARACTER}[2J" in out
    assert "\x1b" not in out


def test_looking_without_a_network_fails_with_advice(command: Command) -> None:
    status, out, errors = command("test_fineweb", "--hub-endpoint", "http://127.0.0.1:9")
    assert status == 2
    assert "training can start" not in out
    assert "--dataset toy" in errors
    assert "Traceback" not in errors


def test_downloading_fills_the_cache_and_is_not_repeated(command: Command, hub: LocalHub) -> None:
    flags = ("--hub-endpoint", hub.url, "--tokens", "2000", "--seq-length", "16")
    assert command("download", *flags)[0] == 0
    shards = sorted(Path("data/fineweb_cache").glob("shard_*.parquet"))
    assert shards
    hub.forget()
    status, out, _ = command("download", *flags)
    assert status == 0
    assert f"in {len(shards)} shards" in out
    assert hub.requests == []
    assert sorted(Path("data/fineweb_cache").glob("shard_*.parquet")) == shards


@pytest.mark.parametrize("odd", [("--tokens", "0"), ("--seq-length", "1")])
def test_downloading_nothing_asks_for_nothing(command: Command, odd: tuple[str, str]) -> None:
    status, _, errors = command("download", "--hub-endpoint", "http://127.0.0.1:9", *odd)
    assert status == 2
    assert f"{odd[0]} must be at least" in errors
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ("2", r"raise --max-cached-shards to about 9 here"),
        ("20", r"has only [\d,]+ training tokens in 9 shards; --tokens 1,000,000 is more"),
    ],
)
def test_downloading_more_than_fits_or_there_is(
    command: Command, hub: LocalHub, shards: str, message: str
) -> None:
    flags = ("--hub-endpoint", hub.url, "--tokens", "1000000", "--max-cached-shards", shards)
    status, _, errors = command("download", *flags)
    assert status == 2
    assert re.search(message, errors)


def test_a_model_that_knows_nothing_has_the_loss_of_guessing_on_fineweb(
    command: Command, hub: LocalHub, tmp_path: Path
) -> None:
    tokenizer = BytePairTokenizer(
        "bpe", "bytes", {bytes([i]): i for i in range(256)}, end_of_text=256
    )
    model = DecoderOnlyTransformer(ModelConfig(257, 16, 2, 1, 32, max_seq_len=32))
    model.token_embedding.weight.data.zero_()  # all logits are 0
    write_model_file(tmp_path / "m.safetensors", model, tokenizer, step=0)
    flags = ("--dataset", "fineweb", "--hub-endpoint", hub.url, "--eval-tokens", "2000", "--json")
    status, out, _ = command("evaluate", str(tmp_path / "m.safetensors"), *flags)
    assert status == 0
    found = json.loads(out)["results"][0]["fineweb"]
    assert found["loss"] == pytest.approx(math.log(257), abs=1e-5)
    assert found["tokens"] >= 2000
    bits = found["tokens"] * math.log2(257) / found["bytes"]
    assert found["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
