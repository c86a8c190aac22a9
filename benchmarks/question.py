"""The requirements of the example, for resolvers that are called directly: read with envcompile's own front end."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.base_image.default import BaseImageProperties, choose_base_image, find_base_image
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.loading import read_source
from envcompile.lock.reader import parse_lock
from envcompile.platforms import PLATFORMS
from envcompile.resolve.pip.uv import find_uv
from envcompile.spec.decode import parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import BaseImage, PythonInterpreter
    from envcompile.spec.model import Spec

EXAMPLE = Path(__file__).parent.parent / "examples" / "ml" / "envcompile.toml"
REQUIREMENTS, EXCLUDED, OUTPUT = "requirements.in", "exclude.txt", "requirements.txt"


@dataclass(frozen=True, slots=True)
class Question:
    """The example's requirements for its one platform; `python` is X.Y.Z, `platform` uv's name of it."""

    requirements: tuple[str, ...]
    excluded: tuple[str, ...]
    python: str
    platform: str
    exclude_newer: str | None

    def write(self, folder: Path) -> None:
        """Write the lists that `uv pip compile` and `pip-compile` read."""
        (folder / REQUIREMENTS).write_text(_lines(self.requirements), "utf-8")
        (folder / EXCLUDED).write_text(_lines(self.excluded), "utf-8")

    def uv(self) -> tuple[str, ...]:
        """The equivalent `uv pip compile` command: the same uv, with the same options as ours."""
        newer = ("--exclude-newer", self.exclude_newer) if self.exclude_newer else ()
        return (
            *(uv(), "pip", "compile", REQUIREMENTS, "--excludes", EXCLUDED, "--quiet", "--no-config", "--no-header"),
            *("--generate-hashes", "--only-binary", ":all:", "-o", OUTPUT, "--python", sys.executable),
            *("--no-python-downloads", "--python-version", self.python, "--python-platform", self.platform, *newer),
        )


def uv() -> str:
    """The uv that `envcompile lock` runs too."""
    return find_uv(os.environ)


def example() -> Question:
    """The requirements of the example, which has a base image and one platform."""
    spec = parse_spec(read_source(EXAMPLE))
    base, python = ground(spec)
    (name,) = spec.platforms
    platform = f"{PLATFORMS[name].machine}-manylinux_{base.glibc.replace('.', '_')}"
    return Question(tuple(map(str, spec.pip.packages)), spec.pip.exclude, python.version, platform, spec.exclude_newer)


def ground(spec: Spec) -> tuple[BaseImage, PythonInterpreter]:
    """The base image and the interpreter in the example's spec, without a request to a registry."""
    base = find_base_image(spec)
    answer = choose_base_image(spec, base, base.image, BaseImageProperties())
    if isinstance(answer, Diagnostic) or answer[1] is None:
        raise ValueError(f"{EXAMPLE} no longer says which base image it is for")
    return answer[0], answer[1]


def copy_example(folder: Path) -> Path:
    """Copy the example's spec into a folder of its own without a lock. Returns the path that its lock will have."""
    shutil.copy(EXAMPLE, folder)
    return folder / EXAMPLE.with_suffix(".lock").name


def compare_answers(lock: Path, requirements: Path) -> str:
    """A sentence about whether both sides have locked the same packages: a fast but wrong result is no comparison."""
    (platform,) = parse_lock(lock.read_text("utf-8"), lock.name).platforms
    ours = {f"{package.name}=={package.version}" for package in platform.pip}
    rows = (line.split() for line in requirements.read_text("utf-8").splitlines())
    theirs = {row[0] for row in rows if row and "==" in row[0] and not row[0].startswith("#")}
    if ours == theirs:
        return f"both answer the same {len(ours)} pins"
    return f"{len(ours & theirs)} pins are the same, {len(ours - theirs)} only ours, {len(theirs - ours)} only theirs"


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)
