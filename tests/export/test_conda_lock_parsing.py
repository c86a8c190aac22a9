"""conda-lock's reading of dependencies and markers, without its program."""

from __future__ import annotations

import pytest
from packaging.markers import Marker

from envcompile.export.conda_lock import applies_on_linux, merge_dependencies


@pytest.mark.parametrize(
    ("depends", "versions"),
    [
        (["zz"], {"zz": ""}),
        (["zz >=1", "aa"], {"aa": "", "zz": ">=1"}),
        (["zz >=1", "zz <3", "zz"], {"zz": "<3,>=1"}),
        (["zz =1.2"], {"zz": "1.2.*"}),
        (["zz =1.2*"], {"zz": "1.2.*"}),
        (["zz =1.2 py_0"], {"zz": "1.2"}),
        (["zz ==1.2"], {"zz": "1.2"}),
        (["zz ==1.2 py_0"], {"zz": "==1.2"}),
        (["zz 1.2 py_0"], {"zz": "1.2"}),
        (["zz 1.2 py_0 [channel=corp]"], {"zz": "1.2"}),
        (["zz 1.2*"], {"zz": "1.2.*"}),
        (["zz 1.2.*|3*"], {"zz": "1.2.*|3.*"}),
        (["zz 1*2*"], {"zz": "1*2*"}),
        (["zz *"], {"zz": "*"}),
        (["zz >=1.2*"], {"zz": ">=1.2*"}),
        (["zz[version='>=1 , <2']"], {"zz": ">=1,<2"}),
        (["zz[build=py_0]"], {"zz": ""}),
    ],
)
def test_the_version_of_a_dependency(depends: list[str], versions: dict[str, str]) -> None:
    assert merge_dependencies(depends) == versions
    assert list(merge_dependencies(depends)) == sorted(versions)


@pytest.mark.parametrize(
    ("marker", "applies"),
    [
        ("sys_platform == 'linux'", True),
        ("sys_platform == 'win32'", False),
        ("sys_platform != 'linux'", False),
        ("sys_platform != 'win32'", True),
        ("os_name in 'posix, nt'", True),
        ("os_name in 'nt|java'", False),
        ("os_name not in 'posix nt'", False),
        ("os_name not in 'nt'", True),
        ("os_name >= 'a'", False),
        ("'lin' in sys_platform", True),
        ("'win' in sys_platform", False),
        ("'lin' not in sys_platform", False),
        ("'win' not in sys_platform", True),
        ("'win32' == sys_platform", True),
        # The processor and the Python are not known to conda-lock.
        ("platform_machine == 'aarch64'", True),
        ("python_version < '3'", True),
        ("platform_system == 'Windows' or python_version < '3'", True),
        ("platform_system == 'Windows' and python_version < '3'", False),
        ("os_name == 'nt' and os_name == 'nt' or os_name == 'posix'", True),
        ("os_name == 'nt' and (os_name == 'nt' or os_name == 'posix')", False),
    ],
)
def test_a_marker_is_evaluated_before_python_is_known(marker: str, applies: bool) -> None:
    assert applies_on_linux(Marker(marker)) is applies


def test_a_requirement_without_a_marker_applies() -> None:
    assert applies_on_linux(None)
