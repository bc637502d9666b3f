"""AdamW, with weight decay where it belongs; and Muon beside it, if asked for.

AdamW keeps two running means for each weight, of its gradient g and of g², and moves the
weight by their quotient. However large the gradients are, a weight moves by at most about the
learning rate η per step, and by much less where the gradient's sign keeps changing:

    m ← β₁ m + (1 − β₁) g        v ← β₂ v + (1 − β₂) g²
    w ← w − η · λ · w − η · m̂ / (√v̂ + ε)          m̂, v̂: corrected for starting at zero

λ is the weight decay, and only matrices decay. One output of a matrix is a sum over many
weights, which together can fit noise; decay prefers the solution with small weights. A bias or
the gain of a LayerNorm is one number per feature: it sums over nothing, and pulling a gain
towards 0 would only shrink its feature. The embedding table is a matrix and decays too.

β₂ = 0.95 instead of 0.999 forgets old gradients after about 1 / (1 − β₂) = 20 steps, not 1,000:
training of language models is steadier with it. Source: Loshchilov and Hutter, "Decoupled Weight
Decay Regularization" (2017); Brown et al., GPT-3 (2020), appendix B, for β₂ and λ.

Each group of parameters has a `rate`: its learning rate as a multiple of the schedule's.
"""

from collections import defaultdict
from collections.abc import Callable, Container

from torch import nn
from torch.optim import AdamW, Optimizer

from transformer.ladder.muon import Muon
from transformer.ladder.own_rates import own_rate
from transformer.model import DecoderOnlyTransformer
from transformer.training.config import TrainingConfig

BETAS = (0.9, 0.95)
MOMENTUM = (0.85, 0.95)  # Muon's, from the first step to that of MOMENTUM_STEPS
MOMENTUM_STEPS = 300


class Together(Optimizer):
    """Several optimisers, each of its own parameters, that step as one."""

    def __init__(self, *optimizers: Optimizer) -> None:
        super().__init__([group for each in optimizers for group in each.param_groups], {})
        self.optimizers = optimizers
        for each in optimizers:
            each.state = self.state

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for each in self.optimizers:
            each.step()


def make_optimizer(model: DecoderOnlyTransformer, config: TrainingConfig) -> Optimizer:
    """AdamW over everything; or Muon over the blocks' matrices, and AdamW over the rest."""
    splits = block_matrices(model) if config.optimizer == "muon" else {}
    rest = adamw(
        model,
        config.learning_rate,
        config.weight_decay,
        rate_of=lambda name: own_rate(name, model.config.variant),
        leave_out=splits,
    )
    if not splits:
        return rest
    rate = config.matrix_learning_rate / config.learning_rate
    groups = [
        {"params": [model.get_parameter(name)], "splits": rows, "rate": rate}
        for name, rows in splits.items()
    ]
    muon = Muon(
        groups,
        config.matrix_learning_rate,
        weight_decay=config.weight_decay,
        bf16=config.precision == "bf16",
    )
    return Together(muon, rest)


def block_matrices(model: DecoderOnlyTransformer) -> dict[str, list[int] | None]:
    """The matrices of the blocks by name, with the rows of those that are stored as one. (Tables
    of value embeddings are no such matrices: their rows are looked up.)"""
    config = model.config
    heads = (config.n_heads, config.n_kv_heads, config.n_kv_heads)
    return {
        name: [n * config.head_size for n in heads] if "qkv_projection" in name else None
        for name, parameter in model.named_parameters()
        if name.startswith("blocks.") and parameter.dim() == 2 and "embedding" not in name
    }


def adamw(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    *,
    rate_of: Callable[[str], float] = lambda name: 1.0,
    leave_out: Container[str] = (),
) -> AdamW:
    """AdamW over `model`'s parameters; only matrices decay.

    `fused` does the whole update of a tensor in one pass over its memory.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and name not in leave_out:
            groups[rate_of(name), parameter.dim() >= 2].append(parameter)
    return AdamW(
        [
            {"params": group, "rate": rate, "weight_decay": weight_decay if is_matrix else 0.0}
            for (rate, is_matrix), group in groups.items()
        ],
        lr=learning_rate,
        betas=BETAS,
        fused=True,
    )


def prepare(optimizer: Optimizer, step: int, learning_rate: float) -> None:
    """Set what update number `step` uses: each group's learning rate, and Muon's momentum, which
    grows because the first gradients soon mean nothing."""
    early, late = MOMENTUM
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["rate"]
        if "momentum" in group:
            group["momentum"] = early + (late - early) * min(1.0, step / MOMENTUM_STEPS)
