"""The printed results: a table for each comparison, with ratios and goals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.measure import Series


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal and the measured value as a sentence, and whether the goal is met."""

    sentence: str
    met: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One table. The other series are divided by the first one."""

    title: str
    series: Sequence[Series]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """The table as lines of text."""
        width = max(len(each.name) for each in self.series)
        reference = self.series[0]
        runs = len(reference.seconds)
        yield f"{self.title} ({runs} {'run' if runs == 1 else 'runs'} each)"
        yield f"  {'':<{width}}  {'median':>9}  {'min - max':>19}  ratio"
        for each in self.series:
            reach = f"{min(each.seconds):.3f} - {max(each.seconds):.3f} s"
            yield f"  {each.name:<{width}}  {each.median:>7.3f} s  {reach:>19}  {each.median / reference.median:5.2f}"
        yield from _ending(self.notes, self.goals)


@dataclass(frozen=True, slots=True)
class Table:
    """Figures with several units: a row for each side by its name, with a text for each column."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """The table as lines of text."""
        width = max(map(len, self.rows))
        widths = [max(map(len, each)) for each in zip(self.columns, *self.rows.values(), strict=True)]
        yield self.title
        for name, row in {"": self.columns, **self.rows}.items():
            yield f"  {name:<{width}}" + "".join(f"  {each:>{size}}" for each, size in zip(row, widths, strict=True))
        yield from _ending(self.notes, self.goals)


def _ending(notes: Sequence[str], goals: Sequence[Goal]) -> Iterator[str]:
    yield from (f"  note: {note}" for note in notes)
    yield from (f"  goal {'met' if goal.met else 'MISSED'}: {goal.sentence}" for goal in goals)


def at_most(ours: Series, theirs: Series, factor: float, more: float = 0.0) -> Goal:
    """The goal that one command takes at most `factor` times another, plus `more` seconds."""
    limit = factor * theirs.median + more
    plus = f" plus {more:g} s" if more else ""
    reached = f"{limit:.3f} s at most, {ours.median:.3f} s reached"
    return Goal(f"`{ours.name}` at most {factor:g} x `{theirs.name}`{plus}: {reached}", ours.median <= limit)


def linear(start: Series, small: Series, large: Series, times: float) -> Goal:
    """The goal that `times` as many packages take at most `times` as long, not counting the start of the process."""
    few, many = small.median - start.median, large.median - start.median
    growth = f"{1000 * few:.1f} ms, and {1000 * many:.1f} ms"
    ratio = f", {many / few:.1f} times" if few > 0 else ""
    sentence = f"`{large.name}` at most {times:g} times `{small.name}`, above `{start.name}`: {growth}{ratio}"
    return Goal(sentence, many <= times * few)
