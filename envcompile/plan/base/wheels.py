"""Which C library a wheel's file name asks for."""

from __future__ import annotations

import re

from envcompile.plan.base.versions import number

_TAG = re.compile(r"manylinux(?:_([0-9]+)_([0-9]+)|(1|2010|2014))_")
_OLD = {"1": "2.5", "2010": "2.12", "2014": "2.17"}


def glibc(file: str) -> str | None:
    """The oldest glibc (X.Y) that the wheel says it runs with; None where it says none."""
    if not file.endswith(".whl"):
        return None
    found = [_OLD[old] if old else f"{one}.{two}" for one, two, old in _TAG.findall(file)]
    return min(found, key=number, default=None)
