"""The picture as code: text -> Spec -> Lock -> Plan -> Dockerfile -> tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED
from envcompile.lock.fresh import RELOCK, known, same, stale
from envcompile.spec.decode import parse_checked_spec, parse_spec, parse_spec_value

if TYPE_CHECKING:
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import Lock
    from envcompile.resolve.environment import Earlier, Solvers, Upgrade
    from envcompile.spec.model import Spec


def resolve(source: TomlSource, spec: Spec, earlier: Earlier, solvers: Solvers, upgrade: Upgrade) -> Lock:
    """Spec -> Lock. What is pinned earlier is kept where the spec allows it, unless it is to be upgraded.

    Raises `Problems` with the place in the spec when the base is not known, no set of packages answers, or no base has
    what they need.
    """
    from envcompile.digests import compute_text_digest, compute_value_digest  # noqa: PLC0415
    from envcompile.lock.model import Asked, Lock  # noqa: PLC0415 - only on the way to a lock
    from envcompile.resolve.indexes import private_indexes  # noqa: PLC0415
    from envcompile.resolve.passes import settle_bases  # noqa: PLC0415
    from envcompile.resolve.protocol import Unsolvable  # noqa: PLC0415
    from envcompile.resolve.unsolvable import explain  # noqa: PLC0415
    from envcompile.spec.solver_inputs import recorded_inputs  # noqa: PLC0415

    try:
        platforms, channels, apt = settle_bases(source, spec, earlier, solvers, upgrade)
    except Unsolvable as answer:
        raise explain(answer, source, spec, upgrade.exact) from None
    lock = Lock(
        compute_value_digest(parse_spec_value(source)),
        compute_text_digest(source.text),
        platforms,
        channels=channels,
        asked=tuple(Asked(*row) for row in recorded_inputs(spec).items()),
        private_indexes=private_indexes(spec.pip, platforms, solvers.effects.environment),
    )
    return apt.into(lock) if apt else lock


def read_spec(source: TomlSource, lock: Lock, hint: str = RELOCK) -> Spec:
    """The spec of a text that the lock must answer.

    Raises `Problems`: with mistakes of the spec, or, as not fine, with every requirement that the lock fails.
    """
    if known(source.text, lock) or same(parse_spec_value(source), lock):
        return parse_checked_spec(source)
    spec = parse_spec(source)
    if found := stale(spec, lock, hint):
        raise DiagnosticsError(source, found, EXIT_FAILED)
    return spec


def compile_dockerfile(spec: Spec, lock: Lock) -> str:
    """Spec, Lock -> the text of the Dockerfile. The lock must answer the spec."""
    from envcompile.emit.dockerfile import render_dockerfile  # noqa: PLC0415 - brings the template engine
    from envcompile.plan.planner import make_plan  # noqa: PLC0415

    return render_dockerfile(make_plan(spec, lock))
