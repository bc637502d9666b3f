"""An endless supply of short children's stories whose best possible loss is known.

The stories come from the grammar in this file, so the probability p of each is known, and
with it what no collected text can offer: the *floor*, the mean of -ln p. No model, however
large, gets below it on average, because what remains is pure chance (which animal? which
name?). A model's distance from the floor is what it has not learned.

What can be learned, from easy to hard: the words and their order; pronouns that agree;
weather that decides what goes wrong, and an ending that depends on it; sums up to nine;
made-up names, which must be copied; and a song of made-up syllables that the friend sings
and the hero repeats. No syllable comes twice in a song, songs differ in length, and so does
the text between the two singings, so no fixed distance leads from one to the other. The
second singing starts at a random syllable. That one is pure chance; each later one is found
by looking up the syllable just written in the first singing and taking the one after it (an
induction head). When the hero still started at the beginning, models counted instead: after
three syllables since the colon, take the fourth. docs/experiments.md tells how that was found.

In the templates {She} {she} {Her} are the hero's pronouns and {He} {he} {his} {him} the
friend's, whichever sex they have.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from random import Random

from transformer.data.toy.grammar import (
    Bind,
    Bindings,
    Choice,
    Derivation,
    Derived,
    Node,
    choice,
    depending_on,
    parses,
    remember,
    sample,
    sequence,
)
from transformer.data.toy.words import (
    COLOURS,
    FIRST_SYLLABLES,
    FOOD,
    HOMES,
    KINDS,
    LAST_SYLLABLES,
    LONGEST_SONG,
    NUMBERS,
    PAUSES,
    PLACES,
    SHORTEST_SONG,
    SINGING,
    SINGING_AGAIN,
    SONG_SYLLABLES,
    TIMES,
    TRAITS,
    TREASURE,
    TROUBLES,
)
from transformer.errors import UserError

HELD_OUT_SHARE = 10  # one story in ten


@dataclass(frozen=True)
class Story:
    """A story, ln p of its text, and where in it the song is.

    `text[repetition]` is the second singing, and `text[song]` the part of the first that it
    repeats, with the same text: without the space before and the exclamation mark after.
    """

    text: str
    log_probability: float
    song: slice
    repetition: slice


def generate_story(rng: Random) -> Story:
    """Draws a story."""
    return _story(sample(STORY, rng))


def story_at(index: int, seed: int | str = 0) -> Story:
    """Story number `index` of an endless series: the same one at every call."""
    return generate_story(Random(f"toy story {seed} {index}"))


def parse_story(text: str) -> Story:
    """Finds the derivation of `text`, knowing nothing about how it was generated.

    Raises:
        UserError: the grammar does not produce the text.
    """
    derivations = parses(STORY, text)
    if not derivations:
        raise UserError(f"the toy grammar does not produce this text: {text[:80]!r}")
    (derivation,) = derivations  # the grammar is unambiguous
    return _story(derivation)


def is_held_out(text: str) -> bool:
    """Whether a story is for validation: decided by its hash, so a text is never in both."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HELD_OUT_SHARE == 0


def held_out_stories(seed: int | str = 0) -> Iterator[Story]:
    """Endless stories that no model is trained on."""
    return (story for i in count() if is_held_out((story := story_at(i, f"held out {seed}")).text))


def song_examples(number: int, seed: int = 0) -> list[Story]:
    """Held-out stories with the places of their songs, for looking at how a model copies."""
    return list(islice(held_out_stories(f"songs {seed}"), number))


def _story(derivation: Derivation) -> Story:
    text, bindings, log_probability = derivation
    song, repeated = f"{bindings['song']}!", f" {bindings['repetition']}!"
    first = text.index(song) + song.index(repeated) + 1
    second = text.rindex(repeated) + 1
    length = len(bindings["repetition"])
    places = slice(first, first + length), slice(second, second + length)
    return Story(text, log_probability, *places)


def name(who: str, unlike: tuple[str, ...] = ()) -> Node:
    """Two syllables; the first differs from that of `unlike`'s names."""
    others = tuple(f"{other} begins" for other in unlike)
    first = Bind(f"{who} begins", choice(*FIRST_SYLLABLES, unlike=others))
    return Bind(who, sequence(first, choice(*LAST_SYLLABLES)))


def pronouns(kind: str, names: str) -> Node:
    """Binds `names` to the subject (at a sentence's start, inside), the possessive (the same)
    and the object, or to the first few of these.

    Girls and boys have their own; an animal's are drawn here and show when they are first used.
    """

    def forms(words: str) -> Node:
        pairs = zip(names.split(), words.split(), strict=False)
        return sequence(*(remember(name, word) for name, word in pairs))

    female, male = forms("She she Her her her"), forms("He he His his him")
    certain = {"girl": female, "boy": male}
    return depending_on(kind, {word: certain.get(word, choice(female, male)) for word in KINDS})


