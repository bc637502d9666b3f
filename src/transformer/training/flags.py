"""What the command line of a training says: a new run, or which one to resume, with what settings.

The line is read twice. The first time tells which run or preset is meant; the second time has
its values as the defaults, so that every flag that is given wins.
"""

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

import tyro

from transformer.data.bpe import count_ids
from transformer.data.tokenizer import load_tokenizer
from transformer.errors import UserError
from transformer.machine.bounds import flag
from transformer.machine.processes import SINGLE, Processes
from transformer.machine.saved_values import read_saved
from transformer.runs.find import find, find_group, find_model_file
from transformer.runs.model_file import read_header
from transformer.runs.run_folder import RunFolder
from transformer.terminal.command_line import parse_flags
from transformer.training.config import (
    DataFlags,
    LadderFlags,
    LearningFlags,
    MachineFlags,
    ModelFlags,
    RecordFlags,
    TrainingConfig,
    YourFlags,
    config_from_json,
    on_rung,
    preset,
)
from transformer.training.fine_tuning import checked, fine_tuned, read_origin

MAY_CHANGE = {
    *("device", "mps", "workers", "cache_dir", "hub_endpoint", "max_cached_shards", "text"),
    *("eval_every", "checkpoint_every", "keep", "patience", "epochs", "steps"),
    *("parallel", "tensorboard", "mine", "film"),
}
"""What a resumed run may be told again; everything else would make it another run."""

HUBS = ("repo", "path", "revision", "hub_endpoint", "max_cached_shards", "workers")
UNUSED = {"toy": (*HUBS, "text_column", "cache_dir", "quick"), "text": HUBS, "fineweb": ()}
"""Flags that say nothing about a data set."""

HELP_FLAGS = ("-h", "--help")
EXAMPLES = """
Examples:
  uv run python commands/train.py --dataset toy
  uv run python commands/train.py --dataset text --text notes/ --tokenizer bpe:2000
  uv run python commands/train.py --quick --name small --batch-size 4 --accumulation-steps 32
  uv run python commands/train.py --from runs/toy-1 --dataset text --text notes/
  uv run python commands/train.py --resume runs/small --epochs 20"""


@dataclass(frozen=True)
class RunFlags:
    """Which run."""

    name: str | None = None
    """Name of the run: the folder in --runs-dir. Without it, DATASET-1, DATASET-2, ..."""
    runs_dir: Path = Path("runs")
    """Where runs are kept."""
    resume: tuple[Path, ...] | None = None
    """Continue a run or a checkpoint; without a path the run of --name, else the newest run."""
    from_model: Annotated[Path | None, tyro.conf.arg(name="from", metavar="MODEL")] = None
    """Begin with the weights, variant, sizes and tokenizer of a run or an imported model (a run
    folder, a checkpoint folder or a .safetensors file)."""
    overwrite: bool = False
    """Replace a run of the same name."""
    new_schedule: bool = False
    """When resuming with more --epochs or --steps: spread the learning rate over all of them
    instead of keeping it at its lowest value."""

    def model_file(self) -> Path | None:
        """The file that --from means.

        Raises:
            UserError: there is none, or this run would replace it.
        """
        if self.from_model is None:
            return None
        file = find_model_file(self.from_model, self.runs_dir)
        replaced = self.name is not None and (self.runs_dir / self.name).resolve()
        if replaced and file.resolve().is_relative_to(replaced):
            raise UserError(
                f"--from {self.from_model} is in the run {self.name} that this one would replace; "
                "choose another --name"
            )
        return file


@dataclass(frozen=True)
class Flags:
    """Train a transformer on stories, on your own text or on FineWeb."""

    run: RunFlags = field(default_factory=RunFlags)
    data: DataFlags = field(default_factory=DataFlags)
    model: ModelFlags = field(default_factory=ModelFlags)
    ladder: LadderFlags = field(default_factory=LadderFlags)
    yours: YourFlags = field(default_factory=YourFlags)
    training: LearningFlags = field(default_factory=LearningFlags)
    record: RecordFlags = field(default_factory=RecordFlags)
    machine: MachineFlags = field(default_factory=MachineFlags)

    def __post_init__(self) -> None:
        _ = self.config  # a wrong value is found while the line is read

    @classmethod
    def of(cls, config: TrainingConfig) -> "Flags":
        """Flags whose defaults are those of `config`."""
        return cls(
            data=config.group(DataFlags),
            model=config.group(ModelFlags),
            ladder=config.group(LadderFlags),
            yours=config.group(YourFlags),
            training=config.group(LearningFlags),
            record=config.group(RecordFlags),
            machine=config.group(MachineFlags),
        )

    @cached_property
    def config(self) -> TrainingConfig:
        """All but the run.

        Raises:
            UserError: a value is impossible, or two contradict each other.
        """
        model = (self.model, self.ladder, self.yours)
        groups = (self.data, *model, self.training, self.record, self.machine)
        return TrainingConfig(**{name: v for group in groups for name, v in vars(group).items()})


