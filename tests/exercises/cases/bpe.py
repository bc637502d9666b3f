"""Byte-pair encoding: what the judge has to tell apart."""

KEY = "key=lambda pair: (-pairs[pair], pair)"
LOOK = "if tuple(ids[place : place + 2]) == pair:"
MERGE = "parts[place : place + 2] = [parts[place] + parts[place + 1]]"
WORDS = "words = [(merged(ids, best, len(tokens)), count) for ids, count in words]"
BUGS = [
    (KEY, "key=lambda pair: (pairs[pair], pair)", "the rarest pair"),
    ("pairs[pair] += count", "pairs[pair] += 1", "each piece counts once"),
    (KEY, "key=lambda pair: -pairs[pair]", "the first one seen"),
    (
        f"min(pairs, {KEY})",
        "max(pairs, key=lambda pair: (pairs[pair], pair))",
        "the highest ids are merged",
    ),
    (
        "(-pairs[pair], pair)",
        "(-pairs[pair], tokens[pair[0]], tokens[pair[1]])",
        "bytes are compared",
    ),
    (WORDS, "pass", "the same pair is merged again"),
    (
        "for pair in pairwise(ids):",
        "for pair in {*pairwise(ids)}:",
        "overlapping places count too",
    ),
    ("if not pairs:", "if False:", "there is no pair left"),
    ("if not pairs:", "if not pairs or max(pairs.values()) < 2:", "occurs once is merged too"),
    (
        "merges.append((tokens[best[0]], tokens[best[1]]))",
        "merges.append(best)",
        "these are ids",
    ),
    (LOOK, "if tuple(ids[place : place + 2]) == pair and new not in result:", "the first place"),
    ("place += 2", "place += 1", "both tokens are to go"),
    ("while place < len(ids):", "while place < len(ids) - 1:", "the last token is lost"),
    ("_, place = min(known)", "_, place = max(known)", "the highest id"),
    ("_, place = min(known)", "_, place = known[0]", "the leftmost pair is merged first"),
    (
        "_, place = min(known)",
        "_, place = min(known, key=lambda item: (item[0], -item[1]))",
        "the rightmost",
    ),
    (MERGE, f"{MERGE}\n        return [ranks[part] for part in parts]", "look again"),
    (
        "return [ranks[part] for part in parts]",
        "return [ranks[part] if len(part) > 1 else part[0] for part in parts]",
        "the ids of single bytes are in the table",
    ),
    ("return [ranks[part] for part in parts]", "return parts", "a list of ids"),
    (
        "result = []\n",
        "result = []; ids[:0] = []; ids.append(0); ids.pop(); ids += [7]\n",
        "was written into",
    ),
    (
        "merges = []",
        "from transformer.data import bpe; merges = bpe.learn_merges(pieces, new_tokens)",
        "ready-made answer",
    ),
]
RIGHT = [
    '''
def learn_merges(pieces, new_tokens):
    """Pieces as lists of bytes; ids only to compare."""
    ids = {bytes([i]): i for i in range(256)}
    words = {piece: [piece[i : i + 1] for i in range(len(piece))] for piece in pieces}
    merges = []
    for _ in range(new_tokens):
        counts = {}
        for piece, parts in words.items():
            for i in range(len(parts) - 1):
                key = (parts[i], parts[i + 1])
                counts[key] = counts.get(key, 0) + pieces[piece]
        if len(counts) == 0:
            return merges
        most = max(counts.values())
        left, right = min(
            (pair for pair in counts if counts[pair] == most), key=lambda p: (ids[p[0]], ids[p[1]])
        )
        ids[left + right] = len(ids)
        merges.append((left, right))
        for piece, parts in words.items():
            words[piece] = merged(parts, (left, right), left + right)
    return merges


def merged(ids, pair, new):
    result = []
    for each in ids:
        if result and (result[-1], each) == tuple(pair):
            result[-1] = new
        else:
            result.append(each)
    return result


def encode(piece, ranks):
    """Rank by rank, as they were learned."""
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        pairs = {left + right: (left, right) for left, right in zip(parts, parts[1:])}
        known = sorted(ranks[token] for token in pairs if token in ranks)
        if not known:
            return [ranks[part] for part in parts]
        for i in range(len(parts) - 1):
            if ranks.get(parts[i] + parts[i + 1]) == known[0]:
                parts = parts[:i] + [parts[i] + parts[i + 1]] + parts[i + 2 :]
                break
''',
]