def people() -> Node:
    """Who the story is about, where the hero lives, and the hero's friend."""
    home = choice(*HOMES)
    hero = sequence(
        Bind("trait", choice(*TRAITS)), " ", Bind("kind", choice(*KINDS)), " named ",
        name("hero"), pronouns("kind", "She she Her"),
    )  # fmt: skip
    friend = sequence(
        Bind("friend's kind", choice(*KINDS, unlike=("kind",))), " named ",
        name("friend", unlike=("hero",)), pronouns("friend's kind", "He he His his him"),
    )  # fmt: skip
    return sequence(
        choice(
            sequence("Once there was a ", hero, ". {She} lived ", home),
            sequence("Long ago, ", home, ", lived a ", hero),
        ),
        ". ", choice("{Her} best friend was a ", "{She} often played with a "), friend, ". ",
    )  # fmt: skip


def sum_of(text: str, sign: int) -> Node:
    """Writes `text` around {k}, one to three, which is added to {n} or taken away.

    Of two to six things at least one is {left}; "{left things}" agrees in number.
    """

    def result(bindings: Bindings) -> Bindings:
        number = NUMBERS.index(bindings["n"]) + sign * NUMBERS.index(bindings["k"])
        left = NUMBERS[number]
        things = f"last {bindings['thing']}" if number == 1 else f"{left} {bindings['things']}"
        return {"left": left, "left things": things}

    before, after = text.split("{k}")
    amounts = {NUMBERS[n]: choice(*NUMBERS[1 : 4 if sign > 0 else min(n, 4)]) for n in range(2, 7)}
    return sequence(before, Bind("k", depending_on("n", amounts)), Derived(result), after)


def finding() -> Node:
    """A day with its weather, the things that the hero finds, and what happens to some of them."""
    things = [
        sequence(Bind("things", many), remember("thing", one), remember("sort", sort))
        for sort, words in (("food", FOOD), ("treasure", TREASURE))
        for one, many in words.items()
    ]
    times = {weather: choice(*times) for weather, times in TIMES.items()}
    return sequence(
        "One ", Bind("weather", choice(*TROUBLES)), " ", depending_on("weather", times),
        " {hero} found ", Bind("n", choice(*NUMBERS[2:7])), " ", choice(*COLOURS), " ",
        choice(*things), " ", choice(*PLACES), ". ",
        choice(
            sum_of("{She} gave {k} to {friend} and kept {left}. ", -1),
            sum_of("{She} lost {k} on the way and had {left} left. ", -1),
            sum_of("Then {friend} found {k} more, and now they had {left}. ", +1),
        ),
    )  # fmt: skip


def trouble() -> Node:
    """What the weather does to the friend, and how the hero helps."""
    return depending_on(
        "weather",
        {
            weather: choice(*(sequence(remember("trouble", what), what) for what, _ in plots))
            for weather, plots in TROUBLES.items()
        },
    )


def syllables(sung: int = 0) -> Node:
    """The rest of a song of which `sung` syllables are written; all lengths equally likely."""
    earlier = tuple(f"syllable {i}" for i in range(sung))
    syllable = Bind(f"syllable {sung}", choice(*SONG_SYLLABLES, unlike=earlier))
    if sung + 1 < SHORTEST_SONG:
        return sequence(" ", syllable, syllables(sung + 1))
    if sung + 1 == LONGEST_SONG:
        return sequence(" ", syllable)
    longer = LONGEST_SONG - sung - 1  # the lengths that are still longer, against one that ends
    return sequence(" ", syllable, Choice(["", syllables(sung + 1)], [1, longer]))


def songs() -> Node:
    """The friend sings; a pause, or none, or an echo; the hero repeats the song from one of its
    syllables on, any but the last."""

    def tails(bindings: Bindings) -> Bindings:
        song = bindings["song"].split()
        parts = {f"from {start}": " ".join(song[start:]) for start in range(len(song) - 1)}
        return {**parts, "last": song[-1], "length": str(len(song))}

    starts = {
        str(length): choice(*(f"{{from {start}}}" for start in range(length - 1)))
        for length in range(SHORTEST_SONG, LONGEST_SONG + 1)
    }
    return sequence(
        " ", choice(*SINGING), Bind("song", syllables()), Derived(tails), "! ",
        choice(*PAUSES), choice(*SINGING_AGAIN), " ",
        Bind("repetition", depending_on("length", starts)), "! ",
    )  # fmt: skip


def ending() -> Node:
    """How the day ends: that depends on the trouble, on the hero, and on what is left."""
    ends = {what: end for plots in TROUBLES.values() for what, end in plots}
    treats = {
        "food": "Then they ate the {left things}.",
        "treasure": "{hero} kept the {left things} in a box.",
    }
    changes = {trait: f"And {{hero}} {change}." for trait, change in TRAITS.items()}
    last = choice(depending_on("sort", treats), depending_on("trait", changes))
    return sequence(depending_on("trouble", ends), " ", last)


STORY = sequence(people(), finding(), trouble(), songs(), ending())
