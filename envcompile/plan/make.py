"""From a spec and the lock that answers it to the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.plan.apt import apt_lists, apt_stages
from envcompile.plan.conda import conda_lists
from envcompile.plan.layers import layers, lists
from envcompile.plan.model import File, Plan, Start, Target
from envcompile.plan.sdists import sdist_layers, sdist_lists
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import Image, Spec

USER_NAME = "app"
ENVIRONMENT = "/env"
ACTIVATED = "/env/bin/activated"


def make_plan(spec: Spec, lock: Lock) -> Plan:
    """The plan for every platform of the lock. The lock must answer the spec."""
    targets = sorted((_target(spec, lock, each) for each in lock.platforms), key=lambda target: target.arch)
    conda = any(platform.conda for platform in lock.platforms)
    python = all(platform.python for platform in lock.platforms)
    start = _start(spec.image, conda=conda, python=python)
    return Plan(tuple(targets), apt_stages(lock), conda, python and not conda, layers(lock), sdist_layers(lock), start)


def _target(spec: Spec, lock: Lock, locked: PlatformLock) -> Target:
    platform = PLATFORMS[locked.platform]
    return Target(
        arch=platform.arch,
        docker=platform.docker,
        build=locked.build.image,
        run=locked.run.image,
        tools=tuple((tool.name, tool.image) for tool in locked.tools),
        files=(
            *apt_lists(lock, locked),
            *_interpreter(locked),
            *conda_lists(locked.conda, lock.channels),
            *lists(spec.pip, lock, locked),
            *sdist_lists(spec.pip, lock, locked),
            *_account(spec.image),
        ),
    )


def _interpreter(locked: PlatformLock) -> tuple[File, ...]:
    """What the base's own Python must be, where the environment is made with it."""
    python = locked.python
    return (File("/python", (f"{python.version} {python.path}",)),) if python and python.source != "conda" else ()


def _home(image: Image) -> str:
    return "/root" if image.user[0] == 0 else f"/home/{USER_NAME}"


def _account(image: Image) -> tuple[File, ...]:
    """The lines that make the user known to the image; root and root's group are known to every image."""
    user, group = image.user
    passwd = f"{USER_NAME}:x:{user}:{group}::{_home(image)}:/bin/sh"
    directories = dict.fromkeys((_home(image), image.workdir or _home(image)))
    return (
        File("/passwd", (passwd,) if user else ()),
        File("/group", (f"{USER_NAME}:x:{group}:",) if group else ()),
        File("/owner", (f"{user}:{group}",)),
        File("/directories", tuple(directories)),
    )


def _start(image: Image, *, conda: bool, python: bool) -> Start:
    user, group = image.user
    name = USER_NAME if user else "root"
    own = {"HOME": _home(image), "USER": name, "LOGNAME": name}
    if conda:
        own["CONDA_PREFIX"] = ENVIRONMENT
    return Start(
        env=tuple(sorted({**own, **dict(image.env)}.items())),
        labels=image.labels,
        user=f"{user}:{group}",
        workdir=image.workdir or _home(image),
        expose=tuple(sorted(image.expose)),
        # What the packages want set when their environment is activated is set for whatever the container runs.
        entrypoint=(*((ACTIVATED,) if conda else ()), *image.entrypoint),
        command=image.command or ("python" if python else "bash",),
    )
