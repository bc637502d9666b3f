"""Multi-head attention: what the judge has to tell apart."""

SPLIT = "return x.view(B, T, self.n_heads, D // self.n_heads).transpose(1, 2)"
JOIN = "joined = heads.transpose(1, 2).reshape(B, T, D)"
CHUNK = "queries, keys, values = self.qkv_projection(x).chunk(3, dim=-1)"
MASK = "mask = causal_mask(T, keys.size(2)).to(x.device)"
APPEND = "keys, values = cache.append(keys, values)"
ATTEND = "heads, _ = scaled_dot_product_attention(queries, keys, values, mask)"
BUGS = [
    (JOIN, "joined = heads.reshape(B, T, D)", "joined without being brought behind"),
    (JOIN, "joined = heads.permute(0, 2, 3, 1).reshape(B, T, D)", "joined channel by channel"),
    (JOIN, "joined = heads.flip(1).transpose(1, 2).reshape(B, T, D)", "in reverse order"),
    (
        SPLIT,
        "return x.reshape(B, self.n_heads, T, D // self.n_heads)",
        "cuts across the positions",
    ),
    (
        SPLIT + "\n",
        "return x.reshape(B, self.n_heads, T, D // self.n_heads)\n",
        "cuts across the positions",
    ),
    (
        SPLIT,
        "return x.view(B, T, D // self.n_heads, self.n_heads).permute(0, 3, 1, 2)",
        "a head has every H-th channel, and",
    ),
    (CHUNK, CHUNK.replace("queries, keys, values", "keys, queries, values"), "are swapped"),
    (CHUNK, CHUNK.replace("queries, keys, values", "values, queries, keys"), "the first third"),
    (CHUNK, CHUNK.replace("queries, keys, values", "queries, values, keys"), "the second third"),
    (
        CHUNK,
        "queries, keys, values = (each.flatten(2) for each in "
        "self.qkv_projection(x).unflatten(-1, (self.n_heads, 3, -1)).unbind(3))",
        "are cut into heads first",
    ),
    ("return self.output_projection(joined)", "return joined", "there is no output_projection"),
    (ATTEND, ATTEND.replace(", mask)", ")"), "there is no causal mask"),
    (MASK, MASK.replace("keys.size(2))", "keys.size(2)).tril(-1)"), "does not see itself"),
    (MASK, "mask = x.new_ones(T, keys.size(2)).tril().bool()", "that of the first places"),
    (
        MASK,
        "mask = causal_mask(T).to(x.device) if cache is None else x.new_ones(1).bool()",
        "there is no mask with a cache",
    ),
    (APPEND, "cache.append(keys, values)", "what cache.append returns is not used"),
    ("if cache is not None", "if False", "cache.append is not called"),
    ("mask = cache.mask", "pass", "`cache.mask` is ignored"),
    (
        ATTEND,
        ATTEND.replace("(queries,", "(queries / queries.size(-1) ** 0.5,"),
        "divided by K, not by its root",
    ),
    (
        ATTEND,
        ATTEND.replace("(queries,", "(queries * queries.size(-1) ** 0.5,"),
        "not divided by √K",
    ),
    (
        ATTEND,
        ATTEND.replace("(queries,", "(queries * (queries.size(-1) / D) ** 0.5,"),
        "divided by √D",
    ),
    (
        "return self.output_projection(joined)",
        "return nn.functional.dropout(self.output_projection(joined), 0.5)",
        "there is dropout inside",
    ),
    ("self.qkv_projection", "self.projection", "there is no weight called qkv_projection.weight"),
    ("3 * config.d_model)", "3 * config.d_model, bias=False)", "called qkv_projection.bias"),
    (
        "        self.n_heads = config.n_heads\n",
        "        from transformer.attention import MultiHeadAttention as Ours\n"
        "        self.n_heads, self.ours = config.n_heads, Ours(config)\n",
        "ready-made answer",
    ),
]
RIGHT = [
    """
import torch
from torch import nn


class MultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.h = config.n_heads
        self.output_projection = nn.Linear(config.d_model, config.d_model)
        self.qkv_projection = nn.Linear(config.d_model, config.d_model * 3)

    def forward(self, x, cache=None):
        w = self.qkv_projection.weight.unflatten(0, (3, self.h, -1))
        b = self.qkv_projection.bias.unflatten(0, (3, self.h, -1))
        q, k, v = torch.einsum("btd,nhkd->nbhtk", x, w) + b[:, None, :, None, :]
        mask = None
        if cache is not None:
            k, v = cache.append(k, v)
            mask = cache.mask
        if mask is None:
            rows, columns = q.shape[2], k.shape[2]
            mask = torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows)
        scores = torch.einsum("bhtk,bhsk->bhts", q, k) * q.shape[-1] ** -0.5
        weights = torch.where(mask, scores, -torch.inf).softmax(-1)
        out = self.output_projection.weight.unflatten(1, (self.h, -1))
        mixed = torch.einsum("bhts,bhsk,dhk->btd", weights, v, out)
        return mixed + self.output_projection.bias
""",
    '''
import torch
from torch import nn
from torch.nn import functional as F


class MultiHeadAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.qkv_projection = nn.Linear(config.d_model, 3 * config.d_model)
        self.output_projection = nn.Linear(config.d_model, config.d_model)

    def forward(self, x, cache=None):
        """Head by head."""
        size = self.config.d_model // self.config.n_heads
        parts = self.qkv_projection(x).split(size, dim=-1)
        n = self.config.n_heads
        q, k, v = (torch.stack(parts[i * n : (i + 1) * n], dim=1) for i in range(3))
        mask = None
        if cache is not None:
            k, v = cache.append(k, v)
            mask = cache.mask
        if mask is None:
            places = torch.arange(k.size(2))
            mask = places <= places[-q.size(2) :, None]
        mask = mask.expand(len(x), 1, -1, -1)[:, 0]
        heads = [
            F.scaled_dot_product_attention(q[:, i], k[:, i], v[:, i], mask) for i in range(n)
        ]
        return self.output_projection(torch.cat(heads, dim=-1))
''',
]
