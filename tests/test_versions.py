"""Version numbers, compared number by number."""

from __future__ import annotations

import pytest

from envcompile.versions import is_release_of, minor_release, version_numbers


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("3.12.4", "3.12"),
        ("3.12", "3.12"),
        ("3", "3"),
        ("3.13.0rc1", "3.13"),
        ("3.14t", "3.14"),
        ("12.8.90", "12.8"),
        ("2.8.3.post2", "2.8"),
        ("1.26+cu124", "1.26"),
        ("", ""),
        ("latest", ""),
    ],
)
def test_minor_release_keeps_two_numbers(version: str, release: str) -> None:
    assert minor_release(version) == release
    assert version_numbers(version)[:2] == version_numbers(release)


@pytest.mark.parametrize(
    ("version", "release", "belongs"),
    [
        ("3.12.4", "3.12", True),
        ("3.12.4", "3.12.4", True),
        ("3.12.4", "3", True),
        ("3.12.4", "3.1", False),
        ("3.12", "3.12.4", False),
        ("12.8", "12", True),
    ],
)
def test_a_release_contains_versions_by_whole_numbers(version: str, release: str, belongs: bool) -> None:
    assert is_release_of(version, release) == belongs


def test_a_number_that_python_cannot_read_is_not_a_version() -> None:
    assert version_numbers(5_000 * "9") == ()
    assert version_numbers(f"1.{5_000 * '9'}") == (1,)
