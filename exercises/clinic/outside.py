"""Patients whose model is well: the bug is around it. The line to blame ends with `# ◀`."""

import math
from collections.abc import Sequence
from typing import Any

from torch.optim import AdamW

from exercises.clinic.patient import PEAK, STEPS, WARMUP, Pair, Patient
from transformer.data.batch import IGNORED, Batch
from transformer.model import DecoderOnlyTransformer
from transformer.training.optimizer import BETAS


class TargetsNotShifted(Patient):
    def pair(self, batch: Batch) -> Pair:
        unscored = batch.targets == IGNORED
        targets = batch.inputs.masked_fill(unscored, IGNORED)  # ◀ the token after each input
        return batch.inputs, targets


class NoEndOfText(Patient):
    def pair(self, batch: Batch) -> Pair:
        end = self.source.tokenizer.end_of_text
        targets = batch.targets.masked_fill(batch.targets == end, IGNORED)  # ◀ batch.targets
        return batch.inputs, targets


class DropoutInEvaluation(Patient):
    def quiet(self, model: DecoderOnlyTransformer) -> None:
        pass  # ◀ model.eval()


class MeanOfMeans(Patient):
    def accumulate(self, model: DecoderOnlyTransformer, pairs: Sequence[Pair]) -> float:
        mean = 0.0
        for inputs, targets in pairs:
            loss: Any = model.loss(inputs, targets) / len(pairs)  # ◀ its share of the tokens
            loss.backward()
            mean += loss.item()
        return mean


class RateRisesAgain(Patient):
    def rate(self, step: int) -> float:
        if step < WARMUP:
            return PEAK * step / WARMUP
        done = (step - WARMUP) / (STEPS / 2 - WARMUP)  # ◀ STEPS - WARMUP
        return PEAK * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)


class GainsDecay(Patient):
    def optimizer(self, model: DecoderOnlyTransformer) -> AdamW:
        everything = list(model.parameters())
        groups = [{"params": everything, "weight_decay": 0.1}]  # ◀ matrices alone
        return AdamW(groups, lr=PEAK, betas=BETAS)
