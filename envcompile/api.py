"""The commands as functions: load a project, lock it, verify the lock, and use it.

No function prints, exits or changes the working directory. Progress and warnings are passed to the callback `on_event`
as values of the classes in `envcompile.diagnostics.diagnostic`. A function that reads environment variables or settings
takes `environment`, which is `os.environ` by default. Every error is an `EnvcompileError`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import (
    DiagnosticsError,
    Notice,
    StepStarted,
    WarningIssued,
    find_span,
    format_count,
    ignore_event,
)
from envcompile.diagnostics.errors import EXIT_FAILED, CheckFailedError, EnvcompileError, InvalidInputError
from envcompile.loading import (
    Project,
    ProjectLock,
    check_lock,
    check_lock_fully,
    find_spec,
    format_file_option,
    load_catalogue,
    read_lock,
    read_lock_of_project,
    read_lock_text,
    read_project,
    read_project_lock,
)
from envcompile.project.discovery import is_generated_file, list_export_paths
from envcompile.project.files import display_path, exclusive_lock, remove_leftovers, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import BinaryIO

    from envcompile.diagnostics.diagnostic import Diagnostic, Event
    from envcompile.engine.image import BuildOptions, ImageBuild, ImageFile
    from envcompile.engine.reproducibility import BuildDifference
    from envcompile.loading import ManagedFile
    from envcompile.lock.diff import LockChange
    from envcompile.lock.model import Lock
    from envcompile.net.process import ProcessResult, ProcessRunner
    from envcompile.plan.sizes import PlatformSize, PushCost
    from envcompile.resolve.outdated import OutdatedReport


def load(file: Path | str | None = None, *, folder: Path | str | None = None) -> Project:
    """Read a spec and check it.

    `file` is a spec: a TOML file, or a `pyproject.toml` with the table `[tool.envcompile]`. Without it, the spec is the
    `envcompile.toml` or `pyproject.toml` in `folder` or in the nearest parent folder that has one. A relative `file` is
    relative to `folder`, which is the current folder by default.

    Raises `DiagnosticsError` with every mistake of the spec, and `InvalidInputError` if there is no spec or it cannot
    be read.
    """
    project = read_project(find_spec(file, Path(folder) if folder is not None else None))
    _ = project.spec
    return project


@dataclass(frozen=True, slots=True)
class LockResult:
    """The result of `lock`.

    `changes` are the differences from the earlier lock, with their reasons; there are none if there was no lock.
    `changed_files` are the lock and the files of `[lock] exports` that were written, or that `write=True` would write.
    """

    lock: ProjectLock
    changes: tuple[LockChange, ...]
    warnings: tuple[WarningIssued, ...]
    changed_files: tuple[Path, ...]


def lock(  # noqa: PLR0913 - the options of the command
    project: Project,
    *,
    upgrade: bool = False,
    upgrade_packages: Iterable[str] = (),
    offline: bool = False,
    write: bool = True,
    catalogue: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
    on_event: Callable[[Event], None] = ignore_event,
) -> LockResult:
    """Resolve a spec, and write the lock and the files of `[lock] exports` that differ.

    The packages of an existing lock keep their versions if the spec allows it. `upgrade` selects the newest versions of
    all packages, images and tools. `upgrade_packages` are written `NAME`, for the newest version of one package, or
    `NAME==VERSION`, or are parts of the lock: `base`, `apt`, `tools` or `python`. With `offline`, only the caches of
    the resolvers are used. With `write=False`, no file changes. `catalogue` is a file with facts about CUDA that
    replaces the shipped catalogue. The spec is read again if it has changed since `load`. If another process locks the
    same spec, `lock` waits for it.

    Raises `DiagnosticsError` for a spec that is invalid or cannot be resolved; `InvalidInputError` for an unknown
    package, a channel that does not exist, or an export whose existing file envcompile did not write;
    `UnavailableError` if an index, registry or resolver is missing or sends nonsense; `CheckFailedError` if a file
    cannot be written.
    """
    from envcompile.base_image.explain import collect_warnings  # noqa: PLC0415
    from envcompile.lock.programs import check_programs  # noqa: PLC0415
    from envcompile.resolve import locking  # noqa: PLC0415
    from envcompile.resolve.model import Effects  # noqa: PLC0415
    from envcompile.resolve.upgrade import find_fixed_parts, parse_upgrade_request  # noqa: PLC0415
    from envcompile.spec.decode import parse_spec_value  # noqa: PLC0415
    from envcompile.spec.warnings import find_spec_warnings  # noqa: PLC0415 - only to lock

    environment = os.environ if environment is None else environment
    warnings: list[WarningIssued] = []

    def issue(warning: WarningIssued) -> None:
        warnings.append(warning)
        on_event(warning)

    def warn(message: str) -> None:
        issue(WarningIssued(message))

    def warn_about(warning: Diagnostic) -> None:
        issue(WarningIssued(warning.message, warning.hint, warning, project.source))

    waiting = Notice(f"waiting for another process that locks `{display_path(project.path)}`")
    with exclusive_lock(project.path, lambda: on_event(waiting)):
        current = read_project(project.path)
        project = project if project.source.text == current.source.text else current
        spec, path = project.spec, project.lock_path
        for each in find_spec_warnings(parse_spec_value(project.source)):
            warn_about(each)
        _prepare_lock_outputs(project)
        text = read_lock_text(path)
        earlier = locking.read_earlier_lock(text, display_path(path), warn)
        request = parse_upgrade_request(upgrade_packages, earlier, everything=upgrade)
        for message, hint in find_fixed_parts(spec, request, earlier.lock):
            issue(WarningIssued(message, hint))
        count = sum(map(len, (spec.conda.packages, spec.pip.packages, spec.apt.packages, spec.apt.build)))
        on_event(StepStarted(f"resolving {format_count(count, 'requirement')} for {', '.join(spec.platforms)}"))
        known = load_catalogue(catalogue, environment)
        effects = Effects(_create_loading_runner(), environment, offline)
        solvers = locking.create_solvers(spec, project.path.parent, effects, warn, catalogue=known)
        value = locking.keep_unchanged_lock(project.source, earlier, known, request)
        if value is None:
            value = locking.resolve_lock(project.source, spec, earlier, solvers, request, warn_about)
        made, files = _generate_files(ProjectLock(project, spec, value), environment, offline=offline)
        for each in (*collect_warnings(made.value, spec), *check_programs(spec, made.value)):
            warn_about(each)
        exports = {each.path: each.text for each in files if not each.is_current()}
        is_current = text is not None and text.replace("\r\n", "\n") == made.text
        if not is_current:
            locking.check_lock_text(made.text, display_path(path))
        changed = exports if is_current else {path: made.text, **exports}
        for file, content in changed.items() if write else ():
            write_text(file, content)
    changes = () if is_current else locking.find_changes(earlier, made.value, spec, request)
    return LockResult(made, changes, tuple(warnings), tuple(changed))


@dataclass(frozen=True, slots=True)
class OutdatedResult:
    """The result of `outdated`: the lock, the report, and the time (RFC 3339 in UTC) at which it was made.

    `is_outdated` is True if `lock(upgrade=True)` would change a pin. A version that the spec excludes does not count.
    """

    lock: ProjectLock
    report: OutdatedReport
    time: str

    @property
    def is_outdated(self) -> bool:
        """Whether upgrading would change a package, an image, a tool, the Python or the snapshot."""
        return bool(self.report.changes)


def outdated(
    project: Project,
    *,
    catalogue: Path | str | None = None,
    environment: Mapping[str, str] | None = None,
    on_event: Callable[[Event], None] = ignore_event,
) -> OutdatedResult:
    """Find out what `lock(upgrade=True)` would change, what the spec holds back, and how old the base images are.

    Resolves in memory and writes no file of the project. The parameters are those of `lock`.

    Raises the errors of `lock`; `InvalidInputError` if there is no lock; `DiagnosticsError` if it does not satisfy the
    spec.
    """
    import time  # noqa: PLC0415 - only for ages

    from envcompile.registry import create_registry  # noqa: PLC0415
    from envcompile.resolve import locking  # noqa: PLC0415
    from envcompile.resolve.model import Effects  # noqa: PLC0415
    from envcompile.resolve.outdated import find_outdated  # noqa: PLC0415

    environment = os.environ if environment is None else environment
    current = read_project_lock(project)
    effects = Effects(_create_loading_runner(), environment)
    solvers = locking.create_solvers(
        current.spec,
        project.path.parent,
        effects,
        lambda message: on_event(WarningIssued(message)),
        catalogue=load_catalogue(catalogue, environment),
    )
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    report = find_outdated(
        project.source,
        current.spec,
        current.value,
        solvers,
        create_registry(environment),
        now,
        lambda message: on_event(StepStarted(message)),
    )
    for problem in report.problems:
        on_event(WarningIssued(problem))
    return OutdatedResult(current, report, now)


def _prepare_lock_outputs(project: Project) -> None:
    """Check that `lock` may write the lock and the exports, and remove what a killed run has left beside them.

    Raises `InvalidInputError` if one of them is another program's file, or is a link that leads out of the project.
    """
    from envcompile.lock.reader import is_lock_text  # noqa: PLC0415 - only to lock
    from envcompile.project.outputs import check_output_file  # noqa: PLC0415

    hint = "move the file away, or give the spec another name, because the lock is named after it"
    check_output_file(project.lock_path, lambda path: is_lock_text(read_lock_text(Path(path)) or ""), hint)
    remove_leftovers(project.lock_path)
    for path in list_export_paths(str(project.path), project.spec.exports):
        hint = "move the file away, or remove its name from `exports` in `[lock]`"
        check_output_file(Path(path), is_generated_file, hint)
        remove_leftovers(Path(path))


def _create_loading_runner() -> ProcessRunner:
    """Return a process runner. While its first program runs, a thread loads the template engine for the Dockerfile.

    A resolver mostly waits for a program or a server, so the 0.15 s of loading cost nothing.
    """
    from threading import Thread  # noqa: PLC0415 - only to lock

    from envcompile.net.process import run_process  # noqa: PLC0415

    waiting = [Thread(target=_load_templates, daemon=True)]

    def run_program(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        with suppress(IndexError):
            waiting.pop().start()
        return run_process(argv, folder, environment)

    return run_program


def _load_templates() -> None:
    # An error is not reported here: rendering the Dockerfile would raise it again.
    with suppress(Exception):
        from envcompile.emit.dockerfile import load_templates  # noqa: PLC0415 - the template engine

        load_templates()


def _generate_files(
    lock: ProjectLock, environment: Mapping[str, str], *, offline: bool
) -> tuple[ProjectLock, list[ManagedFile]]:
    """Generate the exports of a lock. Returns the lock with the digests of its Dockerfile and exports, and the exports.

    All texts are generated before the first file is written: if one cannot be generated, no file has changed.
    """
    from envcompile.loading import find_export_urls, make_managed_exports, record_generated_files  # noqa: PLC0415

    def find_urls(text: str) -> dict[str, str]:
        return find_export_urls(lock.spec, lock.value, text, environment, offline=offline)

    files = list(make_managed_exports(lock, find_urls)) if lock.spec.exports else []
    return record_generated_files(lock, files), files


@dataclass(frozen=True, slots=True)
class Finding:
    """A requirement that the lock does not satisfy, or a generated file that is outdated or cannot be made.

    `line` and `column` in `file` count from 1, in characters. They are None for a finding about a whole file.
    """

    message: str
    hint: str | None
    file: Path
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result of `verify`. `errors` are the findings as exceptions, which the command line shows with an excerpt."""

    findings: tuple[Finding, ...] = ()
    errors: tuple[EnvcompileError, ...] = field(default=(), repr=False)


