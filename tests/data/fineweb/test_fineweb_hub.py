"""The real client library against a hub that misbehaves: patience, and its limits."""

import threading
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fineweb_tools import PATH, REPO, write_file
from huggingface_hub import get_session
from local_hub import Fault, LocalHub

from transformer.data.fineweb import retry
from transformer.data.fineweb.hub import Hub
from transformer.data.fineweb.hub_dataset import HubText
from transformer.data.fineweb.remote_parquet import RemoteParquet
from transformer.data.tokenizer import load_tokenizer
from transformer.errors import UserError
from transformer.fineweb_dataset import FineWebConfig, FineWebSource, training_texts
from transformer.terminal import progress
from transformer.terminal.progress import Reporter

T = 16


def inputs(source: FineWebSource, n: int = 50) -> np.ndarray:
    batches = islice(source.train_batches(batch_size=8), n)
    return torch.cat([batch.inputs for batch in batches]).numpy()


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    with LocalHub({REPO: folder}) as hub:
        cache = tmp_path_factory.mktemp("whole")
        source = make_source(FineWebConfig(hub_endpoint=hub.url, cache_dir=cache), [])
        rows = inputs(source)
        source.close()
    return rows


def make_source(config: FineWebConfig, notices: list[str]) -> FineWebSource:
    tokenizer = load_tokenizer("p50k_base")
    return FineWebSource(tokenizer, config, seq_length=T, notify=notices.append)


@pytest.fixture
def short_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)


FAULTS = {
    "500": Fault("status", status=500),
    "503": Fault("status", status=503),
    "429": Fault("status", status=429, retry_after=1),
    "reset": Fault("reset"),
    "stall": Fault("stall", seconds=3),
    "truncated": Fault("truncate"),
    "short": Fault("short"),
    "range ignored": Fault("ignore_range"),
}


@pytest.mark.usefixtures("short_time_out")
@pytest.mark.parametrize("kind", FAULTS)
def test_a_passing_fault_costs_time_and_no_token(
    config: FineWebConfig, hub: LocalHub, expected: np.ndarray, kind: str
) -> None:
    source = make_source(config, [])
    hub.fail(FAULTS[kind])  # the first block
    first = inputs(source, 1)
    hub.fail(FAULTS[kind])  # whatever is read next, a block or a build
    rest = inputs(source)
    source.close()
    assert np.array_equal(first, expected[:8])
    assert np.array_equal(rest, expected)
    assert hub.faults.next("range") is None


def test_one_broken_connection_does_not_end_those_of_other_threads(
    config: FineWebConfig, folder: Path
) -> None:
    """`get_session` gives None to a thread that asks for the client while another closes it."""
    with LocalHub({REPO: folder}) as hub:
        text = HubText(replace(config, hub_endpoint=hub.url), print)
    client = get_session()
    with pytest.raises(retry.httpx.ConnectError):
        text.hub.read(text.listing, text.listing.files[0], 0, 10)
    assert get_session() is client
    assert not client.is_closed


@pytest.mark.parametrize("kind", ["tree", "info"])
def test_a_listing_that_fails_is_fetched_again(
    config: FineWebConfig, hub: LocalHub, kind: str
) -> None:
    hub.fail(Fault("status", status=503), kind=kind)
    assert len(make_source(config, []).text.listing.files) == 4


def test_a_silent_hub_is_named_until_it_has_answered(
    config: FineWebConfig,
    hub: LocalHub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(retry, "SILENCE", 0.1)
    hub.fail(Fault("stall", seconds=1.0), kind="tree")
    HubText(config, Reporter().notice)  # what train.py opens its data with, before any step
    assert capsys.readouterr().out == f"waiting for the hub ({hub.url}, {REPO}) to answer\n"


def test_news_is_printed_before_the_first_step_and_shown_in_the_bar_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reporter = Reporter()
    reporter.notice("early")
    reporter.begin(0, 2)
    reporter.show(1, 1.0, 1.0, waited=0.0)
    reporter.notice("later")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "early"
    assert len(lines) == 2
    assert "early" not in lines[1]
    reporter.notice("warning: low disk")
    assert capsys.readouterr().out == "warning: low disk\n"


def test_waiting_for_data_is_shown_when_it_takes_more_than_two_percent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    reporter = Reporter()
    reporter.begin(0, 100)
    for step, waited in enumerate([1.0, 0.01, 0.01, 0.07], start=1):  # the first always waits
        reporter.show(step, 1.0, 1.0, waited)
    assert [line.count("waiting") for line in _steps(capsys)] == [0, 0, 0, 1]
    for step in range(5, 5 + progress.RECENT):
        reporter.show(step, 1.0, 1.0, waited=0.0)
    shown = _steps(capsys)
    assert "2% waiting for data" in shown[0]  # 9 % in 4 steps
    assert "waiting" not in shown[-1]


def _steps(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]


def test_a_listing_of_many_pages_is_read_whole(config: FineWebConfig, hub: LocalHub) -> None:
    whole = make_source(config, []).text.listing
    hub.page_size = 1
    paged = make_source(replace(config, cache_dir=config.cache_folder / "paged"), []).text.listing
    hub.page_size = 1000
    assert paged == whole


def test_bytes_without_a_redirect_are_read_too(config: FineWebConfig, hub: LocalHub) -> None:
    hub.redirect = False
    assert len(inputs(make_source(config, []), 5)) == 40
    hub.redirect = True


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "hf auth login"), (403, "terms"), (404, "--revision")]
)
def test_what_waiting_cannot_change_is_reported_at_once(
    config: FineWebConfig, hub: LocalHub, status: int, advice: str
) -> None:
    source = make_source(config, [])
    hub.forget()
    hub.fail(Fault("status", status=status), times=100)
    start = time.monotonic()
    with pytest.raises(UserError, match=f"HTTP {status}: .*{advice}"):
        inputs(source, 1)
    assert hub.count("range") == 1
    assert time.monotonic() - start < 60


