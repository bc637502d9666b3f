"""The causal mask: which key each query may look at.

A model that predicts the next token must not see it. So the query at place t may look at the keys
of the places 0 … t and at no later one; at itself it may look. Then one pass over a text trains all
its predictions at once:

              key 0  1  2  3
    query 0       ●  ·  ·  ·
          1       ●  ●  ·  ·      ● True: may look     · False: may not
          2       ●  ●  ●  ·
          3       ●  ●  ●  ●

In generation the keys of earlier places are remembered, and only the *last* places ask. Then there
are more keys than queries, and the last query still sees every key. With 2 queries and 4 keys these
are the last two rows of the picture: the queries are the places 2 and 3.
"""

import torch
from torch import Tensor


def causal_mask(queries: int, keys: int | None = None) -> Tensor:
    """Which key each query may look at.

    Args:
        queries: number of queries T.
        keys: number of keys S, at least T; the queries are the last T of these places. None: as
            many as queries.

    Returns:
        (T, S) bool, True where the query may look.
    """
    if keys is None:
        keys = queries
    # The first query is not at place 0 but after all the keys that have no query.
    query_places = torch.arange(keys - queries, keys)  # (T,)
    key_places = torch.arange(keys)  # (S,)
    # A column against a row compares every pair. ≤, not <: a query may look at its own place.
    return key_places[None, :] <= query_places[:, None]  # (T, S)
