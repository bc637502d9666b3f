"""Export a trained model as an ONNX graph with the cache as inputs and outputs.

uv sync --extra onnx
uv run commands/export_onnx.py runs/quick --output model.onnx
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file
from transformer.sharing.onnx import check_target, export_onnx
from transformer.terminal.command_line import run


@dataclass(frozen=True)
class Arguments:
    run: Annotated[Path | None, tyro.conf.Positional] = None
    """A run folder, a checkpoint folder or a .safetensors file; without it, the newest run."""
    output: Path = Path("model.onnx")
    """The file to write."""
    runs_dir: Path = Path("runs")
    """Where runs are looked for."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Write the model as an ONNX graph."""
    check_target(args.output)
    loaded = read_model_file(find_model_file(args.run, args.runs_dir))
    export_onnx(loaded.model.float(), args.output)
    print(f"{loaded.path}, step {loaded.step} -> {args.output}")


if __name__ == "__main__":
    run(main)
