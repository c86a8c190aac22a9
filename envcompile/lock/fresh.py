"""Does a lock answer a spec? If not, which requirement does it fail.

What counts is whether the lock satisfies, not whether a digest matches: a matching digest is only the fast path. A
requirement that was loosened, or says the same in other words, is satisfied still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.digests import compute_text_digest, compute_value_digest
from envcompile.lock.head import LAYOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from envcompile.lock.finding import Finding
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

RELOCK = "run `envcompile lock`"


def known(text: str, lock: Lock) -> bool:
    """Whether the lock was made from this very text of a spec, which therefore was checked then."""
    return lock.spec_text == compute_text_digest(text) and lock.layout == LAYOUT


def same(value: Mapping[str, object], lock: Lock) -> bool:
    """Whether the lock was made from this very TOML value of a spec: its comments alone may differ."""
    return lock.spec == compute_value_digest(value) and lock.layout == LAYOUT


def stale(spec: Spec, lock: Lock, hint: str = RELOCK) -> list[Diagnostic]:
    """Everything in which the lock does not answer the spec, with its place in the spec; nothing when it does."""
    if lock.layout != LAYOUT:
        message = (
            f"the lock was made for layout {lock.layout} of the Dockerfile, and this release writes layout {LAYOUT}"
        )
        return [Diagnostic("stale", message, (), hint)]
    return [Diagnostic("stale", message, path, hint, of) for message, path, of in _messages(spec, lock)]


def _messages(spec: Spec, lock: Lock) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    from envcompile.lock.noted import noted  # noqa: PLC0415 - together: a lock that is known needs none of them
    from envcompile.lock.satisfied import unsatisfied  # noqa: PLC0415

    locked = {each.platform for each in lock.platforms}
    for index, name in enumerate(spec.platforms):
        if name not in locked:
            where = ("platforms", index)
            yield f"the spec asks for the platform `{name}`, and the lock does not hold it", where, "value"
    for name in sorted(locked - set(spec.platforms)):
        yield f"the lock holds the platform `{name}`, and the spec does not ask for it", ("platforms",), "value"
    yield from ((each.said, each.path, "key") for each in noted(spec, lock))
    both = [each for each in lock.platforms if each.platform in spec.platforms]
    found = _together((each.platform, finding) for each in both for finding in unsatisfied(spec, each))
    for finding, platforms in found.items():
        names = " and ".join(f"`{name}`" for name in platforms)
        yield f"{finding.said} for {names}", finding.path, "value"


def _together(found: Iterable[tuple[str, Finding]]) -> dict[Finding, list[str]]:
    """What is found, and the platforms it is found on: the same thing is said once."""
    answer: dict[Finding, list[str]] = {}
    for platform, finding in found:
        answer.setdefault(finding, []).append(platform)
    return answer
