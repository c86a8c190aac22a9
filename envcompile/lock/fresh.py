"""Does a lock answer a spec? If not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.model import LAYOUT
from envcompile.spec.digest import spec_digest, text_digest

if TYPE_CHECKING:
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec


def known(text: str, lock: Lock) -> bool:
    """Whether the lock was made from this very text of a spec, which therefore was checked then."""
    return lock.spec_text == text_digest(text) and lock.layout == LAYOUT


def stale(spec: Spec, lock: Lock) -> str | None:
    """Why the lock does not answer the spec, as a sentence; None when it does."""
    if lock.layout != LAYOUT:
        return f"the lock was made for layout {lock.layout} of the Dockerfile, and this release writes layout {LAYOUT}"
    locked = {each.platform for each in lock.platforms}
    if missing := [name for name in spec.platforms if name not in locked]:
        return f"the spec asks for `{missing[0]}`, and the lock holds no such platform"
    if surplus := sorted(locked - set(spec.platforms)):
        return f"the lock holds `{surplus[0]}`, and the spec does not ask for it any more"
    if lock.spec != spec_digest(spec):
        return "the spec asks for something else than the lock was made from"
    return None
