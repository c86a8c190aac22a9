"""The picture as code: text -> Spec -> Lock -> Plan -> Dockerfile -> tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.errors import NotFine
from envcompile.lock.fresh import known, stale
from envcompile.spec.decode import parse, parse_known

if TYPE_CHECKING:
    from envcompile.lock.model import Lock
    from envcompile.resolve.environment import Earlier, Solvers, Upgrade
    from envcompile.source import Source
    from envcompile.spec.model import Spec


def resolve(source: Source, spec: Spec, earlier: Earlier, solvers: Solvers, upgrade: Upgrade) -> Lock:
    """Spec -> Lock. What is pinned earlier is kept where the spec allows it, unless it is to be upgraded.

    Raises `Problems` with the place in the spec when the base is not known, no set of packages answers, or no base has
    what they need.
    """
    from envcompile.lock.model import Lock  # noqa: PLC0415 - only on the way to a lock
    from envcompile.resolve.indexes import private_indexes  # noqa: PLC0415
    from envcompile.resolve.passes import settle_bases  # noqa: PLC0415
    from envcompile.resolve.protocol import Unsolvable  # noqa: PLC0415
    from envcompile.resolve.unsolvable import explain  # noqa: PLC0415
    from envcompile.spec.digest import spec_digest, text_digest  # noqa: PLC0415

    try:
        platforms, channels, apt = settle_bases(source, spec, earlier, solvers, upgrade)
    except Unsolvable as answer:
        raise explain(answer, source, spec, upgrade.exact) from None
    private = private_indexes(spec.pip, platforms, solvers.effects.environment)
    digests = spec_digest(spec), text_digest(source.text)
    lock = Lock(*digests, platforms, channels=channels, private_indexes=private)
    return apt.into(lock) if apt else lock


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
