"""Open a published model: GPT-2, Llama and its like (SmolLM2), Qwen3, nanochat.

uv run python commands/import_hf.py openai-community/gpt2
uv run python commands/import_hf.py HuggingFaceTB/SmolLM2-135M --output runs/smol
uv run python commands/import_hf.py a/folder/with/config.json
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from transformer.ladder.describe import describe
from transformer.sharing.download import download
from transformer.sharing.import_model import check_output, import_model
from transformer.terminal.command_line import run


@dataclass(frozen=True)
class Arguments:
    model: tyro.conf.Positional[str]
    """OWNER/NAME on the Hugging Face hub, or a folder with such files; a folder wins."""
    output: Path | None = None
    """The folder to write; runs/NAME without it."""
    seq_length: int | None = None
    """Positions that the model shall look at; without it as many as it has, at most 2,048."""
    revision: str = "main"
    """Branch, tag or commit on the hub."""
    hub_endpoint: str | None = None
    """Another hub than the public one."""


def main(args: Annotated[Arguments, tyro.conf.arg(name="")]) -> int:
    """Write a run folder that every command here opens, with the logits of the original."""
    folder = Path(args.model)
    here = folder.is_dir()
    name = folder.resolve().name
    output = args.output or Path("runs") / name
    check_output(output)
    if not here:
        folder = download(args.model, args.revision, args.hub_endpoint)
    found = import_model(
        folder,
        output,
        seq_length=args.seq_length,
        source=str(folder) if here else args.model,
        name=name,
    )
    print(f"{name} ({found.architecture}): {describe(found.config, found.parameters)}.")
    if found.rows:
        print(f"Left out: {found.rows:,} rows of its tables that are no token.")
    quoted = shlex.quote(str(output))
    print(f"It is in {output}. Next:")
    print(f'  uv run python commands/generate.py {quoted} --prompt "Once upon a time"')
    print(f"  uv run python commands/interpret.py induction {quoted}")
    return 0


if __name__ == "__main__":
    run(main)
