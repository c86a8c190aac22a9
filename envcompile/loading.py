"""The files of a project: the spec, the lock beside it, and the catalogue that applies."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED, EnvcompileError, InvalidInputError
from envcompile.digests import compute_sha256
from envcompile.lock.freshness import (
    RELOCK_HINT,
    Expectations,
    check_freshness,
    check_pins,
    made_from_text,
    made_from_value,
)
from envcompile.lock.model import GeneratedFile
from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from envcompile.project import MAX_SPEC_BYTES
from envcompile.project.discovery import (
    PYPROJECT_FILE_NAME,
    SPEC_FILE_NAME,
    find_dockerfiles,
    find_nearest_spec,
    list_export_paths,
    lock_path_from_spec,
)
from envcompile.project.files import display_path, read_bytes
from envcompile.project.generated_files import DOCKERFILE_NAME, EXPORT_FILES, EXPORT_HEADER, format_mismatch_message
from envcompile.project.settings import read_catalogue_path
from envcompile.spec.decode import parse_checked_spec, parse_spec, parse_spec_value, source_from_bytes
from envcompile.spec.values import remove_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from importlib.abc import Traversable

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.diagnostics.diagnostic import Diagnostic
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import Spec

    # Maps the text of an earlier export to the URLs of pip's files, by their sha256.
    FileUrlFinder = Callable[[str], Mapping[str, str]]

# A lock of 2,000 packages on two platforms has about 1 MB.
_MAX_LOCK_BYTES = 64 << 20


@dataclass(frozen=True)
class Project:
    """A spec file and its text. `envcompile.load` creates it.

    `path` is an `envcompile.toml`, another TOML file, or a `pyproject.toml` with the table `[tool.envcompile]`.
    """

    path: Path
    source: TomlSource = field(repr=False)

    @cached_property
    def spec(self) -> Spec:
        """The spec, decoded and checked. Raises `DiagnosticsError` with all mistakes of the spec."""
        return parse_spec(self.source)

    @property
    def lock_path(self) -> Path:
        """The path of the lock, which may not exist yet."""
        return find_lock_path(self.path)


@dataclass(frozen=True, slots=True)
class ProjectLock:
    """A lock of a project, and the spec that it satisfies.

    `value` is the content of the lock file. `spec` is the spec of the project when the lock was read or made.
    """

    project: Project = field(repr=False)
    spec: Spec = field(repr=False)
    value: Lock

    @property
    def platforms(self) -> tuple[PlatformLock, ...]:
        """The packages, base images and tools of each platform, sorted by the name of the platform."""
        return self.value.platforms

    @property
    def text(self) -> str:
        """The text of the lock file."""
        return format_lock(self.value)


def find_spec(file: Path | str | None, folder: Path | None = None) -> Path:
    """The path of the spec: `file` if it is given, otherwise that in `folder` or its nearest parent folder with one.

    A spec is an `envcompile.toml`, or a `pyproject.toml` with the table `[tool.envcompile]`. `folder` is the current
    folder by default. Raises `InvalidInputError` if there is no spec.
    """
    if file is not None:
        return Path(folder, file) if folder else Path(file)
    start = (folder or Path()).absolute()
    try:
        spec = find_nearest_spec(str(start))
    except OSError as problem:
        raise InvalidInputError(f"`{problem.filename}` cannot be read: {problem.strerror}") from None
    if spec is not None:
        return Path(spec)
    hint = "create one, or name it with `-f FILE`"
    raise InvalidInputError(f"there is no `{SPEC_FILE_NAME}` in `{start}` or any folder above it", hint)


def format_file_option(spec: Path) -> str:
    """The option ` -f SPEC` for a hint; empty if a command without it finds this spec from the current folder."""
    found = find_nearest_spec(str(Path.cwd()))
    # Links are not resolved, because the search does not resolve them either.
    return "" if found == os.path.abspath(spec) else f" -f {spec}"  # noqa: PTH100


def read_project(path: Path) -> Project:
    """The project of a spec file. The spec is decoded and checked when `Project.spec` is first used.

    Raises `InvalidInputError` if the file cannot be read, and `DiagnosticsError` if it is too large or not UTF-8 text.
    """
    return Project(path, read_source(path))


def read_source(path: Path) -> TomlSource:
    """The text of a spec. Raises the errors of `read_project`."""
    data = read_bytes(path, MAX_SPEC_BYTES, "name another file with `-f FILE`")
    root = ("tool", "envcompile") if path.name == PYPROJECT_FILE_NAME else ()
    return source_from_bytes(display_path(path), data, root)


def find_lock_path(spec: Path) -> Path:
    """The path of a spec's lock: `cpu.lock` beside `cpu.toml`, and `envcompile.lock` beside `pyproject.toml`."""
    return Path(lock_path_from_spec(str(spec)))


def read_lock_text(path: Path) -> str | None:
    """The text of a lock, or None if there is no file. Raises `InvalidInputError` if it is too large or unreadable."""
    if not path.exists():
        return None
    return decode_lock_text(read_bytes(path, _MAX_LOCK_BYTES), display_path(path))


