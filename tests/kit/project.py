"""Values that tests are made of: real specs and locks from the fixtures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.toml_source import TomlSource
from envcompile.emit.dockerfile import compile_dockerfile
from envcompile.export.common import derive_file_urls
from envcompile.lock.freshness import check_freshness
from envcompile.lock.reader import parse_lock
from envcompile.spec.decode import parse_spec
from envcompile.spec.pip import DEFAULT_INDEX

if TYPE_CHECKING:
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

FIXTURES = Path(__file__).parents[2] / "fixtures"
CASES = sorted(path.name for path in (FIXTURES / "compile").iterdir())


def spec_of(text: str) -> Spec:
    return parse_spec(TomlSource("envcompile.toml", text))


def unanswered(folder: Path) -> list[str]:
    """What `verify` says of a folder's spec and lock when it takes nothing on trust."""
    spec, lock = ((folder / f"envcompile.{ending}").read_text("utf-8") for ending in ("toml", "lock"))
    return [found.message for found in check_freshness(spec_of(spec), parse_lock(lock, "envcompile.lock"))]


def case(name: str) -> tuple[str, str]:
    """The texts of a case's spec and lock."""
    folder = FIXTURES / "compile" / name
    return (folder / "envcompile.toml").read_text("utf-8"), (folder / "envcompile.lock").read_text("utf-8")


def parsed(name: str) -> tuple[Spec, Lock]:
    spec, lock = case(name)
    return spec_of(spec), parse_lock(lock, "envcompile.lock")


def dockerfile_of(name: str) -> str:
    return compile_dockerfile(*parsed(name))


def places(lock: Lock) -> dict[str, str]:
    """The URLs of pip's files: as `--files` derives them, and for other indexes below the name of the index."""
    packages = [package for platform in lock.platforms for package in platform.pip]
    public = tuple(
        replace(each, pip=tuple(package for package in each.pip if package.index == DEFAULT_INDEX))
        for each in lock.platforms
    )
    return {
        **{each.sha256: f"https://files.example.invalid/{each.index}/{each.file}" for each in packages},
        **derive_file_urls(replace(lock, platforms=public), "https://files.example.invalid/packages"),
    }
