"""Makes the plan from a spec and the lock that satisfies it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from envcompile.base_image.model import ENVIRONMENT_PATH, make_image_labels
from envcompile.base_image.python_builds import format_install_key
from envcompile.lock.graph import find_used_distributions
from envcompile.plan.apt import create_apt_files, find_apt_stages
from envcompile.plan.conda import create_conda_files, create_provided_files, find_conda_layers
from envcompile.plan.model import LockStageFile, Plan, PlatformTarget, RuntimeConfig
from envcompile.plan.pip import create_pip_files, create_pip_layers, create_sdist_files, create_sdist_layers
from envcompile.platforms import PLATFORMS
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PlatformLock, PythonInterpreter
    from envcompile.spec.model import ImageSpec, Spec

# The label of the image that lists the removed kinds of files.
REMOVED_FILES_LABEL = "envcompile.removed"

# The kinds of files that the script `slim` of the Dockerfile can remove.
HEADERS, STATIC_LIBRARIES, TESTS = "headers", "static-libraries", "tests"


def select_removed_files(spec: Spec) -> tuple[str, ...]:
    """The kinds of files that `[image] slim` removes, sorted. Empty if it is not set.

    With `cuda.jit` the headers are kept, because a compiler needs them at run time.
    """
    if not spec.image.slim:
        return ()
    return (*(() if spec.cuda.jit else (HEADERS,)), STATIC_LIBRARIES, TESTS)


USER_NAME = "app"
ACTIVATION_SCRIPT = "/env/bin/activated"


def make_plan(spec: Spec, lock: Lock) -> Plan:
    """Return the plan for all platforms of the lock. The lock must satisfy the spec."""
    targets = sorted((_create_target(spec, lock, each) for each in lock.platforms), key=lambda target: target.arch)
    conda = any(platform.conda for platform in lock.platforms)
    python = all(platform.python for platform in lock.platforms)
    common = all(_find_base_settings(each) == _find_base_settings(lock.platforms[0]) for each in lock.platforms)
    if common:
        targets = [replace(target, env=(), labels=()) for target in targets]
    shared = _find_base_settings(lock.platforms[0]) if common else ((), ())
    return Plan(
        targets=tuple(targets),
        apt=find_apt_stages(lock),
        conda=conda,
        python=python and not conda,
        standalone_python=_has_standalone_python(lock),
        provided=any(find_used_distributions(spec.pip, platform) for platform in lock.platforms),
        conda_layers=find_conda_layers(lock),
        layers=create_pip_layers(spec.pip, lock),
        sdists=create_sdist_layers(lock),
        slim=select_removed_files(spec),
        start=_create_runtime_config(spec, shared, conda=conda, python=python),
    )


def _create_target(spec: Spec, lock: Lock, locked: PlatformLock) -> PlatformTarget:
    platform = PLATFORMS[locked.platform]
    return PlatformTarget(
        arch=platform.docker_arch,
        docker=platform.docker_platform,
        build=locked.build.image,
        run=locked.run.image,
        tools=tuple((tool.name, tool.image) for tool in locked.tools),
        env=_find_base_settings(locked)[0],
        labels=_find_base_settings(locked)[1],
        files=(
            *create_apt_files(lock, locked),
            *_create_interpreter_files(lock, locked),
            *create_conda_files(lock, locked),
            *create_provided_files(spec.pip, lock, locked),
            *create_pip_files(spec.pip, lock, locked),
            *create_sdist_files(spec.pip, lock, locked),
            *_create_account_files(spec.image),
        ),
    )


def _create_interpreter_files(lock: Lock, locked: PlatformLock) -> tuple[LockStageFile, ...]:
    """Return the file with the version and the path of the Python, and the file with the standalone builds to install.

    The build compares the version with the Python of the base image. If any platform has a standalone build, all
    platforms have the second file, and it is empty on those without such a build. There are no files if conda installs
    Python, or if there is none.
    """
    python = locked.python
    if python is None or python.source == "conda":
        return ()
    builds = ((LockStageFile("/python-builds.json", _format_python_builds(locked.platform, python))),)
    return (
        LockStageFile("/python", (f"{python.version} {python.path}",)),
        *(builds if _has_standalone_python(lock) else ()),
    )


def _has_standalone_python(lock: Lock) -> bool:
    return any(platform.python and platform.python.build for platform in lock.platforms)


def _format_python_builds(platform: str, python: PythonInterpreter) -> tuple[str, ...]:
    """Return the lines of a file with the standalone build, in the format of uv's `UV_PYTHON_DOWNLOADS_JSON_URL`."""
    if python.build is None:
        return ()
    major, minor, patch = version_numbers(python.version)
    row = {
        "name": "cpython",
        "arch": {"family": PLATFORMS[platform].machine, "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": major,
        "minor": minor,
        "patch": patch,
        "prerelease": "",
        "url": python.build.url,
        "sha256": python.build.sha256,
        "variant": "freethreaded" if python.abi else None,
    }
    return tuple(json.dumps({format_install_key(python.version, platform, python.abi): row}, indent=1).splitlines())


def _find_base_settings(locked: PlatformLock) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Return the environment variables and the labels that the base images need."""
    decided = locked.base_decision
    return (
        (decided.env, tuple(sorted(make_image_labels(decided.cuda, decided.driver).items()))) if decided else ((), ())
    )


def _find_home_directory(image: ImageSpec) -> str:
    return "/root" if image.user[0] == 0 else f"/home/{USER_NAME}"


def _create_account_files(image: ImageSpec) -> tuple[LockStageFile, ...]:
    """The files that add the user to the image: the account, the group, the home and work directories, their owner.

    root and its group need no lines, because every image has them.
    """
    user, group = image.user
    passwd = f"{USER_NAME}:x:{user}:{group}::{_find_home_directory(image)}:/bin/sh"
    directories = dict.fromkeys((_find_home_directory(image), image.workdir or _find_home_directory(image)))
    return (
        LockStageFile("/account/passwd", (passwd,) if user else ()),
        LockStageFile("/account/group", (f"{USER_NAME}:x:{group}:",) if group else ()),
        LockStageFile("/account/owner", (f"{user}:{group}",)),
        LockStageFile("/account/directories", tuple(directories)),
    )


def _create_runtime_config(
    spec: Spec,
    of_base: tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]],
    *,
    conda: bool,
    python: bool,
) -> RuntimeConfig:
    image = spec.image
    user, group = image.user
    name = USER_NAME if user else "root"
    own = {"HOME": _find_home_directory(image), "USER": name, "LOGNAME": name}
    if conda:
        own["CONDA_PREFIX"] = ENVIRONMENT_PATH
    removed = {REMOVED_FILES_LABEL: " ".join(select_removed_files(spec))} if image.slim else {}
    return RuntimeConfig(
        env=tuple(sorted({**own, **dict(of_base[0]), **dict(image.env)}.items())),
        labels=tuple(sorted({**dict(of_base[1]), **removed, **dict(image.labels)}.items())),
        user=f"{user}:{group}",
        workdir=image.workdir or _find_home_directory(image),
        expose=tuple(sorted(image.expose)),
        # The activation scripts of the packages set variables for every program that the container runs.
        entrypoint=(*((ACTIVATION_SCRIPT,) if conda else ()), *image.entrypoint),
        command=image.command or ("python" if python else "bash",),
    )
