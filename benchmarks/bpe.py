"""How long does it take to train a BPE vocabulary of 1,024 ids?

    uv run python benchmarks/bpe.py book.txt    (files or folders; the first 2 MB are used)

Two comparisons on one core: `train_bpe` with the trainer of Hugging Face's `tokenizers`, which is
written in Rust; and the incremental counts of `learn_merges` with the definition of BPE taken
literally, which counts all pairs again for each merge.
"""

import os
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core, like ours; read at import

import tokenizers
from side_by_side import print_ratios
from tokenizers import models, pre_tokenizers, trainers

from transformer.data.bpe import count_pieces, first_bytes, learn_merges, train_bpe
from transformer.data.text.files import text_documents
from transformer.machine.turns import interleave

SIZE = 2_000_000
FEW = 50  # merges in the comparison with counting again, which would take minutes for all


def hugging_face(texts: list[str], vocab_size: int) -> None:
    model = tokenizers.Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator(texts, trainer)


def counting_again(pieces: Mapping[bytes, int], merges: int) -> None:
    words = [([bytes([byte]) for byte in piece], n) for piece, n in pieces.items()]
    for _ in range(merges):
        counts: Counter[tuple[bytes, bytes]] = Counter()
        for word, n in words:
            for pair in pairwise(word):
                counts[pair] += n
        best = max(counts, key=counts.__getitem__)
        for word, _ in words:
            for at in range(len(word) - 2, -1, -1):
                if (word[at], word[at + 1]) == best and at + 1 < len(word):
                    word[at : at + 2] = [best[0] + best[1]]


def main(paths: list[str]) -> None:
    texts = list(first_bytes(text_documents([Path(path) for path in paths]), SIZE))
    seconds = interleave(
        {
            "Hugging Face (Rust)": lambda: hugging_face(texts, 1024),
            "train_bpe (Python)": lambda: train_bpe(texts, 1024),
        },
        rounds=5,
    )
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    title = f"1,024 ids from {megabytes:.1f} MB"
    print_ratios(seconds, "Hugging Face (Rust)", title=title, work=megabytes, unit="MB")

    pieces = count_pieces(texts)
    seconds = interleave(
        {
            "counting again": lambda: counting_again(pieces, FEW),
            "incremental": lambda: learn_merges(pieces, FEW),
        },
        rounds=3,
    )
    title = f"{FEW} merges in {len(pieces):,} distinct pieces"
    print_ratios(seconds, "counting again", title=title, work=FEW, unit="merges")


if __name__ == "__main__":
    main(sys.argv[1:])
