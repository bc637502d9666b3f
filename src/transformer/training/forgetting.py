"""What did fine-tuning teach, and what did the model forget for it?

    loss in nats per token        before the first step    at the end
    on the new validation set            10.02                 4.31      learned
    on that of its own training           0.65                 3.40      forgotten

A network keeps nothing in reserve: weights that change for new text are the same ones that the old
text needs. How much is lost depends on the learning rate and on how far the texts are apart; mixing
some of the old text in is the usual remedy.

The old validation set is known if the run of the model stands next to it, and if the data is still
what it was (a fingerprint tells): toy stories always, text files where they are, FineWeb from its
cache or the hub.

The first loss is also a check. A model that guesses among V tokens has a loss of ln V, a fresh one
a little more (half the variance of its logits: about 0.15). One that is worse on any text is not
guessing, it is wrong: text of another kind makes it so, or a tokenizer whose ids mean other tokens
than it learned, or damage. The loss on its own data tells these apart.

Source: McCloskey and Cohen, "Catastrophic Interference in Connectionist Networks" (1989).
"""

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

from transformer.data.batch import Batch
from transformer.errors import UserError
from transformer.evaluation.validation import mean_loss, validation_loss
from transformer.machine.saved_values import Saved
from transformer.runs.run_folder import write_json
from transformer.training.config import config_from_json
from transformer.training.data_sources import open_source
from transformer.training.fine_tuning import Origin
from transformer.training.trainer import Trainer

FRESH = 0.25  # nats above ln V that a model without training may have


def measure_before(trainer: Trainer, origin: Origin) -> Origin:
    """`origin` with its losses on the new and the old validation set.

    Raises:
        UserError: nothing is scored, or the model is worse than guessing.
    """
    trainer.reporter.say(f"Measuring {origin.path} as it is …")
    new = validation_loss(
        trainer.loss_module,
        trainer.source,
        trainer.config.batch_size,
        trainer.device,
        trainer.processes,
    )
    old, unknown = _old_loss(trainer, origin)
    V = trainer.model.config.vocab_size
    check_start(new, old, V, origin)
    return replace(origin, new=new, old=old, unknown=unknown)


def check_start(new: float, old: float | None, vocab_size: int, origin: Origin) -> None:
    """
    Raises:
        UserError: `new` is no number, or above that of a model that guesses, and no loss on its
            own data shows that the model is sound.
    """
    if not math.isfinite(new):
        raise UserError(
            f"{origin.path}: its loss on the new validation set is {new}: nothing is scored there, "
            "or its logits are too large for --precision; try fp32"
        )
    guessing = math.log(vocab_size)
    if new > guessing + FRESH and (old is None or old > guessing):
        raise UserError(
            f"{origin.path} starts with a loss of {new:.2f} nats per token, but guessing among its "
            f"{vocab_size:,} tokens has ln V = {guessing:.2f}: its weights and its tokenizer do "
            "not belong together, or one of them is damaged: import or copy it again. (If only the "
            "text is foreign to it, give its run's folder: its own data there shows that it is "
            "sound.)"
        )


def describe_before(origin: Origin, dataset: str, vocab_size: int) -> str:
    """What is said before the first step."""
    assert origin.new is not None
    said = f"before: {origin.new:.4f} nats/token on the new validation set ({dataset})"
    if origin.new > math.log(vocab_size) + FRESH:
        said += f" (guessing: ln V = {math.log(vocab_size):.2f}; the text is foreign to it)"
    if origin.old is None:
        return f"{said}; its own data is not known ({origin.unknown})"
    return f"{said}, {origin.old:.4f} on its own ({(origin.training or {}).get('dataset')})"


def compare(trainer: Trainer) -> str:
    """At the end: both losses before and after, for people and in the run's folder. Empty for a
    run that began with fresh weights."""
    origin = trainer.origin
    if origin is None:
        return ""
    last = trainer.history.evaluations[-1:]
    new = last[0]["val_loss"] if last and last[0]["step"] == trainer.step else None
    old, unknown = None, origin.unknown
    if origin.old is not None:
        old, unknown = _old_loss(trainer, origin)
    dataset = (origin.training or {}).get("dataset")
    learned = {"dataset": trainer.config.dataset, "before": origin.new, "after": new}
    forgotten = {"dataset": dataset, "before": origin.old, "after": old}
    if trainer.processes.is_main:
        found = {"step": trainer.step, "new": learned, "old": forgotten}
        write_json(trainer.folder.before_after, found)
    if old is None:
        lost = f"  its own data: not known ({unknown})"
    else:
        lost = _line(f"its own ({dataset})", forgotten)
    told = _line(f"new ({trainer.config.dataset})", learned)
    return "\n".join(["Validation, nats/token    before     after", told, lost])


def _line(name: str, losses: dict[str, Any]) -> str:
    """
    >>> print(_line("its own (toy)", {"before": 0.5, "after": 2.25}))
      its own (toy)           0.5000    2.2500
    """
    figures = (losses["before"], losses["after"])
    shown = ("not known" if value is None else f"{value:.4f}" for value in figures)
    return f"  {name:20}" + "".join(f"{value:>10}" for value in shown)


def _old_loss(trainer: Trainer, origin: Origin) -> tuple[float | None, str]:
    """The loss on the validation set of the model's own training, or why it is not known."""
    with trainer.processes.main_first():
        batches, unknown = _old_batches(trainer, origin)
    if trainer.processes.any(bool(unknown)):  # all measure, or none
        return None, unknown or "another process cannot read it"
    loss = mean_loss(trainer.loss_module, batches, trainer.device, trainer.processes)
    return (loss, "") if math.isfinite(loss) else (None, f"the loss on it is {loss}")


def _old_batches(trainer: Trainer, origin: Origin) -> tuple[list[Batch], str]:
    """This process's share of them; all are read before any is used, since a process that fails
    while it computes would leave the others waiting."""
    if origin.training is None:
        return [], origin.unknown
    folder, processes = trainer.folder, trainer.processes
    kept = folder.new_tokenizer if folder.new_tokenizer.exists() else folder.tokenizer
    try:
        config = config_from_json(Saved("config.json of its run", origin.training))
        with closing(open_source(config, kept, trainer.reporter.notice)) as source:
            if source.fingerprint != origin.data:
                return [], "it is not what it was: another text, or another version of it"
            batches = source.validation_batches(
                batch_size=trainer.config.batch_size,
                rank=processes.rank,
                world_size=processes.world_size,
            )
            return list(batches), ""
    except (UserError, OSError) as error:
        return [], str(error)
