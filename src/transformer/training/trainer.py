"""The training loop: one optimiser step after the other, and what happens between them.

    ┌▶ step       N micro-batches ─▶ gradient ─▶ clip ─▶ update      a line in metrics.jsonl
    │  evaluate   every --eval-every steps and at the end of each epoch
    │  film       a frame, at the steps that --film chose
    │  save       every --checkpoint-every steps, and whenever validation is better than ever
    └─ stop?      all steps done, out of patience, Ctrl-C, SIGTERM

Everything that the loop needs to know is in a checkpoint or follows from metrics.jsonl (cut back
to the checkpoint's step), so a killed run resumes and ends bit-identical to one that was never
interrupted, if the machine, its threads, PyTorch, precision, compilation and the number of
processes are the same.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from typing import Any

from torch import nn
from torch.optim import Optimizer

from transformer.data.batch import Batch, BatchSource, State, check_same_data
from transformer.errors import UserError
from transformer.evaluation.validation import validation_loss
from transformer.interpretability.songs import song_induction_score
from transformer.machine.device import sent
from transformer.machine.interruptions import StopRequest
from transformer.model import DecoderOnlyTransformer
from transformer.runs import metrics, samples
from transformer.runs.checkpoint import Checkpoints, Snapshot, restore, take_snapshot
from transformer.runs.curves import draw_curves
from transformer.runs.metrics import History, MetricsLog, Record, finite, read_metrics
from transformer.terminal.progress import describe
from transformer.training.filming import Filming
from transformer.training.optimizer import prepare
from transformer.training.parallel import seed_dropout
from transformer.training.scheduler import Plan
from transformer.training.start import Run
from transformer.training_utils import StepResult, perplexity, training_status

CURVES_EVERY = 30.0  # seconds, at least, between two drawings of curves.png
MOST_SKIPPED = 3  # steps in a row that are not finite, after which training stops


class DivergenceError(UserError):
    """The weights are spoiled, and would be again: continuing does not help."""


class Trainer:
    """Trains `model` and keeps the run's folder.

    Args:
        loss_module: the module around `model` whose call is the loss, on its device and,
            under several processes, wrapped by DDP or FSDP.
        schedule: the learning rate of each step.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        source: BatchSource,
        model: DecoderOnlyTransformer,
        loss_module: nn.Module,
        optimizer: Optimizer,
        schedule: Callable[[int], float],
    ) -> None:
        self.config, self.plan, self.source = run.config, plan, source
        self.model, self.loss_module = model, loss_module
        self.optimizer, self.schedule = optimizer, schedule
        self.folder, self.processes, self.reporter = run.folder, run.processes, run.reporter
        self.device = next(model.parameters()).device
        self.mine, self.origin = run.mine, run.origin
        own_steps = self.config.accumulation_steps // self.processes.world_size
        self.accumulator = self.mine.accumulator(
            loss_module, optimizer, own_steps, self.config.max_grad_norm, self.processes
        )
        self.checkpoints = Checkpoints(self.folder.path, self.config.keep, self.mine.hashes)
        self.film = Filming(run, plan)
        self.step = self.tokens = self.skipped = 0
        self.saved_step: int | None = None
        self.best: tuple[int | None, float | None] = None, None  # step and loss, if resumed
        self.source_state: State | None = None
        self.batches = self._open_batches()
        self._drawn_at = time.monotonic()

    def restore(self, snapshot: Snapshot, state: dict[str, Any]) -> None:
        """Continue from a checkpoint that `Checkpoints` has read.

        Raises:
            UserError: it does not fit this model or this data.
        """
        check_same_data("the checkpoint", state["source_fingerprint"], self.source.fingerprint)
        restore(self.model, self.optimizer, snapshot)
        self.step = self.saved_step = state["step"]
        self.tokens, self.skipped = state["tokens"], state["skipped"]
        self.best = state["best_step"], state.get("best_loss")
        self.source_state = state["source_state"]
        self.batches = self._open_batches()

    def _open_batches(self) -> Iterator[Batch]:
        size, rank, world = self.config.batch_size, self.processes.rank, self.processes.world_size
        return self.source.train_batches(
            batch_size=size, rank=rank, world_size=world, state=self.source_state
        )

    def train(self) -> str:
        """Train to the end, or until something stops it.

        Returns:
            Why it ended: "finished", "patience" or "interrupted".
        """
        is_main = self.processes.is_main
        if is_main:
            self.checkpoints.truncate_after(self.step)
            metrics.truncate_after(self.folder.metrics, self.step, self.reporter.say)
            samples.truncate_after(self.folder.samples, self.step)
        self.film.begin(self.step, self.model)
        self.processes.wait()
        self.reporter.begin(self.step, self.plan.total_steps)
        self.history = History(read_metrics(self.folder.metrics))
        self.history.trust(*self.best)
        if self.origin is not None and self.step == 0:
            self._save()  # the weights that it begins with: from now on the model is not needed
        with (
            StopRequest(speaks=is_main) as stop,
            self.reporter,
            closing(self._open_log()) as self.log,
        ):
            try:
                reason = self._loop(stop)
            finally:
                self.source.close()  # ends downloads
        if reason != "interrupted":
            self.film.finish(self.step, self.model, self.source.tokenizer)
        if is_main:
            self._draw()
        return reason

    def _open_log(self) -> MetricsLog:
        if not self.processes.is_main:
            return MetricsLog(None)
        board = self.folder.path / "tensorboard" if self.config.tensorboard else None
        return MetricsLog(self.folder.metrics, board, self.step)

    def _loop(self, stop: StopRequest) -> str:
        reason = "patience" if self._is_out_of_patience() else "finished"  # perhaps since before
        while self.step < self.plan.total_steps and reason == "finished":
            self._one_step()
            self.film.take(self.step, self.model)
            improved = self._is_time_to_evaluate() and self._evaluate()
            if self.processes.any(stop.requested or self.reporter.failure is not None):
                reason = "interrupted"
            elif self._is_out_of_patience():
                reason = "patience"
            elif not improved and self.step % self.config.checkpoint_every:
                continue
            self._save()
        self._save()
        if self.reporter.failure is not None:
            raise self.reporter.failure
        return reason

    def _next_batches(self) -> list[Batch]:
        """The micro-batches of a step. If they do not come (no network, a full disk), a single
        process saves what it has; one of several could not, since the others do not know."""
        try:
            return list(islice(self.batches, self.accumulator.accumulation_steps))
        except (OSError, UserError):
            if self.step and self.processes.world_size == 1:
                with suppress(OSError, UserError):
                    self._save()
            raise

    def _one_step(self) -> None:
        start = time.perf_counter()
        taken = self._next_batches()
        waited = time.perf_counter() - start
        step = self.step + 1
        prepare(self.optimizer, step, self.schedule(step))
        pairs = [(sent(b.inputs, self.device), sent(b.targets, self.device)) for b in taken]
        world, rank = self.processes.world_size, self.processes.rank
        update = self.accumulator.step(
            pairs, lambda i: seed_dropout(self.config.seed, step, i * world + rank)
        )
        self.step, self.source_state = step, taken[-1].state
        self.tokens += update.tokens
        self._record_step(update, time.perf_counter() - start, waited)
        self._check(update)

    def _record_step(self, update: StepResult, seconds: float, waited: float) -> None:
        speed = round(update.tokens / seconds, 1)
        self._record(
            {
                "step": self.step,
                "tokens": self.tokens,
                "epoch": self._epoch(),
                "train_loss": update.loss,
                "learning_rate": self.schedule(self.step),
                "grad_norm": update.grad_norm,
                "tokens_per_second": speed,
            }
        )
        self.reporter.show(self.step, update.loss, speed, waited / seconds)

    def _check(self, update: StepResult) -> None:
        """Report a step that was left out; give up after a few in a row."""
        self.skipped = 0 if update.applied else self.skipped + 1
        if update.applied:
            return
        self.reporter.say(
            f"step {self.step} left out: loss {update.loss}, gradient {update.grad_norm}; "
            f"position in the data after it: {self.source_state}"
        )
        if self.skipped >= MOST_SKIPPED:
            raise self._diverged(
                f"{MOST_SKIPPED} steps in a row were not finite, the last was step {self.step}"
            )

    def _diverged(self, what: str) -> DivergenceError:
        return DivergenceError(
            f"{what}; train again with a lower --learning-rate or with --precision fp32"
        )

    def _is_time_to_evaluate(self) -> bool:
        plan = self.plan
        turns = (self.config.eval_every, plan.steps_per_epoch, plan.total_steps)
        return any(self.step % turn == 0 for turn in turns)

    def _evaluate(self) -> bool:
        """Measure, write it down, and return whether it is the best so far."""
        val_loss = validation_loss(
            self.loss_module, self.source, self.config.batch_size, self.device, self.processes
        )
        train_loss, floor = self.history.train_loss, self.source.floor
        status = training_status(
            [*self.history.curve("train_loss"), train_loss],
            [*self.history.curve("val_loss"), val_loss],
            floor,
        )
        record: Record = {
            "step": self.step,
            "epoch": self._epoch(),
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_perplexity": perplexity(val_loss),
            "status": status,
            **({} if floor is None else {"floor": floor}),
        }
        if self.config.dataset == "toy" and not self.is_sharded:
            record["induction"] = song_induction_score(
                self.mine.watchable(self.model), self.source.tokenizer
            )
        self._record(record)
        if not math.isfinite(val_loss):
            raise self._diverged(f"the validation loss after step {self.step} is {val_loss}")
        self._show_evaluation(record)
        return self.history.best_step == self.step

    def _show_evaluation(self, record: Record) -> None:
        self.reporter.say(describe(record))
        if not self.processes.is_main:
            return
        if not self.is_sharded:
            text = samples.sample_text(self.model, self.source.tokenizer, self.config.seed)
            samples.append_sample(self.folder.samples, self.step, text)
        if time.monotonic() - self._drawn_at > CURVES_EVERY:
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        draw_curves(read_metrics(self.folder.metrics), self.folder.curves, self.folder.path.name)

    @property
    def is_sharded(self) -> bool:
        """FSDP: no process has the whole model, so none can generate or measure alone."""
        return self.processes.world_size > 1 and self.config.parallel == "fsdp"

    def _save(self) -> None:
        """Write a checkpoint of this step; under FSDP all processes contribute their pieces."""
        if self.saved_step == self.step:
            return
        snapshot = take_snapshot(self.model, self.optimizer)
        history = self.history
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "skipped": self.skipped,
            "best_step": history.best_step,
            "best_loss": finite(history.best_loss),
            "source_state": self.source_state,
            "source_fingerprint": self.source.fingerprint,
        }
        if self.processes.is_main:
            self.checkpoints.write(snapshot, self.model, self.source.tokenizer, state)
        self.saved_step = self.step
        self.processes.wait()

    def _is_out_of_patience(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.history.evaluations_since_best >= patience

    def _epoch(self) -> float:
        return round(self.step / self.plan.steps_per_epoch, 4)

    def _record(self, record: Record) -> None:
        self.history.add(record)
        self.log.append(record)