def verify(project: Project, *, full: bool = False, environment: Mapping[str, str] | None = None) -> VerifyResult:
    """Check that the lock satisfies the spec, and that the Dockerfile and the exports beside the spec are current.

    Works offline. There are no findings if everything is current. With `full`, the digests of the spec are not trusted,
    and the pins are compared with the spec and the catalogue: base images, tools, channels, files and Python. So an
    edited lock is found even if its digest is correct.

    Raises `InvalidInputError` if the lock does not exist or cannot be read, and `DiagnosticsError` with every mistake
    of the spec.
    """
    from envcompile.loading import make_managed_files  # noqa: PLC0415 - only to verify

    source, option = project.source, format_file_option(project.path)
    value = read_lock_of_project(project)
    hint = f"run `envcompile lock{option}`"
    if full:
        known = load_catalogue(None, os.environ if environment is None else environment)
        spec, outdated = check_lock_fully(project, value, known, hint)
    else:
        spec, outdated = check_lock(project, value, hint)
    if outdated:
        error = DiagnosticsError(source, outdated, EXIT_FAILED)
        places = (source.locate_offset(find_span(each, source).start) for each in error.diagnostics)
        rows = zip(error.diagnostics, places, strict=True)
        found = (Finding(each.message, each.hint, project.path, place.line, place.column) for each, place in rows)
        return VerifyResult(tuple(found), (error,))
    findings: list[Finding] = []
    errors: list[EnvcompileError] = []
    try:
        for file in make_managed_files(ProjectLock(project, spec, value)):
            if not file.is_current():
                hint = f"run `envcompile {file.repair_command}{option}`"
                findings.append(Finding(file.mismatch_message, hint, file.path))
                errors.append(CheckFailedError(file.mismatch_message, hint))
    except EnvcompileError as error:
        findings.append(Finding(error.message, error.hint, project.path))
        errors.append(error)
    return VerifyResult(tuple(findings), tuple(errors))


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A generated Dockerfile. `tag` is the name of the image, `repository:hash`, with the hash of the text."""

    text: str = field(repr=False)
    tag: str


def dockerfile(project: Project | ProjectLock) -> Dockerfile:
    """Generate the Dockerfile of a project from its lock.

    Raises `InvalidInputError` if the lock does not exist or cannot be read, and `DiagnosticsError` if the spec has
    mistakes or the lock does not satisfy it.
    """
    from envcompile.emit.dockerfile import compile_dockerfile, format_full_tag  # noqa: PLC0415 - the template engine

    current = _get_lock(project)
    text = compile_dockerfile(current.spec, current.value)
    return Dockerfile(text, format_full_tag(current.spec, text))


def tag(project: Project | ProjectLock) -> str:
    """The name of the image of a project, `repository:hash`. Raises the errors of `dockerfile`."""
    return dockerfile(project).tag


def _get_lock(project: Project | ProjectLock) -> ProjectLock:
    return project if isinstance(project, ProjectLock) else read_project_lock(project)


def export(  # noqa: PLR0913 - the options of the command
    project: Project | ProjectLock,
    format_name: str,
    *,
    platform: str | None = None,
    files_url: str | None = None,
    earlier_text: str = "",
    offline: bool = False,
    environment: Mapping[str, str] | None = None,
    on_event: Callable[[Event], None] = ignore_event,
) -> str:
    """The text of a lock in the format of another tool.

    `format_name` is a key of `envcompile.export.EXPORTERS`, such as `pylock`. `platform` selects one platform, such as
    `linux-64`. The formats `conda-lock` and `pylock` need the URL of each pip package's file. It is taken from
    `files_url`, a server with the layout of the public index; otherwise from `earlier_text`, the text of an earlier
    export; otherwise from the package indexes, unless `offline` is set. There is a warning for each kind of package
    that the format cannot hold.

    Raises the errors of `dockerfile`; `InvalidInputError` for an unknown format or platform, and if the format cannot
    hold the lock; `UnavailableError` if an index does not answer.
    """
    from envcompile.export import EXPORTERS, ExportInput, export_lock, find_export_warnings, select_platform  # noqa: PLC0415
    from envcompile.export.common import derive_file_urls, parse_server_url  # noqa: PLC0415

    if format_name not in EXPORTERS:
        raise InvalidInputError(f"`{format_name}` is not an export format", f"use one of {', '.join(EXPORTERS)}")
    needs_urls = EXPORTERS[format_name].needs_file_urls
    url = parse_server_url(files_url) if files_url is not None else None
    if url and not needs_urls:
        raise InvalidInputError(f"`{format_name}` contains no URLs of files", "leave out `--files`")
    current = _get_lock(project)
    spec, value = current.spec, select_platform(current.value, platform)
    urls: Mapping[str, str] = {}
    if url:
        urls = derive_file_urls(value, url)
    elif needs_urls:
        from envcompile.loading import find_export_urls  # noqa: PLC0415 - only for formats with URLs

        environment = os.environ if environment is None else environment
        urls = find_export_urls(spec, value, earlier_text, environment, offline=offline)
    text = export_lock(format_name, ExportInput(spec, value, urls))
    for message, hint in find_export_warnings(format_name, value):
        on_event(WarningIssued(message, hint))
    return text


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The result of `build`. `tag` is the name of the image.

    `digest` is that of the image or, for several platforms, of the image index. It is None if the builder does not
    report it, or if the image existed. `existed` is True if the image existed, so that nothing was built.
    """

    tag: str
    digest: str | None
    existed: bool = False


