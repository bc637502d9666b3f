"""How long, and how much memory, does a model of GPT-2's size take on its way in and out?

    uv run --group dev python benchmarks/importing.py

Each step is a process of its own, started three times: reading the published folder with the
library `transformers`, importing it, exporting it again. The weights are random; 124 M numbers in
float32 are 498 MB. Seconds include the start of Python and PyTorch, which the last line gives
alone. (A process starts with the peak of the one that started it, so this one imports nothing.)
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
ROUNDS = 3
PEAK = "import atexit, resource as r; atexit.register(lambda: print(r.getrusage(0).ru_maxrss));"
MAKE = """
import sys
from pathlib import Path
from transformers import GPT2Config, GPT2LMHeadModel
from transformer.data.byte_pair_tokenizer import p50k_base
from transformer.sharing.published_tokenizer import tokenizer_json
GPT2LMHeadModel(GPT2Config(vocab_size=50_281)).save_pretrained(sys.argv[1])
Path(sys.argv[1], "tokenizer.json").write_text(tokenizer_json(p50k_base()))
"""
READ = "import sys, transformers as t; t.AutoModelForCausalLM.from_pretrained(sys.argv[1]);"


def measured(code: str, *args: str) -> tuple[float, float]:
    """Seconds and peak memory (MB) of `python -c code args`."""
    command = [sys.executable, "-c", PEAK + "\n" + code, *args]
    start = time.perf_counter()
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    seconds = time.perf_counter() - start
    return seconds, int(said.stdout.split()[-1]) / (1 if sys.platform == "darwin" else 1024)


def script(name: str) -> str:
    return f"import runpy; runpy.run_path('commands/{name}.py', run_name='__main__')"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        there, here, again = (f"{folder}/{name}" for name in ("there", "here", "again"))
        measured(MAKE, there)
        steps = {
            "transformers reads it": (READ, there),
            "import_hf.py": (script("import_hf"), there, "--output", here),
            "export_hf.py": (script("export_hf"), here, "--output", again),
            "PyTorch alone": ("import torch",),
        }
        found = {name: [measured(*step) for _ in range(ROUNDS)] for name, step in steps.items()}
    for name, each in found.items():
        seconds, megabytes = (median(values) for values in zip(*each, strict=True))
        print(f"{name:24} {seconds:6.1f} s {megabytes:8,.0f} MB")


if __name__ == "__main__":
    main()
