"""Every story's probability is exact, and the stories are what the lessons say they are."""

import math
import re
from collections import Counter
from itertools import islice
from random import Random

import pytest

from transformer.data.toy import stories as toy_stories
from transformer.data.toy.grammar import parses, sequence, texts
from transformer.data.toy.stories import (
    STORY,
    generate_story,
    held_out_stories,
    is_held_out,
    parse_story,
    song_examples,
    story_at,
)
from transformer.data.toy.words import (
    FOOD,
    LONGEST_SONG,
    NUMBERS,
    SHORTEST_SONG,
    SONG_SYLLABLES,
    TREASURE,
)
from transformer.errors import UserError

STORY_BY_HAND = (
    "Once there was a shy girl named Tambo. She lived by the sea. She often played with a fox "
    "named Linva. One dark night Tambo found three red shells by the well. She gave two to Linva "
    "and kept one. Linva was afraid of the dark, so Tambo lit a small lamp. To say thank you, he "
    "sang: la zim ri du ba! Tambo clapped. So Tambo sang it back: ri du ba! "
    "They let the lamp burn all night. And Tambo was not shy any more."
)


def test_probability_of_one_story_counted_by_hand() -> None:
    opening, trait, girl, first, last, home = 2, 12, 16, 20, 20, 14
    intro, fox, other_first, he = 2, 15, 19, 2
    weather, night, three, red, shells, well = 6, 2, 5, 10, 16, 8
    gave, two, lamp = 3, 2, 3
    singing, syllables, length = 4, math.perm(16, 5), 5
    clapped, back, from_ri, change = 6, 4, 4, 2
    people = opening * trait * girl * first * last * home * intro * fox * other_first * last * he
    finding = weather * night * three * red * shells * well * gave * two
    song = singing * syllables * length * clapped * back * from_ri
    ways = people * finding * lamp * song * change
    assert parse_story(STORY_BY_HAND).log_probability == pytest.approx(-math.log(ways), abs=1e-9)


