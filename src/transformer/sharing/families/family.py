"""What a family of models has to say: its configuration, its tensors, and what has no equal.

    config.json ──read_config──▶ ModelConfig ──write_config──▶ config.json
    their tensors ──gathered──▶ our tensors ──spread──▶ their tensors

Most tensors only have another name. Three things happen to the others, and each is undone on the
way back: GPT-2's matrices are transposed; one of ours holds the rows of three of theirs (queries,
keys, values); nanochat's rotation runs the other way.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from transformer.config import ModelConfig, Variant
from transformer.errors import UserError
from transformer.machine.saved_values import Saved
from transformer.model import DecoderOnlyTransformer

Read = Callable[[str], Tensor]
"""The tensor of theirs with this name, in float32."""


@dataclass(frozen=True)
class Place:
    """One tensor of ours, and those of theirs that make it.

    Attributes:
        theirs: their rows (first dimension) follow each other in ours.
        transposed: they keep a matrix as (in, out).
        turned: its rows are queries, keys and values, and their rotation runs the other way.
    """

    ours: str
    theirs: tuple[str, ...]
    transposed: bool = False
    turned: bool = False


class Family(ABC):
    """One way of building a model that other programs know.

    Attributes:
        model_type: its name in config.json.
        architectures: the classes of the `transformers` library, the first of which is written.
        embedding: their name of the table of tokens; `lm_head.weight` is that of the output.
        prefix: what the names of all but the output's table begin with, in most files.
        ignored: a pattern for tensors of theirs that can be computed.
    """

    model_type: str
    architectures: tuple[str, ...]
    embedding: str
    prefix: str
    ignored: str

    @property
    def architecture(self) -> str:
        return self.architectures[0]

    @abstractmethod
    def read_config(self, saved: Saved) -> ModelConfig:
        """What their config.json means here.

        Raises:
            UserError: it has something that this program does not; names the field.
        """

    @abstractmethod
    def write_config(self, config: ModelConfig) -> dict[str, Any]:
        """The inverse, for a model that `differences` finds nothing in."""

    @abstractmethod
    def differences(self, config: ModelConfig) -> list[str]:
        """What this family has no equal for, as `field=value`; empty if it can be written."""

    @abstractmethod
    def places(self, config: ModelConfig) -> Iterator[Place]:
        """Where each tensor of ours comes from, but for the two tables of tokens."""

    def gathered(self, config: ModelConfig, read: Read) -> Iterator[tuple[str, Tensor]]:
        """Our tensors, one after the other, made of theirs."""
        for place in self.all_places(config):
            parts = [read(name) for name in place.theirs]
            ours = parts[0] if len(parts) == 1 else torch.cat(parts)
            ours = ours.T if place.transposed else ours
            ours = turned(ours, config) if place.turned else ours
            yield place.ours, ours.contiguous()

    def all_places(self, config: ModelConfig) -> Iterator[Place]:
        """With the two tables, as a model that is read has them."""
        yield Place("token_embedding.weight", (self.embedding,))
        if not config.variant.tied_embeddings:
            yield Place("output.weight", ("lm_head.weight",))
        yield from self.places(config)

    @torch.no_grad()
    def spread(self, model: DecoderOnlyTransformer) -> dict[str, Tensor]:
        """Their tensors, made of ours. Biases and gains that ours lacks become 0 and 1."""
        config, ours = model.config, dict(model.state_dict())
        table = ours["token_embedding.weight"]  # (V, D)
        theirs = {self.embedding: table * config.embedding_scale}
        if not self.tied(config):
            theirs["lm_head.weight"] = ours.get("output.weight", table)
        for place in self.places(config):
            tensor = self.written(place.ours, model, ours)
            tensor = turned(tensor, config) if place.turned else tensor
            tensor = tensor.T if place.transposed else tensor
            rows = heads_rows(config) if len(place.theirs) == 3 else (len(tensor),)
            theirs |= dict(zip(place.theirs, torch.split(tensor, list(rows)), strict=True))
        return {name: tensor.clone().contiguous() for name, tensor in theirs.items()}

    def tied(self, config: ModelConfig) -> bool:
        """Whether one table will do: ours is tied, and not scaled on one side only."""
        return config.variant.tied_embeddings and config.embedding_scale == 1.0

    def written(
        self, name: str, model: DecoderOnlyTransformer, ours: Mapping[str, Tensor]
    ) -> Tensor:
        """Our tensor of this name, or what takes its place where the variant has none."""
        if name in ours:
            return ours[name]
        if name.endswith("norm.weight"):
            return torch.ones(model.config.d_model)
        weight = ours.get(name.removesuffix("bias") + "weight")
        return torch.zeros(model.config.d_model if weight is None else len(weight))


def heads_rows(config: ModelConfig) -> tuple[int, int, int]:
    """Rows of queries, of keys and of values in `qkv_projection`."""
    K, shared = config.head_size, config.n_kv_heads
    return config.n_heads * K, shared * K, shared * K


def turned(qkv: Tensor, config: ModelConfig) -> Tensor:
    """Negate the second half of each head of queries and keys, which is its own inverse.

    A pair (a, b) that is turned by −ω becomes (a cos ω + b sin ω, b cos ω − a sin ω): the same as
    (a, −b) turned by +ω, with the second sign negated. As both queries and keys are treated so,
    their products do not change.
    """
    counts = config.n_heads + config.n_kv_heads
    heads = qkv.reshape(-1, 2, config.head_size // 2, *qkv.shape[1:]).clone()  # (heads, 2, K/2, D)
    heads[:counts, 1] *= -1
    return heads.flatten(0, 2)


def refuse(saved: Saved, architecture: str, name: str, value: Any, why: str = "") -> UserError:
    """The one message for what we do not have."""
    return UserError(
        f"{saved.where}: a {architecture} with {name} = {value!r}, which this program does not "
        f"have{f' ({why})' if why else ''}"
    )


NEUTRAL: dict[str, tuple[Any, ...]] = {
    "quantization_config": (),
    "use_sliding_window": (False,),
    "attn_logit_softcapping": (),
    "residual_multiplier": (1.0,),
    "embedding_multiplier": (1.0,),
    "attention_multiplier": (),
    "logits_scaling": (1.0,),
    "partial_rotary_factor": (1.0,),
    "rope_interleaved": (False,),
    "no_rope_layers": ([],),
    "num_experts": (0,),
    "num_local_experts": (0, 1),
    "qk_layernorm": (False,),
    "use_qk_norm": (False,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
}
"""Fields that change what is computed, with the values (and null) that change nothing."""


def check_neutral(saved: Saved, architecture: str, more: Mapping[str, tuple[Any, ...]]) -> None:
    """
    Raises:
        UserError: the configuration has something that no field of ours can say.
    """
    for name, values in {**NEUTRAL, **more}.items():
        value = saved.values.get(name)
        if value is not None and value not in values:
            raise refuse(saved, architecture, name, value)


def choice(saved: Saved, architecture: str, name: str, default: str, known: dict[str, str]) -> str:
    """What a word of theirs is called here."""
    value = saved.take(name, str, default=default)
    if value not in known:
        raise refuse(saved, architecture, name, value, f"it has {', '.join(known)}")
    return known[value]


ANY = ("any value of a field",)


def unlike(config: ModelConfig, wanted: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Fields of the variant that have none of the wanted values, and of the rest none but their
    defaults."""
    plain, variant = Variant(), config.variant
    free = {"position_scale", "rotary_base", "embedding_scale", "norm_eps", "zero_init", "qk_scale"}
    found = []
    for name in vars(variant):
        value = getattr(variant, name)
        values = wanted.get(name, (getattr(plain, name),))
        if name not in free and values != ANY and value not in values:
            found.append(f"{name}={value}")
    return found
