"""How the time of a regular expression grows with the text, found from the pattern alone.

Python's engine tries one path after another through a pattern. A text that does not match costs as many steps as the
pattern has paths for its beginnings, so the time is linear only if the number of paths is limited. The number of paths
is a property of the automaton of the pattern (Weber and Seidl, "On the degree of ambiguity of finite automata", 1991):

- exponential: a state can return to itself in two ways on the same text, as in `(a+)+b`;
- polynomial: a text leads from a state p to itself, from p to another state q, and from q to itself, as in `a*a*b`.

A search is modelled with a first state that reads any text. Then `a+b` is quadratic: it is tried from every `a`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.version_info >= (3, 11):
    from re import _constants, _parser
else:
    import sre_constants as _constants
    import sre_parse as _parser

sre: Any = _constants
parse_pattern: Any = _parser.parse  # type: ignore[attr-defined,unused-ignore]
# More repetitions are treated as unlimited: the steps for each character are limited by this number.
_MAX_REPETITIONS = 500
# A limited repetition has as many copies as are needed to tell its paths apart.
_MAX_COPIES = 12
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    sre.CATEGORY_DIGIT: str.isdecimal,
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
}
_NEGATED_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
    sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
}
_SAMPLE = [chr(code) for code in (*range(1, 127), 0xA0, 0xE9, 0x2028, 0x4E2D)]


@dataclass
class _Fragment:
    """The first and last positions of a part of a pattern, and whether the part matches the empty text."""

    first: list[int]
    last: list[int]
    is_nullable: bool


@dataclass
class _Automaton:
    """A position automaton (Glushkov): one state for each character class in the pattern."""

    flags: int
    classes: list[frozenset[str]] = field(default_factory=list)
    edges: dict[int, list[int]] = field(default_factory=dict)
    twice: set[tuple[int, int]] = field(default_factory=set)
    inner: list[Any] = field(default_factory=list)  # the patterns in lookarounds
    can_fail_at_end: bool = False  # a text that the classes accept may still fail, at `$` or in a lookahead

    def add_class(self, chars: frozenset[str]) -> _Fragment:
        self.classes.append(chars)
        state = len(self.classes) - 1
        self.edges[state] = []
        return _Fragment([state], [state], is_nullable=False)

    def connect(self, last: list[int], first: list[int]) -> None:
        for start, end in product(last, first):
            if end in self.edges[start]:
                self.twice.add((start, end))
            else:
                self.edges[start].append(end)

    def join(self, parts: list[_Fragment]) -> _Fragment:
        whole = _Fragment([], [], is_nullable=True)
        for part in parts:
            self.connect(whole.last, part.first)
            whole = _Fragment(
                whole.first + part.first if whole.is_nullable else whole.first,
                whole.last + part.last if part.is_nullable else part.last,
                is_nullable=whole.is_nullable and part.is_nullable,
            )
        return whole

    def build(self, items: Any) -> _Fragment:
        return self.join([self.build_item(code, argument) for code, argument in items])

    def build_item(self, code: Any, argument: Any) -> _Fragment:  # noqa: PLR0911 - one branch for each kind of item
        empty = _Fragment([], [], is_nullable=True)
        if code in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
            return self.add_class(self.read_class(code, argument))
        if code is sre.SUBPATTERN:
            return self.build(argument[3])
        if code is getattr(sre, "ATOMIC_GROUP", None):
            return self.build(argument)
        if code is sre.BRANCH:
            parts = [self.build(each) for each in argument[1]]
            return _Fragment(
                [state for part in parts for state in part.first],
                [state for part in parts for state in part.last],
                is_nullable=any(part.is_nullable for part in parts),
            )
        if code in (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None)):
            return self.build_repeat(*argument)
        if code in (sre.ASSERT, sre.ASSERT_NOT):
            self.inner.append(argument[1])
            self.can_fail_at_end |= argument[0] > 0
            return empty
        if code is sre.AT:
            self.can_fail_at_end |= argument in (sre.AT_END, sre.AT_END_STRING)
            if argument is sre.AT_BEGINNING:
                # Only a line ending is in front of the beginning of a line, and nothing in front of that of the text.
                return self.add_class(frozenset("\n" if self.flags & re.MULTILINE else ()))
            return empty
        if code is sre.GROUPREF:
            loop = self.add_class(frozenset(_SAMPLE))
            self.connect(loop.last, loop.first)
            return loop
        raise NotImplementedError(code)

    def build_repeat(self, least: int, most: int, items: Any) -> _Fragment:
        is_unlimited = most is sre.MAXREPEAT or most > _MAX_REPETITIONS
        if not is_unlimited:
            copies = [self.build(items) for _ in range(min(most, _MAX_COPIES))]
            # `a{0,2}` is `(?:aa?)?` and not `a?a?`, which has two ways to match one `a`.
            whole = _Fragment([], [], is_nullable=True)
            for index, each in reversed([*enumerate(copies)]):
                whole = self.join([each, whole])
                whole.is_nullable |= index >= least
            return whole
        copies = [self.build(items) for _ in range(min(least, _MAX_COPIES))]
        loop = self.build(items) if not copies else copies[-1]
        self.connect(loop.last, loop.first)
        if not copies:
            loop.is_nullable = True
            return loop
        return self.join(copies)

    def read_class(self, code: Any, argument: Any) -> frozenset[str]:
        if code is sre.ANY:
            return frozenset(c for c in _SAMPLE if c != "\n" or self.flags & re.DOTALL)
        if code is sre.IN:
            negated = argument[0][0] is sre.NEGATE
            found = [c for c in _SAMPLE if any(self.contains(kind, value, c) for kind, value in argument[negated:])]
            return frozenset(set(_SAMPLE) - set(found) if negated else found)
        found = [c for c in _SAMPLE if self.contains(sre.LITERAL, argument, c)]
        return frozenset(set(_SAMPLE) - set(found) if code is sre.NOT_LITERAL else found)

    def contains(self, code: Any, argument: Any, char: str) -> bool:
        if self.flags & re.IGNORECASE and char.swapcase() != char:
            flags, self.flags = self.flags, self.flags & ~re.IGNORECASE
            try:
                return self.contains(code, argument, char) or self.contains(code, argument, char.swapcase())
            finally:
                self.flags = flags
        if code is sre.LITERAL:
            return bool(ord(char) == argument)
        if code is sre.RANGE:
            return bool(argument[0] <= ord(char) <= argument[1])
        if argument in _NEGATED_CATEGORIES:
            return not _CATEGORIES[_NEGATED_CATEGORIES[argument]](char)
        return bool(_CATEGORIES[argument](char))


def find_growth(pattern: str, flags: int = 0, method: str = "fullmatch") -> str:
    """Return `linear`, `polynomial` or `exponential` for a pattern and the method of `re` that uses it."""
    tree = parse_pattern(pattern, flags)
    waiting, growth = [(list(tree), method)], 0
    while waiting:
        items, how = waiting.pop()
        automaton = _Automaton(tree.state.flags)
        growth = max(growth, _find_degree(automaton, items, how))
        waiting += [(list(each), "match") for each in automaton.inner]
    return ("linear", "polynomial", "exponential")[growth]


def _find_degree(automaton: _Automaton, items: list[Any], method: str) -> int:
    """Return 0, 1 or 2 for linear, polynomial and exponential growth."""
    is_anchored = method in ("match", "fullmatch") or _is_anchored(items, automaton.flags)
    whole = automaton.build(items[1:] if items and items[0] == (sre.AT, sre.AT_BEGINNING) else items)
    if not is_anchored:
        # The text before the match. A lookbehind or `^` at the start of the pattern must be at its end.
        prefix = automaton.add_class(frozenset(_SAMPLE))
        automaton.connect(prefix.last, prefix.last)
        start = automaton.join([prefix, *_read_start(automaton, items)])
        automaton.connect(start.last, whole.first)
    loops = _find_cycles(automaton)
    if any(start in loops and end in loops[start] for start, end in automaton.twice):
        return 2
    if any(_returns_in_two_ways(automaton, state, loops[state]) for state in loops):
        return 2
    # A match is found, so nothing is tried again, where a search may stop after each character of a loop.
    # The same holds for a loop at the end of the pattern that reads any text.
    last = set() if automaton.can_fail_at_end else set(whole.last)
    every = frozenset(_SAMPLE)
    safe = {q for q in loops if q in last and automaton.classes[q] == every and q in automaton.edges[q]}
    if method != "fullmatch":
        safe |= {q for q in loops if loops[q] & last}
    pairs = ((p, q) for p in loops for q in loops if p != q and q not in safe)
    return int(any(_leads_to_second_loop(automaton, p, q, loops) for p, q in pairs))


def _is_anchored(items: list[Any], flags: int) -> bool:
    if not items or items[0][0] is not sre.AT:
        return False
    return items[0][1] is sre.AT_BEGINNING_STRING or (items[0][1] is sre.AT_BEGINNING and not flags & re.MULTILINE)


def _read_start(automaton: _Automaton, items: list[Any]) -> list[_Fragment]:
    """Return the texts that must be in front of the match."""
    if items and items[0] == (sre.AT, sre.AT_BEGINNING):
        return [automaton.add_class(frozenset("\n"))]
    if items and items[0][0] is sre.ASSERT and items[0][1][0] < 0:
        return [automaton.build(items[0][1][1])]
    if items and items[0][0] is sre.ASSERT_NOT and items[0][1][0] < 0 and len(items[0][1][1]) == 1:
        (code, argument) = items[0][1][1][0]
        if code in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
            return [automaton.add_class(frozenset(_SAMPLE) - automaton.read_class(code, argument))]
    return []


def _find_cycles(automaton: _Automaton) -> dict[int, set[int]]:
    """Return the states from which a state on a cycle can be reached and that can be reached from it, by state."""
    reachable = {state: _reach(automaton, state) for state in automaton.edges}
    return {
        state: {other for other in found if state in reachable[other]}
        for state, found in reachable.items()
        if state in found
    }


def _reach(automaton: _Automaton, start: int) -> set[int]:
    found: set[int] = set()
    waiting = list(automaton.edges[start])
    while waiting:
        state = waiting.pop()
        if state not in found and automaton.classes[state]:
            found.add(state)
            waiting += automaton.edges[state]
    return found


def _step(automaton: _Automaton, states: tuple[int, ...], allowed: tuple[set[int], ...]) -> list[tuple[int, ...]]:
    """Return the next states of several paths that read the same character."""
    choices = (
        [end for end in automaton.edges[state] if end in may] for state, may in zip(states, allowed, strict=True)
    )
    return [ends for ends in product(*choices) if frozenset.intersection(*(automaton.classes[end] for end in ends))]


def _can_reach(
    automaton: _Automaton, start: tuple[int, ...], goal: tuple[int, ...], allowed: tuple[set[int], ...]
) -> bool:
    seen: set[tuple[int, ...]] = set()
    waiting = _step(automaton, start, allowed)
    while waiting:
        states = waiting.pop()
        if states == goal:
            return True
        if states not in seen:
            seen.add(states)
            waiting += _step(automaton, states, allowed)
    return False


def _returns_in_two_ways(automaton: _Automaton, state: int, cycle: set[int]) -> bool:
    """Whether two different paths on the same text lead from a state back to it."""
    allowed = (cycle, cycle)
    seen: set[tuple[int, ...]] = set()
    waiting = _step(automaton, (state, state), allowed)
    while waiting:
        states = waiting.pop()
        if states in seen:
            continue
        seen.add(states)
        if states[0] != states[1] and _can_reach(automaton, states, (state, state), allowed):
            return True
        waiting += _step(automaton, states, allowed)
    return False


def _leads_to_second_loop(automaton: _Automaton, p: int, q: int, loops: dict[int, set[int]]) -> bool:
    """Whether one text leads from p to p, from p to q, and from q to q."""
    between = _reach(automaton, p)
    return q in between and _can_reach(automaton, (p, p, q), (p, q, q), (loops[p], between, loops[q]))
