"""Which run is meant? From what a person types to a folder or a file.

    find_model_file   RUN of commands that use a model: its .safetensors file
    find              --resume: the run to continue, and the checkpoint in it
    find_group        torchrun's restart: the run that these processes were training
    find_runs         names for a comparison: their folders

Without a name, the newest is meant. If there is none, the error says where it was looked for.
"""

from pathlib import Path

from transformer.errors import UserError
from transformer.machine.saved_values import read_saved
from transformer.runs.model_file import FILE_NAME
from transformer.runs.run_folder import IMPORTED, RunFolder, check_name


def find_model_file(run: Path | None, runs_dir: Path = Path("runs")) -> Path:
    """The model file that a person means by RUN.

    A .safetensors file is itself, a checkpoint folder gives its model, a run folder its
    best checkpoint (its latest where none has been evaluated yet). A bare name is looked up in
    `runs_dir` too. None means the run in `runs_dir` that saved a checkpoint last, or the model
    that was imported last.

    Raises:
        UserError: there is none; the message says where it was looked for.
    """
    if run is None:
        return _in_folder(_newest_run(runs_dir))
    for candidate in (run, runs_dir / run):
        if candidate.is_file():
            return candidate
        if candidate.is_dir():
            return _in_folder(candidate)
    raise UserError(f"there is no run, checkpoint folder or model file at {run}")


def _in_folder(folder: Path) -> Path:
    if (folder / FILE_NAME).is_file():
        return folder / FILE_NAME
    for pointer in ("best", "latest"):
        if (folder / pointer).is_file():
            name = (folder / pointer).read_text(encoding="utf-8", errors="replace").strip()
            checkpoint = folder / Path(name).name  # never outside the run's folder
            if checkpoint.name != ".." and (checkpoint / FILE_NAME).is_file():
                return checkpoint / FILE_NAME
    raise UserError(f"{folder} holds no checkpoint yet (no best, latest or {FILE_NAME})")


def _newest_run(runs_dir: Path) -> Path:
    names = ("latest", IMPORTED)  # of a run; of an imported model
    pointers = [path for name in names for path in runs_dir.glob(f"*/{name}") if path.is_file()]
    if not pointers:
        raise UserError(
            f"there is no trained model in {runs_dir}; train one first, "
            "for example: uv run python commands/train.py --dataset toy"
        )
    return max(pointers, key=lambda path: path.stat().st_mtime_ns).parent


def find(runs_dir: Path, name: str | None, resume: Path | None) -> tuple[RunFolder, Path | None]:
    """The run to resume, and the checkpoint in it if one was named.

    Raises:
        UserError: there is none.
    """
    if resume is not None:
        for path in (resume, runs_dir / resume):
            if (path / "training_state.json").is_file():
                path = path if path.name else path.resolve()
                return RunFolder(path.parent), path
            _check_is_no_model(path)
            if (path / "config.json").is_file():
                return RunFolder(path), None
        raise UserError(f"--resume {resume}: no run and no checkpoint there")
    if name is not None:
        check_name(name)
        _check_is_no_model(runs_dir / name)
        if not (runs_dir / name / "config.json").is_file():
            raise UserError(f"there is no run {name} in {runs_dir} to resume")
        return RunFolder(runs_dir / name), None
    configs = runs_dir.glob("*/config.json")
    runs = sorted((path for path in configs if not _is_model(path.parent)), key=_last_used)
    if not runs:
        for model in runs_dir.glob(f"*/{FILE_NAME}"):
            _check_is_no_model(model.parent)
        raise UserError(f"--resume: there is no run in {runs_dir} yet")
    return RunFolder(runs[-1].parent), None


def _is_model(path: Path) -> bool:
    """Weights without a training: imported, or copied. (A run keeps its own in checkpoints.)"""
    if path.is_file():
        return path.suffix == ".safetensors"
    return (path / FILE_NAME).is_file() and not (path / "latest").exists()


def _check_is_no_model(path: Path) -> None:
    if _is_model(path):
        raise UserError(
            f"{path} is a model without a training that could continue; start a new one from its "
            f"weights: --from {path}"
        )


def find_group(runs_dir: Path, group: str) -> RunFolder | None:
    """The run that a group of processes was training when torchrun restarted it."""
    runs = [config for config in runs_dir.glob("*/config.json") if _group(config) == group]
    return RunFolder(max(runs, key=_last_used).parent) if runs else None


def _group(config: Path) -> str | None:
    try:
        return read_saved(config).take("group", str)
    except UserError:
        return None  # a damaged run is not the one that was being trained


def _last_used(config: Path) -> float:
    files = (config, config.with_name("latest"), config.with_name("metrics.jsonl"))
    return max(file.stat().st_mtime for file in files if file.exists())


def find_runs(runs_dir: Path, names: tuple[str, ...] = ()) -> list[Path]:
    """The named run folders, or all of `runs_dir`.

    Raises:
        UserError: one is not there, or there is none at all.
    """
    if not names:
        all_runs = sorted(path.parent for path in runs_dir.glob("*/config.json"))
        if not all_runs:
            raise UserError(f"there is no run in {runs_dir}: train one, or give --runs-dir")
        return all_runs
    found = []
    for name in names:
        places = [path for path in (runs_dir / name, Path(name)) if (path / "config.json").exists()]
        if not places:
            raise UserError(f"there is no run {name} in {runs_dir}")
        found.append(places[0])
    return found
