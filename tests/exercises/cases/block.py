"""The block: what the judge has to tell apart."""

FIRST = "x = x + self.dropout(written)"
READ_1 = "read = self.attention_norm(x)"
READ_2 = "read = self.feed_forward_norm(x)"
LAST = "return x + self.dropout(written)"
ATTEND = "written = self.attention(read, cache)"
DROPOUT = "nn.Dropout(config.dropout)"
BUGS = [
    (FIRST, "x = self.dropout(written)", "the result of attention is not added"),
    (LAST, "return self.dropout(written)", "the result of feed-forward is not added"),
    ("x + self.dropout(written)", "self.dropout(written)", "each sublayer overwrites it"),
    (FIRST, "x = read + self.dropout(written)", "attention is added to the normed copy"),
    (LAST, "return read + self.dropout(written)", "feed-forward is added to the normed copy"),
    ("x + self.dropout(written)", "read + self.dropout(written)", "both results are added"),
    (READ_1, "read = x", "attention reads x without a norm"),
    (READ_2, "read = x", "reads the stream without a norm"),
    (READ_2, "read = self.attention_norm(x)", "attention_norm is used twice"),
    (
        "self.attention_norm = parts.norm(config)\n",
        "self.attention_norm = parts.norm(config)\n"
        "        self.feed_forward_norm = self.attention_norm\n        return\n",
        "there is no submodule called attention",
    ),
    (
        "self.feed_forward_norm = parts.norm(config)",
        "self.feed_forward_norm = self.attention_norm",
        "both sublayers have the same norm",
    ),
    (
        "self.attention_norm = parts.norm(config)",
        "self.attention_norm = nn.LayerNorm(config.d_model)",
        "`attention_norm` is not what parts.norm builds",
    ),
    (
        READ_1,
        "x = self.attention_norm(x + self.dropout(self.attention(x, cache)))\n"
        "        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))",
        "post-norm",
    ),
    (
        READ_1,
        "x = x + self.attention_norm(self.attention(x, cache))\n"
        "        return x + self.feed_forward_norm(self.feed_forward(x))",
        "to what the sublayers write",
    ),
    (
        READ_1,
        "return x + self.attention(self.attention_norm(x)) "
        "+ self.feed_forward(self.feed_forward_norm(x))",
        "does not see what attention has written",
    ),
    (
        READ_1,
        "x = x + self.feed_forward(self.feed_forward_norm(x))\n"
        "        return x + self.attention(self.attention_norm(x), cache)",
        "feed-forward comes first",
    ),
    (ATTEND, "written = self.attention(read)", "the cache is not passed"),
    (FIRST, "x += self.dropout(written)", "argument 1 was written into"),
    (FIRST, "x = self.dropout(x + written)", "dropout acts on the stream itself"),
    ("self.dropout(written)", "written", "there is no dropout on what the sublayers write"),
    (FIRST, "x = x + written", "no dropout on what attention writes"),
    (LAST, "return x + written", "no dropout on what feed-forward writes"),
    (
        "self.dropout(written)",
        "nn.functional.dropout(written, 0.25)",
        "dropout acts in evaluation too",
    ),
    (DROPOUT, "nn.Dropout(0.1)", "the share is fixed at 0.1"),
    (READ_1, "read = self.attention_norm(x.detach())", "the gradient is wrong"),
    (
        "        super().__init__()\n",
        "        super().__init__()\n"
        "        from transformer.block import Block as Ours\n"
        "        self.ours = Ours(config, parts)\n",
        "ready-made answer",
    ),
]
RIGHT = [
    """
from torch import nn


class Block(nn.Module):
    def __init__(self, config, parts):
        super().__init__()
        self.feed_forward, self.attention = parts.feed_forward(config), parts.attention(config)
        self.feed_forward_norm, self.attention_norm = parts.norm(config), parts.norm(config)
        self.drop_1, self.drop_2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, x, cache=None, extras=None):
        attended = self.drop_1(self.attention(self.attention_norm(x), cache=cache))
        computed = self.drop_2(self.feed_forward(self.feed_forward_norm(attended + x)))
        return computed + attended + x
""",
    '''
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, config, parts):
        super().__init__()
        for name in ("attention", "feed_forward"):
            setattr(self, f"{name}_norm", parts.norm(config))
            setattr(self, name, getattr(parts, name)(config))
        self.p = config.dropout

    def forward(self, x, cache=None, extras=None):
        """In a loop over the two."""
        stream = [x]
        for name in ("attention", "feed_forward"):
            read = getattr(self, f"{name}_norm")(sum(stream))
            more = (cache,) if name == "attention" else ()
            written = getattr(self, name)(read, *more)
            stream.append(F.dropout(written, self.p, self.training))
        return sum(stream)
''',
]
