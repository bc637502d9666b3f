"""Train a transformer.

    uv run python commands/train.py --dataset toy                       minutes on a laptop
    uv run python commands/train.py --dataset text --text my/notes      your own files
    uv run python commands/train.py --quick                             FineWeb, small
    uv run python commands/train.py                                     FineWeb
    uv run python commands/train.py --from runs/gpt2 --dataset text …   fine-tune a trained model
    uv run python commands/train.py --resume                            continue where it stopped

What happens
------------
    data set ─▶ tokenizer ─▶ batches         transformer (d_model, n_layers, ...)
                               │                  │
                               │   optimiser ─┐   │   ┌─ learning rate of each step
                               ▼              ▼   ▼   ▼
                               └────────▶     Trainer
                                                  │
        ┌─────────────────────────────────────────┴─────────────────────────┐
        │ for each step:                                                    │
        │     for each of --accumulation-steps micro-batches:               │
        │         loss = how surprised the model is by the next tokens      │
        │         gradient += its share                                     │
        │     shorten the gradient to at most length 1, set the rate        │
        │     AdamW moves every weight                                      │
        │ now and then: validate, write a sample, draw the curves, save     │
        └───────────────────────────────────────────────────────────────────┘

commands/bare_loop.py is the inner loop alone, in 30 lines.

What you see
------------
At the start the loss is about ln(vocabulary), because the model finds every token equally likely:
6.9 for the 1,024 tokens of the toy stories, 10.8 for the 50,281 of p50k_base. Within a few dozen
steps it learns which tokens are common, then pairs, then words and grammar. Each validation prints

    step 1000, epoch 5.00: train 0.6708, validation 0.6328 nats/token, floor 0.5441, 116%, \
perplexity 1.88, induction 0.51
      learning: validation loss falls: keep going

*train* is the mean loss since the last validation, on text the model learns from; *validation* is
measured on text it never learns from. Here it is the lower of the two, because *train* averages
over 200 steps in which the model still got better. A gap that widens while validation stalls is
what the model has learned by heart. *Perplexity* is exp(loss): 1.88 means as uncertain as if it
chose uniformly among 1.88 tokens. The *floor* is the loss of a reader who knows the grammar that
wrote the toy stories: on average nobody can do better, and 116% says how close the model has come.
*induction* is the share of a repeated song's attention that its best head puts where it should
(interpretability/songs.py). The second line compares the trends of both curves;
src/transformer/training_utils.py explains each word, and how accumulation makes a large batch out
of small ones.

Which flags matter
------------------
    --learning-rate       too low: slow; too high: the loss jumps or becomes nan. The first to try
    --batch-size          what fits into memory; lower it when memory runs out ...
    --accumulation-steps  ... and raise this in turn: the product is what the optimiser sees
    --d-model --n-layers  the size: a larger model learns more from more text, and is slower
    --seq-length          how far back the model can look
    --dropout             against learning by heart, when the text is read many times
    --precision --compile auto measures and decides; fp32 and off are the plain way

A run is a folder: runs/NAME. Ctrl-C saves and prints the command that continues; after a crash or
a power cut `--resume` continues from the last checkpoint and ends with the same weights as if
nothing had happened (bit for bit on a CPU with the same number of threads, precision, compilation
and version of PyTorch). Several processes: see README.md.
"""

if __name__ == "__main__":
    from transformer.machine.interruptions import leave_ctrl_c

    leave_ctrl_c()  # before the long imports

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from transformer.ladder.rungs import left_out
from transformer.machine.interruptions import readable_errors
from transformer.runs.samples import sample_text
from transformer.terminal.command_line import INTERRUPTED, run_guarded
from transformer.terminal.text_stream import harmless
from transformer.training.forgetting import compare
from transformer.training.resume import begin
from transformer.training.scheduler import make_schedule
from transformer.training.start import Run, initial_model, opened_run
from transformer.training.trainer import DivergenceError, Trainer


def main(args: list[str]) -> int:
    with readable_errors(), opened_run(args) as run:
        trainer = build_trainer(run)
        notes = begin(run, trainer)  # at step 0, or where the run was saved
        if run.processes.is_main:
            print("\n".join([*notes, describe_start(run, trainer)]), flush=True)
        with told_how_to_continue(trainer):
            reason = trainer.train()
        compared = compare(trainer) if reason != "interrupted" else ""  # with --from
        if run.processes.is_main:
            print(describe_end(trainer, reason, compared))
    return INTERRUPTED if reason == "interrupted" else 0


