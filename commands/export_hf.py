"""Export a model for the `transformers` library, and whatever reads its folders.

uv run python commands/export_hf.py runs/quick --output exported
>>> pipeline("text-generation", "exported")("Once there was")
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from transformer.sharing.hugging_face import check_target, export_model
from transformer.sharing.model_card import model_card
from transformer.terminal.command_line import RunArguments, run


@dataclass(frozen=True)
class Arguments(RunArguments):
    output: Path = Path("exported")
    """The folder to write."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> None:
    """Write the model, its tokenizer and a model card, as other programs read them."""
    check_target(args.output)
    loaded = args.load()
    card = model_card(loaded, args.output.resolve().name, args.output)
    family = export_model(loaded.model, loaded.tokenizer, args.output, card)
    print(
        f"{loaded.path}, step {loaded.step} -> {args.output}: a {family.architecture} with its "
        f"tokenizer. Try it with:\n"
        f'  transformers.pipeline("text-generation", "{args.output}")'
    )


if __name__ == "__main__":
    run(main)
