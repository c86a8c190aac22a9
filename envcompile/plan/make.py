"""From a spec and the lock that answers it to the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from envcompile.plan.apt import apt_lists, apt_stages
from envcompile.plan.conda import conda_layers, conda_lists
from envcompile.plan.image import ENVIRONMENT, labels
from envcompile.plan.layers import layers, lists
from envcompile.plan.model import File, Plan, Start, Target
from envcompile.plan.sdists import sdist_layers, sdist_lists
from envcompile.plan.slim import REMOVED, slim
from envcompile.platforms import PLATFORMS

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import Image, Spec

USER_NAME = "app"
ACTIVATED = "/env/bin/activated"


def make_plan(spec: Spec, lock: Lock) -> Plan:
    """The plan for every platform of the lock. The lock must answer the spec."""
    targets = sorted((_target(spec, lock, each) for each in lock.platforms), key=lambda target: target.arch)
    conda = any(platform.conda for platform in lock.platforms)
    python = all(platform.python for platform in lock.platforms)
    common = all(_of_base(each) == _of_base(lock.platforms[0]) for each in lock.platforms)
    if common:
        targets = [replace(target, env=(), labels=()) for target in targets]
    shared = _of_base(lock.platforms[0]) if common else ((), ())
    return Plan(
        targets=tuple(targets),
        apt=apt_stages(lock),
        conda=conda,
        python=python and not conda,
        conda_layers=conda_layers(lock),
        layers=layers(spec.pip, lock),
        sdists=sdist_layers(lock),
        slim=slim(spec),
        start=_start(spec, shared, conda=conda, python=python),
    )


def _target(spec: Spec, lock: Lock, locked: PlatformLock) -> Target:
    platform = PLATFORMS[locked.platform]
    return Target(
        arch=platform.arch,
        docker=platform.docker,
        build=locked.build.image,
        run=locked.run.image,
        tools=tuple((tool.name, tool.image) for tool in locked.tools),
        env=_of_base(locked)[0],
        labels=_of_base(locked)[1],
        files=(
            *apt_lists(lock, locked),
            *_interpreter(locked),
            *conda_lists(lock, locked),
            *lists(spec.pip, lock, locked),
            *sdist_lists(spec.pip, lock, locked),
            *_account(spec.image),
        ),
    )


def _interpreter(locked: PlatformLock) -> tuple[File, ...]:
    """What the base's own Python must be, where the environment is made with it."""
    python = locked.python
    return (File("/python", (f"{python.version} {python.path}",)),) if python and python.source != "conda" else ()


def _of_base(locked: PlatformLock) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Environment and labels that go with the bases."""
    decided = locked.decided
    return (decided.env, tuple(sorted(labels(decided.cuda, decided.driver).items()))) if decided else ((), ())


def _home(image: Image) -> str:
    return "/root" if image.user[0] == 0 else f"/home/{USER_NAME}"


def _account(image: Image) -> tuple[File, ...]:
    """The lines that make the user known to the image; root and root's group are known to every image."""
    user, group = image.user
    passwd = f"{USER_NAME}:x:{user}:{group}::{_home(image)}:/bin/sh"
    directories = dict.fromkeys((_home(image), image.workdir or _home(image)))
    return (
        File("/account/passwd", (passwd,) if user else ()),
        File("/account/group", (f"{USER_NAME}:x:{group}:",) if group else ()),
        File("/account/owner", (f"{user}:{group}",)),
        File("/account/directories", tuple(directories)),
    )


def _start(
    spec: Spec,
    of_base: tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]],
    *,
    conda: bool,
    python: bool,
) -> Start:
    image = spec.image
    user, group = image.user
    name = USER_NAME if user else "root"
    own = {"HOME": _home(image), "USER": name, "LOGNAME": name}
    if conda:
        own["CONDA_PREFIX"] = ENVIRONMENT
    removed = {REMOVED: " ".join(slim(spec))} if image.slim else {}
    return Start(
        env=tuple(sorted({**own, **dict(of_base[0]), **dict(image.env)}.items())),
        labels=tuple(sorted({**dict(of_base[1]), **removed, **dict(image.labels)}.items())),
        user=f"{user}:{group}",
        workdir=image.workdir or _home(image),
        expose=tuple(sorted(image.expose)),
        # What the packages want set when their environment is activated is set for whatever the container runs.
        entrypoint=(*((ACTIVATED,) if conda else ()), *image.entrypoint),
        command=image.command or ("python" if python else "bash",),
    )
