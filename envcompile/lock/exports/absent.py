"""What an export does not hold, as comments of its own: a file is read without the warnings of whoever made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.exports import packages
from envcompile.spec.requirement import name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.exports import Given

_WHOSE = {"conda": "conda's", "pip": "pip's", "apt": "Debian's"}


def absent(given: Given, *holds: str) -> Iterator[str]:
    """A comment where the lock has packages of kinds, of `conda`, `pip` and `apt`, that a format does not hold."""
    whose = [words for kind, words in _WHOSE.items() if kind not in holds and packages(given.lock, kind)]
    if whose:
        yield f"# Not here, for this format cannot hold them: {' and '.join(whose)} packages."


def absent_of_pip(given: Given) -> Iterator[str]:
    """The comments of a list of pip's packages alone."""
    yield from absent(given, "pip")
    brought = sorted({each for platform in given.lock.platforms for one in platform.conda for each in one.provides})
    if brought:
        yield f"# Not here, for conda brings it: {', '.join(brought)}."
    if given.spec.pip.exclude:
        yield f"# Not here, for the spec leaves it out: {', '.join(sorted(map(name, given.spec.pip.exclude)))}."


def absent_of_asked(given: Given) -> Iterator[str]:
    """The comments of a list of what is asked for: packages of other kinds, and keys that shape the answer."""
    yield from absent(given, "conda", "pip")
    spec = given.spec
    keys = {
        "exclude-newer": spec.exclude_newer is not None,
        "cuda.version": spec.cuda.version is not None,
        "pip.exclude": bool(spec.pip.exclude),
        "pip.index": spec.pip.index is not None,
        "pip.extra-indexes": bool(spec.pip.extra_indexes),
    }
    if asked := [key for key, there in keys.items() if there]:
        yield f"# Not here, for this format has no place for it: {', '.join(asked)} of the spec."
