"""What a spec and its lock ask of the machine, as far as they can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError
from envcompile.engine.nvidia import Floor
from envcompile.engine.space import Need, need
from envcompile.findings import Finding, failed
from envcompile.loading import find_lock_path, find_spec, read_lock_text, read_source
from envcompile.project.files import display_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import Lock
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.spec.model import Spec


class Demand(NamedTuple):
    """What is needed: resolvers by the spec's names, room for an image, drivers, one image of each registry.

    `findings` is what there is to say of the files themselves.
    """

    findings: tuple[Finding, ...] = ()
    resolvers: frozenset[str] = frozenset()
    need: Need | None = None
    floors: tuple[Floor, ...] = ()
    images: tuple[str, ...] = ()


def demand(file: str | None, catalogue: Catalogue) -> Demand:
    """What the spec that `-f` names, or the nearest one, asks for; without a spec nothing is asked.

    Raises `Unusable` when the named file is not there.
    """
    try:
        path = find_spec(file)
    except InvalidInputError:
        path = None
    known = Finding("catalogue", "fine", f"facts of {catalogue.date} ({catalogue.digest[:19]})")
    if path is None:
        message = "no spec here: only the machine is looked at"
        return Demand((known, Finding("spec", "note", message)), images=_shipped())
    try:
        spec = _spec(path)
    except EnvcompileError as problem:
        if file is not None and not path.exists():
            raise
        return _broken("spec", problem, known)
    try:
        lock = _lock(find_lock_path(path))
    except EnvcompileError as problem:
        return _broken("lock", problem, known)
    floors = tuple(_floors(spec, lock, catalogue))
    if lock is None:
        finding = Finding("lock", "note", f"`{display_path(path)}` is not locked yet", "run `envcompile lock`")
        return Demand((known, finding), _resolvers(spec), floors=floors, images=_shipped())
    largest = max((need(each) for each in lock.platforms), key=lambda each: each.build)
    finding = Finding(
        "lock",
        "fine",
        f"`{display_path(find_lock_path(path))}` for {', '.join(each.platform for each in lock.platforms)}",
    )
    return Demand((known, finding), _resolvers(spec), largest, floors, _images(lock))


def _broken(about: str, problem: EnvcompileError, known: Finding) -> Demand:
    remedy = problem.hint or "run `envcompile lock`, which points at each"
    return Demand((known, failed(about, problem)._replace(remedy=remedy)), images=_shipped())


def _spec(path: Path) -> Spec:
    from envcompile.spec.decode import parse_spec  # noqa: PLC0415 - where there is a spec

    return parse_spec(read_source(path))


def _lock(path: Path) -> Lock | None:
    from envcompile.lock.file import loads  # noqa: PLC0415 - where there is a lock

    text = read_lock_text(path)
    return loads(text, display_path(path)) if text is not None else None


def _resolvers(spec: Spec) -> frozenset[str]:
    pip = {spec.pip.resolver} if spec.pip.packages else set()
    conda = {spec.conda.resolver} if spec.conda.packages else set()
    return frozenset(pip | conda)


def _floors(spec: Spec, lock: Lock | None, catalogue: Catalogue) -> Iterator[Floor]:
    """The oldest driver that the spec wants to support, and the oldest that the locked CUDA runs on at all."""
    if spec.cuda.driver:
        yield Floor(spec.cuda.driver, "`driver` under `[cuda]`")
    found = {Floor(oldest, f"CUDA {cuda} of the lock") for cuda, oldest in _locked(lock, catalogue) if oldest}
    yield from sorted(found)


def _locked(lock: Lock | None, catalogue: Catalogue) -> Iterator[tuple[str, str | None]]:
    """CUDA and the oldest driver of each platform: as decided, else (in a lock of an earlier release) as is known."""
    from envcompile.plan.base.bundled import bundled  # noqa: PLC0415 - not needed without a spec
    from envcompile.plan.base.model import Question, locked  # noqa: PLC0415
    from envcompile.plan.base.versions import major  # noqa: PLC0415

    for each in lock.platforms if lock else ():
        if each.decided:
            if each.decided.cuda:
                yield each.decided.cuda, each.decided.driver
        elif toolkit := bundled(Question(), locked(each.pip, each.conda), catalogue).toolkit:
            yield toolkit, catalogue.floors.get(str(major(toolkit)))


def _images(lock: Lock) -> tuple[str, ...]:
    """One image of each registry that a build of the lock asks."""
    from envcompile.registry.reference import locate_image  # noqa: PLC0415 - where there is a lock

    found: dict[str, str] = {}
    for each in lock.platforms:
        for image in (each.build.image, each.run.image, *(tool.image for tool in each.tools)):
            found.setdefault(locate_image(image, {}).host, image)
    return tuple(found.values())


def _shipped() -> tuple[str, ...]:
    """What a first lock would ask for."""
    from envcompile.plan.catalogue import CONDA_BASE, TOOLS  # noqa: PLC0415 - where there is no lock

    return (CONDA_BASE, TOOLS["uv"])
