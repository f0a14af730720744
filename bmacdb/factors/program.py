"""What is computed, in order, each thing once for all factors: nodes of a program, and how windows are made of them.

A node is a function of other nodes, each at the same bar or some bars back, so that lag() costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any

import numpy as np

from bmacdb.factors import across, arrays, windowed
from bmacdb.factors.arrays import Parts

__all__ = ["Builder", "Node", "Program", "Ref", "Truth", "Unsupported", "Work", "finished"]

Work = Callable[..., Parts]


class Unsupported(ValueError):
    """The expression asks for what the fast way does not do; the text says for what."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """`work` of the parts of `kids` (place in the program, bars back), then of `constants`.

    `span`: how many bars before the first one its kids have in front. A column has a name, a constant its parts.
    """

    work: Work | None
    kids: tuple[tuple[int, int], ...] = ()
    constants: tuple[Any, ...] = ()
    span: int = 0
    column: str = ""
    parts: Parts | None = None


Ref = tuple[int, int]
"""A node, and how many bars back."""


@dataclass(frozen=True, slots=True)
class Step:
    """A node with the values of its kids: (place, rows that come too early, rows that come too late).

    `rows` are needed before the first one asked for. After it the values at `spent` are needed no more.
    """

    node: Node
    kids: tuple[tuple[int, int, int], ...]
    rows: int
    spent: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Steps, those that others need first; `outputs` are the factors. `across`: it needs all symbols at once."""

    steps: tuple[Step, ...]
    outputs: tuple[tuple[int, int, int], ...]
    across: bool

    @property
    def lookback(self) -> int:
        """How many bars it needs, the first one asked for included."""
        return max((step.rows for step in self.steps), default=0) + 1


def finished(nodes: Sequence[Node], outputs: Sequence[Ref]) -> Program:
    """With the rows that each node needs; nodes that no factor needs are left out."""
    need = [-1] * len(nodes)
    for number, back in outputs:
        need[number] = max(need[number], back)
    for number in reversed(range(len(need))):
        node = nodes[number]
        for kid, back in node.kids if need[number] >= 0 else ():
            need[kid] = max(need[kid], need[number] + back + node.span)
    kept = [number for number, rows in enumerate(need) if rows >= 0]
    place = {number: at for at, number in enumerate(kept)}
    last = {kid: number for number in kept for kid, _ in nodes[number].kids}
    held = {number for number, _ in outputs}
    steps = []
    for number in kept:
        node = nodes[number]
        kids = tuple([(place[kid], need[kid] - need[number] - back - node.span, back) for kid, back in node.kids])
        spent = tuple([place[kid] for kid in dict(node.kids) if last[kid] == number and kid not in held])
        steps.append(Step(node, kids, need[number], spent))
    across_market = any(step.node.work is not None and step.node.work.__module__ == across.__name__ for step in steps)
    return Program(
        tuple(steps), tuple([(place[number], need[number] - back, back) for number, back in outputs]), across_market
    )


class Truth(tuple[int, int]):
    """A Ref whose parts are a truth, and no number."""

    __slots__ = ()


