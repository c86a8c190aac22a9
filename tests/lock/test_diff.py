"""What changed, as lines."""

from __future__ import annotations

import dataclasses

from envcompile.lock.diff import changes
from tests.made import parsed


def test_lines() -> None:
    _, lock = parsed("several")
    both = []
    for platform in lock.platforms:
        first, second, third, *rest = platform.pip
        moved = dataclasses.replace(first, version="99")
        refiled = dataclasses.replace(second, sha256="0" * 64)
        both.append(dataclasses.replace(platform, pip=(moved, refiled, *rest)))
    everywhere = dataclasses.replace(lock, platforms=tuple(both))
    first, second, third = lock.platforms[0].pip[:3]
    assert changes(None, lock) == []
    assert changes(lock, lock) == []
    lines = changes(lock, everywhere)
    assert f"  ~ {first.name} {first.version} -> 99" in lines
    assert f"  - {third.name} {third.version}" in lines
    assert any(line.startswith(f"  ~ {second.name} {second.version}: another file") for line in lines)
    one = dataclasses.replace(lock, platforms=(both[0], lock.platforms[1]))
    assert f"  ~ {first.name} {first.version} -> 99 (linux-64)" in changes(lock, one)
    assert f"  + {third.name} {third.version}" in changes(everywhere, lock)


def test_bases_tools_and_conda_packages_move_too() -> None:
    _, lock = parsed("conda")
    (platform,) = lock.platforms
    first, *rest = platform.conda
    moved = dataclasses.replace(
        platform,
        conda=(dataclasses.replace(first, sha256="0" * 64, file="other.conda"), *rest),
        run=dataclasses.replace(platform.run, image="other@sha256:" + "0" * 64),
        python=None,
    )
    assert changes(lock, dataclasses.replace(lock, platforms=(moved,))) == [
        f"  - Python {platform.python and platform.python.version}",
        f"  ~ conda {first.name} {first.version}: another file, other.conda",
        f"  ~ image to run on {platform.run.image} -> other@sha256:{'0' * 64}",
    ]


def test_a_package_that_comes_from_another_index_now() -> None:
    _, lock = parsed("indexes")
    public = tuple(
        dataclasses.replace(each, pip=tuple(dataclasses.replace(pin, index="default") for pin in each.pip))
        for each in lock.platforms
    )
    assert changes(dataclasses.replace(lock, platforms=public), lock) == [
        "  + index of acme-models corp",
        "  + index of acme-net corp (linux-64)",
        "  + index of torch torch-cpu",
    ]
