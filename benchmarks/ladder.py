"""What each rung of the ladder costs: one optimiser step, against the classic model's.

    uv run python benchmarks/ladder.py                    the toy preset's sizes, as it is trained
    uv run python benchmarks/ladder.py --rungs relu2 swiglu --compile off

All rungs take turns in one process: forward, backward, clipping and update on the same random
tokens. The second table says how much of a cache a position takes and how many parameters there
are, which are not measured but counted.
"""

from rich.console import Console
from rich.table import Table
from side_by_side import print_ratios

from transformer.climbing.speed import step_of
from transformer.kv_cache import KVCache
from transformer.ladder.rungs import RUNGS
from transformer.machine.device import Switch, choose_machine
from transformer.machine.turns import interleave
from transformer.terminal.command_line import run
from transformer.training.config import TOY, TrainingConfig, on_rung
from transformer.training.start import initial_model

VOCAB = 1024


def count(rungs: tuple[str, ...], configs: dict[str, TrainingConfig]) -> None:
    """Parameters, and bytes of keys and values for each position in float32."""
    table = Table("rung", "parameters", "cache, bytes a position", title="Counted")
    for rung in rungs:
        model = initial_model(configs[rung], VOCAB)
        cache = KVCache(model.config, 1)
        size = (cache.keys.nbytes + cache.values.nbytes) // model.config.max_seq_len
        table.add_row(rung, f"{sum(p.numel() for p in model.parameters()):,}", f"{size:,}")
    Console().print(table)


def main(rungs: tuple[str, ...] = tuple(RUNGS), compile: Switch = "on", rounds: int = 9) -> None:
    """Let the rungs take turns.

    Args:
        rungs: names of the ladder; the classic model is always there.
        compile: whether torch.compile fuses operations, as training does where it works.
        rounds: of one step each.
    """
    rungs = tuple(dict.fromkeys(("classic", *rungs)))
    configs = {rung: on_rung(TOY, rung, VOCAB) for rung in rungs}
    machine = choose_machine("cpu", "auto", compile)
    steps = {rung: step_of(configs[rung], VOCAB, machine) for rung in rungs}
    seconds = interleave(steps, rounds=rounds, warmup=3)
    work = TOY.batch_size * TOY.seq_length
    title = f"A step of {work:,} tokens, compilation {compile}"
    print_ratios(seconds, "classic", title=title, work=work, unit="tokens")
    count(rungs, configs)


if __name__ == "__main__":
    run(main)
