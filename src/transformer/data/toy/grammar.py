"""A probabilistic grammar that can be sampled, parsed and enumerated.

A grammar is a tree of nodes. Walking it from left to right writes a text; where there are
several ways, the walk draws one, and the probability of the text is the product of those of
the draws. A walk also remembers: `Bind` gives a piece of text a name, later templates
repeat it as "{name}", and `Dependent` continues in a way that was decided before.

    >>> animal = Bind("animal", choice("cat", "dog"))
    >>> pair = sequence("one ", animal, ", one ", choice("cat", "dog", unlike=("animal",)))
    >>> [(text, round(math.exp(log_p), 2)) for text, _, log_p in texts(pair)]
    [('one cat, one dog', 0.5), ('one dog, one cat', 0.5)]
    >>> len(parses(pair, "one dog, one cat")), len(parses(pair, "one dog, one dog"))
    (1, 0)

`sample` follows one random path. `derivations` follows every path or, given a text, every
path that agrees with it: parsing is enumeration that drops what the text contradicts. So
the parser shares no bookkeeping with the sampler, and what enumeration shows (that the
probabilities sum to 1) is true of the probabilities that the parser reports.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import NamedTuple

Bindings = dict[str, str]


class Derivation(NamedTuple):
    """What a path has written and bound, and the log-probability of its draws."""

    text: str
    bindings: Bindings
    log_probability: float


@dataclass
class Walk:
    """The random path of `sample`, as far as it has come."""

    rng: Random
    text: str = ""
    bindings: Bindings = field(default_factory=dict)
    log_probability: float = 0.0


class Node(ABC):
    """A step of a path."""

    @abstractmethod
    def sample(self, walk: Walk) -> None:
        """Continues the walk at random, each way with its probability."""

    @abstractmethod
    def derivations(self, before: Derivation, target: str | None) -> Iterable[Derivation]:
        """Every continuation; given a target, only those that write a beginning of it."""


@dataclass(frozen=True)
class Text(Node):
    """Writes a template, with "{name}" replaced by what is bound to the name."""

    template: str

    def sample(self, walk: Walk) -> None:
        walk.text += self._filled(walk.bindings)

    def derivations(self, before: Derivation, target: str | None) -> Iterable[Derivation]:
        written, bindings, log_probability = before
        text = self._filled(bindings)
        if target is None or target.startswith(text, len(written)):
            return (Derivation(written + text, bindings, log_probability),)
        return ()

    def _filled(self, bindings: Bindings) -> str:
        return self.template.format_map(bindings) if "{" in self.template else self.template


@dataclass(frozen=True)
class Chain(Node):
    """One part after another."""

    parts: tuple[Node, ...]

    def sample(self, walk: Walk) -> None:
        for part in self.parts:
            part.sample(walk)

    def derivations(
        self, before: Derivation, target: str | None, first: int = 0
    ) -> Iterable[Derivation]:
        if first == len(self.parts):
            yield before
            return
        for derivation in self.parts[first].derivations(before, target):
            yield from self.derivations(derivation, target, first + 1)


class Choice(Node):
    """Draws one option with probability weight / sum of the weights.

    Options whose text is bound to one of the names in `unlike` are left out, and the others
    share their probability (drawing again until an allowed one comes does just that).
    """

    def __init__(
        self,
        options: "Sequence[Node | str]",
        weights: Sequence[float],
        unlike: tuple[str, ...] = (),
    ) -> None:
        self.options = [as_node(option) for option in options]
        self.weights, self.unlike = weights, unlike
        self._cumulative = list(accumulate(weights))
        self._index = {o.template: i for i, o in enumerate(self.options) if isinstance(o, Text)}

    def sample(self, walk: Walk) -> None:
        left_out = self._left_out(walk.bindings)
        while True:
            drawn = bisect_right(self._cumulative, walk.rng.random() * self._cumulative[-1])
            if drawn not in left_out:
                break
        walk.log_probability += self._log_share(drawn, left_out)
        self.options[drawn].sample(walk)

    def derivations(self, before: Derivation, target: str | None) -> Iterable[Derivation]:
        left_out = self._left_out(before.bindings)
        for drawn, option in enumerate(self.options):
            if drawn not in left_out:
                for text, bindings, log_probability in option.derivations(before, target):
                    share = self._log_share(drawn, left_out)
                    yield Derivation(text, bindings, log_probability + share)

    def _left_out(self, bindings: Bindings) -> set[int]:
        texts = (bindings[name] for name in self.unlike)
        return {self._index[text] for text in texts if text in self._index}

    def _log_share(self, drawn: int, left_out: set[int]) -> float:
        allowed = self._cumulative[-1] - sum(self.weights[index] for index in left_out)
        return math.log(self.weights[drawn] / allowed)


@dataclass(frozen=True)
class Bind(Node):
    """Names the text that a node writes."""

    name: str
    node: "Node | str"

    def sample(self, walk: Walk) -> None:
        start = len(walk.text)
        as_node(self.node).sample(walk)
        walk.bindings[self.name] = walk.text[start:]

    def derivations(self, before: Derivation, target: str | None) -> Iterable[Derivation]:
        for text, bindings, log_probability in as_node(self.node).derivations(before, target):
            bound = {**bindings, self.name: text[len(before.text) :]}
            yield Derivation(text, bound, log_probability)


@dataclass(frozen=True)
class Derived(Node):
    """Writes nothing; binds what follows from the bindings so far (a sum, a pronoun)."""

    function: Callable[[Bindings], Bindings]

    def sample(self, walk: Walk) -> None:
        walk.bindings |= self.function(walk.bindings)

    def derivations(self, before: Derivation, target: str | None) -> Iterable[Derivation]:
        yield before._replace(bindings=before.bindings | self.function(before.bindings))


@dataclass(frozen=True)
class Dependent(Node):
    """Continues with the node that belongs to what is bound to `name`."""

    name: str
    nodes: dict[str, Node]

    def sample(self, walk: Walk) -> None:
        self.nodes[walk.bindings[self.name]].sample(walk)

    def derivations(self, before: Derivation, target: str | None) -> Iterable[Derivation]:
        return self.nodes[before.bindings[self.name]].derivations(before, target)


def as_node(part: "Node | str") -> Node:
    """A string becomes a `Text`; a node stays as it is."""
    return Text(part) if isinstance(part, str) else part


def sequence(*parts: "Node | str") -> Node:
    """The parts, one after another."""
    return Chain(tuple(map(as_node, parts)))


def choice(*options: "Node | str", unlike: tuple[str, ...] = ()) -> Node:
    """Options of equal probability."""
    return Choice(options, [1.0] * len(options), unlike)


def depending_on(name: str, nodes: "dict[str, Node] | dict[str, str]") -> Node:
    """The node for what is bound to `name`."""
    return Dependent(name, {value: as_node(node) for value, node in nodes.items()})


def remember(name: str, value: str) -> Node:
    """Binds a value without writing it."""
    return Derived(lambda _: {name: value})


def sample(node: Node, rng: Random) -> Derivation:
    """A text drawn from the grammar, with its bindings and exact log-probability."""
    walk = Walk(rng)
    node.sample(walk)
    return Derivation(walk.text, walk.bindings, walk.log_probability)


def parses(node: Node, text: str) -> list[Derivation]:
    """Every way to derive exactly `text`: none if the grammar does not produce it, one if it is
    unambiguous."""
    start = Derivation("", {}, 0.0)
    return [found for found in node.derivations(start, text) if len(found.text) == len(text)]


def texts(node: Node) -> Iterable[Derivation]:
    """Every derivation of a grammar (a small one: the numbers of ways multiply)."""
    return node.derivations(Derivation("", {}, 0.0), None)
