"""The picture as code: text -> Spec -> Lock -> Plan -> Dockerfile -> tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.errors import NotFine
from envcompile.lock.fresh import known, stale
from envcompile.spec.decode import parse, parse_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.lock.model import Lock, PipPackage, PlatformLock
    from envcompile.resolve.images import Images
    from envcompile.resolve.protocol import Effects, PipResolver
    from envcompile.source import Source
    from envcompile.spec.model import Spec


class Earlier(NamedTuple):
    """What was locked before: the lock if it is whole, and the pins of each platform, also those of a broken lock."""

    lock: Lock | None
    pins: Mapping[str, tuple[PipPackage, ...]]


def resolve(  # noqa: PLR0913, PLR0917 - every effect is an argument
    source: Source,
    spec: Spec,
    earlier: Earlier,
    resolver: PipResolver,
    images: Images,
    effects: Effects,
    upgrade: frozenset[str] | bool = frozenset(),
) -> Lock:
    """Spec -> Lock: one solve per platform, side by side.

    What is pinned earlier is kept where the spec allows it, unless it is to be upgraded.

    Raises `Problems` with the place in the spec when the base is not known or no set of packages answers.
    """
    from envcompile.lock.model import Lock, PlatformLock  # noqa: PLC0415 - only on the way to a lock
    from envcompile.platforms import PLATFORMS  # noqa: PLC0415
    from envcompile.resolve.images import lay_ground  # noqa: PLC0415
    from envcompile.resolve.protocol import PipRequest, Unsolvable  # noqa: PLC0415
    from envcompile.resolve.unsolvable import explain  # noqa: PLC0415
    from envcompile.spec.digest import spec_digest, text_digest  # noqa: PLC0415

    grounds = lay_ground(source, spec, earlier.lock, images, upgrade=upgrade is True)

    def one(name: str) -> PlatformLock:
        ground = grounds[name]
        request = PipRequest(
            requirements=spec.pip.packages,
            exclude=spec.pip.exclude,
            platform=PLATFORMS[name],
            python=ground.python.version,
            glibc=ground.base.glibc,
            exclude_newer=spec.exclude_newer,
            preferences=earlier.pins.get(name, ()),
            upgrade=upgrade,
        )
        packages = resolver.resolve(request, effects)
        return PlatformLock(name, ground.python, ground.base, ground.base, ground.tools, packages)

    try:
        platforms = _side_by_side(one, sorted(spec.platforms))
    except Unsolvable as answer:
        raise explain(answer, source, spec) from None
    return Lock(spec_digest(spec), text_digest(source.text), tuple(platforms))


def _side_by_side(one: Callable[[str], PlatformLock], names: list[str]) -> list[PlatformLock]:
    if len(names) == 1:
        return [one(names[0])]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - 8 ms, for several platforms only

    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(one, names))


def read_spec(source: Source, lock: Lock) -> Spec:
    """The spec of a text that the lock must answer. Raises `Problems`, or `NotFine` when the lock is stale."""
    if known(source.text, lock):
        return parse_known(source)
    spec = parse(source)
    if reason := stale(spec, lock):
        raise NotFine(f"the lock is stale: {reason}", "run `envcompile lock`")
    return spec


def compile_dockerfile(spec: Spec, lock: Lock) -> str:
    """Spec, Lock -> the text of the Dockerfile. The lock must answer the spec."""
    from envcompile.emit.dockerfile import dockerfile  # noqa: PLC0415 - brings the template engine
    from envcompile.plan.make import make_plan  # noqa: PLC0415

    return dockerfile(make_plan(spec, lock))
