"""pip requirements: their parts, and markers that cannot be evaluated."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from packaging.markers import Marker

from envcompile.cli.main import main
from envcompile.diagnostics.diagnostic import RequirementError
from envcompile.lock.freshness import check_freshness
from envcompile.spec.pip import PipRequirement, make_marker_environment, normalize_name, parse_requirement
from tests.kit.project import case, parsed

if TYPE_CHECKING:
    from pathlib import Path

# The variables of the grammar of `packaging`, and one that it does not know.
VARIABLES = (
    *("os_name", "sys_platform", "platform_machine", "platform_python_implementation", "platform_release"),
    *("platform_system", "platform_version", "python_version", "python_full_version", "implementation_name"),
    *("implementation_version", "extra", "extras", "dependency_groups", "python_implementation", "os.name", "unknown"),
)
OPERATORS = ("<", "<=", "!=", "==", ">=", ">", "~=", "===", "in", "not in", "=", "not")
VALUES = ("''", "'3.12'", "'3.12.*'", "'3.12, 3.13'", "'linux'", "'==3'", "'1!2'", "'a b'", "'3.13.0rc1'", '"\'"')
ENVIRONMENTS = [
    make_marker_environment(machine, python)
    for machine in ("x86_64", "aarch64")
    for python in ("0.0.0", "3.9.0", "3.12.4", "3.14.0rc1")
]


def find_error(text: str) -> RequirementError | None:
    try:
        parse_requirement(text)
    except RequirementError as error:
        return error
    return None


def test_the_parts_of_a_requirement() -> None:
    requirement = PipRequirement(" Foo.Bar[B_b,a] <3,>=2 ; sys_platform == 'linux'")
    assert str(requirement) == requirement.text
    assert requirement.name == "foo-bar"
    assert requirement.extras == ("a", "b-b")
    assert requirement.format_specifier() == "<3,>=2"
    assert requirement.format_canonical() == 'foo-bar[a,b-b]<3,>=2 ; sys_platform == "linux"'
    assert [requirement.allows_version(each) for each in ("1", "2", "2.1rc1", "3")] == [False, True, True, False]
    assert requirement.applies_to(make_marker_environment("x86_64", "3.12.4"))
    assert requirement == PipRequirement(requirement.text) != PipRequirement("foo-bar")


def test_a_requirement_is_parsed_when_a_part_is_used() -> None:
    program = (
        "import sys; from envcompile.spec.pip import PipRequirement; each = PipRequirement('a >=1'); str(each);"
        "assert 'packaging' not in sys.modules; assert each.name == 'a'; assert 'packaging' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("text", ["", "a b", "-r x", "./x", "a @ https://host/a.whl", "a; extra"])
def test_the_parts_of_an_invalid_text_raise(text: str) -> None:
    requirement = PipRequirement(text)
    for read in (
        requirement.validate,
        lambda: requirement.name,
        lambda: requirement.extras,
        lambda: requirement.marker,
    ):
        with pytest.raises(RequirementError):
            read()


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_accepted_marker_can_be_evaluated(variable: str) -> None:
    """Every comparison of the grammar is either rejected when it is parsed, or evaluated on every platform."""
    accepted, rejected = [], 0
    for operator, value in itertools.product(OPERATORS, VALUES):
        for marker in (f"{variable} {operator} {value}", f"{value} {operator} {variable}"):
            for text in (f"a; {marker}", f"a; os_name == 'nt' and ({marker})", f"a; os_name == 'posix' or {marker}"):
                if error := find_error(text):
                    rejected += 1
                    assert (error.rule, "marker" in error.message, bool(error.hint)) == ("requirement", True, True)
                else:
                    accepted.append(PipRequirement(text))
                    assert {accepted[-1].applies_to(each) for each in ENVIRONMENTS} <= {True, False}
    assert len(accepted) + rejected == 6 * len(OPERATORS) * len(VALUES)
    never = {"extras", "dependency_groups", "unknown", "platform_release", "platform_version"}
    assert bool(accepted) == (variable not in never)
    assert rejected
    spec, lock = parsed("several")
    without_python = replace(lock, platforms=tuple(replace(each, python=None) for each in lock.platforms))
    for each in (lock, without_python):
        found = check_freshness(replace(spec, pip=replace(spec.pip, packages=tuple(accepted))), each)
        assert {diagnostic.rule for diagnostic in found} == {"stale"}


@pytest.mark.parametrize(
    ("marker", "reason", "hint"),
    [
        ("'x' in extras", "it uses an undefined variable", "use a variable such as"),
        ("'x' in dependency_groups", "it uses an undefined variable", "use a variable such as"),
        ("'x' == 'x'", "it uses an undefined variable", "use a variable such as"),
        ("sys_platform ~= '2'", "it compares values that are not versions", "compare with `==` or `!=`"),
        ("python_version ~= 'x'", "it compares values that are not versions", "compare with `==` or `!=`"),
        ("os_name === 'posix'", "it compares values that are not versions", "compare with `==` or `!=`"),
    ],
)
def test_a_marker_that_cannot_be_evaluated_is_a_mistake(marker: str, reason: str, hint: str) -> None:
    assert str(Marker(marker))  # `packaging` accepts it
    with pytest.raises(RequirementError) as raised:
        parse_requirement(f"a; {marker}")
    assert raised.value.message == f"`a; {marker}` has a marker that cannot be evaluated: {reason}"
    assert (raised.value.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("name", "normal"), [("Foo.Bar", "foo-bar"), ("a--_.b", "a-b"), ("nvidia_*-cu1?", "nvidia-*-cu1?")]
)
def test_names_are_normalised(name: str, normal: str) -> None:
    assert normalize_name(name) == normal


@pytest.mark.parametrize("command", ["lock", "verify", "dockerfile"])
def test_commands_point_at_a_marker_that_cannot_be_evaluated(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, lock = case("several")
    (tmp_path / "envcompile.toml").write_text(spec.replace("numpy >=2", "numpy >=2; 'x' in extras"), "utf-8")
    (tmp_path / "envcompile.lock").write_text(lock, "utf-8")
    monkeypatch.chdir(tmp_path)
    assert main([command]) == 2
    said = capsys.readouterr().err
    assert "error[requirement]: `numpy >=2; 'x' in extras` has a marker that cannot be evaluated" in said
    assert "^^^^" in said
