"""Generated files beside a spec that are kept current: Dockerfiles, and the exports that the spec lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.project.discovery import find_dockerfiles, list_export_paths
from envcompile.project.files import display_path
from envcompile.project.generated_files import EXPORT_FILES, EXPORT_HEADER, format_mismatch_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.loading import ProjectLock
    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

    # Maps the text of an earlier export to the URLs of pip's files, by their sha256.
    FileUrlFinder = Callable[[str], Mapping[str, str]]


class ManagedFile(NamedTuple):
    """A file and the text that it should have.

    `mismatch_message` is the message for a file that differs, and `repair_command` the words after `envcompile` that
    write it. `is_complete` is False if a part of the text is unknown; then the file does not count as current.
    """

    path: Path
    text: str
    mismatch_message: str
    repair_command: str
    is_complete: bool = True

    def is_current(self) -> bool:
        """Whether the file has this text."""
        return self.is_complete and self.path.is_file() and self.path.read_bytes() == self.text.encode()


def make_managed_files(lock: ProjectLock) -> Iterator[ManagedFile]:
    """The Dockerfiles beside the spec that envcompile wrote, and the exports that the spec lists. Works offline.

    Raises `InvalidInputError` if one cannot be made.
    """
    path = lock.project.path
    for dockerfile in map(Path, find_dockerfiles(str(path))):
        from envcompile.emit.dockerfile import compile_dockerfile  # noqa: PLC0415 - imports the template engine

        name = display_path(dockerfile)
        text = compile_dockerfile(lock.spec, lock.value)
        yield ManagedFile(dockerfile, text, format_mismatch_message(name, "Dockerfile"), f"dockerfile -o {name}")
    if lock.spec.exports:
        from envcompile.export.common import parse_file_urls  # noqa: PLC0415 - only for a spec with exports

        # No index is asked: if the file lacks a URL, it is not current.
        yield from make_managed_exports(lock, parse_file_urls)


def make_managed_exports(lock: ProjectLock, find_urls: FileUrlFinder) -> Iterator[ManagedFile]:
    """The exports that the spec lists.

    Raises `InvalidInputError` for an export that cannot be made, and for a file that another program wrote.
    """
    from envcompile.export import EXPORTERS, ExportInput, export_lock, select_platform  # noqa: PLC0415 - only for exports
    from envcompile.export.common import find_packages_without_url  # noqa: PLC0415

    paths = map(Path, list_export_paths(str(lock.project.path), lock.spec.exports))
    for name, path in zip(lock.spec.exports, paths, strict=True):
        format_, platform = EXPORT_FILES[name]
        shown = f"`{display_path(path)}`"
        text = path.read_text("utf-8", "replace") if path.is_file() else ""
        if not text.startswith(EXPORT_HEADER) and (text or (path.exists() and not path.is_file())):
            raise InvalidInputError(
                f"{shown} is listed in `[lock] exports`, and envcompile did not write this file",
                "move the file away, or remove its name from `exports`",
            )
        urls: dict[str, str] = {}
        is_complete = True
        if EXPORTERS[format_].needs_file_urls:
            found = find_urls(text)
            unknown = find_packages_without_url(lock.value, found)
            urls = {**{each.sha256: "" for each in unknown}, **found}
            is_complete = not unknown
        made = export_lock(format_, ExportInput(lock.spec, select_platform(lock.value, platform or None), urls))
        message = f"{shown} is not the `{format_}` export of this lock" if text else f"{shown} does not exist"
        yield ManagedFile(path, made, message, "lock", is_complete=is_complete)


def find_export_urls(
    spec: Spec, lock: Lock, text: str, environment: Mapping[str, str], *, offline: bool = False
) -> dict[str, str]:
    """The URLs of pip's files, by their sha256: from the text of an earlier export, otherwise from the indexes.

    Raises `UnavailableError` if an index does not answer or no longer has the file.
    """
    from envcompile.export.common import find_packages_without_url, parse_file_urls  # noqa: PLC0415 - only for exports

    urls = parse_file_urls(text)
    if unknown := find_packages_without_url(lock, urls):
        from envcompile.net.process import run_process  # noqa: PLC0415
        from envcompile.resolve.model import Effects  # noqa: PLC0415
        from envcompile.resolve.pip.file_urls import find_file_urls  # noqa: PLC0415 - imports an HTTP client

        urls |= find_file_urls(spec.pip, unknown, Effects(run_process, environment, offline))
    return urls
