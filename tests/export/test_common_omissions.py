"""What a format cannot hold is listed in its comments, and options that it has are written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export import ExportInput, export_lock, find_export_warnings
from envcompile.export.common import merge_platforms, parse_server_url
from envcompile.export.environment_yml import collect_conda_requirements
from envcompile.spec.model import NO_CUDA, ExtraIndex
from tests.kit.project import parsed


def comments(name: str, case: str, **pip: Any) -> list[str]:
    spec, lock = parsed(case)
    spec = replace(spec, pip=replace(spec.pip, **pip))
    return [line for line in export_lock(name, ExportInput(spec, lock)).splitlines() if line.startswith("#")]


CORP = ExtraIndex("corp", "https://corp.example.invalid/simple", ("acme-*",))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"index": "https://index.example.invalid/simple"}, "pip.index"),
        ({"exclude": ("acme",)}, "pip.exclude"),
        ({"extra_indexes": (CORP,)}, "pip.extra-indexes"),
    ],
)
def test_a_list_of_requirements_names_the_keys_that_it_has_no_place_for(fields: dict[str, Any], key: str) -> None:
    before, after = comments("environment", "conda"), comments("environment", "conda", **fields)
    (added,) = set(after) - set(before)
    assert key in added
    assert not any(key in line for line in before)


def test_other_keys_that_a_list_of_requirements_has_no_place_for() -> None:
    spec, lock = parsed("conda")
    spec = replace(spec, exclude_newer="2026-01-01T00:00:00Z", cuda=replace(spec.cuda, request=NO_CUDA))
    text = export_lock("environment", ExportInput(spec, lock))
    assert "exclude-newer, cuda.version" in text


def test_the_index_of_the_spec_is_an_option_and_unused_indexes_are_not() -> None:
    """Promise 10: each package comes from the one index that the spec assigns to it."""
    spec, lock = parsed("several")
    spec = replace(spec, pip=replace(spec.pip, index="https://index.example.invalid/simple", extra_indexes=(CORP,)))
    lines = export_lock("requirements", ExportInput(spec, lock)).splitlines()
    assert [line for line in lines if "index-url" in line] == ["--index-url https://index.example.invalid/simple"]
    (first, *rest) = lock.platforms
    moved = tuple(replace(each, index="corp") for each in first.pip[:1])
    lock = replace(lock, platforms=(replace(first, pip=(*moved, *first.pip[1:])), *rest))
    lines = export_lock("requirements", ExportInput(spec, lock)).splitlines()
    assert "--extra-index-url https://corp.example.invalid/simple" in lines


def test_pip_is_a_conda_requirement_if_there_are_pip_packages() -> None:
    spec, lock = parsed("conda")
    assert spec.pip.packages
    names = [each.name for each in collect_conda_requirements(ExportInput(spec, lock))]
    assert names.count("pip") == 1
    without = replace(spec, pip=replace(spec.pip, packages=()))
    own = tuple(each for each in spec.conda.packages if "pip" not in str(each))
    for changed in (spec, without):
        changed = replace(changed, conda=replace(changed.conda, packages=own))  # noqa: PLW2901 - the same spec
        names = [each.name for each in collect_conda_requirements(ExportInput(changed, lock))]
        assert names.count("pip") == int(bool(changed.pip.packages))


def test_a_format_that_lists_the_omitted_packages_is_recommended() -> None:
    _, lock = parsed("conda")
    warnings = dict(find_export_warnings("requirements", lock))
    assert list(warnings.values()) == ["`--format conda-lock` lists both kinds"]
    [(message, hint)] = find_export_warnings("requirements", parsed("apt")[1])
    assert message.startswith("`requirements` omits the ")
    assert hint == "only the Dockerfile installs all packages"


def test_conda_needs_pip_only_for_pip_packages() -> None:
    _, lock = parsed("conda")
    (platform,) = lock.platforms
    alone = replace(platform, pip=(), conda=tuple(each for each in platform.conda if each.name != "pip"))
    assert not [*find_export_warnings("conda-lock", replace(lock, platforms=(alone,)))]
    both = replace(alone, pip=platform.pip)
    [(message, _)] = find_export_warnings("conda-lock", replace(lock, platforms=(both,)))
    assert "needs the conda package `pip`" in message


def test_requirements_that_apply_to_no_platform_give_an_empty_list() -> None:
    spec, lock = parsed("several")
    empty = replace(lock, platforms=tuple(replace(each, pip=()) for each in lock.platforms))
    lines = export_lock("requirements", ExportInput(spec, empty)).splitlines()
    assert all(line.startswith(("#", "--")) for line in lines)


def test_packages_are_listed_by_name_whatever_platform_has_them() -> None:
    _, lock = parsed("several")
    first, second = lock.platforms
    one, *_, last = first.pip
    lock = replace(lock, platforms=(replace(first, pip=(last,)), replace(second, pip=(one,))))
    assert [each.name for each in merge_platforms(lock)] == [one.name, last.name]


def test_the_server_of_the_files_is_a_plain_url() -> None:
    assert parse_server_url("https://files.example.invalid/packages/") == "https://files.example.invalid/packages"
    with pytest.raises(InvalidInputError, match="--files"):
        parse_server_url("files.example.invalid")