def build(  # noqa: PLR0913 - the options of the command
    project: Project | ProjectLock,
    *,
    push: bool = False,
    output: ImageFile | None = None,
    platforms: Iterable[str] = (),
    tags: Iterable[str] = (),
    force: bool = False,
    compression: str = "zstd",
    secrets: Iterable[str] = (),
    builder: str = "",
    extra_options: Iterable[str] = (),
    progress: BinaryIO | None = None,
    environment: Mapping[str, str] | None = None,
    on_event: Callable[[Event], None] = ignore_event,
) -> BuildResult:
    """Build the image of a project with `docker buildx`, unless it exists.

    The image is loaded into the engine, pushed with `push`, or written to `output`. `platforms` are locked platforms
    (`linux-64` or `linux/amd64`); by default all of them, or the platform of the engine if the image is loaded. `tags`
    are more names for the image. `force` builds the image even if it exists, and replaces the file `output` even if
    another program wrote it. `compression` is `zstd` or `gzip`. `secrets` are values of buildx's `--secret`, and
    `extra_options` more options of `docker buildx build`. `builder` is the name of a builder. The output of buildx is
    copied to `progress`. A failed build leaves neither a tag nor a partial file.

    Raises the errors of `dockerfile`; `CheckFailedError` if a step of the build fails; `InvalidInputError` for options
    that do not fit the spec, and for an `output` that must not be replaced; `UnavailableError` if docker, buildx or a
    registry is missing.
    """
    from envcompile.engine.image import BuildOptions, find_existing_image, run_build  # noqa: PLC0415 - only to build

    options = BuildOptions(
        push, output, tuple(platforms), tuple(tags), compression, tuple(secrets), builder, tuple(extra_options)
    )
    if output is not None:
        from envcompile.oci.archive import is_built_image  # noqa: PLC0415 - only for a file
        from envcompile.project.outputs import check_output_file  # noqa: PLC0415

        check_output_file(output.path, is_built_image, "write the image to another file", force=force)
        remove_leftovers(output.path)
    job = _prepare_build(project, options, progress, environment, on_event)
    if output is None:
        if not force and find_existing_image(job):
            return BuildResult(job.tag, None, existed=True)
        if len(job.request.platforms) < len(job.locked_platforms) and not options.platforms:
            platform = job.request.platforms[0]
            on_event(Notice(f"building only for {platform}, the platform of the engine; `--push` builds for all"))
    return BuildResult(job.tag, run_build(job))


