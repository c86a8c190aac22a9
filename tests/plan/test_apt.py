"""The lists of Debian packages, and the archives they come from."""

from __future__ import annotations

import dataclasses

import pytest

from envcompile.base_image.default import find_base_image, find_tool_images, needs_inspection, uses_base_python
from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.plan.apt import DISTRIBUTION_RELEASES, create_apt_files, find_apt_stages, format_sources_list
from tests.kit.project import parsed, spec_of


def test_sources_of_each_distribution() -> None:
    """Only the snapshot is asked, and only the distribution's key is believed."""
    debian = format_sources_list(DISTRIBUTION_RELEASES["debian-13"], "2026-11-01T12:30:00Z")
    options = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no]"
    assert debian == (
        f"deb {options} http://snapshot.debian.org/archive/debian/20261101T123000Z trixie main",
        f"deb {options} http://snapshot.debian.org/archive/debian/20261101T123000Z trixie-updates main",
        f"deb {options} http://snapshot.debian.org/archive/debian-security/20261101T123000Z trixie-security main",
    )
    ubuntu = format_sources_list(DISTRIBUTION_RELEASES["ubuntu-22.04"], "2026-11-01T12:30:00Z")
    options = "[signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg check-valid-until=no]"
    where = "http://snapshot.ubuntu.com/ubuntu/20261101T123000Z"
    assert ubuntu == tuple(
        f"deb {options} {where} {suite} main restricted universe multiverse"
        for suite in ("jammy", "jammy-updates", "jammy-security")
    )


def test_a_file_is_called_as_apt_calls_it() -> None:
    _, lock = parsed("apt")
    files = {each.path: each.lines for each in create_apt_files(lock, lock.platforms[0])}
    assert files["/apt/run/list"][0].startswith("git=1:")
    name, _, version = files["/apt/run/list"][0].partition("=")
    assert files["/apt/run/sha256"][0].endswith(f"  {name}_{version.replace(':', '%3a')}_amd64.deb")
    assert len(files["/apt/run/list"]) == len(files["/apt/run/sha256"])


def test_a_stage_that_one_platform_needs_is_there_for_all() -> None:
    """With an empty list where the base has everything: the script then does nothing."""
    _, lock = parsed("apt-several")
    first, *others = lock.platforms
    lock = dataclasses.replace(lock, platforms=(dataclasses.replace(first, apt=(), apt_build=()), *others))
    assert find_apt_stages(lock) == ("build", "run")
    assert {each.path: each.lines for each in create_apt_files(lock, lock.platforms[0])}["/apt/run/list"] == ()


def test_a_lock_for_a_base_without_an_archive() -> None:
    _, lock = parsed("apt")
    (platform,) = lock.platforms
    strange = dataclasses.replace(platform, run=dataclasses.replace(platform.run, os="rocky-9.4"))
    with pytest.raises(InvalidInputError, match="adds Debian packages to `rocky"):
        create_apt_files(lock, strange)


def test_a_build_stage_that_is_not_there() -> None:
    """Packages of a stage that no other table makes are not passed over in silence."""
    for more, fine in (("", False), ('python = "3.12"\n', True)):
        text = f'name = "a"\n{more}[apt]\npackages = ["git"]\nbuild = ["gcc"]\n'
        if fine:
            assert spec_of(text).apt.build == ("gcc",)
        else:
            with pytest.raises(DiagnosticsError) as raised:
                spec_of(text)
            assert [each.rule for each in raised.value.diagnostics] == ["nothing-to-install"]


def test_without_python_the_base_is_a_bare_one() -> None:
    alone = spec_of('name = "a"\n[apt]\npackages = ["git"]')
    assert find_base_image(alone).image == "debian:bookworm-slim"
    assert not uses_base_python(alone)
    assert not needs_inspection(alone)
    assert find_tool_images(alone) == ()
    assert (
        find_base_image(spec_of('name = "a"\npython = "3.12"\n[apt]\npackages = ["git"]')).image
        == "python:3.12-slim-bookworm"
    )
