"""Three seeds of every patient and of a healthy one, for curves.json; 18 minutes on two cores.

uv run python -m exercises.clinic.record              all of them
uv run python -m exercises.clinic.record no-mask      these; the rest stays
"""

import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from exercises.clinic.cases import CASES, HEALTHY
from exercises.clinic.examination import train
from transformer.machine.files import write_atomically

PATH = Path(__file__).with_name("curves.json")
SEEDS = (0, 1, 2)


def recorded_curves() -> dict[str, list[dict[str, Any]]]:
    """By the diagnosis, "healthy" too: the curves and numbers of each seed."""
    curves: dict[str, list[dict[str, Any]]] = json.loads(PATH.read_text(encoding="utf-8"))
    return curves


def one(name: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    patient = HEALTHY if name == "healthy" else CASES[name].patient
    return train(patient(seed)).curves


def main(names: list[str]) -> None:
    began = time.monotonic()
    curves = recorded_curves() if names else {}
    names = names or ["healthy", *CASES]
    wanted = [(name, seed) for name in names for seed in SEEDS]
    done: dict[tuple[str, int], dict[str, Any]] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        running = {pool.submit(one, *each): each for each in wanted}
        for future in as_completed(running):
            done[running[future]] = future.result()
            name, seed = running[future]
            print(f"{time.monotonic() - began:5.0f} s  {name}, seed {seed}", flush=True)
    curves |= {name: [done[name, seed] for seed in SEEDS] for name in names}
    lines = [f'"{name}": {json.dumps(curves[name])}' for name in ("healthy", *CASES)]
    write_atomically(PATH, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
