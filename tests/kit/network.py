"""Cutting the network off for a test: an empty network namespace, in which only the loopback interface is up."""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
# Of the thread: a namespace belongs to a thread, and what the thread starts inherits it.
_OWN_NAMESPACE = Path("/proc/thread-self/ns/net")


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