def test_without_network_and_cache_the_error_names_the_toy_data(config: FineWebConfig) -> None:
    offline = replace(config, hub_endpoint="http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot reach the hub .*--dataset toy"):
        make_source(offline, [])


def test_a_filled_cache_needs_no_network(
    config: FineWebConfig, hub: LocalHub, expected: np.ndarray
) -> None:
    source = make_source(replace(config, max_cached_shards=20), [])
    for shard in source.text.train:
        source.text.builder.build(shard)
    n_validation = len(list(source.validation_batches(batch_size=8)))
    hub.forget()
    offline = make_source(replace(config, hub_endpoint="http://127.0.0.1:9"), [])
    assert np.array_equal(inputs(offline), expected)
    assert len(list(offline.validation_batches(batch_size=8))) == n_validation
    offline.close()
    assert hub.requests == []


def test_a_moving_revision_is_looked_up_and_remembered(
    config: FineWebConfig, hub: LocalHub
) -> None:
    moving = replace(config, revision="main")
    first = make_source(moving, [])
    assert first.text.listing.commit == hub.repositories[REPO].commit
    offline = replace(moving, hub_endpoint="http://127.0.0.1:9")
    assert make_source(offline, []).fingerprint == first.fingerprint


def test_a_hub_that_stays_away_is_given_up_on(config: FineWebConfig, hub: LocalHub) -> None:
    notices: list[str] = []
    source = make_source(config, notices)
    source.text.hub.retry.seconds = 2.0
    hub.fail(Fault("short"), times=100)
    with pytest.raises(UserError, match=r"failed \d+ times .*--resume"):
        inputs(source, 1)
    assert any(notice.startswith("waiting for the hub: ") for notice in notices)
    hub.forget()


def test_another_data_set_needs_its_name_and_its_column(tmp_path: Path) -> None:
    groups = [[f"document {g} {i}" for i in range(3)] for g in range(5)]
    for sub in ("a", "b/c"):
        write_file(tmp_path / "data" / sub / "x.parquet", groups, column="body")
    with LocalHub({"someone/else": tmp_path}) as hub:
        config = FineWebConfig(
            repo="someone/else",
            path="data",
            text_column="body",
            hub_endpoint=hub.url,
            cache_dir=tmp_path / "cache",
        )
        assert len(inputs(make_source(config, []), 3)) == 24
        texts = list(training_texts(config))
        n_train = sum(
            len(source_blocks)
            for source in [make_source(config, [])]
            for source_blocks in map(source.text.blocks, source.text.train)
        )
        assert len(texts) == 3 * n_train
        assert set(texts) <= {text for group in groups for text in group}


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_any_parquet_file_is_read_like_pyarrow_reads_it(
    tmp_path: Path, compression: str, dictionary: bool
) -> None:
    import pyarrow as pa

    texts = [None, "", "a\u0301", "same", "same", "x" * 5000] * 40
    table = pa.table({"n": list(range(240)), "text": texts, "m": texts})
    path = tmp_path / PATH / "0.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(
        table, path, row_group_size=37, compression=compression, use_dictionary=dictionary
    )
    with LocalHub({REPO: tmp_path}) as hub:
        remote_hub = Hub(REPO, "main", hub.url)
        listing = remote_hub.list_files(PATH, tmp_path / "listing")
        remote = RemoteParquet(remote_hub, listing, listing.files[0], "text", tmp_path / "footer")
        blocks = [remote.read_block(block) for block in range(remote.n_blocks)]
        assert [text for block in blocks for text in block] == [text or "" for text in texts]


@pytest.mark.slow
def test_a_hub_that_is_away_for_forty_seconds_is_waited_for(
    config: FineWebConfig, hub: LocalHub, expected: np.ndarray
) -> None:
    notices: list[str] = []
    source = make_source(replace(config, workers=0), notices)
    inputs(source, 1)
    hub.stop()
    threading.Timer(40, hub.start).start()
    start = time.monotonic()
    assert np.array_equal(inputs(source), expected)
    assert time.monotonic() - start > 35
    assert any("waiting for the hub" in notice for notice in notices)
    assert "the hub answers again" in notices
