"""Does the model repeat itself? Three figures for a handful of texts from one prompt.

    distinct-n        different n-grams / all n-grams, over all texts; 1: nothing is repeated
    self-overlap      share of a text's n-grams that another text has too, mean over pairs;
                      1: all texts are the same, as with greedy decoding
    log-probability   mean ln p(token) in the model's own distribution, before any filter: how
                      plausible the model itself finds what it wrote

Diversity alone is easy (draw at random), and so is plausibility (always say the same thing).
A sampling strategy is judged by both.

Sources: Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models"
(2016), distinct-n; Zhu et al., "Texygen" (2018), from whose self-BLEU the overlap is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from transformer.generation import generate_steps
from transformer.model import DecoderOnlyTransformer
from transformer.sampling import SamplingSettings

Ids = Sequence[int]


@dataclass(frozen=True)
class Sampled:
    """Continuations of one prompt, and the figures above."""

    texts: list[list[int]]
    log_probability: float
    distinct: float
    overlap: float


def n_grams(ids: Ids, n: int) -> list[tuple[int, ...]]:
    """Every run of n tokens, from left to right."""
    return [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]


def distinct_n(texts: Sequence[Ids], n: int) -> float:
    """Different n-grams as a share of all, over all texts together.

    >>> distinct_n([[1, 2, 1, 2], [1, 2]], n=2)  # 12, 21, 12, 12
    0.5
    """
    grams = [gram for text in texts for gram in n_grams(text, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def self_overlap(texts: Sequence[Ids], n: int) -> float:
    """Mean over ordered pairs of the share of n-grams of the first that the second has.

    >>> self_overlap([[1, 2, 3], [1, 2, 4]], n=2)  # 12 is in both, 23 and 24 are not
    0.5
    """
    shares = []
    for one, other in permutations(texts, 2):
        grams, others = n_grams(one, n), set(n_grams(other, n))
        if grams:
            shares.append(sum(gram in others for gram in grams) / len(grams))
    return sum(shares) / len(shares) if shares else 0.0


def sample(
    model: DecoderOnlyTransformer,
    prompt: Ids,
    samples: int,
    max_new_tokens: int,
    settings: SamplingSettings,
    *,
    seed: int,
    end_of_text: int,
    n: int = 3,
) -> Sampled:
    """Continue `prompt` `samples` times, with seeds seed, seed + 1, …, and measure."""
    seeds = [seed + row for row in range(samples)]
    texts: list[list[int]] = [[] for _ in seeds]
    ended = [False] * samples
    total, tokens = 0.0, 0
    for step in generate_steps(
        model, [prompt] * samples, max_new_tokens, settings, seed=seeds, stop_ids=(end_of_text,)
    ):
        beliefs = step.stages[0][1].log_softmax(dim=-1)  # (B, V), before the filters
        scores = beliefs.gather(1, step.ids[:, None])[:, 0].tolist()
        for row, token in enumerate(step.ids.tolist()):
            if ended[row]:
                continue
            total, tokens = total + scores[row], tokens + 1
            ended[row] = token == end_of_text
            if not ended[row]:
                texts[row].append(token)
    mean = total / tokens if tokens else 0.0
    return Sampled(texts, mean, distinct_n(texts, n), self_overlap(texts, n))
