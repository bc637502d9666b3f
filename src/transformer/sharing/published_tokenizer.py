"""Our table of byte pairs as a `tokenizer.json`, which other programs read.

Both say the same in two ways. A table of ranks merges any two neighbours whose concatenation is in
it, the lowest rank first. A `tokenizer.json` has a list of merges, the first in the list first. So
each token contributes every way of cutting it into two tokens of the table, in the order of ranks.

The pieces are GPT-2's, which the library `tokenizers` calls ByteLevel, and as in training
end-of-text is put in front of a text.
"""

from tokenizers import AddedToken
from tokenizers import Tokenizer as Library
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing

from transformer.data.byte_pair_tokenizer import END_OF_TEXT, BytePairTokenizer, Ranks
from transformer.data.hf_tokenizer import byte_characters


def merges(ranks: Ranks) -> list[tuple[bytes, bytes]]:
    """Every pair of tokens that is a token together, by the rank of the result.

    >>> merges({b"a": 0, b"b": 1, b"c": 2, b"ab": 3, b"bc": 4, b"abc": 5})
    [(b'a', b'b'), (b'b', b'c'), (b'a', b'bc'), (b'ab', b'c')]
    """
    found = []
    for token in sorted(ranks, key=lambda token: ranks[token]):
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        whole = [(a, b) for a, b in cuts if a in ranks and b in ranks]
        found += sorted(whole, key=lambda cut: (ranks[cut[0]], ranks[cut[1]]))
    return found


def tokenizer_json(tokenizer: BytePairTokenizer) -> str:
    """The text of the file; the library writes it."""
    characters = {byte: character for character, byte in byte_characters().items()}

    def spelled(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    ranks = tokenizer.ranks
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    vocabulary[END_OF_TEXT] = tokenizer.end_of_text
    pairs = [(spelled(a), spelled(b)) for a, b in merges(ranks)]
    library = Library(BPE(vocabulary, pairs, ignore_merges=True))
    library.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    library.pre_tokenizer = ByteLevel(add_prefix_space=False)
    library.decoder = Decoder()
    special = [(END_OF_TEXT, tokenizer.end_of_text)]
    library.post_processor = TemplateProcessing(f"{END_OF_TEXT} $A", special_tokens=special)
    text: str = library.to_str(pretty=False)
    return text
