"""The age of the base images and of the archive's snapshot in a lock, and whether the tags of its images have moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import format_count
from envcompile.doctor import CheckResult
from envcompile.resolve.image_age import count_days, read_image_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import Lock
    from envcompile.resolve.image_age import ImageAgeReader, ImageState
    from envcompile.spec.model import Spec


def check_updates(spec: Spec, lock: Lock, images: ImageAgeReader, now: str) -> Iterator[CheckResult]:
    """Yield a result for each base image, for each tool image that the spec names, and for the snapshot.

    `now` is the current time (RFC 3339 in UTC). A tag that has moved is only a note: the locked image still works.
    """
    for state in read_image_states(spec, lock, images):
        about = "tool" if state.tool else "base"
        if state.problem:
            remedy = "check the network and `[mirrors]` in the settings"
            yield CheckResult(about, "missing", state.problem, remedy)
            continue
        age = f" is {format_count(count_days(state.created, now), 'day')} old" if state.created else ""
        if state.has_moved:
            message = f"`{state.image}`{age}{' and' if age else ''} is no longer the image of its tag"
            yield CheckResult(about, "note", message, _format_remedy(state))
        elif state.newest or age:
            unchanged = "is still the image of its tag" if state.newest else ""
            words = f"{age}{' and' if age and unchanged else ''} {unchanged}".rstrip()
            yield CheckResult(about, "fine", f"`{state.image}`{words}")
    if lock.snapshot:
        age = format_count(count_days(lock.snapshot, now), "day")
        yield CheckResult("snapshot", "fine", f"the snapshot of the archive, {lock.snapshot}, is {age} old")


def _format_remedy(state: ImageState) -> str:
    if state.is_fixed:
        return f"write the new digest in the spec: `{state.newest}`"
    return f"run `envcompile lock -P {'tools' if state.tool else 'base'}`"
