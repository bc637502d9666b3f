"""Generation with a KV cache: what the judge has to tell apart."""

READ = "logits = model(unread, cache)[:, -1]"
UNREAD = "unread = new[:, None]"
CAT = "ids = torch.cat([ids, unread], dim=1)"
ENDED = "ended = ended | (new == stop_id)"
REPEAT = "new = torch.where(ended, stop_id, new)"
BUGS = [
    (
        "ended = torch.zeros(len(ids), dtype=torch.bool)",
        "ended = ids[:, -1] == (-1 if stop_id is None else stop_id)",
        "a stop_id at the end of the prompt ends the row",
    ),
    ("model.eval()", "model.training = False", ""),
    (READ, "logits = model(unread)[:, -1]", "without the cache"),
    (READ, "logits = model(ids)[:, -1]", "without the cache"),
    (READ, "logits = model(ids, cache)[:, -1]", "the whole text is read again"),
    (READ, "logits = model(unread, cache)[:, 0]", "the first position's logits"),
    (
        f"{UNREAD}  # (B, 1)\n            ids = torch.cat([ids, unread], dim=1)",
        "ids = torch.cat([ids, new[:, None]], dim=1)",
        "reads the prompt again",
    ),
    (
        "    return ids",
        "    model(unread, cache)\n    return ids",
        "one call too many",
    ),
    (
        "unread = ids  #",
        "unread = ids[:, :1]\n    for i in range(1, ids.shape[1]):\n"
        "        model(unread, cache); unread = ids[:, i : i + 1]\n    #",
        "token by token",
    ),
    ("    return ids", "    return ids[:, -max_new_tokens:]", "only the new tokens"),
    ("    model.eval()\n", "", "dropout is still on"),
    ("with torch.no_grad():", "if True:", "gradients are recorded"),
    ("    model.train(was_training)\n", "", "without dropout"),
    ("model.train(was_training)", "model.train()", "it was not in training before"),
    ("new = choose(logits)", "new = logits.argmax(-1)", "`choose` is not called"),
    ("new = choose(logits)", "new = choose(logits[0])", "(B, V)"),
    ("new = choose(logits)", "choose(logits); new = logits.argmax(-1)", "whatever choose says"),
    ("if ended.all():", "if ended.any():", "as soon as one row ends"),
    ("if ended.all():", "if False:", "does not end when all rows have ended"),
    (REPEAT, "pass", "a row that has ended is continued"),
    (REPEAT, "new = torch.where(ended, 0, new)", "filled with 0"),
    (REPEAT + "\n                " + ENDED, "ended = new == stop_id", "`stop_id` is ignored"),
    ("if stop_id is not None:", "if stop_id:", "0 counts as false"),
    (
        "ended = torch.zeros(len(ids), dtype=torch.bool)",
        "ended = (ids == (-1 if stop_id is None else stop_id)).any(dim=1)",
        "a stop_id in the prompt",
    ),
    (
        f"            {CAT}  # a new tensor: the caller's stays as it is\n"
        "            if ended.all():\n                break\n",
        f"            if ended.all():\n                break\n            {CAT}\n",
        "the last stop token is missing",
    ),
    (
        "was_training = model.training",
        "from transformer.generation import generate as ready; was_training = model.training\n"
        "    ready(model, ids, max_new_tokens)",
        "ready-made answer",
    ),
    ("was_training = model.training", "was_training = model.training; ids[0, 0] += 1", "written"),
]
RIGHT = [
    """
import torch


@torch.inference_mode()
def generate(model, cache, ids, max_new_tokens, choose, stop_id=None):
    mode = model.training
    model.eval()
    ended, unread = torch.zeros(len(ids), dtype=torch.bool), ids
    for _ in range(max_new_tokens):
        if bool(ended.all()):
            break
        new = kept(choose(model(unread, cache)[:, -1]), ended, stop_id)
        ended = ended if stop_id is None else ended | (new == stop_id)
        unread = new[:, None]
        ids = torch.cat([ids, unread], dim=1)
    model.train(mode)
    return ids


def kept(new, ended, stop_id):
    return new if stop_id is None else torch.where(ended, stop_id, new)
""",
    """
import torch


@torch.inference_mode()
def generate(model, cache, ids, max_new_tokens, choose, stop_id=None):
    mode = model.training
    try:
        model.eval()
        columns, done = [], [False] * len(ids)
        while len(columns) < max_new_tokens and not all(done):
            logits = model(columns[-1] if columns else ids, cache)
            tokens = choose(logits[:, -1, :]).tolist()
            tokens = [stop_id if d else t for d, t in zip(done, tokens)]
            done = [d or t == stop_id for d, t in zip(done, tokens)]
            columns.append(torch.tensor(tokens)[:, None])
        return torch.cat([ids, *columns], dim=-1)
    finally:
        model.train(mode)
""",
    '''
import torch


def generate(model, cache, ids, max_new_tokens, choose, stop_id=None):
    """A buffer of the final size, filled from the left."""
    rows, start = ids.shape
    text = torch.empty(rows, start + max_new_tokens, dtype=ids.dtype)
    text[:, :start] = ids
    was, read, end = model.training, 0, start
    model.train(False)
    with torch.no_grad():
        while end < start + max_new_tokens:
            logits = model(text[:, read:end], cache)
            read = end
            text[:, end] = choose(logits[:, -1])
            for row in range(rows):
                if stop_id is not None and stop_id in text[row, start:end]:
                    text[row, end] = stop_id
            end += 1
            if stop_id is not None and bool((text[:, end - 1] == stop_id).all()):
                break
    model.train(was)
    return text[:, :end]
''',
]
