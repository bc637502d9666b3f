"""Export a trained model for the `transformers` library, in the shape of GPT-2.

uv run python commands/export_hf.py runs/quick --output exported
>>> GPT2LMHeadModel.from_pretrained("exported")
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from transformer.sharing.hugging_face import check_target, export_gpt2
from transformer.terminal.command_line import RunArguments, run


@dataclass(frozen=True)
class Arguments(RunArguments):
    output: Path = Path("exported")
    """The folder to write."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Write a GPT-2 checkpoint with the same logits."""
    check_target(args.output)
    loaded = args.load()
    export_gpt2(loaded.model, loaded.tokenizer.end_of_text, args.output)
    print(f"{loaded.path}, step {loaded.step} -> {args.output}/model.safetensors, config.json")


if __name__ == "__main__":
    run(main)
