"""Sinusoidal positions: what the judge has to tell apart."""

BUGS = [
    (
        "table[:, 0::2] = torch.sin(angles)\n    table[:, 1::2] = torch.cos(angles)",
        "table[:, 0::2] = torch.cos(angles)\n    table[:, 1::2] = torch.sin(angles)",
        "sine and cosine are swapped",
    ),
    (
        "return table.float()",
        "return torch.cat((angles.sin(), angles.cos()), dim=1).float()",
        "all sines come first",
    ),
    (
        "return table.float()",
        "return torch.cat((angles.cos(), angles.sin()), dim=1).float()",
        "all cosines come first",
    ),
    ("= torch.cos(angles)", "= torch.sin(angles)", "every column is a sine"),
    ("(-even_columns / d_model)", "(-even_columns / 2 / d_model)", "-i / D, not -2i / D"),
    ("(-even_columns / d_model)", "(even_columns / d_model)", "the exponent is positive"),
    ("(-even_columns / d_model)", "(-2 * even_columns / d_model)", "is the 2 there twice"),
    (
        "(-even_columns / d_model)",
        "(-even_columns / max(1, d_model - 2))",
        "not -i / (D/2)",
    ),
    (
        "torch.cos(angles)",
        "torch.cos(places[:, None] * BASE ** (-(even_columns + 1) / d_model))",
        "speeds of their own",
    ),
    ("torch.arange(length, ", "torch.arange(1, length + 1, ", "places count from 1"),
    ("BASE = 10_000.0", "BASE = 1_000.0", "the base is 1000"),
    ("return table.float()", "return table.T.float()", "rows and columns are swapped"),
    ("return table.float()", "return angles.sin().float()", "one column for each pair"),
    ("return table.float()", "return table", "not float32"),
    ("torch.float64", "torch.float32", "far out digits are lost"),
    (
        "places = torch.arange",
        "from transformer.positional_encoding import sinusoidal_encoding as ours\n"
        "    return ours(length, d_model)\n    places = torch.arange",
        "ready-made answer",
    ),
]
RIGHT = [
    '''
import math

import torch


def sinusoidal_encoding(length, d_model):
    """Number by number."""
    rows = []
    for p in range(length):
        row = []
        for i in range(d_model // 2):
            angle = p / 10000 ** (2 * i / d_model)
            row += [math.sin(angle), math.cos(angle)]
        rows.append(row)
    return torch.tensor(rows)
''',
    """
import math

import torch


def sinusoidal_encoding(length, d_model):
    steps = torch.arange(d_model // 2).double()
    turn = torch.exp(-math.log(10000.0) * 2 * steps / d_model)
    hands = torch.polar(torch.ones(length, len(turn)).double(), torch.outer(
        torch.arange(length).double(), turn))
    return torch.view_as_real(hands).flip(-1).flatten(1).to(torch.float32)
""",
]
