"""Streaming FineWeb, side by side with `datasets` streaming and tiktoken feeding the same batches.

    uv run --group bench python -m benchmarks.fineweb FOLDER_OF_PARQUET_FILES

A local hub serves the texts of the folder as two large files in FineWeb's shape, from a process
of its own, each answer 20 ms late. Its line carries 100 Mbit/s for the first batch and for the
resume, and has no limit for the steady stream. Both contestants read with the real client
library. Ratios are medians over rounds in which the contestants take turns.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.side_by_side import print_ratios, ratio
from tests.local_hub import LocalHub
from transformer.machine.turns import interleave

REPO, PATH = "HuggingFaceFW/fineweb", "sample/10BT"
T, B = 128, 32
LATENCY = 0.02  # seconds before each answer of the hub
LINE = 12.5e6  # bytes per second, where the line should count: 100 Mbit/s


@cache
def tokenizer() -> Any:
    from transformer.data.tokenizer import load_tokenizer

    return load_tokenizer("p50k_base")


def make_files(source: Path, target: Path, copies: int, group: int) -> int:
    """Two files with the documents of `source`, each several times, shuffled; their bytes."""
    texts = [
        text
        for file in sorted(source.rglob("*.parquet"))
        for text in pq.read_table(file, columns=["text"])["text"].to_pylist()
    ]
    texts *= copies
    random.Random(0).shuffle(texts)
    half = len(texts) // 2
    for number, part in enumerate((texts[:half], texts[half:])):
        path = target / PATH / f"{number:03d}_00000.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = [f"<urn:uuid:{random.getrandbits(128):032x}>" for _ in part]
        table = pa.table({"text": part, "id": ids, "language_score": [0.9] * len(part)})
        pq.write_table(table, path, row_group_size=group, compression="snappy")
    return sum(path.stat().st_size for path in target.rglob("*.parquet"))


def serve(folder: Path, pipe: Connection) -> None:
    """A hub in this process. Through the pipe it receives its bandwidth and sends its counters."""
    with LocalHub({REPO: folder}, latency=LATENCY) as hub:
        pipe.send(hub.url)
        while (bandwidth := pipe.recv()) is not None:
            hub.bandwidth = bandwidth
            pipe.send((hub.count("range"), hub.bytes_sent()))
            hub.forget()


@dataclass
class Bench:
    """What the contestants share."""

    folder: Path
    url: str
    pipe: Connection

    def counters(self, bandwidth: float = LINE) -> tuple[int, int]:
        """(range requests, bytes) since the last call; from now on the line has this bandwidth."""
        self.pipe.send(bandwidth)
        requests, sent = self.pipe.recv()
        return requests, sent

    def ours(self, folder: str, **settings: Any) -> Any:
        from transformer.fineweb_dataset import FineWebConfig, FineWebSource

        config = FineWebConfig(hub_endpoint=self.url, cache_dir=self.folder / folder, **settings)
        return FineWebSource(tokenizer(), config, seq_length=T)

    def theirs(self) -> Any:
        import datasets

        datasets.disable_progress_bars()
        return datasets.load_dataset(REPO, data_dir=PATH, split="train", streaming=True)


def pack(documents: Iterator[dict[str, str]]) -> Iterator[torch.Tensor]:
    """(B, T + 1) batches of documents joined by end-of-text, with tiktoken itself."""
    encoding = tokenizer()._encoding
    buffer: list[int] = [encoding.eot_token]
    for document in documents:
        buffer += [*encoding.encode_ordinary(document["text"]), encoding.eot_token]
        while len(buffer) > B * T:
            yield torch.tensor(buffer[: B * T + 1])
            del buffer[: B * T]


def first_batch(bench: Bench, rounds: int) -> None:
    seen: dict[str, list[tuple[int, int]]] = {"ours": [], "datasets": []}

    def ours() -> None:
        source = bench.ours("first")
        next(source.train_batches(batch_size=B))
        seen["ours"].append(bench.counters())
        shutil.rmtree(bench.folder / "first")

    def theirs() -> None:
        next(pack(iter(bench.theirs())))
        time.sleep(0.2)  # what it has requested in advance is still on its way
        seen["datasets"].append(bench.counters())

    bench.counters()
    seconds = interleave({"datasets": theirs, "ours": ours}, rounds=rounds)
    print_ratios(seconds, "datasets", title="first batch from an empty cache")
    for name, counts in seen.items():
        requests, sent = (statistics.median(column) for column in zip(*counts, strict=True))
        print(f"  {name:9s} {requests:.0f} range requests, {sent / 1e6:.2f} MB")


def stream(bench: Bench, rounds: int, batches: int, workers: list[int]) -> None:
    """Tokens per second: cold, from the cache, and tiktoken alone in one thread."""
    documents = pq.read_table(next(bench.folder.rglob("000_00000.parquet")), columns=["text"])
    texts = documents.slice(0, 4000)["text"].to_pylist()
    encoding = tokenizer()._encoding
    n_texts = sum(len(encoding.encode_ordinary(text)) for text in texts)
    work = batches * B * T

    def tiktoken() -> None:
        done = 0
        while done < work:
            for text in texts[: max(1, round(len(texts) * min(1.0, (work - done) / n_texts)))]:
                done += len(encoding.encode_ordinary(text))

    def ours(folder: str, n_workers: int = 1) -> None:
        source = bench.ours(folder, max_cached_shards=12, workers=n_workers)
        for _ in islice(source.train_batches(batch_size=B), batches):
            pass
        source.close()

    def cold(n_workers: int) -> None:
        ours("cold", n_workers)
        shutil.rmtree(bench.folder / "cold", ignore_errors=True)

    def theirs() -> None:
        for _ in islice(pack(iter(bench.theirs())), batches):
            pass

    bench.counters(bandwidth=float("inf"))
    filled = bench.ours("cached", max_cached_shards=12)
    for shard in filled.text.train:
        filled.text.builder.build(shard)
    contestants = {
        "tiktoken": tiktoken,
        "datasets": theirs,
        **{f"ours, cold, {n} in advance": partial(cold, n) for n in workers},
        "ours, cached": lambda: ours("cached"),
    }
    seconds = interleave(contestants, rounds=rounds)
    print_ratios(seconds, "tiktoken", title="steady stream", work=work, unit="tokens")
    print(f"  cached / tiktoken {ratio(seconds, 'tiktoken', 'ours, cached'):.1f}")


def training(bench: Bench, steps: int) -> None:
    """How long training waits for data that nothing has cached, at the sizes of --quick."""
    from transformer.config import ModelConfig
    from transformer.model import DecoderOnlyTransformer
    from transformer.training.config import TrainingConfig, preset
    from transformer.training.optimizer import adamw
    from transformer.training_utils import GradientAccumulator

    config = preset(TrainingConfig(quick=True))
    sizes = {name: getattr(config, name) for name in ("d_model", "n_heads", "n_layers", "d_ff")}
    sizes["max_seq_len"] = T
    model = DecoderOnlyTransformer(ModelConfig(tokenizer().vocab_size, **sizes))
    accumulator = GradientAccumulator(model, adamw(model, 3e-4, 0.1), config.accumulation_steps)
    bench.counters()
    source = bench.ours("training")
    batches = source.train_batches(batch_size=config.batch_size)
    waited, whole = [], []
    for _ in range(steps):
        start = time.perf_counter()
        taken = list(islice(batches, config.accumulation_steps))
        waited.append(time.perf_counter() - start)
        accumulator.step([(batch.inputs, batch.targets) for batch in taken])
        whole.append(time.perf_counter() - start)
    source.close()
    share = sum(waited[1:]) / sum(whole[1:])
    print(f"training with an empty cache: {share:.2%} of {steps - 1} steps waiting for data")
    print(f"  (and {waited[0]:.1f} s for the first batch; a step takes {whole[-1]:.1f} s)")


def resume(bench: Bench, rounds: int) -> None:
    """Resume in the middle of a file, each contestant from its own kind of state."""
    bench.counters(bandwidth=float("inf"))
    source = bench.ours("resume")
    state = next(source.train_batches(batch_size=B)).state
    blocks = source.text.blocks(source.text.shard_order(0)[0])
    state = {**state, "block": len(blocks) // 2}
    source.close()
    half = bench.theirs()
    rows = pq.read_metadata(next(bench.folder.rglob("000_00000.parquet"))).num_rows // 2
    for _ in islice(half, rows):
        pass
    their_state = half.state_dict()
    bench.counters()

    def ours() -> None:
        next(bench.ours("resume").train_batches(batch_size=B, state=state))
        shutil.rmtree(bench.folder / "resume" / "blocks", ignore_errors=True)

    def theirs() -> None:
        dataset = bench.theirs()
        dataset.load_state_dict(their_state)
        next(pack(iter(dataset)))

    seconds = interleave({"datasets": theirs, "ours": ours}, rounds=rounds)
    print_ratios(seconds, "datasets", title="resume in the middle of a file")


def memory(folder: Path, url: str, batches: int, pipe: Connection) -> None:
    """Resident memory over the bare import while streaming from an empty cache."""
    import transformer.fineweb_dataset  # noqa: F401

    process = psutil.Process()
    before = peak = process.memory_info().rss
    source = Bench(folder, url, pipe).ours("memory", max_cached_shards=2)
    for n, _ in enumerate(islice(source.train_batches(batch_size=B), batches)):
        if n % 50 == 0:
            peak = max(peak, process.memory_info().rss)
    source.close()
    pipe.send(peak - before)


def in_process(target: Callable[..., None], *args: object) -> Any:
    """What `target` sends, run in a fresh process."""
    receiver, sender = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(*args, sender))
    process.start()
    result = receiver.recv()
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="Parquet files with a text column")
    parser.add_argument("--copies", type=int, default=8, help="how often each document is served")
    parser.add_argument("--group", type=int, default=1000, help="documents per row group")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", default="first,stream,training,resume,memory")
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = make_files(arguments.source, folder, arguments.copies, arguments.group)
        print(f"two files, {size / 1e6:.0f} MB together")
        pipe, other = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, other))
        server.start()
        bench = Bench(folder, pipe.recv(), pipe)
        os.environ.update(HF_ENDPOINT=bench.url, HF_HOME=str(folder / "hf"))
        if "first" in only:
            first_batch(bench, arguments.rounds)
        if "stream" in only:
            stream(bench, arguments.rounds, arguments.batches, arguments.workers)
        if "training" in only:
            training(bench, steps=8)
        if "resume" in only:
            resume(bench, arguments.rounds)
        if "memory" in only:
            grown = in_process(memory, folder, bench.url, 4 * arguments.batches)
            print(f"resident memory over the bare import: {grown / 1e6:.0f} MB")
        pipe.send(None)
        server.join()


if __name__ == "__main__":
    main()