@dataclass(frozen=True, slots=True)
class ReproducibilityResult:
    """The result of `check_reproducibility`: the digest of the first image, and the first difference between the two.

    The difference is None if the images are equal.
    """

    digest: str
    difference: BuildDifference | None


def check_reproducibility(  # noqa: PLR0913 - the options of the command
    project: Project | ProjectLock,
    *,
    platforms: Iterable[str] = (),
    compression: str = "zstd",
    secrets: Iterable[str] = (),
    builder: str = "",
    extra_options: Iterable[str] = (),
    progress: BinaryIO | None = None,
    environment: Mapping[str, str] | None = None,
    on_event: Callable[[Event], None] = ignore_event,
) -> ReproducibilityResult:
    """Build the image of a project twice without the builder's cache, and compare both images. Neither is kept.

    The parameters and errors are those of `build`.
    """
    from envcompile.engine.image import BuildOptions, compare_builds  # noqa: PLC0415 - only to build

    options = BuildOptions(
        False, None, tuple(platforms), (), compression, tuple(secrets), builder, tuple(extra_options)
    )
    job = _prepare_build(project, options, progress, environment, on_event)
    return ReproducibilityResult(*compare_builds(job, lambda message: on_event(Notice(message))))


def _prepare_build(
    project: Project | ProjectLock,
    options: BuildOptions,
    progress: BinaryIO | None,
    environment: Mapping[str, str] | None,
    on_event: Callable[[Event], None],
) -> ImageBuild:
    from envcompile.engine.image import prepare_build  # noqa: PLC0415 - only to build

    lock_ = _get_lock(project)
    made = dockerfile(lock_)
    values = os.environ if environment is None else environment
    return prepare_build(lock_.spec, made.text, made.tag, options, values, progress=progress, on_event=on_event)


