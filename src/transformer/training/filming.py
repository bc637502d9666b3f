"""--film: when a frame of the training is taken, and by whom."""

from transformer.data.tokenizer import Tokenizer
from transformer.model import DecoderOnlyTransformer
from transformer.runs.checkpoint import whole_weights
from transformer.runs.film import FilmRecorder
from transformer.runs.metrics import read_metrics
from transformer.training.scheduler import Plan
from transformer.training.start import Run


class Filming:
    """The film of a run; nothing without --film. All processes call it: under FSDP each has a
    piece of the weights. The main one writes."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self.processes, self.metrics, self.yours = (
            run.processes,
            run.folder.metrics,
            run.mine.hashes,
        )
        frames = run.config.film
        self.recorder = FilmRecorder(run.folder.path, plan.total_steps, frames) if frames else None

    def begin(self, step: int, model: DecoderOnlyTransformer) -> None:
        """A run starts, or is resumed at `step`."""
        if self.recorder is not None and self.processes.is_main:
            self.recorder.begin(step)
        if step == 0:
            self.take(step, model)

    def take(self, step: int, model: DecoderOnlyTransformer, is_last: bool = False) -> None:
        """A frame, if one is due after this step."""
        if self.recorder is None or not (is_last or step in self.recorder.steps):
            return
        weights = whole_weights(model)
        if self.processes.is_main:
            self.recorder.take(step, weights)

    def finish(self, step: int, model: DecoderOnlyTransformer, tokenizer: Tokenizer) -> None:
        """The training has come to its end, or was out of patience before."""
        if self.recorder is None:
            return
        if step not in self.recorder.steps:
            self.take(step, model, is_last=True)
        if self.processes.is_main:
            records = read_metrics(self.metrics)
            self.recorder.finish(model.config, tokenizer, records, self.yours)
