"""Step 8: generation. The model writes, one token after another.

    prompt ──prefill──▶ logits ──sampling──▶ token ──┐
                          ▲                          │ decode: one position, the rest is cached
                          └──────────────────────────┘

*Prefill* reads the whole prompt at once and fills the cache: large matrix products, limited by
arithmetic. *Decoding* then takes one position at a time, and every weight is read once per
token, however many rows there are. In a large model that reading sets the pace; in one as small
as ours it is only a part of a token's time (docs/experiments.md). So fewer bytes per weight and
more rows per batch help decoding, and time to the first token and time per token are two
different figures.

A text may outgrow the context. Sliding the window by one token would be wrong with a cache:
a key holds the position that its token had, so after a slide every key would be out of date.
The rule is instead: when the window would exceed max_seq_len, keep its last half, and read that
half again from position 0. That happens once in about max_seq_len / 2 tokens, so the mean cost
per token does not grow with the text. The window depends on the length of the text alone, so a
text generated in one go equals one continued later, and generation without a cache equals
generation with it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from transformer.attention import MultiHeadAttention
from transformer.block import Block
from transformer.errors import UserError
from transformer.feed_forward import FeedForward
from transformer.kv_cache import KVCache
from transformer.loss import TiedOutput
from transformer.machine.decoding import flat_decoder
from transformer.machine.int8 import Int8Matrix
from transformer.model import DecoderOnlyTransformer
from transformer.positional_encoding import SinusoidalPositions
from transformer.sampling import SamplingSettings, filter_stages, next_ids
from transformer.token_embedding import TokenEmbedding

Seed = int | Sequence[int] | None
CLASSIC_MODULES = (
    DecoderOnlyTransformer, TokenEmbedding, SinusoidalPositions, Block, MultiHeadAttention,
    FeedForward, TiedOutput, Int8Matrix, nn.LayerNorm, nn.Linear, nn.Dropout, nn.Identity,
    nn.ModuleList,
)  # fmt: skip


def window_start(length: int, max_seq_len: int) -> int:
    """The first token, in a text of `length` tokens, that the model still looks at.

    >>> [window_start(length, max_seq_len=8) for length in (1, 8, 9, 13, 14)]
    [0, 0, 5, 5, 10]
    """
    kept = max(1, max_seq_len // 2)
    step = max_seq_len + 1 - kept  # tokens that leave the window at each restart
    restarts = max(0, -((max_seq_len - length) // step))  # ⌈(length - max_seq_len) / step⌉
    return restarts * step


def prefill(
    model: DecoderOnlyTransformer, texts: Sequence[Sequence[int]], cache: KVCache | None = None
) -> Tensor:
    """Read whole texts into an empty cache; logits (B, V) for the token after each.

    Texts of different lengths are padded on the right. No real token sees the padding: it
    comes later, and the causal mask hides what comes later.
    """
    lengths = [len(text) for text in texts]
    ids = pad(texts, model.token_embedding.weight.device)  # (B, T)
    hidden = model.hidden_states(ids, cache)  # (B, T, D)
    if cache is not None:
        cache.set_lengths(lengths)
    last = torch.tensor(lengths, device=ids.device) - 1  # (B,)
    return model.unembed(hidden[torch.arange(len(ids), device=ids.device), last])  # (B, V)


def decode_one_token(model: DecoderOnlyTransformer, ids: Tensor, cache: KVCache) -> Tensor:
    """Append one token to each row, (B,) ids; logits (B, V) for the token after it."""
    return model(ids[:, None], cache)[:, -1]  # (B, V)


def pad(texts: Sequence[Sequence[int]], device: torch.device, padding: int = 0) -> Tensor:
    """Texts as one (B, T) tensor, short ones filled up on the right."""
    longest = max(map(len, texts))
    rows = [[*text, *[padding] * (longest - len(text))] for text in texts]
    return torch.tensor(rows, dtype=torch.int64, device=device)


class CachedDecoder:
    """Logits for the next token of texts that grow by one token each between calls.

    With a cache each token is read once per window, without one it is read at every call; the
    logits are the same.
    """

    def __init__(self, model: DecoderOnlyTransformer, rows: int, use_cache: bool = True) -> None:
        self.model = model
        self.cache = self._new_cache(rows) if use_cache else None
        self.starts: list[int] = []
        self._decode = flat_decoder(model, CLASSIC_MODULES) or partial(decode_one_token, model)

    def next_logits(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """(B, V) logits for the token after each text."""
        starts = [window_start(len(text), self.model.config.max_seq_len) for text in texts]
        windows = [text[start:] for text, start in zip(texts, starts, strict=True)]
        before, self.starts = self.starts, starts
        if self.cache is None or not before:
            return prefill(self.model, windows, self.cache)
        restarted = [row for row, start in enumerate(starts) if start != before[row]]
        if restarted:
            self._read_again(self.cache, restarted, windows)
        newest = torch.tensor([text[-1] for text in texts], device=self.cache.keys.device)
        return self._decode(newest, self.cache)

    def _read_again(
        self, cache: KVCache, rows: list[int], windows: Sequence[Sequence[int]]
    ) -> None:
        """Give `rows` the keys and values of their new windows, except for the newest token."""
        fresh = self._new_cache(len(rows))
        known = [windows[row][:-1] for row in rows]
        if known[0]:
            prefill(self.model, known, fresh)
        cache.replace(rows, fresh)

    def _new_cache(self, rows: int) -> KVCache:
        weight = self.model.token_embedding.weight
        return KVCache(self.model.config, rows, device=weight.device, dtype=weight.dtype)


@dataclass(frozen=True)
class Step:
    """One token for every row, and how it was chosen (computed when somebody looks at it)."""

    logits: Tensor
    """(B, V), the model's."""
    ids: Tensor
    """(B,)"""
    settings: SamplingSettings
    history: Tensor | None = None
    """What the repetition penalty knew of, (B, T)."""

    @cached_property
    def stages(self) -> list[tuple[str, Tensor]]:
        """(name, logits (B, V)) after each filter, see `filter_stages`."""
        return filter_stages(self.logits, self.settings, self.history)

    @cached_property
    def probabilities(self) -> Tensor:
        """(B, V), what the tokens were drawn from."""
        return self.stages[-1][1].softmax(dim=-1)


