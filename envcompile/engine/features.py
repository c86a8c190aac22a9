"""What a builder must be able to do for us, tried out and not looked up.

Versions do not tell: Debian's engine calls its BuildKit `v0.0.0+unknown`, other builders say a commit. The Dockerfiles
here stand on `scratch`, so they need no image and no network; the builder's cache keeps a few kilobytes of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.engine.archive import Archive
from envcompile.engine.buildx import Build, exporter, words

if TYPE_CHECKING:
    from envcompile.engine.command import Answer, Docker

_CONTEXT = "envcompile-context"


class Feature(NamedTuple):
    """Something a builder can do, what it is for, and a Dockerfile that needs it."""

    name: str
    purpose: str
    dockerfile: str


FEATURES = (
    Feature("heredocs", "the package lists are inside the Dockerfile", "FROM scratch\nCOPY <<'EOF' /list\na\nEOF\n"),
    Feature(
        "COPY --link",
        "layers that do not depend on one another",
        "FROM scratch AS made\nWORKDIR /made\nFROM scratch\nCOPY --link --from=made /made /made\n",
    ),
    Feature("named contexts", "images of a mirror", f"FROM scratch\nCOPY --from={_CONTEXT} . /given\n"),
)
# All of them at once, so that a builder that can do it all is asked once.
_ALL = (
    "FROM scratch AS made\nWORKDIR /made\nCOPY <<'EOF' /made/list\na\nEOF\n"
    f"FROM scratch\nCOPY --link --from=made /made /made\nCOPY --from={_CONTEXT} . /given\n"
)


class Able(NamedTuple):
    """What a builder can do: the features that it lacks, and whether it writes OCI archives, and layers of zstd.

    `said` is what it said to the first that failed.
    """

    lacks: tuple[Feature, ...]
    archives: bool
    zstd: bool
    said: str = ""


def able(docker: Docker, builder: str, platform: str) -> Able:
    """Try the builder out (empty: the user's current one), for a platform as docker spells it."""
    with tempfile.TemporaryDirectory(prefix="envcompile-") as name:
        folder = Path(name)
        (folder / "context").mkdir()
        (folder / "context" / "file").write_text("a", "utf-8")
        archive = folder / "image.tar"
        kind = exporter("oci", "zstd", str(archive))
        if _build(docker, folder, builder, platform, kind, _ALL).code == 0:
            return Able((), archives=True, zstd=_zstd(archive))
        kind = exporter("local", "zstd", str(folder / "files"))
        answers = {each: _build(docker, folder, builder, platform, kind, each.dockerfile) for each in FEATURES}
        lacks = tuple(each for each, answer in answers.items() if answer.code)
        return Able(lacks, archives=False, zstd=False, said=answers[lacks[0]].errors if lacks else "")


def _build(  # noqa: PLR0913, PLR0917 - a build has so many sides
    docker: Docker, folder: Path, builder: str, platform: str, output: str, dockerfile: str
) -> Answer:
    order = Build(
        platforms=(platform,),
        output=output,
        contexts=((_CONTEXT, str(folder / "context")),),
        builder=builder,
        progress="plain",
        # A layer that the cache has as gzip would be written as gzip.
        extra=("--no-cache",),
    )
    return docker.watch(words(order, str(folder / "metadata.json")), dockerfile, None)


def _zstd(archive: Path) -> bool:
    with Archive(archive) as opened:
        return all(kind.endswith("zstd") for image in opened.images() for _, kind in image.layers)
