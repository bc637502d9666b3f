"""What there is to learn in a story: which of its characters follow from what was told before?

    names            of hero and friend, wherever they are told again
    sums             how many are left, or how many they have now
    pronouns         She, her, him, …
    second singing   all syllables but the first, which is chance

The rest is words and their order, and chance. A loss that falls is many learnings: measured for
each kind by itself, over a training, it shows which came when (the page, Step 7).
"""

import re

from transformer.data.toy.grammar import parses
from transformer.data.toy.stories import STORY, parse_story

KINDS = ("names", "sums", "pronouns", "second singing")
HERO, FRIEND = ("She", "she", "Her"), ("He", "he", "His", "his", "him")


def kinds_of(text: str) -> dict[str, list[slice]]:
    """The places in `text`, a toy story, of each kind.

    Raises:
        UserError: the grammar does not produce the text.
    """
    story = parse_story(text)
    ((_, bindings, _),) = parses(STORY, text)
    pronouns = "|".join(sorted({bindings[form] for form in (*HERO, *FRIEND)}))
    first_syllable = len(text[story.repetition].split()[0]) + 1
    return {
        "names": [
            place
            for who in ("hero", "friend")
            for place in _places(rf"\b({bindings[who]})\b", text)[1:]
        ],
        "sums": _places(rf"\b(?:kept|had|the) ({bindings['left']})\b", text),
        "pronouns": _places(rf"\b({pronouns})\b", text),
        "second singing": [slice(story.repetition.start + first_syllable, story.repetition.stop)],
    }


def _places(pattern: str, text: str) -> list[slice]:
    return [slice(*match.span(1)) for match in re.finditer(pattern, text)]
