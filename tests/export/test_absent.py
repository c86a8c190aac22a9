"""Nothing is left out in silence: each file says what of the lock and of the spec it does not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tomli
from hypothesis import given as each_of
from hypothesis import strategies
from packaging.pylock import Pylock

from envcompile.export import EXPORTERS, ExportInput, export_lock
from envcompile.spec.model import CudaRequest, CudaSpec, ExtraIndex
from tests.export.test_pip import PIP
from tests.kit.project import parsed, places

WHOSE = {"conda": "conda", "pip": "pip", "apt": "Debian"}


def everything() -> ExportInput:
    """Conda, pip and Debian packages, an extra index and a CUDA version, on one platform."""
    spec, lock = parsed("conda")
    (platform,) = lock.platforms
    _, other = parsed("apt")
    apt = next(each.apt for each in other.platforms if each.platform == platform.platform)
    assert platform.conda
    assert platform.pip
    assert apt
    first, *rest = platform.pip
    pip = (replace(first, index="corp"), *rest)
    index = ExtraIndex("corp", "https://index.example.invalid/simple", (first.name,))
    spec = replace(spec, cuda=CudaSpec(CudaRequest("12.8")), pip=replace(spec.pip, extra_indexes=(index,)))
    lock = replace(lock, platforms=(replace(platform, apt=apt, pip=pip),))
    return ExportInput(spec, lock, places(lock))


@pytest.mark.parametrize("name", EXPORTERS)
def test_packages_that_a_format_does_not_hold_are_named(name: str) -> None:
    text = export_lock(name, everything())
    lines = [line for line in text.splitlines() if "this format cannot list them" in line]
    named = {kind for line in lines for kind, words in WHOSE.items() if words in line}
    assert named == set(WHOSE) - set(EXPORTERS[name].package_kinds)
    assert len(lines) == bool(named)
    assert all(line.startswith("# ") for line in lines)


def test_what_shapes_the_answer_is_named_where_the_pins_are_not() -> None:
    text = export_lock("environment", everything())
    assert "# Omitted because this format has no such option: cuda.version, pip.extra-indexes.\n" in text


@pytest.mark.parametrize("name", ["requirements", "pylock"])
def test_every_index_is_there(name: str) -> None:
    assert "https://index.example.invalid/simple" in export_lock(name, everything())


@each_of(strategies.sampled_from(PIP), strategies.data())
def test_any_part_of_a_lock_has_one_valid_text(case: str, data: strategies.DataObject) -> None:
    """Promise 4: same lock, same bytes, whichever packages are left on whichever platform."""
    spec, lock = parsed(case)
    kept = [data.draw(strategies.sets(strategies.sampled_from(each.pip), min_size=1)) for each in lock.platforms]
    platforms = tuple(
        replace(each, pip=tuple(package for package in each.pip if package in mine))
        for each, mine in zip(lock.platforms, kept, strict=True)
    )
    lock = replace(lock, platforms=platforms)
    given = ExportInput(spec, lock, places(lock))
    for name in ("requirements", "pylock"):
        assert export_lock(name, given) == export_lock(
            name, given._replace(file_urls=dict(sorted(given.file_urls.items(), reverse=True)))
        )
    Pylock.from_dict(tomli.loads(export_lock("pylock", given))).validate()