@torch.no_grad()
def generate_steps(
    model: DecoderOnlyTransformer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    settings: SamplingSettings,
    *,
    seed: Seed = None,
    use_cache: bool = True,
    stop_ids: Sequence[int] = (),
) -> Iterator[Step]:
    """The loop under `generate` and `stream`. Prompts may differ in length: each row is
    continued as it would be alone. The arguments are those of `generate`."""
    _check(prompts, max_new_tokens)
    texts = [list(prompt) for prompt in prompts]
    generators = _generators(seed, len(texts))
    ended: dict[int, int] = {}  # row -> the stop id it ended with
    with evaluating(model):
        decoder = CachedDecoder(model, len(texts), use_cache)
        for _ in range(max_new_tokens):
            logits = decoder.next_logits(texts)  # (B, V)
            history = _history(texts, settings, logits.device)
            drawn = next_ids(logits, settings, generators, history).tolist()
            for row, text in enumerate(texts):
                text.append(ended.get(row, drawn[row]))
                if text[-1] in stop_ids:
                    ended[row] = text[-1]
            newest = torch.tensor([text[-1] for text in texts], device=logits.device)
            yield Step(logits, newest, settings, history)
            if len(ended) == len(texts):
                return


def generate(
    model: DecoderOnlyTransformer,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: Seed = None,
    use_cache: bool = True,
    stop_ids: Sequence[int] = (),
) -> Tensor:
    """Continue each row of `ids` by up to `max_new_tokens` tokens.

    Args:
        ids: (B, T) int64, T >= 1; of more than max_seq_len tokens the model sees the end.
        temperature, top_k, top_p, min_p, repetition_penalty: see `SamplingSettings`.
        seed: a number gives every row the same random numbers, so a prompt's text does not
            depend on its row; a sequence gives each row its own; None is different each time.
        use_cache: False computes everything again for each token, for comparison.
        stop_ids: a row ends with the first of these and repeats it from then on; once all
            rows have ended, generation ends too.

    Returns:
        (B, T + n) ids, n <= max_new_tokens.

    Raises:
        UserError: impossible settings, an empty prompt, ids outside the vocabulary.
    """
    settings = SamplingSettings(temperature, top_k, top_p, min_p, repetition_penalty)
    columns = _columns(model, ids, max_new_tokens, settings, seed, use_cache, stop_ids)
    written = (column[:, None].to(ids.device) for column in columns)
    return torch.cat([ids, *written], dim=1)  # (B, T + n)


def stream(
    model: DecoderOnlyTransformer,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: Seed = None,
    use_cache: bool = True,
    stop_ids: Sequence[int] = (),
) -> Iterator[Tensor]:
    """What `generate` appends, one column of (B,) ids at a time, as soon as it is drawn."""
    settings = SamplingSettings(temperature, top_k, top_p, min_p, repetition_penalty)
    return _columns(model, ids, max_new_tokens, settings, seed, use_cache, stop_ids)


def _columns(
    model: DecoderOnlyTransformer,
    ids: Tensor,
    max_new_tokens: int,
    settings: SamplingSettings,
    seed: Seed,
    use_cache: bool,
    stop_ids: Sequence[int],
) -> Iterator[Tensor]:
    """The ids of each step, (B,)."""
    if ids.dim() != 2:
        raise UserError(f"ids must have shape (B, T), but have {tuple(ids.shape)}")
    steps = generate_steps(
        model,
        ids.tolist(),
        max_new_tokens,
        settings,
        seed=seed,
        use_cache=use_cache,
        stop_ids=stop_ids,
    )
    return (step.ids for step in steps)


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """No dropout inside; afterwards the model is in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _check(prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    if not prompts or not all(prompts):
        raise UserError("a prompt is empty; begin with the tokenizer's end_of_text instead")
    if max_new_tokens < 0:
        raise UserError(f"max_new_tokens must be 0 or more, but is {max_new_tokens}")


def _generators(seed: Seed, rows: int) -> list[torch.Generator]:
    """A generator for each row."""
    generators = [torch.Generator() for _ in range(rows)]
    seeds = [g.seed() for g in generators] if seed is None else seed  # seed() takes a fresh one
    seeds = [seeds] * rows if isinstance(seeds, int) else list(seeds)
    if len(seeds) != rows:
        raise UserError(f"{len(seeds)} seeds were given for {rows} rows")
    if not all(0 <= s < 2**64 for s in seeds):
        raise UserError(f"seeds must be from 0 to 2^64 - 1, but are {seeds}")
    return [g.manual_seed(s) for g, s in zip(generators, seeds, strict=True)]


def _history(
    texts: Sequence[Sequence[int]], settings: SamplingSettings, device: torch.device
) -> Tensor | None:
    """The texts as one padded tensor for the repetition penalty, if it is in use."""
    return pad(texts, device, padding=-1) if settings.repetition_penalty != 1.0 else None