def decode_lock_text(data: bytes, name: str) -> str:
    """Decode the bytes of a lock. Raises `InvalidInputError` if the lock is too large."""
    if len(data) > _MAX_LOCK_BYTES:
        raise InvalidInputError(f"`{name}` is larger than {_MAX_LOCK_BYTES >> 20} MiB, the limit for a lock")
    # Invalid UTF-8 becomes the replacement character, which occurs in no lock. So the digest of the lock differs, and
    # `lock` repairs this like other damage.
    return data.decode(errors="replace")


def read_lock(path: Path) -> Lock:
    """The lock in a file. Raises `InvalidInputError` if the file does not exist or cannot be read."""
    text = read_lock_text(path)
    if text is None:
        raise InvalidInputError(f"`{display_path(path)}` does not exist", "run `envcompile lock`")
    return parse_lock(text, display_path(path))


def read_lock_of_project(project: Project) -> Lock:
    """The lock of a project.

    Raises `InvalidInputError` if it does not exist or cannot be read. If the spec has mistakes too, `DiagnosticsError`
    is raised instead: a new lock can be made only after they are corrected.
    """
    try:
        return read_lock(project.lock_path)
    except InvalidInputError:
        _ = project.spec
        raise


def check_lock(project: Project, lock: Lock, hint: str = RELOCK_HINT) -> tuple[Spec, list[Diagnostic]]:
    """The spec of a project, and a diagnostic for each of its requirements that the lock does not satisfy.

    Raises `DiagnosticsError` with the mistakes of the spec.
    """
    source = project.source
    if made_from_text(source.text, lock) or made_from_value(parse_spec_value(source), lock):
        return parse_checked_spec(source), []
    return project.spec, check_freshness(project.spec, lock, hint)


def check_lock_fully(
    project: Project, lock: Lock, catalogue: Catalogue, hint: str = RELOCK_HINT
) -> tuple[Spec, list[Diagnostic]]:
    """As `check_lock`, but each pin is compared with the spec and the catalogue, whatever digests the lock has.

    Raises `DiagnosticsError` with the mistakes of the spec.
    """
    from envcompile.base_image.decide import VARIABLES  # noqa: PLC0415 - only for `verify --full`
    from envcompile.base_image.default import (  # noqa: PLC0415
        PYTHON_IMAGE,
        PYTHON_PATH,
        SYSTEM_RELEASES,
        find_conda_installer,
        find_tool_images,
    )
    from envcompile.base_image.python_builds import check_standalone_python  # noqa: PLC0415
    from envcompile.diagnostics.diagnostic import Diagnostic  # noqa: PLC0415
    from envcompile.emit.dockerfile import compile_dockerfile  # noqa: PLC0415 - imports the template engine
    from envcompile.resolve.conda.channels import parse_channel  # noqa: PLC0415
    from envcompile.resolve.environment import CONDA_PYTHON_PATH  # noqa: PLC0415

    spec = project.spec
    channels = (parse_channel(text, project.path.parent) for text in spec.conda.channels)
    standalone = {each.platform: each.python for each in lock.platforms if each.python and each.python.build}
    names = {remove_digest(system.image).partition(":")[0] for system in catalogue.systems.values()}
    expected = Expectations(
        channels={channel.name: channel.url for channel in channels},
        images=frozenset({*names, PYTHON_IMAGE, "debian", catalogue.repository}),
        tools=dict(find_tool_images(spec, has_standalone_python=bool(standalone))),
        variables=VARIABLES,
        python_paths=frozenset({PYTHON_PATH, CONDA_PYTHON_PATH}),
        installers=frozenset(
            (each.name, each.version, each.sha256)
            for name in spec.platforms
            for each in find_conda_installer(spec, name)
        ),
        systems=SYSTEM_RELEASES,
    )
    unknown_pythons = (check_standalone_python(python, name) for name, python in standalone.items())
    found = [
        *check_freshness(spec, lock, hint),
        *check_pins(spec, lock, expected),
        *(replace(each, hint=hint) for each in unknown_pythons if each),
    ]
    recorded = next((file.digest for file in lock.files if file.name == DOCKERFILE_NAME), None)
    if not found and recorded and compute_sha256(compile_dockerfile(spec, lock).encode()) != recorded:
        message = "the lock records another Dockerfile than it generates: it was edited after `lock` wrote it"
        found.append(Diagnostic("stale", message, (), f"restore it from version control, or {hint}"))
    return spec, found


def read_project_lock(project: Project) -> ProjectLock:
    """Read the lock of a project, and check that it satisfies the spec.

    Raises `InvalidInputError` if the lock does not exist or cannot be read, and `DiagnosticsError` with the mistakes of
    the spec or with the requirements that the lock does not satisfy.
    """
    lock = read_lock_of_project(project)
    spec, outdated = check_lock(project, lock)
    if outdated:
        raise DiagnosticsError(project.source, outdated, EXIT_FAILED)
    return ProjectLock(project, spec, lock)


