"""The picture as code: text -> Spec -> Lock -> Plan -> Dockerfile -> tag."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED, InvalidInputError
from envcompile.loading import find_lock_path, find_spec, read_lock, read_source
from envcompile.lock.freshness import RELOCK_HINT, check_freshness, made_from_text, made_from_value
from envcompile.project.discovery import find_dockerfiles, list_export_paths
from envcompile.project.files import display_path
from envcompile.project.generated_files import EXPORT_FILES, EXPORT_HEADER, format_mismatch_message
from envcompile.spec.decode import parse_checked_spec, parse_spec, parse_spec_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import Lock
    from envcompile.resolve.environment import EarlierLock, Solvers, UpgradeRequest
    from envcompile.spec.model import Spec

    # From an earlier text of an export to the addresses of pip's files.
    FileUrlFinder = Callable[[str], Mapping[str, str]]


def resolve_spec(
    source: TomlSource, spec: Spec, earlier: EarlierLock, solvers: Solvers, upgrade: UpgradeRequest
) -> Lock:
    """Spec -> Lock. What is pinned earlier is kept where the spec allows it, unless it is to be upgraded.

    Raises `DiagnosticsError` with the place in the spec when the base is not known, no set of packages answers, or no
    base has
    what they need.
    """
    from envcompile.digests import compute_text_digest, compute_value_digest  # noqa: PLC0415
    from envcompile.lock.model import Lock, RecordedInput  # noqa: PLC0415 - only on the way to a lock
    from envcompile.resolve.environment import explain_unsolvable  # noqa: PLC0415
    from envcompile.resolve.fixpoint import resolve_until_stable  # noqa: PLC0415
    from envcompile.resolve.model import UnsolvableError  # noqa: PLC0415
    from envcompile.resolve.pip.index_router import private_indexes  # noqa: PLC0415
    from envcompile.spec.solver_inputs import recorded_inputs  # noqa: PLC0415

    try:
        platforms, channels, apt = resolve_until_stable(source, spec, earlier, solvers, upgrade)
    except UnsolvableError as answer:
        raise explain_unsolvable(answer, source, spec, upgrade.exact) from None
    lock = Lock(
        compute_value_digest(parse_spec_value(source)),
        compute_text_digest(source.text),
        platforms,
        channels=channels,
        recorded_inputs=tuple(RecordedInput(*row) for row in recorded_inputs(spec).items()),
        private_indexes=private_indexes(spec.pip, platforms, solvers.effects.environment),
    )
    return apt.apply_to_lock(lock) if apt else lock


def parse_locked_spec(source: TomlSource, lock: Lock, hint: str = RELOCK_HINT) -> Spec:
    """The spec of a text that the lock must answer.

    Raises `DiagnosticsError`: with mistakes of the spec, or, as not fine, with every requirement that the lock fails.
    """
    if made_from_text(source.text, lock) or made_from_value(parse_spec_value(source), lock):
        return parse_checked_spec(source)
    spec = parse_spec(source)
    if found := check_freshness(spec, lock, hint):
        raise DiagnosticsError(source, found, EXIT_FAILED)
    return spec


def compile_dockerfile(spec: Spec, lock: Lock) -> str:
    """Spec, Lock -> the text of the Dockerfile. The lock must answer the spec."""
    from envcompile.emit.dockerfile import render_dockerfile  # noqa: PLC0415 - brings the template engine
    from envcompile.plan.planner import make_plan  # noqa: PLC0415

    return render_dockerfile(make_plan(spec, lock))


# A spec and its lock, and the Dockerfile of the two, for the commands that solve nothing.


def format_full_tag(spec: Spec, text: str) -> str:
    """The tag of a spec's Dockerfile, `repository:hash`; without a repository `name:hash`."""
    from envcompile.emit.dockerfile import compute_tag  # noqa: PLC0415 - brings the template engine

    return f"{spec.image.repository or spec.name}:{compute_tag(text)}"


def load_spec_and_lock(file: str | None) -> tuple[Spec, Lock]:
    """The spec and the lock that answers it.

    Raises `DiagnosticsError`, `InvalidInputError`, or `CheckFailedError` when the lock is stale.
    """
    path = find_spec(file)
    source = read_source(path)
    lock = read_lock(find_lock_path(path))
    return parse_locked_spec(source, lock), lock


def compile_spec_file(file: str | None) -> tuple[Spec, str]:
    """The spec and the text of its Dockerfile. Raises as `locked`."""
    spec, lock = load_spec_and_lock(file)
    return spec, compile_dockerfile(spec, lock)


# The files that are kept beside a spec and made from its lock, as they should be.


class ManagedFile(NamedTuple):
    """One file: what it should hold, what is said when it does not, and the words after `envcompile` that mend it.

    `whole` is False where nobody could say all that it should hold: then it is not current, whatever it holds.
    """

    path: Path
    text: str
    mismatch_message: str
    repair_command: str
    is_complete: bool = True

    def is_current(self) -> bool:
        """Whether the file holds that."""
        return self.is_complete and self.path.is_file() and self.path.read_bytes() == self.text.encode()


def managed_files(spec: Spec, lock: Lock, path: Path) -> Iterator[ManagedFile]:
    """The Dockerfiles beside the spec at `path` that say they are ours, and the exports that the spec asks for.

    Raises `InvalidInputError` where none can be made.
    """
    for each in map(Path, find_dockerfiles(str(path))):
        name = display_path(each)
        yield ManagedFile(
            each, compile_dockerfile(spec, lock), format_mismatch_message(name, "Dockerfile"), f"dockerfile -o {name}"
        )
    if spec.exports:
        from envcompile.export.common import parse_file_urls  # noqa: PLC0415 - where there are exports

        # Nobody is asked: an address that the file does not have yet is one that it lacks.
        yield from managed_exports(spec, lock, path, parse_file_urls)


def managed_exports(spec: Spec, lock: Lock, path: Path, places: FileUrlFinder) -> Iterator[ManagedFile]:
    """The exports that the spec at `path` asks for.

    Raises `InvalidInputError` for one that cannot be made, or is not ours.
    """
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
        found = places(text) if EXPORTERS[format_].needs_file_urls else {}
        unknown = (
            {each.sha256: "" for each in find_packages_without_url(lock, found)}
            if EXPORTERS[format_].needs_file_urls
            else {}
        )
        made = export_lock(format_, ExportInput(spec, select_platform(lock, platform or None), {**unknown, **found}))
        message = f"{said} is not the `{format_}` export of this lock" if text else f"{said} is not there"
        yield ManagedFile(where, made, message, "lock", is_complete=not unknown)
