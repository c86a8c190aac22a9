"""Conda and pip as one environment: conda first, then pip with what conda has brought as fixed ground."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.compatibility import make_cuda_constraints
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError
from envcompile.diagnostics.errors import EXIT_FAILED
from envcompile.lock.model import Pins, PlatformLock, PythonInterpreter
from envcompile.lock.package_managers import PACKAGE_MANAGERS
from envcompile.net.process import run_in_threads
from envcompile.platforms import PLATFORMS
from envcompile.resolve.conda.channels import add_distributions
from envcompile.resolve.model import CondaRequest, PipRequest
from envcompile.spec.conda import parse_match_spec
from envcompile.spec.pip import find_index_name, parse_package_name, parse_requirement
from envcompile.spec.solver_inputs import list_conda_requirements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.diagnostics.source import KeyPath
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.model import Channel, CondaPackage, Lock, PipPackage, SdistBuild
    from envcompile.resolve.apt.resolver import AptSources
    from envcompile.resolve.images import BuildContext, ImageReader
    from envcompile.resolve.model import CondaResolver, Effects, PipResolver, UnsolvableError
    from envcompile.spec.model import Spec

# Where conda puts its Python: the environment is made there and stays there.
CONDA_PYTHON_PATH = "/env/bin/python"


class UpgradeRequest(NamedTuple):
    """What need not stay as it was pinned: `names`, or True for everything; `exact` versions that some must have."""

    names: frozenset[str] | bool = frozenset()
    exact: Mapping[str, str] = MappingProxyType({})

    def exact_versions(self, pins: Iterable[PipPackage | CondaPackage]) -> dict[str, str]:
        """The exact versions that are meant for packages of this kind."""
        return {each.name: self.exact[each.name] for each in pins if each.name in self.exact}


class EarlierLock(NamedTuple):
    """What was locked before: the lock if it is whole; the pins of each platform, and the moment of the archive.

    The last two are also those of a broken lock; `images` are those by digest that it holds.
    """

    lock: Lock | None
    pins: Mapping[str, Pins]
    snapshot: str | None = None
    images: tuple[str, ...] = ()

    def pins_for(self, platform: str) -> Pins:
        """What was pinned for one platform."""
        return self.pins.get(platform, Pins())


class Solvers(NamedTuple):
    """Whoever answers: a resolver for each kind of package, a registry client, and what they may do to the world.

    `channels` are the conda channels of the spec, by their URLs. A resolver of which the spec asks nothing is None.
    `apt` makes who knows Debian packages, which few environments need; `catalogue` is what is known of bases.
    """

    pip: PipResolver | None
    conda: CondaResolver | None
    images: ImageReader
    channels: tuple[Channel, ...]
    effects: Effects
    create_apt_sources: Callable[[], AptSources]
    catalogue: Catalogue


def solve_environment(  # noqa: PLR0913, PLR0917 - every effect is an argument
    source: TomlSource,
    spec: Spec,
    grounds: Mapping[str, BuildContext],
    earlier: EarlierLock,
    solvers: Solvers,
    upgrade: UpgradeRequest,
) -> tuple[tuple[PlatformLock, ...], tuple[Channel, ...]]:
    """What is pinned for each platform, sorted, and the channels it comes from.

    Raises `UnsolvableError`, `UnavailableError`, or `DiagnosticsError` when a package is asked of conda and of pip.
    """
    names = sorted(spec.platforms)
    conda = dict(zip(names, _solve_conda(spec, names, grounds, earlier, solvers, upgrade), strict=True))
    _check_no_duplicates(source, spec, conda)

    def one(name: str) -> PlatformLock:
        ground, brought = grounds[name], conda[name]
        python = _find_interpreter(brought) or ground.python
        pip: tuple[PipPackage, ...] = ()
        built: tuple[SdistBuild, ...] = ()
        if spec.pip.packages:
            pip, built = _solve_pip(source, spec, name, ground, python, brought, earlier, solvers, upgrade)
        return PlatformLock(name, python, ground.base, ground.base, ground.tools, pip, brought, pip_build=built)

    platforms = tuple(run_in_threads(one, names))
    used = {package.channel for packages in conda.values() for package in packages}
    return platforms, tuple(each for each in solvers.channels if each.name in used)


def _solve_conda(  # noqa: PLR0913, PLR0917 - a request is made of all that was decided before
    spec: Spec,
    names: list[str],
    grounds: Mapping[str, BuildContext],
    earlier: EarlierLock,
    solvers: Solvers,
    upgrade: UpgradeRequest,
) -> tuple[tuple[CondaPackage, ...], ...]:
    if solvers.conda is None or not spec.conda.packages:
        return tuple(() for _ in names)
    requests = tuple(
        CondaRequest(
            requirements=list_conda_requirements(spec),
            channels=solvers.channels,
            platform=PLATFORMS[name],
            glibc=grounds[name].base.glibc,
            cuda=spec.cuda.version,
            exclude_newer=spec.exclude_newer,
            preferences=earlier.pins_for(name).conda,
            upgrade=upgrade.names,
            exact=upgrade.exact_versions(earlier.pins_for(name).conda),
        )
        for name in names
    )
    answers = solvers.conda.resolve(requests, solvers.effects)
    return tuple(add_distributions(packages) for packages in answers)


def _check_no_duplicates(source: TomlSource, spec: Spec, conda: Mapping[str, tuple[CondaPackage, ...]]) -> None:
    """The lock never holds a distribution from both sides: what is asked of both is a mistake, and is told as one."""
    asked = {parse_match_spec(text).name: text for text in spec.conda.packages}
    brought = {name: each for packages in conda.values() for each in packages for name in each.provides}
    found = []
    for index, text in enumerate(spec.pip.packages):
        package = brought.get(parse_package_name(parse_requirement(text).name))
        if package and package.name in asked:
            message = f"`{text}` is asked of pip, and of conda as `{asked[package.name]}`"
            hint = "take it out of one of the two: conda's serves pip's packages too"
            found.append(Diagnostic("duplicate", message, ("pip", "packages", index), hint))
    if found:
        raise DiagnosticsError(source, found)


def _find_interpreter(brought: tuple[CondaPackage, ...]) -> PythonInterpreter | None:
    version = next((package.version for package in brought if package.name == "python"), None)
    return PythonInterpreter(version, CONDA_PYTHON_PATH, "conda") if version else None


def _solve_pip(  # noqa: PLR0913, PLR0917 - a request is made of all that was decided before
    source: TomlSource,
    spec: Spec,
    name: str,
    ground: BuildContext,
    python: PythonInterpreter | None,
    brought: tuple[CondaPackage, ...],
    earlier: EarlierLock,
    solvers: Solvers,
    upgrade: UpgradeRequest,
) -> tuple[tuple[PipPackage, ...], tuple[SdistBuild, ...]]:
    from envcompile.resolve.pip.wheels import list_stub_versions  # noqa: PLC0415 - brings `packaging`, for pip packages only

    if python is None or solvers.pip is None:
        raise AssertionError("pip packages are asked for: the spec's check lets none pass without a Python")
    request = PipRequest(
        requirements=(*spec.pip.packages, *ground.wheels),
        exclude=spec.pip.exclude,
        platform=PLATFORMS[name],
        python=python.version,
        glibc=ground.base.glibc,
        exclude_newer=spec.exclude_newer,
        preferences=earlier.pins_for(name).pip,
        upgrade=upgrade.names,
        provided=list_stub_versions(brought),
        exact=upgrade.exact_versions(earlier.pins_for(name).pip),
        index=spec.pip.index,
        indexes=spec.pip.extra_indexes,
        extra_constraints=make_cuda_constraints(spec.cuda.version, solvers.catalogue),
    )
    built: tuple[SdistBuild, ...] = ()
    if spec.pip.allow_sdist:
        from envcompile.resolve.pip.sdists import resolve_with_sdists  # noqa: PLC0415 - for sdists only

        locked = earlier.lock.find_platform(name) if earlier.lock else None
        before = locked.pip_build if locked else ()
        packages, built = resolve_with_sdists(source, spec.pip, request, before, solvers.pip, solvers.effects)
    else:
        packages = solvers.pip.resolve(request, solvers.effects)
    both = {package.name for package in packages} & set(request.provided)
    if both:
        raise AssertionError(f"a resolver took from pip what conda has brought: {sorted(both)}")
    if strange := [each.name for each in packages if each.index != find_index_name(each.name, request.indexes)]:
        raise AssertionError(f"a resolver took packages from an index that they are not named for: {strange}")
    return packages, built


# From a resolver's reason to the line of the spec.


def explain_unsolvable(
    answer: UnsolvableError, source: TomlSource, spec: Spec, exact: Mapping[str, str]
) -> DiagnosticsError:
    """The answer as diagnostics: the line of every requirement that the reason says is required, the reason below.

    `exact` are the versions of conda's and pip's packages that were asked for beside the spec.
    """
    message = answer.message
    if exact and answer.table != "apt":
        pinned = " and ".join(f"`{name}=={version}`" for name, version in exact.items())
        message = f"no set of packages answers the spec with {pinned} on `{answer.platform}`"
    paths = _find_blamed_requirements(answer, spec) or [(answer.table, "packages")]
    ground = "the base's packages" if answer.table == "apt" else "Python and C library as in the base"
    hint = f"the resolver's reason for `{answer.platform}`, {ground}:\n{_indent_reason(answer.reason)}"
    found = [
        Diagnostic("unsolvable", message if index == 0 else "this requirement takes part in it", path)
        for index, path in enumerate(paths)
    ]
    last = found[-1]
    found[-1] = Diagnostic(last.rule, last.message, last.path, hint)
    return DiagnosticsError(source, found, EXIT_FAILED)


def _find_blamed_requirements(answer: UnsolvableError, spec: Spec) -> list[KeyPath]:
    """The requirements that the reason says "you require", else those it names at all."""
    manager = PACKAGE_MANAGERS[answer.table]
    names = [manager.requirement_name(text) for text in getattr(spec, manager.name).packages]
    words = " ".join(answer.reason.split()).lower()
    # The name, and not a longer one that it is a part of.
    patterns = [rf"{'[-_.]'.join(map(re.escape, each.split('-')))}(?![a-z0-9_-])" for each in names]
    required = [i for i, pattern in enumerate(patterns) if re.search(rf"you require {pattern}", words)]
    named = [i for i, pattern in enumerate(patterns) if re.search(rf"(?<![a-z0-9_.-]){pattern}", words)]
    return [(answer.table, "packages", index) for index in required or named]


def _indent_reason(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