def parse(
    args: list[str], processes: Processes = SINGLE
) -> tuple[Flags, RunFolder | None, Path | None]:
    """Read the command line twice: to learn which run or preset is meant, and then with its
    values as the defaults, so that every explicit flag wins (and --help shows them). Processes
    that torchrun has started again continue the run that they were training."""
    first = _read(args, TrainingConfig())
    check_run_flags(first.run)
    folder, checkpoint = None, None
    if processes.restarts:
        folder = find_group(first.run.runs_dir, processes.group)
    if folder is None and first.run.resume is not None:
        path = first.run.resume[0] if first.run.resume else None
        folder, checkpoint = find(first.run.runs_dir, first.run.name, path)
    model = None
    if folder is not None:
        defaults = saved_config(folder)
        if first.config.mps:
            defaults = replace(defaults, device="auto")  # mps says where, from now on
    else:
        model = first.run.model_file()
        defaults = _defaults(args, first.config, model)
    markers = (tyro.conf.OmitArgPrefixes,)
    flags = parse_flags(
        Flags, args=args, config=markers, default=Flags.of(defaults), epilogue=epilogue()
    )
    if folder is not None:
        check_resumable(defaults, flags.config)
    check_used(defaults, flags.config)
    if model is not None:
        config = checked(defaults, flags.config, load_tokenizer(model))
        flags = replace(Flags.of(config), run=replace(flags.run, from_model=model))
    return flags, folder, checkpoint


def _read(args: list[str], defaults: TrainingConfig) -> Flags:
    """The flags, without showing help."""
    asked = [arg for arg in args if arg not in HELP_FLAGS]
    markers = (tyro.conf.OmitArgPrefixes,)
    return parse_flags(Flags, args=asked, config=markers, default=Flags.of(defaults))


def _defaults(args: list[str], wanted: TrainingConfig, model: Path | None) -> TrainingConfig:
    """Those of the preset, climbed to the rung (which depends on the size of the vocabulary), and
    what they become for a training that begins with a model."""
    base = preset(wanted)
    shape = None if model is None else read_header(model)[0]
    if wanted.rung != "classic":
        ids = shape.vocab_size if shape else count_ids(_read(args, base).config.tokenizer)
        base = on_rung(base, wanted.rung, ids)
    return base if model is None or shape is None else fine_tuned(base, shape, read_origin(model))


def epilogue() -> str:
    """The end of --help: what differs between the presets, and examples."""
    presets = {
        "fineweb": preset(TrainingConfig()),
        "--quick": preset(TrainingConfig(quick=True)),
        "text": preset(TrainingConfig(dataset="text")),
        "toy": preset(TrainingConfig(dataset="toy")),
    }
    names = [field.name for field in fields(TrainingConfig)]
    rows = {name: [str(getattr(p, name)) for p in presets.values()] for name in names}
    lines = [
        f"  {flag(name):20}" + "".join(f"{value:>12}" for value in values)
        for name, values in rows.items()
        if len(set(values)) > 1 and name not in ("dataset", "quick")
    ]
    head = " " * 22 + "".join(f"{name:>12}" for name in presets)
    return "\n".join(["Defaults that depend on --dataset and --quick:", head, *lines, EXAMPLES])


def check_run_flags(run: RunFlags) -> None:
    """
    Raises:
        UserError: flags that contradict each other.
    """
    if run.resume is None and run.new_schedule:
        raise UserError("--new-schedule goes with --resume: a new run has a new schedule anyway")
    if run.resume is None:
        return
    if run.from_model is not None:
        raise UserError(
            "--resume continues a run with its own weights, --from begins a new one with those of "
            "a model: leave out one of them"
        )
    if run.overwrite:
        raise UserError("--resume continues a run, --overwrite replaces it: give one of them")
    if len(run.resume) > 1:
        paths = ", ".join(map(str, run.resume))
        raise UserError(f"--resume takes one run or checkpoint, but got {paths}")
    if run.resume and run.name is not None:
        raise UserError(f"--resume {run.resume[0]} names the run; leave out --name {run.name}")


def saved_config(folder: RunFolder) -> TrainingConfig:
    """The configuration of a run, what `auto` chose included."""
    return config_from_json(read_saved(folder.config).section("training"))


def check_used(defaults: TrainingConfig, given: TrainingConfig) -> None:
    """
    Raises:
        UserError: a flag was given that means nothing with this data set or beside the others.
    """
    for name in UNUSED[given.dataset]:
        if getattr(given, name) != getattr(defaults, name):
            raise UserError(
                f"{flag(name)} {getattr(given, name)} says nothing about --dataset "
                f"{given.dataset}: leave it out"
            )
    needs = {
        "unjudged": (given.mine is not None, "--mine"),
        "position_scale": (given.positions == "sinusoidal", "--positions sinusoidal"),
        "rotary_base": (given.positions == "rotary", "--positions rotary"),
        "qk_scale": (given.qk_norm != "none", "--qk-norm plain or gain"),
    }
    for name, (is_used, needed) in needs.items():
        if not is_used and getattr(given, name) != getattr(defaults, name):
            raise UserError(f"{flag(name)} says nothing without {needed}: leave it out")
    if given.steps is not None and given.epochs != defaults.epochs:
        raise UserError(
            f"--epochs {given.epochs} would change nothing: --steps {given.steps} says how long "
            "this run trains; give --steps alone"
        )


def check_resumable(saved: TrainingConfig, given: TrainingConfig) -> None:
    """
    Raises:
        UserError: `given` differs from `saved` in what must stay; shows both values.
    """
    differing = [
        f"{flag(field.name)} {getattr(given, field.name)} (the run has "
        f"{getattr(saved, field.name)})"
        for field in fields(TrainingConfig)
        if field.name not in MAY_CHANGE and getattr(saved, field.name) != getattr(given, field.name)
    ]
    if differing:
        raise UserError(
            f"a resumed run keeps its settings, but got {', '.join(differing)}; "
            "leave these flags out, or start a new run"
        )
