"""The rows of the package managers match the spec, the lock, its schema and the exporters."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from envcompile.loading import find_schema_file
from envcompile.lock.model import PlatformLock
from envcompile.lock.package_managers import INSTALLED_KINDS, PACKAGE_LISTS, PACKAGE_MANAGERS, count_packages
from envcompile.project.generated_files import EXPORTERS
from envcompile.spec.model import PACKAGE_TABLES
from tests.kit.project import CASES, parsed

SCHEMA = json.loads(find_schema_file("lock").read_text("utf-8"))
NOT_PACKAGES = {"platform", "python", "build", "run", "tools", "base_decision", "layer_threshold"}


def test_every_table_of_packages_has_a_row() -> None:
    assert set(PACKAGE_MANAGERS) == set(PACKAGE_TABLES)


def test_every_list_of_a_platform_has_a_row() -> None:
    names = {each.name for each in fields(PlatformLock)} - NOT_PACKAGES
    assert {each.replace("_", "-") for each in names} == set(PACKAGE_LISTS)
    assert set(PACKAGE_LISTS) <= set(SCHEMA["definitions"]["platform"]["properties"])


@pytest.mark.parametrize("kind", INSTALLED_KINDS)
@pytest.mark.parametrize("name", CASES)
def test_requirements_allow_the_locked_packages(name: str, kind: str) -> None:
    spec, lock = parsed(name)
    manager, packages = INSTALLED_KINDS[kind], PACKAGE_LISTS[kind]
    for platform in lock.platforms:
        locked = dict(packages.iter_packages(platform))
        provided = {each for package in platform.conda for each in package.provides if manager.has_distributions}
        for each in manager.list_requirements(spec, packages.spec_key):
            if each.name in locked:
                assert each.allows(locked[each.name])
            else:
                assert each.name in provided or ";" in str(each)


@pytest.mark.parametrize("name", CASES)
def test_every_package_is_counted_once(name: str) -> None:
    lock = parsed(name)[1]
    built = [package for platform in lock.platforms for each in platform.pip_build for package in each.packages]
    lists = [each for platform in lock.platforms for each in (platform.conda, platform.pip, platform.apt)]
    lists += [each for platform in lock.platforms for each in (platform.apt_build, platform.conda_installer)]
    assert count_packages(*lock.platforms) == sum(map(len, lists)) + len(built)


def test_packages_of_build_stages_are_not_installed() -> None:
    assert set(PACKAGE_LISTS) - set(INSTALLED_KINDS) == {"pip-build", "conda-installer"}


@pytest.mark.parametrize("name", EXPORTERS)
def test_exporters_list_packages_of_known_managers(name: str) -> None:
    assert set(EXPORTERS[name].package_kinds) <= set(PACKAGE_MANAGERS)