SCHEMA_FILES = {"spec": "spec.v1.json", "lock": "lock.v2.json", "catalogue": "catalogue.v1.json"}
# The shipped catalogue has 50 KB.
_MAX_CATALOGUE_BYTES = 4 << 20


def load_catalogue(option: Path | str | None, environment: Mapping[str, str]) -> Catalogue:
    """The catalogue in the file `option`, otherwise the one in the user's settings, otherwise the shipped one.

    The shipped catalogue is not validated. Raises `InvalidInputError` if the file cannot be read, and
    `DiagnosticsError` with every mistake in it.
    """
    path = Path(option) if option is not None else read_catalogue_path(environment)
    if path is None:
        from envcompile.base_image.catalogue import load_default_catalogue  # noqa: PLC0415 - only where it is needed

        return load_default_catalogue()
    from envcompile.base_image.catalogue_check import parse_checked_catalogue  # noqa: PLC0415

    hint = (
        "name another file with `--catalogue`"
        if option is not None
        else "correct or remove `catalogue` in the settings"
    )
    data = read_bytes(path, _MAX_CATALOGUE_BYTES, hint)
    name = display_path(path)
    if len(data) > _MAX_CATALOGUE_BYTES:
        raise InvalidInputError(
            f"`{name}` is larger than {_MAX_CATALOGUE_BYTES >> 20} MiB, the limit for a catalogue", hint
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        raise InvalidInputError(f"`{name}` is not UTF-8 text: byte {problem.start}", hint) from None
    return parse_checked_catalogue(name, text, json.loads(find_schema_file("catalogue").read_text("utf-8")))


def find_schema_file(of: str) -> Traversable:
    """The file of the schema `of` (a key of `SCHEMA_FILES`): in the installed package, or at the top of a checkout."""
    package = resources.files("envcompile")
    installed = package / "schemas" / SCHEMA_FILES[of]
    return installed if installed.is_file() else package / ".." / "schemas" / SCHEMA_FILES[of]


# Generated files beside a spec that are kept current: Dockerfiles, and the exports that the spec lists.


class ManagedFile(NamedTuple):
    """A generated file, and the text that it should have.

    `mismatch_message` is the message for a file that differs, and `repair_command` the words after
    `envcompile` in the command that writes it. `is_complete` is False if a part of the text is unknown; then the file
    does not count as current.
    """

    path: Path
    text: str
    mismatch_message: str
    repair_command: str
    is_complete: bool = True

    def is_current(self) -> bool:
        """Whether the file has exactly this text, and the text is complete."""
        return self.is_complete and self.path.is_file() and self.path.read_bytes() == self.text.encode()


def make_managed_files(lock: ProjectLock) -> Iterator[ManagedFile]:
    """Yield the exports that the spec lists, and the Dockerfiles beside the spec that envcompile generated.

    Works offline.

    Raises `InvalidInputError` if one of these files cannot be generated.
    """
    path = lock.project.path
    for dockerfile in map(Path, find_dockerfiles(str(path))):
        from envcompile.emit.dockerfile import compile_dockerfile  # noqa: PLC0415 - imports the template engine

        name = display_path(dockerfile)
        text = compile_dockerfile(lock.spec, lock.value)
        yield ManagedFile(dockerfile, text, format_mismatch_message(name, "Dockerfile"), f"dockerfile -o {name}")
    if lock.spec.exports:
        from envcompile.export.common import parse_file_urls  # noqa: PLC0415 - only for a spec with exports

        # No index is queried: if the existing export lacks a URL, it is not current.
        yield from make_managed_exports(lock, parse_file_urls)


def record_generated_files(lock: ProjectLock, exports: Sequence[ManagedFile]) -> ProjectLock:
    """Return the lock with the digests of its Dockerfile and of `exports`, which are in the order of the spec.

    The Dockerfile is left out if none can be generated, for example because the packages are in a local folder.
    """
    from envcompile.emit.dockerfile import compile_dockerfile  # noqa: PLC0415 - imports the template engine

    texts = {name: each.text for name, each in zip(lock.spec.exports, exports, strict=True)}
    with suppress(EnvcompileError):
        texts[DOCKERFILE_NAME] = compile_dockerfile(lock.spec, lock.value)
    files = (GeneratedFile(name, compute_sha256(texts[name].encode())) for name in sorted(texts))
    return replace(lock, value=replace(lock.value, files=tuple(files)))


def make_managed_exports(lock: ProjectLock, find_urls: FileUrlFinder) -> Iterator[ManagedFile]:
    """Yield the exports that the spec lists.

    Raises `InvalidInputError` if an export cannot be generated, or if envcompile did not write the file at its path.
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
        from envcompile.resolve.pip.simple_index import find_file_urls  # noqa: PLC0415 - imports an HTTP client

        urls |= find_file_urls(spec.pip, unknown, Effects(run_process, environment, offline))
    return urls
