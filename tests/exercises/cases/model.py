"""The whole model: what the judge has to tell apart."""

POSITIONS = "x = self.positions(self.token_embedding(ids), places)"
LOOP = "x = block(x, layer)"
RESULT = "return self.final_norm(x)"
LOGITS = "return self.output.logits(self.hidden_states(ids, cache), table)"
BLOCKS = "nn.ModuleList(parts.block(config, parts) for _ in range(config.n_layers))"
BUGS = [
    (
        "self.output.logits(self.hidden_states(ids, cache), table)",
        "self.output.logits(self.hidden_states(ids, cache), table.detach())",
        "the gradient of token_embedding.weight is another: is something detached?",
    ),
    (RESULT, "return x", "the final norm is left out"),
    (RESULT, "return self.final_norm(self.final_norm(x))", "the final norm comes twice"),
    (LOOP, "x = self.final_norm(block(x, layer))", "after each block too"),
    (
        f"{LOOP}  # (B, T, D)\n",
        "x = self.final_norm(block(x, layer))\n        return x\n",
        "the final norm comes after each block",
    ),
    (POSITIONS, "x = self.token_embedding(ids)", "the positions are left out"),
    ("slice(0, T)", "slice(1, T + 1)", "the positions count from 1"),
    (
        "self.positions(self.token_embedding(ids), places)",
        "self.positions(self.token_embedding(ids) * self.final_norm.weight.numel() ** 0.5, places)",
        "that is in token_embedding already",
    ),
    (LOOP, "x = self.blocks[0](x, layer)", "the first block is called every time"),
    ("zip(self.blocks,", "zip(reversed(self.blocks),", "in reverse order"),
    (LOOP, "x = x + block(x, layer)", "the block has done that"),
    (BLOCKS, BLOCKS.replace("config.n_layers", "6"), "not config.n_layers blocks"),
    (
        BLOCKS,
        "nn.ModuleList([parts.block(config, parts)] * config.n_layers)",
        "one block several times",
    ),
    (
        BLOCKS,
        "[parts.block(config, parts) for _ in range(config.n_layers)]",
        "`blocks` is no nn.ModuleList",
    ),
    (LOGITS, "return self.hidden_states(ids, cache)", "where is the output"),
    (LOGITS, f"{LOGITS}.softmax(-1)", "there is a softmax"),
    (LOGITS, f"{LOGITS}.log_softmax(-1)", "there is a log_softmax"),
    (
        LOGITS,
        "return self.output.logits(self.final_norm(self.hidden_states(ids, cache)), table)",
        "a second time in forward",
    ),
    (
        "self.output = parts.output(config)",
        "self.output = nn.Linear(config.d_model, config.vocab_size)",
        "`output.bias` and `output.weight` should not be saved",
    ),
    ("self.final_norm", "self.norm", "there is no submodule called final_norm"),
    ("places, layers = cache.places(T), ", "places, layers = slice(0, T), ", "start at 0 again"),
    (
        "places, layers = cache.places(T), ",
        "places, layers = slice(cache.length, cache.length + T), ",
        "where texts have different lengths",
    ),
    (LOOP, "x = block(x)", "the blocks get no cache"),
    ("cache.advance(T)\n", "pass\n", "`cache.advance(T)` is not called"),
    (LOOP, f"{LOOP}\n            if cache is not None: cache.advance(T)", "once, after all blocks"),
    (
        "self.hidden_states(ids, cache)",
        "self.hidden_states(ids)",
        "`cache.advance(T)` is not called",
    ),
    ("x = self.dropout(x)", "pass", "there is no dropout on the sum"),
    (
        "        x = self.dropout(x)\n",
        "        x = nn.functional.dropout(x, 0.25)\n",
        "dropout acts in evaluation too",
    ),
    (
        f"        {POSITIONS}  # (B, T, D)\n        x = self.dropout(x)\n",
        "        x = self.positions(self.dropout(self.token_embedding(ids)), places)\n",
        "dropout is to act once",
    ),
    (
        "        super().__init__()\n",
        "        super().__init__()\n"
        "        from transformer.model import DecoderOnlyTransformer as Ours\n"
        "        self.ours = Ours(config)\n",
        "ready-made answer",
    ),
]
RIGHT = [
    """
from torch import nn
from torch.nn import functional as F


class Transformer(nn.Module):
    def __init__(self, config, parts):
        super().__init__()
        self.drop, self.count = config.dropout, config.n_layers
        self.final_norm = parts.norm(config)
        self.blocks = nn.ModuleList()
        while len(self.blocks) < self.count:
            self.blocks.append(parts.block(config, parts))
        self.token_embedding = parts.embedding(config)
        self.positions = parts.positions(config)
        self.output = parts.output(config)

    def hidden_states(self, ids, cache=None):
        length = ids.shape[1]
        where = cache.places(length) if cache else slice(length)
        caches = cache.layers(length) if cache else [None] * self.count
        stream = self.positions(self.token_embedding(ids), where)
        stream = F.dropout(stream, self.drop, training=self.training)
        for i in range(self.count):
            stream = self.blocks[i](stream, caches[i], None)
        if cache:
            cache.advance(length)
        return self.final_norm(stream)

    def forward(self, ids, cache=None):
        return self.hidden_states(ids, cache) @ self.token_embedding.weight.T
""",
    '''
import torch
from torch import nn


class Transformer(nn.Module):
    def __init__(self, config, parts):
        super().__init__()
        self.config = config
        self.token_embedding = parts.embedding(config)
        self.positions = parts.positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([parts.block(config, parts) for _ in range(config.n_layers)])
        self.final_norm = parts.norm(config)
        self.output = parts.output(config)

    def embed(self, ids, places):
        return self.dropout(self.positions(self.token_embedding(ids), places))

    def run(self, x, layers):
        """Block by block, from the inside out."""
        if not layers:
            return x
        *rest, last = layers
        return self.blocks[len(rest)](self.run(x, rest), last)

    def hidden_states(self, ids, cache=None):
        if cache is None:
            places = torch.arange(ids.size(1))
            return self.final_norm(self.run(self.embed(ids, places), [None] * len(self.blocks)))
        places, layers = cache.places(ids.size(1)), cache.layers(ids.size(1))
        hidden = self.final_norm(self.run(self.embed(ids, places), layers))
        cache.advance(ids.size(1))
        return hidden

    def forward(self, ids, cache=None):
        return torch.einsum(
            "btd,vd->btv", self.hidden_states(ids, cache), self.token_embedding.weight
        )
''',
]
