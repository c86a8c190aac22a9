"""The files that are kept beside a spec and made from its lock, as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.project.discovery import find_dockerfiles, list_export_paths
from envcompile.project.files import display_path
from envcompile.project.generated_files import EXPORT_FILES, EXPORT_HEADER, format_mismatch_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

    # From an earlier text of an export to the addresses of pip's files.
    Places = Callable[[str], Mapping[str, str]]


class Kept(NamedTuple):
    """One file: what it should hold, what is said when it does not, and the words after `envcompile` that mend it.

    `whole` is False where nobody could say all that it should hold: then it is not current, whatever it holds.
    """

    path: Path
    text: str
    otherwise: str
    command: str
    whole: bool = True

    def current(self) -> bool:
        """Whether the file holds that."""
        return self.whole and self.path.is_file() and self.path.read_bytes() == self.text.encode()


def kept(spec: Spec, lock: Lock, path: Path) -> Iterator[Kept]:
    """The Dockerfiles beside the spec at `path` that say they are ours, and the exports that the spec asks for.

    Raises `Unusable` where none can be made.
    """
    for each in map(Path, find_dockerfiles(str(path))):
        from envcompile.pipeline import compile_dockerfile  # noqa: PLC0415 - brings the template engine

        name = display_path(each)
        yield Kept(
            each, compile_dockerfile(spec, lock), format_mismatch_message(name, "Dockerfile"), f"dockerfile -o {name}"
        )
    if spec.exports:
        from envcompile.export.common import parse_file_urls  # noqa: PLC0415 - where there are exports

        # Nobody is asked: an address that the file does not have yet is one that it lacks.
        yield from exports(spec, lock, path, parse_file_urls)


def exports(spec: Spec, lock: Lock, path: Path, places: Places) -> Iterator[Kept]:
    """The exports that the spec at `path` asks for. Raises `Unusable` for one that cannot be made, or is not ours."""
    from envcompile.export import EXPORTERS, ExportInput, export_lock, select_platform  # noqa: PLC0415 - where there are exports
    from envcompile.export.common import find_packages_without_url  # noqa: PLC0415

    for name, file in zip(spec.exports, list_export_paths(str(path), spec.exports), strict=True):
        format_, platform = EXPORT_FILES[name]
        where, said = Path(file), f"`{display_path(Path(file))}`"
        text = where.read_text("utf-8", "replace") if where.is_file() else ""
        if not text.startswith(EXPORT_HEADER) and (text or (where.exists() and not where.is_file())):
            raise InvalidInputError(
                f"{said} is to be kept by `[lock] exports`, and what stands there is not ours",
                "move it away, or take its name out of `exports`",
            )
        found = places(text) if EXPORTERS[format_].places else {}
        unknown = (
            {each.sha256: "" for each in find_packages_without_url(lock, found)} if EXPORTERS[format_].places else {}
        )
        made = export_lock(format_, ExportInput(spec, select_platform(lock, platform or None), {**unknown, **found}))
        message = f"{said} is not the `{format_}` export of this lock" if text else f"{said} is not there"
        yield Kept(where, made, message, "lock", whole=not unknown)
