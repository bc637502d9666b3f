"""Export a trained model as an ONNX graph with the cache as inputs and outputs.

uv sync --extra onnx
uv run python commands/export_onnx.py runs/quick --output model.onnx
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from transformer.sharing.onnx import check_target, export_onnx
from transformer.terminal.command_line import RunArguments, run


@dataclass(frozen=True)
class Arguments(RunArguments):
    output: Path = Path("model.onnx")
    """The file to write."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Write the model as an ONNX graph."""
    check_target(args.output)
    loaded = args.load()
    export_onnx(loaded.model.float(), args.output)
    print(f"{loaded.path}, step {loaded.step} -> {args.output}")


if __name__ == "__main__":
    run(main)
