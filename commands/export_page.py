"""Write a trained model, samples and the curves of real runs as scripts of the page.

    uv run python commands/export_page.py runs/toy
    uv run python commands/export_page.py runs/toy --curves-of learning=runs/a overfitting=runs/b
    uv run python commands/export_page.py --film runs/small/film.safetensors
    uv run python commands/export_page.py --ladder runs/ladder/ladder.json

The model must be small (the toy preset is): it travels inside the page.
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

from contextlib import ExitStack
from pathlib import Path

from transformer.data.byte_pair_tokenizer import p50k_base
from transformer.errors import UserError
from transformer.machine.files import written_whole
from transformer.runs.find import find_model_file
from transformer.runs.model_file import read_model_file
from transformer.sharing.ladder_table import ladder_table
from transformer.sharing.page import curves, film_script, model_script, rank_pairs, samples, script
from transformer.terminal.command_line import run


def main(
    checkpoint: Path | None = None,
    /,
    output: Path = Path("page"),
    curves_of: tuple[str, ...] = (),
    film: Path | None = None,
    ladder: Path | None = None,
    name: str | None = None,
) -> None:
    """Put a trained model into the page.

    Args:
        checkpoint: a run, a checkpoint folder or a .safetensors file; without it, the newest run.
        output: the folder of the page's scripts.
        curves_of: NAME=RUN pairs: the runs that Step 7 shows, under the names it uses. Without
            any, the curves stay as they are.
        film: a film.safetensors of a small training (train.py --film), for visitors who have
            trained nothing.
        ladder: a ladder.json of commands/ladder.py: the table of Step 11. With --film or --ladder
            and no run, the model stays as it is.
        name: what the page calls the model; by default the name of its run.
    """
    if not output.is_dir():
        raise UserError(f"there is no folder {output}; run this in the repository")
    scripts = {}
    has_model = checkpoint is not None or (film is None and ladder is None)
    if name is not None and not has_model:
        raise UserError(f"--name {name} names a model, and none is written: give its run, too")
    if has_model:
        scripts |= model_scripts(checkpoint, name)
    if ladder is not None:
        scripts["ladder.data.js"] = script("ladderTable", ladder_table(ladder))
    if curves_of:
        scripts["curves.data.js"] = script("curves", curves(curves_of))
    if film is not None:
        scripts["film.data.js"] = film_script(film, film.resolve().parent.name)
    with ExitStack() as all_or_none:
        for file_name, text in scripts.items():
            temporary = all_or_none.enter_context(written_whole(output / file_name))
            temporary.write_text(text, encoding="ascii")
    for file_name, text in scripts.items():
        print(f"{output / file_name}  {len(text) / 1e6:.2f} MB")
    print("Open index.html in a browser.")


def model_scripts(checkpoint: Path | None, name: str | None) -> dict[str, str]:
    """The model, and what its figures need."""
    loaded = read_model_file(find_model_file(checkpoint))
    held_out = samples()
    return {
        "model.data.js": model_script(loaded, name or _run_name(loaded.path), held_out["prompt"]),
        "samples.data.js": script("samples", held_out),
        "p50k_base.data.js": script("p50kBase", rank_pairs(p50k_base())),
    }


def _run_name(path: Path) -> str:
    """runs/NAME/checkpoint-…/model.safetensors -> NAME."""
    folder = path.resolve().parent
    return folder.parent.name if folder.name.startswith("checkpoint-") else folder.name


if __name__ == "__main__":
    run(main)
