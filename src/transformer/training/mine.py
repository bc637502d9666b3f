"""A learner's own parts in the place of ours.

Each file of `--mine FOLDER` has the name of its exercise and what its docstring asks for, mostly a
function. Here each becomes what training needs: a part of the model, a loss, an optimiser, a
schedule. Whatever is missing is ours. The weights have the same names and shapes either way, so
they can be exchanged.

    mine/attention.py ──▶ the function ──▶ a MultiHeadAttention that calls it ──▶ Parts ──▶ model
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from transformer.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention
from transformer.config import ModelConfig
from transformer.ladder import build_model
from transformer.loss import Exponentials, LossModule, TiedOutput, row_exponentials
from transformer.model import DecoderOnlyTransformer
from transformer.parts import CLASSIC, Parts
from transformer.positional_encoding import SinusoidalPositions
from transformer.training.config import TrainingConfig
from transformer.training.optimizer import BETAS, adamw, make_optimizer
from transformer.training.scheduler import FLOOR, Schedule
from transformer.training_utils import GradientAccumulator

EPSILON = 1e-8  # of AdamW
TRAINED = (
    *("positions", "mask", "attention", "heads", "layer_norm", "feed_forward", "block", "model"),
    *("cross_entropy", "accumulation", "adamw", "schedule"),
)
"""The exercises that training can use."""


class Mine:
    """The parts of a learner, by the names of their exercises."""

    def __init__(
        self, modules: Mapping[str, Any] | None = None, hashes: Mapping[str, str] | None = None
    ) -> None:
        self.modules = dict(modules or {})
        self.hashes = dict(hashes or {})  # SHA-256 of the files

    def has(self, *names: str) -> bool:
        return any(name in self.modules for name in names)

    @property
    def parts(self) -> Parts:
        """What the model is built of."""
        parts, own = CLASSIC, self.modules
        if self.has("positions"):
            parts = replace(parts, positions=_positions(own["positions"]))
        if self.has("layer_norm"):
            layer_norm = own["layer_norm"].LayerNorm
            parts = replace(parts, norm=lambda config: layer_norm(config.d_model))
        if self.has("heads"):
            parts = replace(parts, attention=own["heads"].MultiHeadAttention)
        elif self.has("attention", "mask"):
            parts = replace(parts, attention=_attention(own.get("attention"), own.get("mask")))
        if self.has("feed_forward"):
            parts = replace(parts, feed_forward=own["feed_forward"].FeedForward)
        if self.has("block"):
            parts = replace(parts, block=own["block"].Block)
        if self.has("cross_entropy"):
            parts = replace(parts, output=_output(own["cross_entropy"]))
        return parts

    def model(self, config: ModelConfig) -> DecoderOnlyTransformer:
        """The model of a configuration, with the weights it starts from."""
        if self.has("model"):
            return _model(self.modules["model"], config, self.parts)
        if self.parts != CLASSIC:
            return DecoderOnlyTransformer(config, self.parts)
        return build_model(config)

    def watchable(self, model: DecoderOnlyTransformer) -> DecoderOnlyTransformer:
        """The same weights in our code, which has places where one can look inside."""
        if self.parts == CLASSIC and not self.has("model"):
            return model
        weight = model.token_embedding.weight
        twin = build_model(model.config).to(weight.device, weight.dtype)
        twin.load_state_dict(model.state_dict())
        return twin.eval()

    def optimizer(self, model: DecoderOnlyTransformer, config: TrainingConfig) -> Optimizer:
        if self.has("adamw"):
            update = self.modules["adamw"].adamw_update
            return YourAdamW(model, config.learning_rate, config.weight_decay, update)
        return make_optimizer(model, config)

    def schedule(self, ours: Schedule) -> Callable[[int], float]:
        """The same numbers, in the learner's formula."""
        if not self.has("schedule"):
            return ours
        rate = self.modules["schedule"].learning_rate
        return lambda step: float(
            rate(step, ours.peak, ours.total_steps, ours.warmup_steps, ours.peak * FLOOR)
        )

    def accumulator(self, *args: Any, **kwargs: Any) -> GradientAccumulator:
        if self.has("accumulation"):
            return YourAccumulator(self.modules["accumulation"].accumulate, *args, **kwargs)
        return GradientAccumulator(*args, **kwargs)

    def training_step(
        self, model: nn.Module, micro_batches: Sequence[tuple[Tensor, Tensor]], step: int
    ) -> None:
        """One update, as a judge needs it: everything of the learner, in small."""
        assert isinstance(model, DecoderOnlyTransformer)
        if step == 1 or not hasattr(self, "_optimizer"):
            self._optimizer = self.optimizer(model, TrainingConfig(learning_rate=0.01))
        rate = self.schedule(Schedule(0.01, total_steps=4, warmup_steps=1))(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        module = LossModule(model)
        self.accumulator(module, self._optimizer, len(micro_batches)).step(micro_batches)


NOTHING = Mine()


def _positions(module: ModuleType) -> type[SinusoidalPositions]:
    class YourPositions(SinusoidalPositions):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__(config)
            table = module.sinusoidal_encoding(config.max_seq_len, config.d_model)
            self.table.copy_(table * config.variant.position_scale)

    return YourPositions


def _attention(attention: ModuleType | None, mask: ModuleType | None) -> type[MultiHeadAttention]:
    attend = attention.scaled_dot_product_attention if attention else scaled_dot_product_attention
    make_mask = mask.causal_mask if mask else causal_mask

    class YourAttention(MultiHeadAttention):
        def attend(
            self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
        ) -> Tensor:
            if mask is None:
                mask = make_mask(queries.size(-2), keys.size(-2)).to(keys.device)
            precise = torch.promote_types(values.dtype, torch.float32)
            with torch.autocast(values.device.type, enabled=False):
                q, k, v = (x.to(precise) for x in (queries, keys, values))
                output: Tensor = attend(q, k, v, mask)[0]
            return output.to(values.dtype)  # (B, H, T, K)

    return YourAttention


def _output(module: ModuleType) -> type[TiedOutput]:
    class YourOutput(TiedOutput):
        def loss(
            self,
            hidden: Tensor,
            table: Tensor,
            targets: Tensor,
            exponentials: Exponentials = row_exponentials,
        ) -> Tensor:
            logits = self.logits(hidden, table)  # (N, V)
            precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
            loss: Tensor = module.cross_entropy(precise, targets)
            return loss

    return YourOutput


def _model(module: ModuleType, config: ModelConfig, parts: Parts) -> DecoderOnlyTransformer:
    """Theirs; what their class does not have (the loss, places to look inside) is ours."""
    ours = DecoderOnlyTransformer(config, parts)
    model = module.Transformer(config, parts)
    model.load_state_dict(ours.state_dict())
    model.config = config
    for name, child in ours.named_children():
        if not hasattr(model, name):
            setattr(model, name, child)
    model.__class__ = type("YourTransformer", (type(model), DecoderOnlyTransformer), {})
    return model


class YourAdamW(Optimizer):
    """The learner's formula for each weight: `adamw_update(weight, gradient, m, v, step, …)`."""

    def __init__(
        self, model: nn.Module, lr: float, weight_decay: float, update: Callable[..., Any]
    ) -> None:
        groups = adamw(model, lr, weight_decay).param_groups
        names = ("params", "rate", "weight_decay")
        super().__init__([{name: group[name] for name in names} for group in groups], {"lr": lr})
        self.update = update

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group["lr"], group["weight_decay"])

    def _move(self, weight: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state |= {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            state["step"] = torch.zeros(())
        state["step"] += 1
        moved, m, v = self.update(
            weight,
            weight.grad,
            state["exp_avg"],
            state["exp_avg_sq"],
            int(state["step"]),
            learning_rate=rate,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=decay,
        )
        weight.copy_(moved)
        state["exp_avg"], state["exp_avg_sq"] = m, v


class YourAccumulator(GradientAccumulator):
    """The learner's `accumulate(loss_of, micro_batches)` in a process of its own."""

    def __init__(self, accumulate: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._yours = accumulate

    def accumulate(
        self,
        micro_batches: Sequence[tuple[Tensor, Tensor]],
        before_each: Callable[[int], Any] = lambda index: None,
    ) -> tuple[float, int]:
        self.optimizer.zero_grad(set_to_none=True)
        calls = iter(range(len(micro_batches)))

        def loss_of(inputs: Tensor, targets: Tensor) -> Tensor:
            before_each(next(calls, len(micro_batches)))
            loss: Tensor = self.model(inputs, targets)
            return loss

        loss, tokens = self._yours(loss_of, micro_batches)
        return float(loss), int(tokens)
