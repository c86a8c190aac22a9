"""Who solves what: the back ends that the spec names, with the effects of this process."""

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
    from envcompile.resolve.apt.resolver import Apt, Systems
    from envcompile.resolve.model import CondaResolver, PipResolver
    from envcompile.spec.model import Spec


def solvers(  # noqa: PLR0913 - what this process has of the world
    spec: Spec,
    folder: Path,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
    *,
    catalogue: Catalogue,
    offline: bool = False,
) -> Solvers:
    """The back ends for a spec in `folder`, which local channels are relative to. `offline`: none asks the network."""
    effects = Effects(run_process, environment, offline)
    images = create_registry(environment, offline=offline)
    pip = _pip(spec.pip.resolver) if spec.pip.packages else None
    apt = partial(_apt, images, effects, warn)
    if not spec.conda.packages:
        return Solvers(pip, None, images, (), effects, apt, catalogue)
    from envcompile.resolve.conda.channels import channel  # noqa: PLC0415 - for conda environments only

    channels = tuple(channel(text, folder) for text in spec.conda.channels)
    return Solvers(pip, _conda(spec.conda.resolver), images, channels, effects, apt, catalogue)


def _conda(name: str) -> CondaResolver:
    if name == "conda-lock":
        from envcompile.resolve.conda.conda_lock import CondaLock  # noqa: PLC0415 - only when it is asked for

        return CondaLock()
    from envcompile.resolve.conda.rattler import Rattler  # noqa: PLC0415

    return Rattler()


def _apt(systems: Systems, effects: Effects, warn: Callable[[str], None]) -> Apt:
    from envcompile.net.http import HttpClient, RetryPolicy  # noqa: PLC0415
    from envcompile.resolve.apt.archive import Archives  # noqa: PLC0415 - for environments with Debian packages only
    from envcompile.resolve.apt.resolver import Apt  # noqa: PLC0415

    where = read_mirrors(effects.environment), find_cache_folder(effects.environment)
    archives = Archives(HttpClient(RetryPolicy()), *where, effects, warn)
    return Apt(systems, archives, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _pip(name: str) -> PipResolver:
    if name == "pip-tools":
        from envcompile.resolve.pip.pip_tools import PipTools  # noqa: PLC0415 - only when it is asked for

        return PipTools()
    from envcompile.resolve.pip.uv import Uv  # noqa: PLC0415 - for pip packages only

    return Uv()