def diff(
    before: Project | ProjectLock | Lock | None, after: Project | ProjectLock | Lock | None
) -> tuple[LockChange, ...]:
    """The changes from one lock to another, sorted, with those on all platforms first. None stands for an empty lock.

    For a project, its lock file is read. Raises `InvalidInputError` if that file does not exist or cannot be read.
    """
    from envcompile.lock.diff import compare_locks  # noqa: PLC0415 - only to compare

    return compare_locks(_get_lock_value(before), _get_lock_value(after))


def estimate_push(
    before: Project | ProjectLock | Lock | None, after: Project | ProjectLock | Lock | None
) -> tuple[PushCost, ...]:
    """What a push of the image costs on each platform of the lock `after`, if a registry has the image of `before`.

    The sizes are those of the locked archives, to which the layers of the image are similar. None stands for an empty
    lock. Raises the errors of `diff`.
    """
    from envcompile.plan.sizes import estimate_push_costs  # noqa: PLC0415 - only to compare

    return estimate_push_costs(_get_lock_value(before), _get_lock_value(after))


def size(source: Project | ProjectLock | Lock, *, platform: str | None = None) -> tuple[PlatformSize, ...]:
    """The sizes of the layers and packages of a lock, by platform. `platform` selects one, such as `linux-64`.

    For a project, its lock file is read. Raises `InvalidInputError` if that file does not exist or cannot be read, or
    if the lock does not have the platform.
    """
    from envcompile.export import select_platform  # noqa: PLC0415 - only for sizes
    from envcompile.plan.sizes import compute_sizes  # noqa: PLC0415

    value = _get_lock_value(source)
    names = {each.platform for each in select_platform(value, platform).platforms}
    # The threshold of the layers depends on all platforms.
    return tuple(each for each in compute_sizes(value) if each.platform in names)


def _get_lock_value(source: Project | ProjectLock | Lock | None) -> Lock:
    if source is None:
        from envcompile.lock.model import Lock  # noqa: PLC0415 - only for an empty lock

        return Lock("", "", ())
    if isinstance(source, ProjectLock):
        return source.value
    return read_lock(source.lock_path) if isinstance(source, Project) else source
