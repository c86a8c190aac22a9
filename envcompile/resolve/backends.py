"""Create the resolvers that a spec names, with the environment and the network of this process."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from envcompile.net.process import run_process
from envcompile.project.settings import find_cache_folder, read_mirrors
from envcompile.registry.lazy import create_registry
from envcompile.resolve.environment import Solvers
from envcompile.resolve.model import Effects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envcompile.base_image.catalogue import Catalogue
    from envcompile.resolve.apt.resolver import AptSources, DebianSystemReader
    from envcompile.resolve.model import CondaResolver, PipResolver
    from envcompile.spec.model import Spec


def create_solvers(  # noqa: PLR0913 - every effect is an argument
    spec: Spec,
    folder: Path,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
    *,
    catalogue: Catalogue,
    offline: bool = False,
) -> Solvers:
    """Return the resolvers for a spec. Paths of local channels are relative to `folder`.

    With `offline` no resolver uses the network. `warn` is called with a message if a check cannot be done here.
    """
    effects = Effects(run_process, environment, offline)
    images = create_registry(environment, offline=offline)
    pip = _create_pip_resolver(spec.pip.resolver) if spec.pip.packages else None
    create_apt_sources = partial(_create_apt_sources, images, effects, warn)
    if not spec.conda.packages:
        return Solvers(pip, None, images, (), effects, create_apt_sources, catalogue)
    from envcompile.resolve.conda.channels import parse_channel  # noqa: PLC0415 - for conda environments only

    channels = tuple(parse_channel(text, folder) for text in spec.conda.channels)
    conda = _create_conda_resolver(spec.conda.resolver)
    return Solvers(pip, conda, images, channels, effects, create_apt_sources, catalogue)


def _create_pip_resolver(name: str) -> PipResolver:
    if name == "pip-tools":
        from envcompile.resolve.pip.pip_tools import PipToolsResolver  # noqa: PLC0415 - only if the spec names it

        return PipToolsResolver()
    from envcompile.resolve.pip.uv import UvResolver  # noqa: PLC0415 - for pip packages only

    return UvResolver()


def _create_conda_resolver(name: str) -> CondaResolver:
    if name == "conda-lock":
        from envcompile.resolve.conda.conda_lock import CondaLockResolver  # noqa: PLC0415 - only if the spec names it

        return CondaLockResolver()
    from envcompile.resolve.conda.rattler import RattlerResolver  # noqa: PLC0415 - for conda environments only

    return RattlerResolver()


def _create_apt_sources(systems: DebianSystemReader, effects: Effects, warn: Callable[[str], None]) -> AptSources:
    from envcompile.net.http import HttpClient, RetryPolicy  # noqa: PLC0415 - for Debian packages only
    from envcompile.resolve.apt.archive import ArchiveClient  # noqa: PLC0415
    from envcompile.resolve.apt.resolver import AptSources  # noqa: PLC0415

    mirrors, cache = read_mirrors(effects.environment), find_cache_folder(effects.environment)
    archives = ArchiveClient(HttpClient(RetryPolicy(), effects.environment), mirrors, cache, effects, warn)
    return AptSources(systems, archives, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
