"""Markers and versions: `verify` and uv agree on every one that both accept, and none ends in a traceback.

The vectors are all comparisons of the variables of PEP 508 with values around those of the locked platform, in both
orders, and combinations of them. uv gets one requirement for each marker, and an index with a wheel for each.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.diagnostic import RequirementError
from envcompile.resolve.pip.uv import find_uv
from envcompile.spec.pip import PipRequirement, make_marker_environment
from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = "3.12.4"
VALUES = {
    "python_version": ("2.7", "3", "3.8", "3.12", "3.12.*", "3.13", "3.12.4", "3.13.0rc1"),
    "python_full_version": ("3.12", "3.12.3", "3.12.4", "3.12.*", "3.12.4rc1", "3.12.4.post1", "4"),
    "implementation_version": ("3.12.4", "3.13"),
    "os_name": ("posix", "nt", ""),
    "sys_platform": ("linux", "win32", "lin", "linux2"),
    "platform_machine": ("x86_64", "aarch64", "arm64"),
    "platform_system": ("Linux", "linux", "Windows"),
    "platform_python_implementation": ("CPython", "cpython", "PyPy"),
    "implementation_name": ("cpython", "pypy"),
    "platform_release": ("", "6.1"),
    "platform_version": ("", "#1 SMP"),
}
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "~=", "===", "in", "not in")
SIMPLE = [
    text
    for variable, values in VALUES.items()
    for operator, value in itertools.product(OPERATORS, values)
    for text in (f"{variable} {operator} '{value}'", f"'{value}' {operator} {variable}")
]
LISTS = [
    f"{variable} {operator} '{value}'"
    for variable, value in (
        ("python_version", "3.11 3.12"),
        ("python_version", "3.11, 3.13"),
        ("sys_platform", "linux win32"),
        ("platform_machine", "x86_64 aarch64"),
    )
    for operator in ("in", "not in")
]
COMBINED = [
    "python_version >= '3.8' and sys_platform == 'linux' or os_name == 'nt'",
    "os_name == 'nt' or python_version >= '3.8' and sys_platform == 'win32'",
    "(os_name == 'nt' or python_version >= '3.8') and sys_platform == 'linux'",
    "python_version > '3.12' or python_full_version > '3.12.3'",
    "extra == 'test'",
    "extra == 'test' or sys_platform == 'linux'",
    "not_a_variable == '1'",
    "sys_platform",
    "sys_platform == 'linux' and",
    "'x' in extras",
    "python_version in '3.12' and (platform_machine != 'aarch64')",
    "os.name == 'posix'",
    "sys.platform == 'linux' and platform.machine == 'x86_64'",
    "python_implementation == 'CPython'",
]
MARKERS = [*SIMPLE, *LISTS, *COMBINED]


def ask_uv(folder: Path, index: Index, markers: dict[int, str]) -> set[int] | str:
    """The numbers of the markers that are true for uv, or its error."""
    (folder / "requirements.in").write_text("".join(f"m{n} ; {text}\n" for n, text in markers.items()), "utf-8")
    done = subprocess.run(
        [
            *(find_uv(os.environ), "pip", "compile", "requirements.in", "--quiet", "--no-header", "--no-config"),
            *("--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_36", "--no-python-downloads"),
            *("--index-url", index.url(), "--no-annotate"),
        ],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "UV_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return done.stderr
    return {int(number) for number in re.findall(r"^m([0-9]+)==", done.stdout, re.MULTILINE)}


def evaluate(marker: str) -> bool | None:
    """Our answer, or None for a marker that is rejected with a diagnostic."""
    requirement = PipRequirement(f"a ; {marker}")
    try:
        requirement.validate()
        return requirement.applies_to(make_marker_environment("x86_64", PYTHON))
    except RequirementError:
        return None


def test_verify_agrees_with_uv_on_every_marker_that_both_accept(tmp_path: Path) -> None:
    """Promise 7: `verify` says why, whatever the marker is: no marker ends in a traceback."""
    ours = {number: evaluate(text) for number, text in enumerate(MARKERS)}
    accepted = {number: MARKERS[number] for number, answer in ours.items() if answer is not None}
    assert len(accepted) > 400
    with served(Index(tuple(Wheel(f"m{number}", "1.0") for number in accepted), beside=True)) as index:
        # uv stops at the first line that it rejects, and names it.
        while isinstance(answer := ask_uv(tmp_path, index, accepted), str):
            rejected = [number for number in accepted if re.search(rf"\bm{number}\b", answer)]
            assert rejected, answer
            for number in rejected:
                del accepted[number]
    assert len(accepted) > 400
    different = {text: ours[number] for number, text in accepted.items() if ours[number] != (number in answer)}
    assert different == {}


@pytest.mark.parametrize(
    "text",
    [
        *("'x' in extras", "not_a_variable == '1'", "sys_platform == 'linux' and", "platform_release != '6.1'"),
        *("'3.8' in python_version", "python_version in '3.12.4'", "'3.8' ~= python_version"),
        *("python_full_version == '3.12.4rc1'", "python_version > '3.12.*'"),
    ],
)
def test_a_marker_that_tools_read_differently_is_a_diagnostic(text: str) -> None:
    with pytest.raises(RequirementError) as raised:
        PipRequirement(f"a ; {text}").validate()
    assert "marker" in raised.value.message
    assert raised.value.hint
