"""One build from beginning to end: nothing of a failed one stays."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from envcompile.engine.buildx import check, exporter, words
from envcompile.engine.failure import explain, read
from envcompile.engine.images import inspect, remove
from envcompile.engine.reproduce import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from envcompile.engine.buildx import Build
    from envcompile.engine.command import Answer, Docker
    from envcompile.engine.reproduce import Difference


class Site(NamedTuple):
    """Where a build is done and seen: buildx's progress goes to `screen`.

    Without one, `last` gets the last lines of a step that fails.
    """

    docker: Docker
    screen: BinaryIO | None
    last: Callable[[tuple[str, ...]], None]


def build(site: Site, order: Build, dockerfile: str) -> str | None:
    """Build; the digest of the image, or of the index over several platforms, if the builder tells it.

    A tag that a failed or interrupted build has left behind is removed: the exporter gives it before it has unpacked
    or pushed. Raises `NotFine`, `MissingOutside` or `Unusable`, see `explain`.
    """
    ask = site.docker.ask
    check(ask)
    before = {tag: inspect(ask, tag) for tag in order.tags}
    with tempfile.TemporaryDirectory(prefix="envcompile-") as folder:
        metadata = Path(folder, "metadata.json")
        try:
            answer = site.docker.watch(words(order, str(metadata)), dockerfile, site.screen)
            _judge(site, answer)
        except BaseException:
            remove(ask, [tag for tag, image in before.items() if inspect(ask, tag) not in (None, image)])
            raise
        told = json.loads(metadata.read_text("utf-8")) if metadata.exists() else {}
    digest = told.get("containerimage.digest")
    return str(digest) if digest else None


def _judge(site: Site, answer: Answer) -> None:
    if answer.code and site.screen is None:
        site.last(read(answer.errors).lines)
    if answer.code:
        raise explain(answer.errors)


def twice(
    site: Site, order: Build, dockerfile: str, compression: str, say: Callable[[str], None]
) -> tuple[str, Difference | None]:
    """Build twice from nothing with the same exporter options; the first digest, and the first difference if any.

    From nothing: no step is taken from the builder's cache. Downloads may be: they are checked against their hashes.
    Both images stand in the folder for temporary files meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="envcompile-") as folder:
        archives = Path(folder, "first.tar"), Path(folder, "second.tar")
        for archive in archives:
            say(f"the {archive.stem} build of two, from nothing")
            output = exporter("oci", compression, str(archive))
            build(site, replace(order, output=output, tags=(), extra=(*order.extra, "--no-cache")), dockerfile)
        return compare(*archives)
