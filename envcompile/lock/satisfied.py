"""Whether what is pinned for one platform is what the spec asks for, and no more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.finding import Finding
from envcompile.lock.satisfied_conda import conda_answer, needed
from envcompile.lock.surplus import surplus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import PlatformLock
    from envcompile.spec.model import Spec


def unsatisfied(spec: Spec, locked: PlatformLock) -> Iterator[Finding]:
    """Each requirement that the platform's pins do not satisfy, then each package that nothing asks for any more."""
    yield from _python(spec, locked)
    asked = yield from conda_answer(spec, locked)
    names = {package.name: tuple(map(needed, package.depends)) for package in locked.conda}
    for name in surplus(names, asked):
        yield Finding(("conda", "packages"), f"the lock holds conda's `{name}`, which nothing asks for any more,")
    roots: set[str] = set()
    if spec.pip.packages:
        from envcompile.lock.satisfied_pip import pip_answer  # noqa: PLC0415 - brings `packaging`

        roots = yield from pip_answer(spec, locked, asked)
    # What the base would have had otherwise is asked for by its choice.
    roots = {*roots, *(each.partition(" ")[0] for each in locked.decided.wheels)} if locked.decided else roots
    # What the bases were decided to stand on is asked for by that decision.
    roots |= {text.partition(" ")[0] for text in locked.decided.wheels} if locked.decided else set()
    for name in surplus({package.name: package.depends for package in locked.pip}, roots):
        yield Finding(("pip", "packages"), f"the lock holds `{name}`, which nothing asks for any more,")


def _python(spec: Spec, locked: PlatformLock) -> Iterator[Finding]:
    """The interpreter of the base; conda's own is a package of its own."""
    if locked.python is None:
        if spec.pip.packages:
            yield Finding(("python",), "pip packages need a Python, and the lock has none")
    elif (
        spec.python
        and locked.python.source != "conda"
        and not f"{locked.python.version}.".startswith(f"{spec.python}.")
    ):
        yield Finding(("python",), f"Python {spec.python} is asked for, and the lock has {locked.python.version}")
