"""What surrounds the parts of a training run: its flags, its folder, its machine, its past.

flags ──▶ machine ──▶ folder, locked ──▶ Run ──▶ data, model, optimiser … in commands/train.py
                        ▲
                        └── resumed: config.json is read first, before anything is built
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from transformer.data.batch import BatchSource
from transformer.data.tokenizer import load_tokenizer
from transformer.errors import UserError
from transformer.loss import LossModule
from transformer.machine.device import Machine, choose_machine
from transformer.machine.processes import SINGLE, Processes, from_environment, joined
from transformer.machine.saved_values import read_saved
from transformer.model import DecoderOnlyTransformer
from transformer.runs.checkpoint import Checkpoints
from transformer.runs.metrics import board_writer
from transformer.runs.model_file import read_model_file
from transformer.runs.run_folder import RunFolder
from transformer.terminal.progress import Reporter
from transformer.training import new_run
from transformer.training.config import TrainingConfig
from transformer.training.data_sources import open_source
from transformer.training.fine_tuning import Origin, read_origin, saved_origin
from transformer.training.flags import Flags, parse
from transformer.training.memory import check_training
from transformer.training.mine import NOTHING, Mine
from transformer.training.mine_folder import check_same_files, load_mine
from transformer.training.parallel import wrap_parallel
from transformer.training.scheduler import Plan


@dataclass(frozen=True)
class Run:
    """A run whose folder is open."""

    config: TrainingConfig
    """What to train, every "auto" replaced by what was chosen."""
    machine: Machine
    folder: RunFolder
    processes: Processes = SINGLE
    is_resumed: bool = False
    checkpoint: Path | None = None
    """The one that --resume names; without it, a resumed run takes the newest."""
    new_schedule: bool = False
    notes: tuple[str, ...] = ()
    mine: Mine = NOTHING
    """The learner's own parts."""
    origin: Origin | None = None
    """The model that it began with (--from)."""
    reporter: Reporter = field(default_factory=Reporter)

    @property
    def device(self) -> torch.device:
        return self.machine.torch_device(self.processes.local_rank)

    @property
    def begins_with(self) -> Path | None:
        """The file whose weights the model gets; a run that has a checkpoint needs none."""
        if self.origin is None or (Checkpoints(self.folder.path).steps() and self.is_resumed):
            return None
        return self.origin.path

    def open_data(self) -> BatchSource:
        """The data set and its tokenizer. Of the run's folder only the tokenizer is written: in a
        resumed run under its own name (if it has none), in a new run aside.

        Raises:
            UserError: no such data; it cannot fit into memory; an --accumulation-steps that the
                processes cannot share.
        """
        config, world_size = self.config, self.processes.world_size
        if config.accumulation_steps % world_size:
            raise UserError(
                f"--accumulation-steps {config.accumulation_steps} counts the micro-batches of all "
                f"processes, so it must be divisible by their number, {world_size}"
            )
        check_training(config, self.device, processes=world_size)
        tokenizer_file = self.folder.tokenizer if self.is_resumed else self.folder.new_tokenizer
        with self.processes.main_first():
            if self.origin is not None and not tokenizer_file.exists():
                load_tokenizer(self.origin.path).save(tokenizer_file)
            source = open_source(config, tokenizer_file, self.reporter.notice)
        check_training(config, self.device, source.tokenizer.vocab_size, world_size)
        return source

    def place(self, model: DecoderOnlyTransformer) -> nn.Module:
        """`model` on its device, as a module whose call is the loss, and an exchange of gradients
        with the other processes."""
        machine = self.machine
        loss_module = LossModule(
            model.to(self.device), bf16=machine.bf16, compiled=machine.compiled
        )
        return wrap_parallel(loss_module, self.config.parallel, self.processes)

    def plan(self, source: BatchSource) -> Plan:
        """How many steps; a resumed run keeps its learning rates unless told otherwise."""
        kept = None
        if self.is_resumed and not self.new_schedule:
            saved_plan = read_saved(self.folder.config).section("plan")
            kept = saved_plan.take("schedule_steps", int, least=1)
        return make_plan(self.config, source, kept)


