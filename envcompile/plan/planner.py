"""Makes the plan from a spec and the lock that satisfies it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from envcompile.base_image.model import ENVIRONMENT_PATH, make_image_labels
from envcompile.base_image.python_builds import format_install_key
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.lock.activation import merge_variables
from envcompile.lock.graph import find_init_program, find_used_distributions
from envcompile.plan.apt import create_apt_files, find_apt_stages
from envcompile.plan.conda import create_conda_files, create_provided_files, find_conda_layers
from envcompile.plan.model import HealthCheck, LockStageFile, Plan, PlatformTarget, RuntimeConfig
from envcompile.plan.pip import create_pip_files, create_pip_layers, create_sdist_files, create_sdist_layers
from envcompile.platforms import PLATFORMS
from envcompile.spec.solver_inputs import INIT_PACKAGE
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PlatformLock, PythonInterpreter
    from envcompile.spec.model import HealthCheckSpec, ImageSpec, Spec

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
        account=_describe_account(spec.image),
        apt=find_apt_stages(lock),
        conda=conda,
        python=python and not conda,
        standalone_python=_has_standalone_python(lock),
        private_installer=any(each.index in lock.private_indexes for p in lock.platforms for each in p.conda_installer),
        provided=any(find_used_distributions(spec.pip, platform) for platform in lock.platforms),
        conda_layers=find_conda_layers(lock),
        layers=create_pip_layers(spec.pip, lock),
        sdists=create_sdist_layers(lock),
        guards_pip=python and not any(_has_pip(platform) for platform in lock.platforms),
        start=_create_runtime_config(spec, lock, shared, conda=conda, python=python),
    )


def _create_target(spec: Spec, lock: Lock, locked: PlatformLock) -> PlatformTarget:
    platform = PLATFORMS[locked.platform]
    return PlatformTarget(
        arch=platform.docker_arch,
        docker=platform.docker_platform,
        machine=platform.machine,
        build=locked.build.image,
        run=locked.run.image,
        tools=tuple((tool.name, tool.image) for tool in locked.tools),
        env=_find_base_settings(locked)[0],
        labels=_find_base_settings(locked)[1],
        files=(
            LockStageFile("/machine", (platform.machine,)),
            *create_apt_files(lock, locked),
            *_create_interpreter_files(lock, locked),
            *create_conda_files(spec.pip, lock, locked),
            *create_provided_files(spec.pip, lock, locked),
            *create_pip_files(spec.pip, lock, locked),
            *create_sdist_files(spec.pip, lock, locked),
        ),
        summary=_describe_base(locked),
        gpu=_describe_cuda(locked),
    )


def _describe_base(locked: PlatformLock) -> str:
    """Describe the run image and Python: `python:3.12-slim-bookworm (Debian 12, glibc 2.36), Python 3.12.12`."""
    name, _, version = locked.run.os.partition("-")
    python = f", Python {_describe_python(locked, locked.python)}" if locked.python else ""
    return f"{locked.run.image.partition('@')[0]} ({name.capitalize()} {version}, glibc {locked.run.glibc}){python}"


def _describe_cuda(locked: PlatformLock) -> str:
    """Describe what a GPU needs: `CUDA 12.8, NVIDIA driver 525.60.13 or newer`."""
    decided = locked.base_decision
    if decided is None:
        return "unknown, because the lock has no decision about CUDA"
    if decided.cuda is None:
        return "no CUDA in use"
    return f"CUDA {decided.cuda}" + (f", NVIDIA driver {decided.driver} or newer" if decided.driver else "")


def _describe_python(locked: PlatformLock, python: PythonInterpreter) -> str:
    # The version of conda's Python is that of its package.
    found = [each.version for each in locked.conda if each.name == "python"]
    version = next(iter(found), "") if python.source == "conda" else python.version
    return f"{version} from {_PYTHON_SOURCES[python.source]}".strip()


# Where the interpreter in the lock comes from.
_PYTHON_SOURCES = {
    "conda": "conda",
    "apt": "Debian packages",
    "standalone": "a standalone build",
    **dict.fromkeys(("spec", "image", "assumed"), "the base image"),
}


def _has_pip(platform: PlatformLock) -> bool:
    return "pip" in {*(each.name for each in platform.pip), *(each.name for each in platform.conda)}


def _create_interpreter_files(lock: Lock, locked: PlatformLock) -> tuple[LockStageFile, ...]:
    """Return the file with the version, path and machine of Python, and the file with the standalone builds to install.

    The build compares the version with the Python of the base image. If any platform has a standalone build, all
    platforms have the second file, and it is empty on those without such a build. There are no files if conda installs
    Python, or if there is none.
    """
    python = locked.python
    if python is None or python.source == "conda":
        return ()
    builds = ((LockStageFile("/python-builds.json", _format_python_builds(locked.platform, python))),)
    return (
        LockStageFile("/python", (f"{python.version} {python.path} {PLATFORMS[locked.platform].machine}",)),
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
    """Return the environment variables of the conda packages and the base images, and the labels of the images.

    Activation scripts of conda packages set their variables again when the container starts. Programs that are started
    without the entry point only have these.
    """
    env = merge_variables(locked.conda)
    decided = locked.base_decision
    if decided is None:
        return tuple(env.items()), ()
    labels = make_image_labels(decided.cuda, decided.driver)
    return tuple(sorted({**env, **dict(decided.env)}.items())), tuple(sorted(labels.items()))


def _find_home_directory(image: ImageSpec) -> str:
    return "/root" if image.user[0] == 0 else f"/home/{USER_NAME}"


def _describe_account(image: ImageSpec) -> str:
    """The line `NAME UID GID HOME WORKDIR` from which the build adds the user to the image."""
    user, group = image.user
    home = _find_home_directory(image)
    return f"{USER_NAME} {user} {group} {home} {image.workdir or home}"


def _create_runtime_config(
    spec: Spec,
    lock: Lock,
    of_base: tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]],
    *,
    conda: bool,
    python: bool,
) -> RuntimeConfig:
    image = spec.image
    user, group = image.user
    # Not USER and LOGNAME: they would be wrong for any other user id, and HOME stays right for it.
    own = {"HOME": _find_home_directory(image), "LANG": "C.UTF-8", "SHELL": "/bin/bash"}
    if conda:
        own["CONDA_PREFIX"] = ENVIRONMENT_PATH
    check = image.healthcheck
    return RuntimeConfig(
        env=tuple(sorted({**own, **dict(of_base[0]), **dict(image.env)}.items())),
        labels=tuple(sorted({**dict(of_base[1]), **dict(image.labels)}.items())),
        user=f"{user}:{group}",
        workdir=image.workdir or _find_home_directory(image),
        expose=tuple(sorted(image.expose)),
        # The activation scripts of the packages set variables for every program that the container runs.
        entrypoint=(
            *(_format_init_command(spec, lock) if image.init else ()),
            *((ACTIVATION_SCRIPT,) if conda else ()),
            *image.entrypoint,
        ),
        command=image.command or ("python" if python else "bash",),
        stop_signal=image.stop_signal,
        healthcheck=HealthCheck(_format_healthcheck_options(check), check.command) if check else None,
    )


def _format_init_command(spec: Spec, lock: Lock) -> tuple[str, str]:
    """Return the words that start the init program, which then starts the rest of the entrypoint.

    Raises `InvalidInputError` if a platform of the lock does not have the program.
    """
    paths = {find_init_program(spec, platform) for platform in lock.platforms}
    if None in paths:
        raise InvalidInputError(f"the lock does not have `{INIT_PACKAGE}`, which `init` needs", "run `envcompile lock`")
    # One entrypoint serves all platforms. If they do not have the program at the same path, PATH selects it.
    return (paths.pop() or INIT_PACKAGE) if len(paths) == 1 else INIT_PACKAGE, "--"


def _format_healthcheck_options(check: HealthCheckSpec) -> tuple[str, ...]:
    options = {
        "interval": check.interval,
        "timeout": check.timeout,
        "start-period": check.start_period,
        "retries": check.retries,
    }
    return tuple(f"--{name}={value}" for name, value in options.items() if value is not None)
