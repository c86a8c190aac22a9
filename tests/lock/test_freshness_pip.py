"""pip's requirements against the packages of a lock.

Promise 7: `verify` compares the lock with the spec requirement by requirement and reports each one that fails.

The tests compare the places and the quoted names of the messages, not their wording.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from packaging.markers import Marker, default_environment

from envcompile.lock.freshness import find_mismatches
from envcompile.lock.freshness_pip import create_marker_environment, find_provided_versions
from envcompile.lock.model import BaseImage, CondaPackage, PipPackage, PlatformLock, PythonInterpreter
from tests.kit.project import spec_of

HEX = 64 * "0"
BASE = BaseImage(f"base@sha256:{HEX}", "debian-12", "2.36")
PYTHON = PythonInterpreter("3.12.4", "/usr/bin/python3", "spec")
EMPTY = PlatformLock("linux-64", PYTHON, BASE, BASE, (), ())


def pip(name: str, version: str = "1.0", *depends: str) -> PipPackage:
    return PipPackage(name, version, f"{name}-{version}-py3-none-any.whl", HEX, 1, "default", depends)


def conda(name: str, version: str = "1.0", **fields: Any) -> CondaPackage:
    return CondaPackage(name, version, "0", "conda-forge", "noarch", f"{name}-{version}-0.conda", HEX, **fields)


def findings(
    packages: str, locked: PlatformLock, *, more: str = "", requested: str = ""
) -> list[tuple[object, list[str]]]:
    """The place in the spec and the quoted names of each mismatch."""
    base = f'[image]\nbase = {{ image = "base@sha256:{HEX}", os = "debian-12", glibc = "2.36" }}'
    channel = f'[conda]\nchannels = ["conda-forge"]\npackages = [{requested}]\n' if requested else ""
    spec = spec_of(f'name = "a"\npython = "3.12"\n{channel}[pip]\npackages = [{packages}]\n{more}\n{base}\n')
    found = list(find_mismatches(spec, locked))
    assert {each.rule for each in found} <= {"stale"}
    return [(each.path, re.findall("`([^`]*)`", each.message)) for each in found]


@pytest.mark.parametrize(
    ("requirement", "version", "satisfied"),
    [
        ("numpy", "2.0", True),
        ("numpy >=2,<3", "2.0", True),
        ("numpy >=2,<3", "3.0", False),
        ("numpy >=2,<3", "1.9", False),
        ("numpy ==2.*", "2.1", True),
        ("numpy !=2.0", "2.0", False),
        ("NumPy", "2.0", True),
        ("numpy[extra]", "2.0", True),
        # The resolver decided whether a prerelease is allowed. The lock only has to match.
        ("numpy", "2.0rc1", True),
        ("numpy >=1", "2.0rc1", True),
        ("numpy >=2", "2.0rc1", False),
        ("numpy <2", "2.0.dev1", False),
    ],
)
def test_the_locked_version_satisfies_the_requirement(requirement: str, version: str, satisfied: bool) -> None:
    found = findings(f'"{requirement}"', replace(EMPTY, pip=(pip("numpy", version),)))
    assert found == ([] if satisfied else [(("pip", "packages", 0), [requirement])])


def test_each_requirement_that_fails_is_reported_at_its_place() -> None:
    locked = replace(EMPTY, pip=(pip("one"), pip("two")))
    assert findings('"one >1", "two", "three", "four_four"', locked) == [
        (("pip", "packages", 0), ["one >1"]),
        (("pip", "packages", 2), ["three", "three"]),
        (("pip", "packages", 3), ["four_four", "four-four"]),
    ]


def test_a_message_names_the_locked_version() -> None:
    spec = spec_of('name = "a"\npython = "3.12"\n[pip]\npackages = ["one >1"]\n')
    (found,) = find_mismatches(spec, replace(EMPTY, pip=(pip("one", "0.9"),)))
    assert found.message.endswith("one 0.9")
    locked = replace(EMPTY, conda=(conda("c-one", "0.9", provides=("one",)),))
    messages = [each.message for each in find_mismatches(spec, locked)]
    assert any(message.endswith("conda's one 0.9") for message in messages)


def test_a_dependency_is_in_the_lock_or_provided_by_conda() -> None:
    locked = replace(EMPTY, pip=(pip("one", "1.0", "three", "two"), pip("two")))
    assert findings('"one"', locked) == [(("pip", "packages"), ["one", "three", "three"])]
    packages = conda("c-three", provides=("three",)), conda("python", "3.12.4")
    assert findings('"one"', replace(locked, conda=packages), requested='"c-three"') == []


def test_a_package_that_nothing_requires_is_reported() -> None:
    locked = replace(EMPTY, pip=(pip("one", "1.0", "two"), pip("three", "1.0", "two"), pip("two")))
    assert findings('"one"', locked) == [(("pip", "packages"), ["three"])]


def test_an_excluded_package_is_not_in_the_lock() -> None:
    locked = replace(EMPTY, pip=(pip("one", "1.0", "two-two"), pip("two-two")))
    found = findings('"one"', locked, more='exclude = ["three", "Two_Two"]')
    assert found == [(("pip", "exclude", 1), ["two-two"])]
    assert findings('"one"', locked, more='exclude = ["three"]') == []


def test_a_package_is_requested_of_pip_or_of_conda_but_not_of_both() -> None:
    locked = replace(EMPTY, conda=(conda("pytorch", provides=("torch",)), conda("other", provides=("more",))))
    found = findings('"more", "torch"', locked, requested='"pytorch"')
    assert (("pip", "packages", 1), ["torch", "pytorch"]) in found
    # A dependency of conda's packages may be requested of pip too, and conda's package satisfies it.
    assert all(path != ("pip", "packages", 0) for path, _ in found)


def test_a_requirement_whose_marker_is_false_is_not_required() -> None:
    locked = replace(EMPTY, pip=(pip("one"),))
    assert findings('"one", "two; python_version < \'3.12\'"', locked) == []
    assert findings("\"one; python_version < '3.12'\"", locked) == [(("pip", "packages"), ["one"])]
    assert len(findings('"one", "two; python_version >= \'3.12\'"', locked)) == 1


@pytest.mark.parametrize(
    ("marker", "x86", "arm"),
    [
        ("implementation_name == 'cpython'", True, True),
        ("implementation_version == '3.12.4'", True, True),
        ("os_name == 'posix'", True, True),
        ("platform_machine == 'x86_64'", True, False),
        ("platform_machine == 'aarch64'", False, True),
        ("platform_python_implementation == 'CPython'", True, True),
        ("platform_release == ''", True, True),
        ("platform_system == 'Linux'", True, True),
        ("platform_version == ''", True, True),
        ("python_full_version == '3.12.4'", True, True),
        ("python_version == '3.12'", True, True),
        ("sys_platform == 'linux'", True, True),
        ("extra == ''", True, True),
    ],
)
def test_markers_are_evaluated_for_the_locked_platform(marker: str, x86: bool, arm: bool) -> None:
    """Promise 1: for every platform in the spec, on any host."""
    for platform, expected in (("linux-64", x86), ("linux-aarch64", arm)):
        environment = dict(create_marker_environment(replace(EMPTY, platform=platform)))
        assert set(environment) == {*default_environment(), "extra"}
        assert Marker(marker).evaluate(environment) is expected


def test_without_a_python_the_version_of_markers_is_0() -> None:
    environment = create_marker_environment(replace(EMPTY, python=None))
    assert {environment[key] for key in ("python_full_version", "implementation_version")} == {"0.0.0"}
    assert environment["python_version"] == "0.0"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.2.3", "1.2.3"),
        ("1.2+cu118", "1.2"),
        ("2023c", "2023rc0"),
        ("1.0_beta", "1.0b0"),
        ("release", "0"),
        ("1!2.0", "1!2.0"),
    ],
)
def test_a_conda_version_is_read_as_far_as_pep_440_goes(version: str, expected: str) -> None:
    assert find_provided_versions([conda("b", version, provides=("two", "one"))]) == {"one": expected, "two": expected}


def test_provided_distributions_are_sorted() -> None:
    packages = [conda("b", "2", provides=("z", "b")), conda("a", "1", provides=("c",)), conda("c", "3")]
    assert list(find_provided_versions(packages).items()) == [("b", "2"), ("c", "1"), ("z", "2")]
