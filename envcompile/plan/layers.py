"""Which packages are installed together: the layers of the environment, and their lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.plan.model import File, Layer

if TYPE_CHECKING:
    from envcompile.lock.model import Lock, PipPackage, PlatformLock


def layers(lock: Lock) -> tuple[Layer, ...]:
    """The pip layers of an environment: one, holding every pip package; none where there are no such packages."""
    return (Layer("pip-1", "/pip-1.txt"),) if any(platform.pip for platform in lock.platforms) else ()


def lists(lock: Lock, platform: PlatformLock) -> tuple[File, ...]:
    """The requirement list of each layer on one platform, one file and one hash per line."""
    return tuple(File(layer.requirements, tuple(_line(package) for package in platform.pip)) for layer in layers(lock))


def _line(package: PipPackage) -> str:
    return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