def build_trainer(run: Run) -> Trainer:
    """The diagram above, from left to right."""
    config = run.config

    # Text becomes token ids, ids become batches: inputs (B, T), and the same one token later.
    source = run.open_data()

    # Random weights. They depend on --seed alone, so that a run can be repeated. (`run.mine`: parts
    # that you have written yourself, with --mine; usually none. `run.begins_with`: the model whose
    # weights are taken instead, with --from.)
    V = source.tokenizer.vocab_size
    model = initial_model(config, V, run.mine, run.begins_with)

    # Calling this with inputs and targets gives the loss. Inside is the model: on its device,
    # compiled if that works here, and exchanging gradients if several processes train it.
    loss_module = run.place(model)

    # AdamW turns gradients into steps (or Muon does). The schedule says how large: up during the
    # warm-up, then slowly down. It needs to know where the end is.
    optimizer = run.mine.optimizer(model, config)
    plan = run.plan(source)
    rates = (config.learning_rate, plan.schedule_steps, config.warmup, config.schedule)
    schedule = run.mine.schedule(make_schedule(*rates))

    # The loop, and what happens between its steps: training/trainer.py.
    return Trainer(run, plan, source, model, loss_module, optimizer, schedule)


@contextmanager
def told_how_to_continue(trainer: Trainer) -> Iterator[None]:
    """Whatever stops the training, its last checkpoint is named."""
    try:
        yield
    except BaseException as error:
        steps = trainer.checkpoints.steps()
        if any(steps) and trainer.processes.is_main:
            told = f"The last checkpoint is {trainer.checkpoints.folder(steps[-1])}."
            if not isinstance(error, DivergenceError):  # continued, it would diverge again
                path = shlex.quote(str(trainer.folder.path))
                told += f" Continue with:\n  {command()} --resume {path}"
            print(told, file=sys.stderr)
        raise


def describe_start(run: Run, trainer: Trainer) -> str:
    config, plan = trainer.config, trainer.plan
    parameters = sum(p.numel() for p in trainer.model.parameters())
    V = trainer.model.config.vocab_size
    without = " and ".join(left_out(config.rung, V))
    told = f"\n--rung {config.rung} leaves out {without}: {V:,} tokens need too large a table."
    waiting = "\nCompiling: the first step can take half a minute …" if run.machine.compiled else ""
    return (
        f"Training {trainer.folder.path}: {parameters:,} parameters on {config.dataset}, "
        f"{plan.total_steps:,} steps of {config.tokens_per_step:,} tokens "
        f"({plan.total_steps / plan.steps_per_epoch:.1f} epochs), from step {trainer.step}.\n"
        f"{run.machine}{told if without else ''}{waiting}"
    )


def describe_end(trainer: Trainer, reason: str, compared: str = "") -> str:
    path = trainer.folder.path
    quoted = shlex.quote(str(path))
    if reason == "interrupted":
        return f"Saved at step {trainer.step}. Continue with:\n  {command()} --resume {quoted}"
    lines, prompt = [compared] if compared else [], ""
    if reason == "patience":
        n = trainer.history.evaluations_since_best
        count = "1 evaluation" if n == 1 else f"{n} evaluations"
        lines.append(
            f"Stopped at step {trainer.step:,}: {count} without a better validation loss "
            "(--patience)."
        )
    best = trainer.history.best
    if best is not None and best["step"] != trainer.step:
        lines.append(f"Best at step {best['step']}: validation {best['val_loss']:.4f} nats/token")
    if not trainer.is_sharded:
        written = sample_text(trainer.model, trainer.source.tokenizer, trainer.config.seed + 1)
        sample = harmless(written)
        lines.append(f"\nIt writes:\n\n{sample}\n")
        beginning = " ".join(sample.split()[:4])
        prompt = f" --prompt {shlex.quote(beginning)}" if beginning else ""
    lines.append(f"Everything is in {path}; curves.png shows how it learned.")
    lines.append(f"Next: uv run python commands/generate.py {quoted}{prompt}")
    return "\n".join(lines)


def command() -> str:
    return f"uv run python {shlex.quote(sys.argv[0])}"


if __name__ == "__main__":
    run_guarded(lambda: main(sys.argv[1:]))
