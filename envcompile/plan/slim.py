"""What `[image] slim` takes away, and the label that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.spec.model import Spec

# The label of the image that names what is not in it.
REMOVED = "envcompile.removed"

# Each is a word that the script `slim` of the Dockerfile knows.
HEADERS, STATIC_LIBRARIES, TESTS = "headers", "static-libraries", "tests"


def slim(spec: Spec) -> tuple[str, ...]:
    """The kinds of files that are taken away, sorted; none unless it is asked for.

    A compiler at run time needs headers: they stay with `cuda.jit`.
    """
    if not spec.image.slim:
        return ()
    return (*(() if spec.cuda.jit else (HEADERS,)), STATIC_LIBRARIES, TESTS)
