"""Specs with fresh locks of any size, of packages that do not exist."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchmarks.question import EXAMPLE, ground
from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.base_image.default import find_tool_images
from envcompile.base_image.explain import format_catalogue_version
from envcompile.digests import compute_text_digest, compute_value_digest
from envcompile.loading import Project, ProjectLock, read_source, record_generated_files
from envcompile.lock.model import BaseImageDecision, Lock, PipPackage, PlatformLock, RecordedInput, ToolImage
from envcompile.spec.decode import parse_spec, parse_spec_value
from envcompile.spec.solver_inputs import recorded_inputs

if TYPE_CHECKING:
    from pathlib import Path

_WORDS = (
    "array async client cloud core data event graph image json kernel lazy model parser schema signal table".split()
)
_REQUIRED = 10


def write(folder: Path, packages: int) -> None:
    """Write a spec, which is the example's with other requirements, and a fresh lock with this number of packages."""
    locked = tuple(sorted((_package(number, packages) for number in range(packages)), key=lambda each: each.name))
    path = folder / EXAMPLE.name
    head, _, rest = EXAMPLE.read_text("utf-8").partition("packages = [")
    asked = ", ".join(f'"{package.name} >=1"' for package in locked[:_REQUIRED])
    path.write_text(f"{head}packages = [{asked}]{rest.partition(']')[2]}", "utf-8")
    source = read_source(path)
    spec = parse_spec(source)
    base, python = ground(spec)
    images = tuple(ToolImage(name, image) for name, image in find_tool_images(spec))
    decision = BaseImageDecision(format_catalogue_version(load_default_catalogue()))
    platform = PlatformLock(spec.platforms[0], python, base, base, images, locked, base_decision=decision)
    noted = tuple(RecordedInput(*row) for row in recorded_inputs(spec).items())
    lock = Lock(
        compute_value_digest(parse_spec_value(source)),
        compute_text_digest(source.text),
        (platform,),
        recorded_inputs=noted,
    )
    made = record_generated_files(ProjectLock(Project(path, source), spec, lock), ())
    path.with_suffix(".lock").write_text(made.text, "utf-8")


def _package(number: int, packages: int) -> PipPackage:
    name, version = _name(number), f"{number % 7}.{number % 23}.{number % 11}"
    depends = sorted({_name((number * step + step) % packages) for step in (3, 7, 31, 101)} - {name})
    return PipPackage(
        name=name,
        version=version,
        file=f"{name.replace('-', '_')}-{version}-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        sha256=hashlib.sha256(name.encode()).hexdigest(),
        size=10_000 + 1_237 * number,
        depends=tuple(depends),
    )


def _name(number: int) -> str:
    return f"{_WORDS[number % len(_WORDS)]}-{_WORDS[number // len(_WORDS) % len(_WORDS)]}-{number}"
