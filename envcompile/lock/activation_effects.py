"""Finds out which variables an activation script sets to the same value wherever it runs.

A script is evaluated without knowing the variables outside it. Where its course depends on such a variable, or on a
file that is not known, both courses are followed. So a script has several outcomes, and a variable is static if all of
them agree:

- A variable that every outcome exports with the same value is static.
- A variable that keeps its earlier value if it has one, and otherwise gets the same value in every outcome, is static,
  as a default.
- A variable that is only unset, emptied, or that saves the earlier value of another one is ignored.
- Any other variable makes the script one that must be run. Its static variables remain static.
- A script that `shell_script` cannot parse has no static variables.
- Variables of `RESERVED_VARIABLES` are never static.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from posixpath import normpath
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from envcompile.lock.activation import is_settable, is_storable_value
from envcompile.lock.model import ActivationVariable
from envcompile.lock.shell_script import (
    EQUALITY_TESTS,
    UNARY_TESTS,
    Assignment,
    Chain,
    Conditional,
    Constant,
    Expansion,
    Negation,
    Sequence,
    Unset,
    UnsupportedScriptError,
    WordTest,
    get_literal,
    parse_script,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from envcompile.lock.shell_script import Command, Commands, Text, Word

    # Whether a file passes `-d`, `-e` or `-f`; None if this is not known.
    FileTest: TypeAlias = Callable[[str, str], bool | None]
    _Item = TypeVar("_Item")

_PREFIX_VARIABLE = "CONDA_PREFIX"
# Variables that bash sets itself, that change how it reads a script, or that the program `activated` uses.
_SHELL_VARIABLES = re.compile(
    "BASH.*|COMP_.*|DIRSTACK|EPOCH.*|EUID|FUNCNAME|GROUPS|HIST.*|IFS|LINENO|OPT(?:ARG|ERR|IND)|PIPESTATUS|POSIXLY_CORRECT|"
    "PPID|RANDOM|REPLY|SECONDS|SHELLOPTS|SRANDOM|UID|_|activation_scripts?"
)
_PATTERN_CHARACTERS = re.compile(r"[\s*?\[\]\\]|[@!+]\(")
_MAX_STATES = 512


@dataclass(frozen=True, slots=True)
class OuterValue:
    """The value that a variable had before the script."""

    name: str


@dataclass(frozen=True, slots=True)
class UnknownValue:
    """A value that depends on variables outside the script."""


# None for a variable that is not set.
Value: TypeAlias = str | OuterValue | UnknownValue | None
_ANY_PRESENCE = frozenset(("unset", "empty", "filled"))
_FILLED = frozenset(("filled",))


class State(NamedTuple):
    """The variables that a script has assigned so far, and what it has found out about those outside it.

    `assumed` maps a variable to a part of `unset`, `empty` and `filled`, its possible states before the script.
    """

    values: Mapping[str, Value]
    exported: frozenset[str]
    assumed: Mapping[str, frozenset[str]]

    def assign(self, name: str, value: Value, *, exports: bool) -> State:
        """Return the state after an assignment."""
        exported = self.exported | {name} if exports else self.exported
        return self._replace(values={**self.values, name: value}, exported=exported)

    def unset(self, name: str) -> State:
        """Return the state without a variable."""
        return self._replace(values={**self.values, name: None}, exported=self.exported - {name})

    def presence(self, name: str) -> frozenset[str]:
        """Return the possible states of a variable before the script."""
        return self.assumed.get(name, _ANY_PRESENCE)

    def narrow(self, name: str, presence: Iterable[str]) -> State | None:
        """Return the state with fewer possible states of an outer variable, or None if none is left."""
        left = self.presence(name) & frozenset(presence)
        return self._replace(assumed={**self.assumed, name: left}) if left else None

    def read(self, name: str) -> Value:
        """Return the value of a variable."""
        if _SHELL_VARIABLES.fullmatch(name):
            raise UnsupportedScriptError
        return self.values[name] if name in self.values else self.simplify(OuterValue(name))

    def simplify(self, value: Value) -> Value:
        """Return "" for an outer value that is known to be empty."""
        is_empty = isinstance(value, OuterValue) and self.presence(value.name) <= {"unset", "empty"}
        return "" if is_empty else value


class ScriptEffects(NamedTuple):
    """The static variables of a script, sorted by name, and whether it does nothing else."""

    variables: tuple[ActivationVariable, ...]
    is_static: bool


def find_script_effects(script: str, text: str, prefix: str, test_file: FileTest) -> ScriptEffects:
    """Return the effects of an activation script for the environment at `prefix`.

    `script` is its path in the package, and `text` its content. `test_file` is called with an operator and a path.
    """
    try:
        states = _Evaluator(test_file).run(parse_script(text), [State({_PREFIX_VARIABLE: prefix}, frozenset(), {})])
    except UnsupportedScriptError:
        return ScriptEffects((), is_static=False)
    names = {name for state in states for name in (*state.values, *state.exported)} - {_PREFIX_VARIABLE}
    variables, is_static = [], True
    for name in sorted(names):
        kind, value = _classify_variable(name, states)
        if kind in ("set", "default") and is_settable(name) and is_storable_value(value):
            variables.append(ActivationVariable(name, value, script, is_default=kind == "default"))
        elif kind != "ignored":
            is_static = False
    return ScriptEffects(tuple(variables), is_static)


def _classify_variable(name: str, states: list[State]) -> tuple[str, str]:
    """Return `set`, `default`, `ignored` or `dynamic`, and the value."""
    if not any(name in state.exported for state in states):
        # Otherwise it is no environment variable, except where it is known to be one.
        changes = any(
            "unset" not in state.presence(name)
            and state.simplify(state.values.get(name)) not in (None, "", OuterValue(name))
            for state in states
        )
        return ("dynamic" if changes else "ignored"), ""
    values: set[str] = set()
    others: list[State] = []
    for state in states:
        value = state.simplify(state.values.get(name, OuterValue(name)))
        is_exported = name in state.exported
        is_lost = isinstance(value, str) and value and not is_exported
        if isinstance(value, UnknownValue) or is_lost or (is_exported and name not in state.values):
            return "dynamic", ""
        keeps_empty = value == "" and state.presence(name) == {"empty"}
        if isinstance(value, str) and is_exported and not keeps_empty:
            values.add(value)
        else:
            others.append(state)
    if not values - {""}:
        return "ignored", ""
    keeps = all(
        state.presence(name) == {"empty"}
        or (state.values.get(name, OuterValue(name)) == OuterValue(name) and "unset" not in state.presence(name))
        for state in others
    )
    if len(values) > 1 or not keeps:
        return "dynamic", ""
    return ("default" if others else "set"), values.pop()


class _Evaluator:
    """Runs the commands of a script in several states at once."""

    def __init__(self, test_file: FileTest) -> None:
        self._test_file = test_file

    def run(self, commands: Commands, states: list[State]) -> list[State]:
        """Return the states after the commands."""
        for command in commands:
            states = _remove_duplicates(after for state in states for after, _ in self._run_command(command, state))
        return states

    def _run_command(self, command: Command, state: State) -> Iterator[tuple[State, bool]]:
        """Yield each state after a command, with the success of the command."""
        if isinstance(command, Constant):
            yield state, command.status
        elif isinstance(command, Unset):
            yield _check_assignable(command.name, state).unset(command.name), True
        elif isinstance(command, Assignment):
            yield from self._run_assignment(command, _check_assignable(command.name, state))
        elif isinstance(command, Sequence):
            yield from ((after, True) for after in self.run(command.commands, [state]))
        elif isinstance(command, Negation):
            yield from ((after, not status) for after, status in self._run_command(command.command, state))
        elif isinstance(command, Chain):
            for after, status in self._run_command(command.first, state):
                if status == (command.operator == "&&"):
                    yield from self._run_command(command.second, after)
                else:
                    yield after, status
        elif isinstance(command, Conditional):
            yield from ((after, True) for after in self._run_conditional(command, state))
        else:
            yield from self._run_test(command, state)

    def _run_assignment(self, command: Assignment, state: State) -> Iterator[tuple[State, bool]]:
        if command.word is None:
            yield state._replace(exported=state.exported | {command.name}), True
            return
        for after, value in self._expand(command.word, state):
            # A variable stays exported if it was exported before.
            yield after.assign(command.name, value, exports=command.is_exported), True

    def _run_conditional(self, command: Conditional, state: State) -> list[State]:
        finished: list[State] = []
        states = [state]
        for condition, body in command.branches:
            *before, last = condition
            results = _remove_duplicates(
                result for each in self.run(tuple(before), states) for result in self._run_command(last, each)
            )
            finished += self.run(body, [after for after, status in results if status])
            states = [after for after, status in results if not status]
        return finished + self.run(command.otherwise, states)

    # Words.

    def _expand(self, word: Word, state: State) -> Iterator[tuple[State, Value]]:
        """Yield the value of a word in each state that it may lead to. It is never None."""
        if not word:
            yield state, ""
            return
        first, *others = word
        for after, value in self._expand_part(first, state):
            for final, rest in self._expand(tuple(others), after):
                yield final, _concatenate(value, rest)

    def _expand_part(self, part: Text | Expansion, state: State) -> Iterator[tuple[State, Value]]:
        if not isinstance(part, Expansion):
            yield state, part.text
            return
        value = state.read(part.name)
        if not part.operator:
            yield state, "" if value is None else value
            return
        is_missing = {"unset", "empty"} if part.operator.startswith(":") else {"unset"}
        for after, presence, found in _split_by_presence(part.name, value, state):
            if (presence in is_missing) == part.operator.endswith("-"):
                yield from self._expand(part.operand, after)
            else:
                yield after, found if part.operator.endswith("-") else ""

    # Tests.

    def _run_test(self, test: WordTest, state: State) -> Iterator[tuple[State, bool]]:
        for after, arguments in self._expand_arguments(test, test.arguments, state):
            yield from self._test_arguments(test, arguments, after)

    def _expand_arguments(
        self, test: WordTest, words: tuple[Word, ...], state: State
    ) -> Iterator[tuple[State, tuple[tuple[Value, Word], ...]]]:
        """Yield the values of the arguments of a test. `[` drops an argument that is empty and not quoted."""
        if not words:
            yield state, ()
            return
        first, *others = words
        for after, value in self._expand(first, state):
            kept: tuple[tuple[Value, Word], ...] = ((value, first),)
            if not test.is_bracketed_twice and _is_split(first):
                # The result for an unknown number of arguments is not known either.
                plain = _check_no_pattern(value)
                kept = ((plain, first),) if plain else ()
            for final, rest in self._expand_arguments(test, tuple(others), after):
                yield final, (*kept, *rest)

    def _test_arguments(
        self, test: WordTest, arguments: tuple[tuple[Value, Word], ...], state: State
    ) -> Iterator[tuple[State, bool]]:
        literals = [get_literal(word) for _, word in arguments]
        values = [value for value, _ in arguments]
        if len(arguments) == 3 and literals[1] in EQUALITY_TESTS:  # noqa: PLR2004 - two operands and the operator
            if test.is_bracketed_twice and _is_split(arguments[2][1]):
                # The right side of `==` in `[[` is a pattern, unless it is quoted.
                values[2] = _check_no_pattern(values[2])
            expected = literals[1] != "!="
            yield from ((after, status == expected) for after, status in _compare(values[0], values[2], state))
        elif literals[:1] == ["!"] and len(arguments) > 1:
            yield from ((after, not status) for after, status in self._test_arguments(test, arguments[1:], state))
        elif len(arguments) == 2 and literals[0] in UNARY_TESTS:  # noqa: PLR2004 - operator and operand
            yield from self._test_operand(literals[0], values[1], state)
        elif len(arguments) == 1:
            yield from self._test_operand("-n", values[0], state)
        elif not arguments:
            yield state, False
        else:
            raise UnsupportedScriptError

    def _test_operand(self, operator: str, value: Value, state: State) -> Iterator[tuple[State, bool]]:
        if operator in ("-n", "-z"):
            yield from ((after, status == (operator == "-z")) for after, status in _compare(value, "", state))
            return
        known = self._test_file(operator, value) if isinstance(value, str) else None
        yield from ((state, status) for status in (True, False) if known in (None, status))


def _check_assignable(name: str, state: State) -> State:
    if name == _PREFIX_VARIABLE or _SHELL_VARIABLES.fullmatch(name):
        raise UnsupportedScriptError
    return state


def _remove_duplicates(items: Iterable[_Item]) -> list[_Item]:
    """Return the distinct states. Raises `UnsupportedScriptError` if there are too many."""
    kept: list[_Item] = []
    for item in items:
        if item not in kept:
            kept.append(item)
        if len(kept) > _MAX_STATES:
            raise UnsupportedScriptError
    return kept


def _is_split(word: Word) -> bool:
    """Whether a part of the word is a variable outside quotes, whose value is split and matched with files."""
    return any(isinstance(part, Expansion) and not part.is_quoted for part in word)


def _check_no_pattern(value: Value) -> str | UnknownValue:
    """Return the value of a variable outside quotes, which is unknown unless the script has set it.

    Raises `UnsupportedScriptError` if bash would split the value, or take it for a pattern.
    """
    if not isinstance(value, str):
        return UnknownValue()
    if _PATTERN_CHARACTERS.search(value):
        raise UnsupportedScriptError
    return value


def _concatenate(first: Value, second: Value) -> Value:
    if isinstance(first, str) and isinstance(second, str):
        return first + second
    if first == "":
        return second
    return first if second == "" else UnknownValue()


def _split_by_presence(name: str, value: Value, state: State) -> Iterator[tuple[State, str, Value]]:
    """Yield the states in which a variable is `unset`, `empty` or `filled`, with its value there."""
    if value is None:
        yield state, "unset", ""
    elif isinstance(value, str):
        is_outer = name not in state.values
        for presence in state.presence(name) if is_outer else ({"filled"} if value else {"empty"}):
            if after := state.narrow(name, {presence}) if is_outer else state:
                yield after, presence, value
    elif isinstance(value, UnknownValue):
        yield state, "empty", ""
        yield state, "filled", value
    else:
        is_assigned = name in state.values  # a copy of an outer variable is set even if that is not
        for presence in ("unset", "empty", "filled"):
            if after := state.narrow(value.name, {presence}):
                found = "empty" if is_assigned and presence == "unset" else presence
                yield after, found, value if presence == "filled" else ""


def _compare(first: Value, second: Value, state: State) -> Iterator[tuple[State, bool]]:
    """Yield whether two values are equal, in each state in which this is possible."""
    first, second = state.simplify(first), state.simplify(second)
    if isinstance(first, str) and isinstance(second, str):
        yield state, first == second
        return
    if isinstance(second, OuterValue) and isinstance(first, str):
        first, second = second, first
    if not isinstance(first, OuterValue) or not isinstance(second, str):
        yield state, True
        yield state, False
        return
    equal = state.narrow(first.name, _FILLED if second else ("unset", "empty"))
    different = state.narrow(first.name, _ANY_PRESENCE if second else _FILLED)
    yield from ((after, status) for after, status in ((equal, True), (different, False)) if after)


# Files of the package.


class PackageFiles:
    """The files of one package, to decide tests of files in a script of the package.

    `paths` maps a path in the package to its type: `hardlink`, `softlink` or `directory`.
    """

    def __init__(self, paths: Mapping[str, str], prefix: str) -> None:
        self._prefix = prefix
        # The files of a noarch Python package are installed elsewhere.
        self._types = {
            path: kind for path, kind in paths.items() if not path.startswith(("site-packages/", "python-scripts/"))
        }
        self._folders = {path for path, kind in self._types.items() if kind == "directory"}
        for path in self._types:
            parts = path.split("/")
            self._folders.update("/".join(parts[:end]) for end in range(1, len(parts)))

    def test(self, operator: str, path: str) -> bool | None:
        """Return whether a file passes `-d`, `-e` or `-f`, or None if the package does not tell.

        A file that is not in the package may be in another one, and a link may lead anywhere.
        """
        if not path:
            return False
        if ".." in path.split("/") or not path.startswith(f"{self._prefix}/"):
            return None
        relative = normpath(path)[len(self._prefix) + 1 :]
        if relative in self._folders:
            return operator != "-f"
        if self._types.get(relative) == "hardlink" and not path.endswith("/"):
            return operator != "-d"
        return None
