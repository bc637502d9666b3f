"""2024: learning rates of their own, as multiples of --learning-rate.

Adam moves every weight by about its rate, however large the weight is. What should move further:

    × 10      an input table whose rows are normed: only their direction counts, and rare tokens
              get few steps to find it. Tied, the same rows would be the output too, which wants
              small steps.
    × 0.01    λ₁ of the input skip: it scales the whole stream at once

Source: the speed runs of modded-nanogpt.
"""

from transformer.config import Variant

TABLE, STREAM = 10.0, 0.01


def own_rate(name: str, variant: Variant) -> float:
    """The factor for the parameter of this name.

    >>> own_rate("token_embedding.weight", Variant(tied_embeddings=False, embedding_norm=True))
    10.0
    >>> own_rate("token_embedding.weight", Variant())
    1.0
    """
    if name == "token_embedding.weight":
        return TABLE if variant.embedding_norm and not variant.tied_embeddings else 1.0
    return STREAM if name.endswith(".keep") else 1.0
