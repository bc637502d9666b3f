"""The three ways through a grammar agree: sampling, parsing, enumerating."""

import math
from collections import Counter
from random import Random

import pytest
from scipy import stats

from transformer.data.toy.grammar import (
    Bind,
    Choice,
    Derived,
    Node,
    choice,
    depending_on,
    parses,
    remember,
    sample,
    sequence,
    texts,
)


@pytest.fixture
def grammar() -> Node:
    """Every kind of node; a draw that shows only later; weights; exclusion."""
    pronoun = choice(remember("she", "she"), remember("she", "he"))
    animal = Bind("animal", Choice(["cat", "dog", "cow"], [3.0, 2.0, 1.0]))
    other = Choice(["cat", "dog", "cow"], [3.0, 2.0, 1.0], unlike=("animal",))
    number = Bind("n", choice("1", "2"))
    double = Derived(lambda bindings: {"double": str(2 * int(bindings["n"]))})
    end = depending_on("animal", {"cat": "purrs", "dog": choice("barks", "digs"), "cow": "moos"})
    optional = Choice(["", " again"], [4.0, 1.0])
    return sequence(
        "a ", animal, pronoun, " met a ", other, ". {she} ate ", number, double,
        " and {double}; it ", end, optional,
    )  # fmt: skip


def test_probabilities_of_all_texts_sum_to_one(grammar: Node) -> None:
    derivations = list(texts(grammar))
    assert math.fsum(math.exp(found.log_probability) for found in derivations) == pytest.approx(
        1.0, abs=1e-12
    )
    assert len({found.text for found in derivations}) == len(derivations) == 2 * 2 * 2 * 2 * 4


def test_exclusion_shares_the_probability_of_what_is_left_out(grammar: Node) -> None:
    (found,) = parses(grammar, "a dog met a cat. he ate 2 and 4; it digs")
    # dog 2/6, he 1/2, cat 3/(3 + 1), 2 of 1 and 2, digs 1/2, no "again" 4/5
    expected = 2 / 6 * 1 / 2 * 3 / 4 * 1 / 2 * 1 / 2 * 4 / 5
    assert math.exp(found.log_probability) == pytest.approx(expected, rel=1e-12)


def test_samples_come_with_their_stated_probability(grammar: Node) -> None:
    rng, number = Random(1), 20_000
    drawn = [sample(grammar, rng) for _ in range(number)]
    counts = Counter(found.text for found in drawn)
    expected = {found.text: number * math.exp(found.log_probability) for found in texts(grammar)}
    assert set(counts) <= set(expected)
    observed = [counts[text] for text in expected]
    assert stats.chisquare(observed, list(expected.values())).pvalue > 0.001
    for found in drawn[:200]:
        (parsed,) = parses(grammar, found.text)
        assert parsed.log_probability == pytest.approx(found.log_probability, abs=1e-12)
        assert parsed.bindings == found.bindings


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a dog met a dog. he ate 2 and 4; it digs",  # excluded
        "a dog met a cat. he ate 2 and 2; it digs",  # a wrong sum
        "a dog met a cat. he ate 2 and 4; it purrs",  # another's ending
        "a dog met a cat. he ate 2 and 4; it digs again and again",
        "a dog met a cat. he ate 2 and 4; it di",
    ],
)
def test_what_the_grammar_does_not_write_has_no_derivation(grammar: Node, text: str) -> None:
    assert parses(grammar, text) == []


def test_ambiguity_shows_as_several_derivations() -> None:
    ambiguous = sequence(choice("a", "ab"), choice("bc", "c"))
    assert len(parses(ambiguous, "abc")) == 2