def agreed(machine: Machine, processes: Processes) -> Machine:
    """bf16 and compilation only where all processes chose them: each has measured for itself."""
    bf16, compiled = (not processes.any(not each) for each in (machine.bf16, machine.compiled))
    return replace(machine, bf16=bf16, compiled=compiled)


@contextmanager
def opened_run(args: list[str]) -> Iterator[Run]:
    """The run that the command line means: a new one, or the one that is resumed.

    Its folder is locked, its processes have found each other, and its device is chosen. An older
    run in the folder is as it was.

    Raises:
        UserError: flags that contradict each other; a device, package or run that is not there.
    """
    processes = from_environment()
    flags, resumed, checkpoint = parse(args, processes)
    wanted = flags.config
    wanted.check_data()
    if wanted.tensorboard and processes.is_main:
        board_writer()  # now, and not when an older run is deleted
    if processes.is_main and "auto" in (wanted.precision, wanted.compile):
        print("Measuring what is fastest here: precision, compilation …", flush=True)
    device = "mps" if wanted.mps else wanted.device
    machine = choose_machine(device, wanted.precision, wanted.compile)
    with (
        joined(processes, machine.torch_device(processes.local_rank)),
        opened_folder(flags, resumed, processes) as folder,
    ):
        machine = agreed(machine, processes)
        config = settled(wanted, machine)
        notes: tuple[str, ...] = ()
        if config.compile == "off" and wanted.compile == "on":
            notes = ("torch.compile does not work here: training without it",)
        mine, origin = load_mine(config, processes.world_size), None
        if resumed is not None:
            saved = read_saved(resumed.config).take("yours", dict, default={})
            check_same_files(mine, saved, config.mine)
            origin = saved_origin(resumed.config)
        elif flags.run.from_model is not None:
            origin = read_origin(flags.run.from_model)
        yield Run(
            config,
            machine,
            folder,
            processes,
            is_resumed=resumed is not None,
            checkpoint=checkpoint,
            new_schedule=flags.run.new_schedule,
            notes=notes,
            mine=mine,
            origin=origin,
            reporter=Reporter(speaks=processes.is_main),
        )


def settled(config: TrainingConfig, machine: Machine) -> TrainingConfig:
    """`config` with every `auto` replaced by what was chosen."""
    return replace(
        config,
        device=machine.device,
        mps=False,
        precision="bf16" if machine.bf16 else "fp32",
        compile="on" if machine.compiled else "off",
    )


@contextmanager
def opened_folder(
    flags: Flags, resumed: RunFolder | None, processes: Processes
) -> Iterator[RunFolder]:
    """The folder of the run, locked by rank 0: of the one that is resumed, or of a new one."""
    if resumed is not None:
        if processes.is_main:
            with resumed.lock():
                yield resumed
        else:
            yield resumed
    elif processes.is_main:
        run = flags.run
        named = (run.runs_dir, run.name, flags.config.dataset, run.overwrite)
        with new_run.new_folder(*named) as folder:
            processes.share(str(folder.path))
            yield folder
    else:
        yield RunFolder(Path(processes.share("")))


def make_plan(
    config: TrainingConfig, source: BatchSource, schedule_steps: int | None = None
) -> Plan:
    """Steps of an epoch and of the whole run; `schedule_steps` is that of a resumed run.

    Raises:
        UserError: an epoch is one pass, but its length is unknown.
    """
    tokens = config.tokens_per_epoch or source.tokens_per_epoch
    if tokens is None:
        raise UserError(
            f"--tokens-per-epoch None means one pass, but nobody knows how many tokens one pass of "
            f"--dataset {config.dataset} has; give a number, such as 100000000"
        )
    steps_per_epoch = -(-tokens // config.tokens_per_step)
    total = config.steps or config.epochs * steps_per_epoch
    return Plan(steps_per_epoch, total, schedule_steps or total)


def initial_model(
    config: TrainingConfig,
    vocab_size: int,
    mine: Mine = NOTHING,
    begins_with: Path | None = None,
) -> DecoderOnlyTransformer:
    """A fresh model; the same seed gives the same weights. Or one with the weights of a file."""
    torch.manual_seed(config.seed)
    model = mine.model(config.model(vocab_size))
    if begins_with is not None:
        model.load_state_dict(read_model_file(begins_with).model.state_dict())
    return model
