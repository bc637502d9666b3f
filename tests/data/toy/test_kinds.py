"""What follows from what in a story, read again with nothing but the words."""

import re
from itertools import pairwise

import pytest

from transformer.data.toy.kinds import KINDS, kinds_of
from transformer.data.toy.stories import story_at
from transformer.data.toy.words import NUMBERS
from transformer.errors import UserError

STORIES = [story_at(i, "kinds") for i in range(200)]


@pytest.mark.parametrize("story", STORIES[:3] + STORIES[-1:])
def test_an_example_of_each_kind(story) -> None:
    assert list(kinds_of(story.text)) == list(KINDS)
    assert all(kinds_of(story.text).values())


def test_each_kind_is_what_it_says() -> None:
    for story in STORIES:
        text, kinds = story.text, kinds_of(story.text)
        told = {kind: [text[place] for place in places] for kind, places in kinds.items()}
        for name in set(told["names"]):  # after the place where the name is given
            first = re.search(rf"named {name}\b", text)
            assert first is not None
            given = [place for place in kinds["names"] if text[place] == name]
            assert min(place.start for place in given) > first.end()
            assert len(given) == len(re.findall(rf"\b{name}\b", text)) - 1
        found = re.search(r" found (\w+) ", text)
        changed = re.search(r" (?:gave|lost) (\w+) | found (\w+) more", text)
        assert found is not None
        assert changed is not None
        sign = 1 if changed[2] else -1
        result = NUMBERS.index(found[1]) + sign * NUMBERS.index(changed[1] or changed[2])
        assert set(told["sums"]) == {NUMBERS[result]}
        assert min(place.start for place in kinds["sums"]) > changed.end()
        assert {word.lower() for word in told["pronouns"]} <= {"she", "her", "he", "his", "him"}
        capitals = re.findall(r"\b(?:She|He|His)\b", text)
        assert [word for word in told["pronouns"] if word in ("She", "He", "His")] == capitals
        (singing,) = kinds["second singing"]
        assert f"{text[story.repetition].split()[0]} {text[singing]}" == text[story.repetition]


def test_places_do_not_overlap() -> None:
    for story in STORIES:
        places = [p for kind in kinds_of(story.text).values() for p in kind]
        ordered = sorted(places, key=lambda place: place.start)
        assert all(a.stop <= b.start for a, b in pairwise(ordered))


def test_another_text_is_refused() -> None:
    with pytest.raises(UserError, match="does not produce this text"):
        kinds_of("Once upon a time.")
