"""Prompts to look into a model with: from text, or the song of a toy story.

    … sang: zim du ta na bom ra la! Then Fenfo sang it too: du ta na      next: bom

The clean prompt of the demonstration ends inside the second singing. In the corrupted one, the
syllable that comes next is replaced in the first singing. Everything else is the same, and so
the answer differs.
"""

import torch
from torch import Tensor

from transformer.data.tokenizer import Tokenizer
from transformer.data.toy.stories import Story, song_examples
from transformer.data.toy.words import SONG_SYLLABLES
from transformer.errors import UserError
from transformer.interpretability.patching import PromptPair
from transformer.model import DecoderOnlyTransformer

SUNG = 3  # syllables of the second singing that the prompt gives
CANDIDATES = 20
Pair = tuple[str, str]


def encode_prompt(tokenizer: Tokenizer, text: str, max_seq_len: int) -> Tensor:
    """The prompt as the beginning of a document: (1, T).

    Raises:
        UserError: the prompt is empty or does not fit.
    """
    ids = tokenizer.encode_prompt(text)
    before = len(tokenizer.prefix)
    if not text or not before < len(ids) <= max_seq_len:
        after = ", and the end-of-text token before them" if before else ""
        raise UserError(
            f"the prompt has {len(tokenizer.encode(text))} tokens; this model can look at 1 to "
            f"{max_seq_len - before}{after}"
        )
    return torch.tensor([ids])


def encode_pair(
    model: DecoderOnlyTransformer, tokenizer: Tokenizer, texts: Pair, answers: Pair | None
) -> PromptPair:
    """The clean and the corrupted prompt with their answers, which count by their first token.

    Without answers, the model's own: what it finds most probable after each prompt.
    """
    longest = model.config.max_seq_len
    clean, corrupted = (encode_prompt(tokenizer, text, longest) for text in texts)
    if answers is None:
        with torch.no_grad():
            ids = [int(model(prompt)[0, -1].argmax()) for prompt in (clean, corrupted)]
    elif all(answers):
        ids = [tokenizer.encode(answer)[0] for answer in answers]
    else:
        raise UserError("an answer is empty; give what comes next, with its leading space")
    return PromptPair(clean[0], corrupted[0], *ids)


def demo_prompt(tokenizer: Tokenizer, max_seq_len: int) -> str:
    """A held-out story up to the middle of its second singing."""
    return _unfinished(_fitting_story(tokenizer, max_seq_len))


def demo_pair(tokenizer: Tokenizer, max_seq_len: int) -> tuple[Pair, Pair]:
    """The same story, clean and corrupted, and the syllables that come next after each."""
    story = _fitting_story(tokenizer, max_seq_len)
    clean = _unfinished(story)
    syllables = story.text[story.song].split()
    answer, sung = syllables[SUNG], clean.replace("!", " ").split()
    start = story.song.start + len(" ".join(syllables[:SUNG])) + 1
    for other in SONG_SYLLABLES:
        corrupted = clean[:start] + other + clean[start + len(answer) :]
        same_length = len(tokenizer.encode(clean)) == len(tokenizer.encode(corrupted))
        first_tokens = {tokenizer.encode(" " + syllable)[0] for syllable in (answer, other)}
        if other not in sung and same_length and len(first_tokens) == 2:
            return (clean, corrupted), (" " + answer, " " + other)
    raise UserError("no syllable fits this tokenizer; give --clean and --corrupted yourself")


def _fitting_story(tokenizer: Tokenizer, max_seq_len: int) -> Story:
    needed = []
    for story in song_examples(CANDIDATES):
        if len(story.text[story.song].split()) > SUNG + 1:  # more than the answer
            needed.append(1 + len(tokenizer.encode(_unfinished(story))))  # with end-of-text
            if needed[-1] <= max_seq_len:
                return story
    raise UserError(
        f"this model's context is {max_seq_len} tokens; the demo needs at least {min(needed)} with "
        "this model's tokenizer: leave out --demo and give a text of your own"
    )


def _unfinished(story: Story) -> str:
    sung = " ".join(story.text[story.song].split()[:SUNG])
    return story.text[: story.repetition.start + len(sung)]
