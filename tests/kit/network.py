"""Cutting the network off for a test, as a whole by an empty network namespace, or the public registries alone."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
# Of the thread: a namespace belongs to a thread, and what the thread starts inherits it.
_OWN_NAMESPACE = Path("/proc/thread-self/ns/net")


@contextmanager
def keep_from_public_registries() -> Iterator[None]:
    """Run the body with user settings in which a port without a server is the mirror of the public registries.

    A test that has settings of its own replaces them.
    """
    hosts = ("docker.io", "ghcr.io", "nvcr.io", "quay.io")
    before = os.environ.get("XDG_CONFIG_HOME")
    with TemporaryDirectory(prefix="envcompile-test-") as folder:
        settings = Path(folder, "envcompile", "config.toml")
        settings.parent.mkdir()
        settings.write_text("[mirrors]\n" + "".join(f'"{host}" = "http://127.0.0.1:9"\n' for host in hosts), "utf-8")
        os.environ["XDG_CONFIG_HOME"] = folder
        try:
            yield
        finally:
            os.environ.pop("XDG_CONFIG_HOME")
            if before is not None:
                os.environ["XDG_CONFIG_HOME"] = before


@contextmanager
def cut_off() -> Iterator[bool]:
    """Run the body without a network, if this process may make namespaces; whether it is so.

    A server that the body starts is reached from bodies of later calls: all share one empty namespace.
    """
    namespaces = _namespaces()
    if namespaces is None:
        yield False
        return
    outside, empty = namespaces
    _enter(empty)
    try:
        yield True
    finally:
        _enter(outside)


@cache
def _namespaces() -> tuple[int, int] | None:
    """Handles of the namespace of this process and of an empty one; None where the system allows none."""
    if not _OWN_NAMESPACE.exists():
        return None
    outside = os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    if _call("unshare", _CLONE_NEWNET) != 0:
        os.close(outside)
        return None
    try:
        subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
        return outside, os.open(_OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        _enter(outside)


def _enter(namespace: int) -> None:
    if _call("setns", namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


def _call(function: str, *arguments: int) -> int:
    # `os.unshare` and `os.setns` exist from Python 3.12 on.
    return int(getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments))