@pytest.mark.parametrize("stories", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_parser_inverts_the_generator(stories: int) -> None:
    rng = Random(2)
    for _ in range(stories):
        story = generate_story(rng)
        (derivation,) = parses(STORY, story.text)  # exactly one
        assert derivation.log_probability == pytest.approx(story.log_probability, abs=1e-9)
    assert parse_story(story.text) == story


def test_all_stories_of_a_small_grammar_sum_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real rules with fewer words, few enough to write out every story."""
    small = {
        "FIRST_SYLLABLES": ("Tam", "Lin"), "LAST_SYLLABLES": ("bo",), "KINDS": ("girl", "fox"),
        "HOMES": ("here",), "COLOURS": ("red",), "FOOD": {"nut": "nuts"},
        "TREASURE": {"key": "keys"}, "PLACES": ("there",), "TRAITS": {"shy": "was brave"},
        "TIMES": {"dark": ("day",)}, "TROUBLES": {"dark": toy_stories.TROUBLES["dark"][:2]},
        "SONG_SYLLABLES": ("la", "li", "lu"), "SHORTEST_SONG": 2, "LONGEST_SONG": 3,
        "SINGING": ("{he} sang:",), "SINGING_AGAIN": ("So {she} sang:",),
        "PAUSES": ("",),
    }  # fmt: skip
    for constant, value in small.items():
        monkeypatch.setattr(toy_stories, constant, value)
    parts = ("people", "finding", "trouble", "songs", "ending")
    grammar = sequence(*(getattr(toy_stories, part)() for part in parts))
    probabilities = {}
    for text, _, log_probability in texts(grammar):
        assert text not in probabilities  # unambiguous
        probabilities[text] = math.exp(log_probability)
    assert len(probabilities) > 10_000
    assert math.fsum(probabilities.values()) == pytest.approx(1.0, abs=1e-9)


@pytest.fixture(scope="module")
def some_stories() -> list[str]:
    return [story_at(index).text for index in range(1_000)]


def test_sums_are_right(some_stories: list[str]) -> None:
    pattern = re.compile(
        rf"found (?P<n>{'|'.join(NUMBERS)}) .*?(?:(?:gave|lost) (?P<less>\w+) .*?(?:kept|had)"
        r"|found (?P<more>\w+) more, and now they had) (?P<left>\w+)"
    )
    for text in some_stories:
        match = pattern.search(text)
        assert match, text
        change = NUMBERS.index(match["more"]) if match["more"] else -NUMBERS.index(match["less"])
        assert NUMBERS.index(match["n"]) + change == NUMBERS.index(match["left"]), text
        if kept := re.search(r"(?:ate|kept) the (\w+) (\w+)(?: in a box)?\.$", text):
            singular = kept[2] in FOOD or kept[2] in TREASURE
            assert kept[1] == ("last" if match["left"] == "one" else match["left"]), text
            assert singular == (match["left"] == "one"), text


def test_pronouns_agree(some_stories: list[str]) -> None:
    """Girls are she and boys are he, and the friend's pronoun is used when the friend sings."""
    subject, possessive = {"girl": "she", "boy": "he"}, {"girl": "Her", "boy": "His"}
    object_ = {"girl": "her", "boy": "him"}
    checked = 0
    for text in some_stories:
        hero, friend = re.findall(r"(\w+) named", text)
        assert hero != friend
        if hero in subject:
            first = re.search(r"\. (She|He|Her|His) ", text)
            assert first
            assert first[1] in (subject[hero].title(), possessive[hero]), text
        if friend in subject:
            sings = re.search(r"\b(she|he)\b(?: laughed and| made up a song| sang)", text.lower())
            assert sings
            assert sings[1] == subject[friend], text
            helped = re.search(r"pulled (\w+)|brought (\w+)|dug (\w+)|threw (\w+)", text)
            assert not helped or object_[friend] in helped.groups(), text
            checked += 1
    assert checked > 50


def test_songs(some_stories: list[str]) -> None:
    lengths, starts, distances = set(), Counter(), set()
    for text in some_stories:
        first, second = re.findall(rf": ((?:(?:{'|'.join(SONG_SYLLABLES)}) ?)+)!", text)
        syllables, repeated = first.split(" "), second.split(" ")
        assert len(set(syllables)) == len(syllables)
        start = syllables.index(repeated[0])
        assert repeated == syllables[start:]
        story = parse_story(text)
        assert text[story.song] == text[story.repetition] == second
        assert text[: story.song.start].endswith(": " + "".join(s + " " for s in syllables[:start]))
        assert text[: story.repetition.start].endswith(": ")
        lengths.add(len(syllables))
        starts[len(syllables), start] += 1
        distances.add(len(text[story.song.stop : story.repetition.start].split()))
    assert lengths == set(range(SHORTEST_SONG, LONGEST_SONG + 1))
    assert set(starts) == {(n, start) for n in lengths for start in range(n - 1)}  # not the last
    for (length, _), count in starts.items():  # all equally likely: 5 lengths, length - 1 starts
        expected = len(some_stories) / 5 / (length - 1)
        assert abs(count - expected) < 4 * math.sqrt(expected)
    assert len(distances) > 5  # no fixed step back leads from one singing to the other


def test_a_foreign_text_is_refused() -> None:
    with pytest.raises(UserError, match="does not produce this text: 'Once upon a time'"):
        parse_story("Once upon a time")
    with pytest.raises(UserError, match="does not produce"):
        parse_story(STORY_BY_HAND.replace("he sang", "she sang").replace("kept one", "kept two"))


def test_a_story_is_a_function_of_seed_and_number() -> None:
    assert story_at(7, seed=3) == story_at(7, seed=3)
    assert len({story_at(index, seed).text for index in range(50) for seed in range(4)}) == 200


def test_one_story_in_ten_is_held_out() -> None:
    held_out = sum(is_held_out(story_at(index).text) for index in range(5_000))
    assert abs(held_out - 500) < 4 * math.sqrt(5_000 * 0.1 * 0.9)
    assert all(is_held_out(story.text) for story in islice(held_out_stories(), 100))
    assert all(is_held_out(story.text) for story in song_examples(50, seed=1))
    assert song_examples(5, seed=1) == song_examples(50, seed=1)[:5] != song_examples(5, seed=2)
