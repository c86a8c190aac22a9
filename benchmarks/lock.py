"""`envcompile lock`, compared with `uv pip compile` of the same requirements, with and without an earlier lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measure import Command, alternate
from benchmarks.question import OUTPUT, compare_answers, copy_example, example
from benchmarks.report import Result, at_most
from benchmarks.setting import ENVCOMPILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.setting import Setting

_RUNS = 5
# Of raw uv's time: 1.25 times, and the start of a Python process.
_FACTOR, _SECONDS = 1.25, 0.15


class _Case(NamedTuple):
    """One table: whether there is an earlier lock, whether caches are emptied, and whether the index may be used."""

    title: str
    kept: bool = False
    emptied: bool = False
    offline: bool = False


def warm(setting: Setting) -> Iterator[Result]:
    """Compare both with one complete cache; then once more without requests that ask whether it is still valid.

    An index that allows no reuse without a request makes warm runs as slow as cold ones, and adds the noise of
    its network. Our own share is visible only offline.
    """
    cache = setting.folder("warm-cache")
    for case in (
        _Case("lock-warm, no earlier answer"),
        _Case("lock-warm, an earlier answer kept", kept=True),
        _Case("lock-warm, no earlier answer, offline", offline=True),
    ):
        yield _compare(setting, case, (cache, cache))


def cold(setting: Setting) -> Iterator[Result]:
    """Compare both with an empty cache for each run."""
    caches = (setting.folder("cold-theirs"), setting.folder("cold-ours"))
    for case in (
        _Case("lock-cold, no earlier answer", emptied=True),
        _Case("lock-cold, an earlier answer kept", emptied=True, kept=True),
    ):
        yield _compare(setting, case, caches)


def _compare(setting: Setting, case: _Case, caches: tuple[Path, Path]) -> Result:
    # The uncounted run leaves its answer behind: that is the earlier one of a case that keeps it.
    folders = (setting.folder(f"{case.title}/uv"), setting.folder(f"{case.title}/envcompile"))
    answers = (folders[0] / OUTPUT, copy_example(folders[1]))
    question = example()
    question.write(folders[0])
    argvs = {"uv pip compile": question.uv(), "envcompile lock": (*ENVCOMPILE, "lock")}
    commands = []
    for (name, argv), folder, cache, answer in zip(argvs.items(), folders, caches, answers, strict=True):
        removed = (*((cache,) if case.emptied else ()), *(() if case.kept else (answer,)))
        environment = setting.environment(UV_CACHE_DIR=cache, UV_OFFLINE="1" if case.offline else "0")
        commands.append(Command(name, argv, folder, environment, removed))
    theirs, ours = alternate(commands, setting.runs or _RUNS)
    note = compare_answers(answers[1], answers[0])
    return Result(case.title, (theirs, ours), (at_most(ours, theirs, _FACTOR, _SECONDS),), (note,))
