"""A measurement of the ladder: the same data in the same order for every rung, and several seeds.

    rungs × seeds ─▶ trainings ─▶ rows (JSON, kept) ─▶ table and picture

All rungs see the same tokens in the same order; only what the rung changes differs, and its
learning rate, which rates.py looks for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from transformer.data.bpe import count_ids
from transformer.errors import UserError
from transformer.ladder.rungs import LARGEST_TABLE, RUNGS, changes, is_too_large, path_to
from transformer.machine.device import Switch
from transformer.training.config import TOY, TrainingConfig, preset

AS_TOY = (
    *("d_model", "n_heads", "n_layers", "d_ff", "dropout"),
    *("tokenizer", "accumulation_steps", "learning_rate"),
)
NOVELS = replace(
    preset(TrainingConfig(dataset="text")),
    **{name: getattr(TOY, name) for name in AS_TOY},
    seq_length=128,
    batch_size=32,
    eval_tokens=32_768,
)
"""What a text is trained with: 0.9 million parameters, as on toy stories."""
RATES = ("learning_rate", "matrix_learning_rate")
START = 30.0  # seconds that a training takes to start and to compile
EVALUATIONS = 16  # in each training, or a few more: also at the end of an epoch
TUNING_SEED = 1000  # of the trainings that only look for a rate

Dataset = Literal["toy", "text"]


@dataclass(frozen=True)
class Training:
    """One training of a study.

    Attributes:
        rung: the last of `path`.
        factor: of the learning rates that the rung has by itself.
    """

    path: tuple[str, ...]
    seed: int = 0
    steps: int = 1
    factor: float = 1.0

    @property
    def name(self) -> str:
        """Its folder.

        >>> Training(("classic", "learned", "schedule", "rotary"), seed=2, steps=600).name
        'rotary-600-seed2'
        >>> Training(("classic", "rotary"), seed=2, steps=600).name
        'classic+rotary-600-seed2'
        """
        rate = "" if self.factor == 1.0 else f"-x{self.factor:g}"
        rungs = self.rung if self.is_usual else "+".join(self.path)
        return f"{rungs}-{self.steps}-seed{self.seed}{rate}"

    @property
    def rung(self) -> str:
        return self.path[-1]

    @property
    def is_usual(self) -> bool:
        """Whether `train.py --rung` would climb so."""
        return list(self.path) == path_to(self.rung)


@dataclass(frozen=True)
class Study:
    """What is measured, and on what.

    Attributes:
        in_order: each rung stands on those named before it, not on its place in the ladder.

    Raises:
        UserError: a text without files, too few tokens, or a rung that is unknown or too large.
    """

    dataset: Dataset
    text: tuple[Path, ...]
    tokens: int
    seeds: int
    rungs: tuple[str, ...]
    tokenizer: str
    compile: Switch = "auto"
    in_order: bool = False

    def __post_init__(self) -> None:
        if (self.dataset == "text") != bool(self.text):
            raise UserError("--dataset text needs --text PATH, and only that takes it")
        if unknown := [rung for rung in self.rungs if rung not in RUNGS]:
            raise UserError(f"there is no rung {unknown[0]}; there are {', '.join(RUNGS)}")
        ids = count_ids(self.base.tokenizer)
        if large := [rung for rung in self.rungs if is_too_large(rung, ids)]:
            raise UserError(
                f"rung {large[0]} has a table of its own, which is left out above "
                f"{LARGEST_TABLE:,} tokens; {self.tokenizer} has {ids:,}"
            )
        if self.in_order and (
            self.rungs[:1] != ("classic",) or len(set(self.rungs)) < len(self.rungs)
        ):
            raise UserError("--in-order needs --rungs that begin with classic, each one once")
        if self.seeds < 1:
            raise UserError(f"--seeds must be at least 1, but is {self.seeds}")
        if self.tokens < EVALUATIONS * self.base.tokens_per_step:
            least = EVALUATIONS * self.base.tokens_per_step
            raise UserError(f"--tokens must be at least {least:,}, but is {self.tokens:,}")

    @property
    def base(self) -> TrainingConfig:
        """What the classic model is trained with."""
        if self.dataset == "toy":
            return TOY
        return replace(NOVELS, text=self.text, tokenizer=self.tokenizer)

    @property
    def steps(self) -> int:
        return self.tokens // self.base.tokens_per_step

    def path(self, rung: str) -> tuple[str, ...]:
        """The rungs up to this one."""
        if self.in_order:
            return self.rungs[: self.rungs.index(rung) + 1]
        return tuple(path_to(rung))

    def before(self, rung: str) -> str | None:
        """The rung below it, among those that are measured."""
        below = [each for each in self.path(rung)[:-1] if each in self.rungs]
        return below[-1] if below else None

    def trainings(self, factors: dict[str, float]) -> list[Training]:
        """Seed after seed, so that a measurement that is stopped early has all rungs."""
        return [
            Training(self.path(rung), seed, self.steps, factors.get(rung, 1.0))
            for seed in range(self.seeds)
            for rung in self.rungs
        ]

    def config(self, training: Training) -> TrainingConfig:
        """What the training's rung makes of the base."""
        vocab_size = count_ids(self.base.tokenizer)
        path = [each for each in training.path if not is_too_large(each, vocab_size)]
        rung = training.rung if training.is_usual else "classic"
        config = replace(self.base, rung=rung, **changes(path, vars(self.base)))  # type: ignore[arg-type]
        rates = {name: float(f"{getattr(config, name) * training.factor:.6g}") for name in RATES}
        return replace(config, seed=training.seed, steps=training.steps, **rates)  # type: ignore[arg-type]

    def flags(self, training: Training) -> list[str]:
        """For commands/train.py."""
        config = self.config(training)
        every = max(1, training.steps // EVALUATIONS)
        values: dict[str, Any] = {
            "dataset": self.dataset,
            "rung": config.rung,
            "seed": training.seed,
            "steps": training.steps,
            "eval-every": every,
            "checkpoint-every": 4 * every,
            "keep": 1,
            "compile": self.compile,
            "name": training.name,
            **{name.replace("_", "-"): getattr(config, name) for name in RATES},
        }
        flags = [part for name, value in values.items() for part in (f"--{name}", str(value))]
        if not training.is_usual:
            flags += _flags(changes(training.path, vars(self.base)), config)
        if self.dataset == "toy":
            return flags
        for name in ("d_model", "n_layers", "d_ff", "seq_length", "dropout", "batch_size"):
            flags += [f"--{name.replace('_', '-')}", str(getattr(config, name))]
        flags += ["--accumulation-steps", "1", "--eval-tokens", str(NOVELS.eval_tokens)]
        return [*flags, "--tokenizer", self.tokenizer, "--text", *map(str, self.text)]


def _flags(names: Iterable[str], config: TrainingConfig) -> list[str]:
    """Each value of `config` as train.py takes it, but the rates, which are always there."""
    flags: list[str] = []
    for name in names:
        value, flag = getattr(config, name), name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif name not in RATES:
            flags += [f"--{flag}", str(value)]
    return flags


def fitting_tokens(study: Study, seconds: Mapping[str, float], minutes: float, tune: bool) -> int:
    """Tokens for each training with which all of them take about so long.

    A training is more than its steps: it starts, compiles and validates. That is taken to be
    `START` seconds and a fifth of the steps' time. The three of a rung that look for its rate have
    half the steps.
    """
    each, whole = (study.seeds + 3, study.seeds + 1.5) if tune else (study.seeds, study.seeds)
    left = 60 * minutes - START * each * len(study.rungs)
    steps = left / (1.2 * whole * sum(seconds[rung] for rung in study.rungs))
    if steps < EVALUATIONS:
        least = START * each * len(study.rungs) / 60
        raise UserError(
            f"--minutes {minutes:g} is too little for {each * len(study.rungs)} trainings, which "
            f"take about {least:.0f} minutes to start: ask for more, or fewer --rungs or --seeds"
        )
    return int(steps) * study.base.tokens_per_step


def climbed_rungs(last: str, vocab_size: int) -> tuple[str, ...]:
    """The rungs up to `last` that a vocabulary of this size allows.

    >>> climbed_rungs("rotary", 1024)
    ('classic', 'learned', 'schedule', 'rotary')
    """
    return tuple(rung for rung in path_to(last) if not is_too_large(rung, vocab_size))