@dataclass(slots=True)
class Builder:
    nodes: list[Node] = field(default_factory=list)
    known: dict[Any, int] = field(default_factory=dict)

    # nodes

    def node(self, work: Work, kids: Sequence[Ref], *constants: Any, span: int = 0) -> Ref:
        """`work` of the parts of `kids`, computed at once where they are all constant."""
        nodes = self.nodes
        moving = [back for number, back in kids if nodes[number].parts is None]
        if not moving:
            return self.constant(work(*(nodes[number].parts for number, _ in kids), *constants))
        least = min(moving)
        placed = tuple([(number, back - least if nodes[number].parts is None else 0) for number, back in kids])
        return self._kept((work, placed, constants, span), Node(work, placed, constants, span)), least

    def column(self, name: str) -> Ref:
        return self._kept(name, Node(None, column=name)), 0

    def constant(self, parts: Parts) -> Ref:
        return self._kept(repr(parts), Node(None, parts=parts)), 0

    def literal(self, value: float) -> Ref:
        return self.constant((np.float64(value), None))

    def _kept(self, key: Any, node: Node) -> int:
        if key not in self.known:
            self.known[key] = len(self.nodes)
            self.nodes.append(node)
        return self.known[key]

    def truth(self, work: Work, kids: Sequence[Ref], *constants: Any) -> Truth:
        return Truth(self.node(work, kids, *constants))

    def number(self, ref: Ref) -> Ref:
        if isinstance(ref, Truth):
            raise Unsupported("a truth where a number is needed")
        return ref

    # windows over a symbol's bars

    def window(self, leaf: Ref, length: int, join: Callable[[Ref, Ref, int, int], Ref], *, twice: bool = False) -> Ref:
        """The state of the last `length` bars. `join` gets the states of two windows, the older first, and their
        lengths. `twice`: a bar may be in both."""
        states = {1: leaf}

        def state(length: int) -> Ref:
            if length not in states:
                half = 1 << (length - 1).bit_length() - 1
                rest = length - half
                number, back = state(half)
                states[length] = join((number, back + rest), state(half if twice else rest), half, rest)
            return states[length]

        return state(length)

    def simple(self, leaf: Ref, length: int, join: Work, *, twice: bool = False) -> Ref:
        return self.window(leaf, length, lambda older, newer, *_: self.node(join, [older, newer]), twice=twice)

    def counts(self, null: Ref, length: int) -> Ref:
        return self.simple(self.node(windowed.count_leaf, [null]), length, windowed.add)

    def anywhere(self, mask: Ref, length: int) -> Ref:
        return self.simple(mask, length, windowed.any_join, twice=True)

    def weighted(self, leaf: Ref, null: Ref, length: int, join: Work) -> Ref:
        """A state of values that is combined by how many there are."""

        def joined(older: Ref, newer: Ref, half: int, rest: int) -> Ref:
            number, back = counts(half)
            return self.node(join, [older, newer, (number, back + rest), counts(rest)])

        counts = cache(lambda length: self.counts(null, length))

        return self.window(leaf, length, joined)

    def extreme(self, value: Ref, length: int, *, highest: bool) -> Ref:
        join, finish = (windowed.highest_join, windowed.highest) if highest else (windowed.lowest_join, windowed.lowest)
        return self.node(finish, [self.simple(value, length, join, twice=True)])

    def moments(self, value: Ref, length: int, leaf: Work, join: Work) -> list[Ref]:
        """The state, the number of values, where one is unsound."""
        null = self.node(windowed.nulls, [value])
        bad = self.node(windowed.unsound, [value, null], windowed.TOO_LARGE)
        state = self.weighted(self.node(leaf, [value, null, bad]), null, length, join)
        return [state, self.counts(null, length), self.anywhere(bad, length)]

    def pairs(self, one: Ref, other: Ref, length: int) -> list[Ref]:
        """As `moments`, of the bars where both are there."""
        null = self.node(windowed.pair_nulls, [self.node(windowed.nulls, [one]), self.node(windowed.nulls, [other])])
        bad = self.node(
            windowed.any_join,
            [self.node(windowed.unsound, [value, null], windowed.TOO_LARGE) for value in (one, other)],
        )
        state = self.weighted(self.node(windowed.pair_leaf, [one, other, null, bad]), null, length, windowed.pair_join)
        return [state, self.counts(null, length), self.anywhere(bad, length)]

    def ts_place(self, value: Ref, length: int, *, negative: bool) -> Ref:
        leaf = self.node(windowed.place_leaf, [value], negative)
        state = self.window(
            leaf, length, lambda older, newer, half, _: self.node(windowed.place_join, [older, newer], half)
        )
        return self.node(windowed.place, [state])

    def decay_linear(self, value: Ref, length: int) -> Ref:
        leaf = self.node(windowed.linear_leaf, [value])
        state = self.window(
            leaf, length, lambda older, newer, half, _: self.node(windowed.linear_join, [older, newer], half)
        )
        null = self.anywhere(self.node(windowed.nulls, [value]), length)
        return self.node(windowed.linear, [state, null], length)

    def mean_deviation(self, value: Ref, length: int) -> Ref:
        mean = self.total(value, length, windowed.sum_leaf, windowed.sum_join, windowed.average)
        number, back = value
        distances = [
            self.node(arrays.unary, [self.node(arrays.binary, [(number, back + place), mean], np.subtract)], np.abs)
            for place in reversed(range(length))
        ]
        total = reduce(lambda one, other: self.node(arrays.binary, [one, other], np.add), distances)
        return self.node(arrays.binary, [total, self.literal(length)], np.divide)

    def decayed(self, value: Ref, length: int, factor: float) -> Ref:
        return self.window(
            self.node(windowed.decayed_leaf, [value]),
            length,
            lambda older, newer, _, rest: self.node(windowed.decayed_join, [older, newer], factor**rest),
        )

    def ewm(self, value: Ref, alpha: float, length: int) -> Ref:
        if length == 1:
            return value
        null = self.node(windowed.nulls, [value])
        number, back = self.node(windowed.unsound, [value, null], np.inf)
        kids = [
            (value[0], value[1] + length - 1),
            self.decayed(value, length - 1, 1 - alpha),
            self.anywhere(null, length),
            self.anywhere((number, back + 1), length - 1),
        ]
        return self.node(windowed.smoothed, kids, alpha, (1 - alpha) ** (length - 1))

    def wilder(self, value: Ref, length: int, bars: int) -> Ref:
        if bars <= length:
            raise Unsupported("wilder() without bars behind the first mean")
        number, back = self.total(value, length, windowed.sum_leaf, windowed.sum_join, windowed.average)
        kept = (length - 1) / length
        kids = [
            (number, back + bars - length),
            self.decayed(value, bars - length, kept),
            self.anywhere(self.node(windowed.nulls, [value]), bars),
            self.constant((None,)),
        ]
        return self.node(windowed.smoothed, kids, 1 / length, kept ** (bars - length))

    def total(self, value: Ref, length: int, leaf: Work, join: Work, finish: Work) -> Ref:
        null = self.node(windowed.nulls, [value])
        state = self.simple(self.node(leaf, [value, null]), length, join)
        return self.node(finish, [state, self.counts(null, length)])
