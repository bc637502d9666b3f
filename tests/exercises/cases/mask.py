"""The causal mask: what the judge has to tell apart."""

RETURN = "return key_places[None, :] <= query_places[:, None]"
BUGS = [
    (RETURN, RETURN.replace("<=", ">="), "the wrong way round"),
    (RETURN, RETURN.replace("<=", ">"), "True and False are swapped"),
    (RETURN, RETURN.replace("<=", "<"), "does not see itself"),
    (RETURN, RETURN + " + 1", "sees the place after its own"),
    (RETURN, RETURN.replace("<=", "=="), "sees itself only"),
    ("torch.arange(keys - queries, keys)", "torch.arange(queries)", "taken for the first places"),
    (
        "torch.arange(keys - queries, keys)",
        "torch.arange(queries - keys, 2 * queries - keys)",
        "from the wrong side",
    ),
    ("    if keys is None:\n        keys", "    if True:\n        keys", "`keys` is ignored"),
    (
        "torch.arange(keys - queries, keys)",
        "torch.arange(keys)",
        "there is a row for every key",
    ),
    (
        RETURN,
        "return key_places[:, None] <= query_places[None, :]",
        "the wrong way round",
    ),
    (
        RETURN,
        "return (key_places[None, :] <= query_places[:, None]).T"
        " if queries < keys else key_places[None, :] <= query_places[:, None]",
        "rows and columns are swapped",
    ),
    (RETURN, "return (key_places[None, :] <= query_places[:, None]).float()", "made of numbers"),
    (
        RETURN,
        "return torch.ones(queries, keys).tril(keys - queries - (keys > queries)).bool()",
        "does not see itself, where there are more keys",
    ),
    (
        "    if keys is None:",
        "    from transformer.attention import causal_mask as ours\n"
        "    return ours(queries, keys)\n    if keys is None:",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch


def causal_mask(queries, keys=None):
    keys = keys or queries
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
""",
    '''
import torch


def causal_mask(queries, keys=None):
    """The last rows of the square one, line by line."""
    size = queries if keys is None else keys
    square = [[column <= row for column in range(size)] for row in range(size)]
    return torch.tensor(square[size - queries :])
''',
]
