"""Promise 7: whatever a lock answers is asked of it. Keys that the compiler refuses today are looked at already."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from envcompile.lock.freshness import Expectations, check_freshness, check_pins
from envcompile.lock.freshness_pip import find_provided_versions
from envcompile.lock.model import CondaPackage, RecordedInput
from envcompile.spec.conda import CondaRequirement
from envcompile.spec.model import BaseImageSpec, CudaRequest, ExtraIndex, SdistMetadataOverride, Spec
from envcompile.spec.pip import PipRequirement
from envcompile.spec.solver_inputs import recorded_inputs
from tests.kit.project import parsed

# A value for each key that no spec of the fixtures has there.
CHANGED: dict[str, dict[str, Any]] = {
    "": {"python": "3.99", "platforms": ("linux-aarch64",), "exclude_newer": "2001-01-01T00:00:00Z"},
    "conda": {
        "channels": ("corp",),
        "packages": (CondaRequirement("no-such-package"),),
        "provides": (("numpy", ("acme-numpy",)),),
    },
    "pip": {
        "packages": (PipRequirement("no-such-package"),),
        "exclude": (),
        "allow_sdist": ("flash-attn",),
        "allow_overlap": ("opencv-python",),
        "metadata": (SdistMetadataOverride("flash-attn", (PipRequirement("torch"),)),),
        "index": "https://index.example.invalid/simple",
        "extra_indexes": (ExtraIndex("corp", "https://corp.example.invalid/simple", ("*",)),),
    },
    "apt": {"packages": ("git",), "build": ("gcc",), "snapshot": "2026-11-01T00:00:00Z"},
    "cuda": {"request": CudaRequest("12"), "driver": "535", "compute": ("9.0",), "jit": True},
    "image": {"base": BaseImageSpec("other@sha256:" + 64 * "0"), "init": True},
}
# How the image is called and starts; what is kept beside the lock; and which program solves.
FREE = {"free_threaded", "name", "exports", "tools", "resolver"}
START = {
    "repository",
    "env",
    "labels",
    "user",
    "workdir",
    "expose",
    "entrypoint",
    "command",
    "stop_signal",
    "healthcheck",
    "allow_secret_names",
}
SEEN_IN_PINS = {("", "python"), ("", "platforms"), ("conda", "packages"), ("pip", "packages"), ("image", "init")}
ROWS = [(table, key) for table, values in CHANGED.items() for key in values]


def changed(spec: Spec, table: str, key: str) -> Spec:
    values: dict[str, Any] = {key: CHANGED[table][key]}
    if table:
        values = {table: dataclasses.replace(getattr(spec, table), **values)}
    return dataclasses.replace(spec, **values)


def test_every_key_is_here() -> None:
    spec, _ = parsed("everything")
    for table, values in CHANGED.items():
        of = getattr(spec, table) if table else spec
        keys = {field.name for field in dataclasses.fields(of)}
        assert keys - FREE - START - set(CHANGED) == set(values), table


def test_another_build_of_python_makes_it_stale() -> None:
    for name, other in (("standalone", False), ("several", True)):
        spec, lock = parsed(name)
        found = check_freshness(dataclasses.replace(spec, free_threaded=other), lock)
        assert ("python",) in [each.path for each in found]


@pytest.mark.parametrize(("table", "key"), ROWS)
def test_a_key_that_changes_makes_it_stale(table: str, key: str) -> None:
    spec, lock = parsed("everything")
    other = changed(spec, table, key)
    found = check_freshness(other, lock)
    assert found
    assert all(each.rule == "stale" and each.hint == "run `envcompile lock`" for each in found)
    noted = dataclasses.replace(
        lock, recorded_inputs=tuple(RecordedInput(*row) for row in recorded_inputs(other).items())
    )
    if (table, key) not in SEEN_IN_PINS:
        # It is seen in no pin, so nothing else is amiss; and noted back and forth alike.
        assert check_freshness(other, noted) == []
        assert len(found) == 1
        back = check_freshness(spec, noted)
        assert back == [] if key in ("exclude_newer", "exclude", "base", "snapshot") else len(back) == 1


def test_an_index_that_is_swapped_is_named() -> None:
    spec, lock = parsed("several")
    one, other = (
        dataclasses.replace(spec, pip=dataclasses.replace(spec.pip, index=f"https://{name}.example.invalid/simple"))
        for name in ("one", "other")
    )
    (found,) = check_freshness(
        other,
        dataclasses.replace(lock, recorded_inputs=tuple(RecordedInput(*row) for row in recorded_inputs(one).items())),
    )
    assert found.message == (
        "the lock was made with `pip.index` as `https://one.example.invalid/simple`, "
        "and the spec has `https://other.example.invalid/simple`"
    )
    assert found.path == ("pip", "index")


def test_the_same_on_two_platforms_is_said_once() -> None:
    spec, lock = parsed("several")
    other = dataclasses.replace(
        spec, pip=dataclasses.replace(spec.pip, packages=(*spec.pip.packages, PipRequirement("acme")))
    )
    (found,) = check_freshness(other, lock)
    assert (
        found.message
        == "the spec requires `acme` from pip, but the lock has no `acme` for `linux-64` and `linux-aarch64`"
    )


def test_what_the_choice_of_a_base_has_brought_is_asked_for() -> None:
    spec, lock = parsed("cuda")
    (one,) = lock.platforms
    assert one.base_decision
    brought = dataclasses.replace(one.pip[0], name="nvidia-brought", depends=())
    with_it = dataclasses.replace(one, pip=(*one.pip, brought))
    (found,) = check_freshness(spec, dataclasses.replace(lock, platforms=(with_it,)))
    assert "no requirement needs `nvidia-brought` any more, but the lock contains it" in found.message
    decided = dataclasses.replace(one.base_decision, wheels=("nvidia-brought ==1.*",))
    assert (
        check_freshness(
            spec, dataclasses.replace(lock, platforms=(dataclasses.replace(with_it, base_decision=decided),))
        )
        == []
    )


def test_an_image_of_one_platform_is_not_that_of_all() -> None:
    spec, lock = parsed("several")
    first, second = lock.platforms
    other = dataclasses.replace(first.build, image=f"other@sha256:{64 * '1'}")
    mixed = dataclasses.replace(lock, platforms=(dataclasses.replace(first, build=other, run=other), second))
    recorded = tuple(each for each in lock.recorded_inputs or () if each.key != "image.base")
    found = check_freshness(spec, dataclasses.replace(mixed, recorded_inputs=recorded))
    assert [each.path for each in found] == [("image", "base")]


def test_all_values_of_an_input_are_listed() -> None:
    spec, lock = parsed("conda")
    several = dataclasses.replace(spec, conda=dataclasses.replace(spec.conda, channels=("conda-forge", "corp")))
    (found,) = check_freshness(several, lock)
    assert found.message.endswith("and the spec has `conda-forge`, `corp`")


@pytest.mark.parametrize(
    ("conda", "version"), [("1.2.3", "1.2.3"), ("2024a", "2024a0"), ("beta_1.0", "0"), ("9e", "9")]
)
def test_the_version_of_a_distribution_is_the_start_of_that_of_conda(conda: str, version: str) -> None:
    package = CondaPackage("x", conda, "0", "c", "noarch", "x.conda", 64 * "0", provides=("x",))
    assert find_provided_versions([package]) == {"x": version}


def test_a_file_of_another_package_is_found_at_its_table() -> None:
    spec, lock = parsed("several")
    first, *rest = lock.platforms
    renamed = dataclasses.replace(first.pip[0], file="other-1.0-py3-none-any.whl")
    edited = dataclasses.replace(first, pip=(renamed, *first.pip[1:]))
    images = frozenset({"python"})
    tools = {tool.name: tool.image for tool in first.tools}
    paths = frozenset({first.python.path if first.python else ""})
    expected = Expectations({}, images, tools, frozenset(), paths, frozenset(), {})
    assert check_pins(spec, lock, expected) == []
    (found,) = check_pins(spec, dataclasses.replace(lock, platforms=(edited, *rest)), expected)
    assert (found.path, found.rule) == (("pip", "packages"), "stale")
    foreign = expected._replace(tools=dict.fromkeys(tools, f"other@sha256:{64 * '2'}"))
    assert {each.path for each in check_pins(spec, lock, foreign)} == {("tools", name) for name in tools}
