"""Resolve conda and pip packages as one environment: conda first, then pip with the conda packages fixed.

The pip resolver sees the distributions in the conda packages as installed, so no distribution is locked twice. The
module also turns an `UnsolvableError` into diagnostics at the requirements in the spec.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from envcompile.base_image.compatibility import make_cuda_constraints
from envcompile.base_image.default import find_conda_installer
from envcompile.diagnostics.diagnostic import Diagnostic, DiagnosticsError, did_you_mean
from envcompile.diagnostics.errors import EXIT_FAILED
from envcompile.lock.model import Pins, PlatformLock, PythonInterpreter
from envcompile.lock.package_managers import PACKAGE_MANAGERS
from envcompile.net.process import run_in_threads
from envcompile.platforms import PLATFORMS
from envcompile.resolve.conda.channels import add_distributions
from envcompile.resolve.model import CondaRequest, PipRequest, PipResolution
from envcompile.spec.pip import PipRequirement, find_index_name
from envcompile.spec.solver_inputs import (
    INIT_PACKAGE,
    list_conda_requirements,
    list_pip_requirements,
    locate_requirement,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.diagnostics.source import KeyPath
    from envcompile.diagnostics.toml_source import TomlSource
    from envcompile.lock.families import FileOverlap
    from envcompile.lock.model import Channel, CondaPackage, Lock
    from envcompile.resolve.apt.resolver import AptSources
    from envcompile.resolve.base_images import BuildContext, ImageReader
    from envcompile.resolve.model import CondaResolver, Effects, PipResolver, UnsolvableError
    from envcompile.resolve.upgrade import UpgradeRequest
    from envcompile.spec.model import Spec

# The interpreter of a conda environment in the image.
CONDA_PYTHON_PATH = "/env/bin/python"


class EarlierLock(NamedTuple):
    """The lock that an update starts from.

    `lock` is None if there is no lock or if it is damaged; then `pins` (by platform), `snapshot` (of the Debian
    archive) and `recovered_images` (`name:tag@digest`) are what could be read from it.
    """

    lock: Lock | None
    pins: Mapping[str, Pins]
    snapshot: str | None = None
    recovered_images: tuple[str, ...] = ()

    def pins_for(self, platform: str) -> Pins:
        """Return the pins of one platform."""
        return self.pins.get(platform, Pins())


class Solvers(NamedTuple):
    """The resolvers, the registry client, and the `Effects` that the resolvers use.

    `pip` or `conda` is None if the spec has no such packages. `channels` are the conda channels of the spec with their
    URLs. `create_apt_sources` creates the readers of images and of the Debian archive, because few environments need
    them.
    """

    pip: PipResolver | None
    conda: CondaResolver | None
    images: ImageReader
    channels: tuple[Channel, ...]
    effects: Effects
    create_apt_sources: Callable[[], AptSources]
    catalogue: Catalogue


class SolvedEnvironment(NamedTuple):
    """The pins of each platform, and the conda channels that they come from.

    `overlaps` are the files that several pip packages install, by platform.
    """

    platforms: tuple[PlatformLock, ...]
    channels: tuple[Channel, ...]
    overlaps: Mapping[str, tuple[FileOverlap, ...]]


def solve_environment(  # noqa: PLR0913, PLR0917 - every effect is an argument
    source: TomlSource,
    spec: Spec,
    contexts: Mapping[str, BuildContext],
    earlier: EarlierLock,
    solvers: Solvers,
    upgrade: UpgradeRequest,
) -> SolvedEnvironment:
    """Resolve the conda and pip packages of each platform. The platforms are sorted by name.

    Raises `UnsolvableError` if no packages satisfy the requirements, `UnavailableError` if a program or a service is
    not available, and `DiagnosticsError` if the spec contradicts the resolved conda packages: for example, if it
    requests a package from conda and from pip.
    """
    names = sorted(spec.platforms)
    conda = dict(zip(names, _solve_conda(spec, names, contexts, earlier, solvers, upgrade), strict=True))
    _check_provides(source, spec, conda)
    _check_no_duplicates(source, spec, conda)

    def solve_platform(name: str) -> tuple[PlatformLock, tuple[FileOverlap, ...]]:
        context, conda_packages = contexts[name], conda[name]
        python = _find_interpreter(conda_packages) or context.python
        pip = PipResolution()
        if spec.pip.packages:
            _check_implementation(source, conda_packages)
        if requirements := _select_pip_requirements(spec, python, conda_packages):
            pip = _solve_pip(
                source, spec, name, requirements, context, python, conda_packages, earlier, solvers, upgrade
            )
        base, tools = context.base, context.tools
        locked = PlatformLock(name, python, base, base, tools, pip.packages, conda_packages, pip_build=pip.builds)
        kept = earlier.lock.find_platform(name) if earlier.lock and not upgrade.includes("tools") else None
        installer = find_conda_installer(spec, name, kept.conda_installer if kept else None)
        return replace(locked, conda_installer=installer), pip.overlaps

    solved = run_in_threads(solve_platform, names)
    platforms = _drop_unused_uv(spec, tuple(platform for platform, _ in solved))
    used_channels = {package.channel for packages in conda.values() for package in packages}
    return SolvedEnvironment(
        platforms,
        tuple(channel for channel in solvers.channels if channel.name in used_channels),
        {platform.platform: overlaps for platform, overlaps in solved},
    )


def _select_pip_requirements(
    spec: Spec, python: PythonInterpreter | None, conda_packages: tuple[CondaPackage, ...]
) -> tuple[PipRequirement, ...]:
    """Return the pip requirements of one platform.

    The wheel of the init program is left out if conda has the program. It is also left out if there is no Python to
    install it with: `choose_base_images` then adds the Debian package.
    """
    if python is None or any(package.name == INIT_PACKAGE for package in conda_packages):
        return spec.pip.packages
    return list_pip_requirements(spec)


def _drop_unused_uv(spec: Spec, platforms: tuple[PlatformLock, ...]) -> tuple[PlatformLock, ...]:
    """Return the platforms without uv, if it was only needed for the wheel of the init program and there is none."""
    if spec.pip.packages or spec.conda.packages:
        return platforms
    if any(each.pip or (each.python and each.python.build) for each in platforms):
        return platforms
    return tuple(replace(each, tools=tuple(tool for tool in each.tools if tool.name != "uv")) for each in platforms)


def _solve_conda(  # noqa: PLR0913, PLR0917 - a request depends on all earlier decisions
    spec: Spec,
    names: list[str],
    contexts: Mapping[str, BuildContext],
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
            glibc=contexts[name].base.glibc,
            cuda=spec.cuda.request,
            exclude_newer=spec.exclude_newer,
            preferences=earlier.pins_for(name).conda,
            upgrade=upgrade.names,
            exact=upgrade.exact_versions(earlier.pins_for(name).conda),
        )
        for name in names
    )
    solutions = solvers.conda.resolve(requests, solvers.effects)
    urls = {channel.name: channel.url for channel in solvers.channels}
    stated = dict(spec.conda.provides)
    return tuple(add_distributions(packages, urls, stated) for packages in solutions)


def _check_provides(source: TomlSource, spec: Spec, conda: Mapping[str, tuple[CondaPackage, ...]]) -> None:
    """Reject an entry of `provides` for a package that no platform has: it would have no effect."""
    locked = {package.name for packages in conda.values() for package in packages}
    diagnostics = [
        Diagnostic(
            "unsolvable",
            f"the lock has no conda package `{name}`",
            ("conda", "provides", name),
            did_you_mean(name, locked) or "remove the entry, or add the package to `packages` in `[conda]`",
        )
        for name, _ in spec.conda.provides
        if name not in locked
    ]
    if diagnostics:
        raise DiagnosticsError(source, diagnostics)


def _check_no_duplicates(source: TomlSource, spec: Spec, conda: Mapping[str, tuple[CondaPackage, ...]]) -> None:
    """Reject a pip requirement if a requested conda package contains its distribution.

    The error marks the pip requirement and the conda requirement.
    """
    requirements = {each.name: (index, each) for index, each in enumerate(spec.conda.packages)}
    providers = {
        distribution: package
        for packages in conda.values()
        for package in packages
        for distribution in package.provides
    }
    diagnostics = []
    for index, each in enumerate(spec.pip.packages):
        provider = providers.get(each.name)
        if provider and provider.name in requirements:
            place, conda_requirement = requirements[provider.name]
            message = f"the conda requirement `{conda_requirement}` already provides the pip package `{each}`"
            diagnostics.append(Diagnostic("duplicate", message, ("pip", "packages", index)))
            message = f"conda's `{provider.name}` {provider.version} contains `{each.name}`"
            hint = "remove one of the two; pip packages can also depend on the conda package"
            diagnostics.append(Diagnostic("duplicate", message, ("conda", "packages", place), hint))
    if diagnostics:
        raise DiagnosticsError(source, diagnostics)


# The build strings of conda-forge's free-threaded Python, such as `h71033d7_2_cp313t`. The group is the ABI.
_FREE_THREADED_BUILD = re.compile(r"(?:.*_)?(cp3[0-9]+t)")


def _find_interpreter(conda_packages: tuple[CondaPackage, ...]) -> PythonInterpreter | None:
    python = next((package for package in conda_packages if package.name == "python"), None)
    if python is None:
        return None
    found = _FREE_THREADED_BUILD.fullmatch(python.build)
    return PythonInterpreter(python.version, CONDA_PYTHON_PATH, "conda", found[1] if found else "")


def _check_implementation(source: TomlSource, conda_packages: tuple[CondaPackage, ...]) -> None:
    """Reject pip packages for PyPy: the pip resolvers solve for CPython, which has other markers and wheels."""
    python = next((package for package in conda_packages if package.name == "python"), None)
    if python and "pypy" in python.build.lower():
        message = f"conda locked PyPy (`{python.build}`), and pip packages can only be locked for CPython"
        hint = "add `python * *_cpython` to `packages` in `[conda]`, or take the pip packages from conda"
        raise DiagnosticsError(source, [Diagnostic("unsolvable", message, ("pip", "packages"), hint)], EXIT_FAILED)


def _solve_pip(  # noqa: PLR0913, PLR0917 - a request depends on all earlier decisions
    source: TomlSource,
    spec: Spec,
    name: str,
    requirements: tuple[PipRequirement, ...],
    context: BuildContext,
    python: PythonInterpreter | None,
    conda_packages: tuple[CondaPackage, ...],
    earlier: EarlierLock,
    solvers: Solvers,
    upgrade: UpgradeRequest,
) -> PipResolution:
    from envcompile.resolve.pip.wheels import list_stub_versions  # noqa: PLC0415 - imports `packaging`, for pip only

    if python is None or solvers.pip is None:
        raise AssertionError("a checked spec with pip packages has a Python and a resolver")
    request = PipRequest(
        requirements=(*requirements, *map(PipRequirement, context.wheels)),
        exclude=spec.pip.exclude,
        platform=PLATFORMS[name],
        python=python.version,
        abi=python.abi,
        glibc=context.base.glibc,
        exclude_newer=spec.exclude_newer,
        preferences=earlier.pins_for(name).pip,
        upgrade=upgrade.names,
        provided=list_stub_versions(conda_packages),
        exact=upgrade.exact_versions(earlier.pins_for(name).pip),
        index=spec.pip.index,
        indexes=spec.pip.extra_indexes,
        extra_constraints=make_cuda_constraints(spec.cuda.request.version, solvers.catalogue),
    )
    if spec.pip.allow_sdist:
        from envcompile.resolve.pip.sdists import resolve_with_sdists  # noqa: PLC0415 - for sdists only

        locked = earlier.lock.find_platform(name) if earlier.lock else None
        locked_builds = locked.pip_build if locked else ()
        found = resolve_with_sdists(source, spec.pip, request, locked_builds, solvers.pip, solvers.effects)
    else:
        solution = solvers.pip.resolve(request, solvers.effects)
        found = PipResolution(solution.packages, overlaps=solution.overlaps)
    if duplicates := {package.name for package in found.packages} & set(request.provided):
        raise AssertionError(f"the pip resolver returned distributions that conda provides: {sorted(duplicates)}")
    if misplaced := [
        package.name for package in found.packages if package.index != find_index_name(package.name, request.indexes)
    ]:
        raise AssertionError(f"the pip resolver used an index that does not serve these packages: {misplaced}")
    return found


# Unsolvable requirements as diagnostics of the spec.


def explain_unsolvable(
    error: UnsolvableError, source: TomlSource, spec: Spec, exact: Mapping[str, str]
) -> DiagnosticsError:
    """Return an error with a diagnostic for each requirement of the conflict.

    The hint of the last diagnostic is the resolver's own text. `exact` maps conda and pip packages to the versions that
    the command line requests.
    """
    message = error.message
    if exact and error.table != "apt":
        versions = " and ".join(f"`{name}=={version}`" for name, version in exact.items())
        message = f"no set of packages satisfies the requirements with {versions} on `{error.platform}`"
    if error.problems:
        return DiagnosticsError(source, _locate_problems(error, spec), EXIT_FAILED)
    paths = _find_blamed_requirements(error, spec) or [(error.table, "packages")]
    context = "packages" if error.table == "apt" else "Python and C library"
    hint = f"the resolver reports for `{error.platform}`, with the {context} of the base image:\n"
    hint += _indent_reason(error.reason)
    *_, last_path = paths
    diagnostics = [
        Diagnostic(
            "unsolvable",
            message if index == 0 else "this requirement is part of the conflict",
            path,
            hint if path == last_path else None,
        )
        for index, path in enumerate(paths)
    ]
    return DiagnosticsError(source, diagnostics, EXIT_FAILED)


def _locate_problems(error: UnsolvableError, spec: Spec) -> list[Diagnostic]:
    """Return a diagnostic for each requirement that cannot be satisfied on its own."""
    places = {each.name: index for index, each in reversed(list(enumerate(list_pip_requirements(spec))))}
    return [
        Diagnostic(
            "unsolvable",
            problem.message,
            locate_requirement(spec, "pip", places[problem.name]) if problem.name in places else ("pip", "packages"),
            problem.hint,
        )
        for problem in error.problems
    ]


def _find_blamed_requirements(error: UnsolvableError, spec: Spec) -> list[KeyPath]:
    """Return the paths in the spec of the requirements that the resolver's text blames.

    These are the names after "you require", or else all names of requirements in the text.
    """
    manager = PACKAGE_MANAGERS[error.table]
    requirements = manager.list_requirements(spec, "packages")
    if manager.name == "conda":
        # Not the requirement for Python, which is added to those of the spec: a reason may name it without blame.
        requirements = spec.conda.packages
    names = [each.name for each in requirements]
    reason = " ".join(error.reason.split()).lower()
    # A name matches in any spelling, but not as a part of a longer name.
    patterns = [rf"{'[-_.]'.join(map(re.escape, name.split('-')))}(?![a-z0-9_-])" for name in names]
    required = [i for i, pattern in enumerate(patterns) if re.search(rf"you require {pattern}", reason)]
    mentioned = [i for i, pattern in enumerate(patterns) if re.search(rf"(?<![a-z0-9_.-]){pattern}", reason)]
    return [locate_requirement(spec, error.table, index) for index in required or mentioned]


def _indent_reason(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
