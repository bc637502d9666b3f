"""Looking into the models of `transformers`, with hooks of our own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class Theirs:
    """A model of `transformers` with the same names for the same places."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        gpt2 = hasattr(model, "transformer")
        inside = model.transformer if gpt2 else model.model
        self.blocks = list(inside.h if gpt2 else inside.layers)
        self.writers = [b.attn.c_proj if gpt2 else b.self_attn.o_proj for b in self.blocks]
        self.neurons = [block.mlp for block in self.blocks]
        self.final_norm = inside.ln_f if gpt2 else inside.norm

    def place(self, tap: str) -> nn.Module:
        _, i, name = tap.split(".", 2)
        return {
            "residual": self.blocks, "attention.heads": self.writers,
            "attention.output": self.writers, "feed_forward.output": self.neurons,
        }[name][int(i)]  # fmt: skip

    @property
    def cap(self) -> float | None:
        return getattr(self.model.config, "final_logit_softcapping", None)

    def read(self, stream: Tensor) -> Tensor:
        """Logits before a softcap."""
        return self.model.lm_head(self.final_norm(stream))

    @contextmanager
    def changing(self, tap: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Heads are changed where they enter the output projection, (B, T, H · K)."""
        module = self.place(tap)
        if tap.endswith(".heads"):
            handle = module.register_forward_pre_hook(lambda m, inputs: (change(inputs[0]),))
        else:
            handle = module.register_forward_hook(
                lambda m, i, out: (
                    (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)
                )
            )
        yield
        handle.remove()

    def seen(self, tap: str, ids: Tensor) -> Tensor:
        values = []
        with self.changing(tap, lambda value: (values.append(value.clone()), value)[1]):
            self.model(ids)
        return values[0]
