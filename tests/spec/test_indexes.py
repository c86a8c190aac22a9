"""Extra indexes: which index serves a package, and how indexes affect locks and tags."""

from __future__ import annotations

import dataclasses

import pytest

from envcompile.diagnostics.diagnostic import DiagnosticsError
from envcompile.diagnostics.errors import InvalidInputError
from envcompile.emit.dockerfile import compile_dockerfile
from envcompile.spec.model import ExtraIndex
from envcompile.spec.pip import find_index_name
from envcompile.spec.solver_inputs import recorded_inputs
from tests.kit.project import parsed, spec_of

URL = "https://index.example.invalid/simple"
SPEC = """
name = "x"
python = "3.12"
[pip]
packages = ["a"]
extra-indexes = [
    { name = "one", url = "https://one.example.invalid", packages = PACKAGES },
    { name = "two", url = "https://two.example.invalid", packages = ["acme-*", "lib"] },
]
"""


@pytest.mark.parametrize(
    ("package", "index"),
    [
        ("torch", "cpu"),
        ("torchvision", "default"),
        ("torch-geometric", "default"),
        ("acme-core", "corp"),
        ("acme", "default"),
        ("my-acme-core", "default"),
        ("nvidia-nccl-cu12", "cpu"),
        ("nvidia-nccl-cu1", "corp"),
        ("typing-extensions", "corp"),
    ],
)
def test_first_index_that_lists_a_package_serves_it(package: str, index: str) -> None:
    indexes = (
        ExtraIndex("cpu", URL, ("Torch", "nvidia_*-cu1?")),
        ExtraIndex("corp", URL, ("Acme.*", "nvidia-*", "typing_extensions")),
    )
    assert find_index_name(package, indexes) == index


def test_glob_with_many_stars_is_fast() -> None:
    assert find_index_name("a" * 60 + "b", (ExtraIndex("x", URL, ("*a" * 30 + "*c",)),)) == "default"


def test_recorded_inputs_depend_on_the_order_of_indexes_but_not_of_names() -> None:
    first = spec_of(SPEC.replace("PACKAGES", '["Torch", "zeta_*"]'))
    assert recorded_inputs(spec_of(SPEC.replace("PACKAGES", '["zeta-*", "torch"]'))) == recorded_inputs(first)
    assert recorded_inputs(spec_of(SPEC.replace("PACKAGES", '["torch"]'))) != recorded_inputs(first)
    swapped = dataclasses.replace(first.pip, extra_indexes=first.pip.extra_indexes[::-1])
    assert recorded_inputs(dataclasses.replace(first, pip=swapped)) != recorded_inputs(first)


@pytest.mark.parametrize(("name", "wrong"), [("LIB", True), ("acme-x", False), ("a*", False), ("lib-*", False)])
def test_package_listed_by_an_earlier_index(name: str, *, wrong: bool) -> None:
    """Globs may overlap. A name is a mistake if an earlier index always serves it."""
    text = SPEC.replace("PACKAGES", f'["{name}"]')
    if not wrong:
        assert spec_of(text).pip.extra_indexes[0].packages == (name,)
        return
    with pytest.raises(DiagnosticsError) as raised:
        spec_of(text)
    assert [found.rule for found in raised.value.diagnostics] == ["index"]


@pytest.mark.parametrize(("package", "index"), [("numpy", "corp"), ("torch", "default"), ("torch", "other")])
def test_lock_with_a_package_from_the_wrong_index_is_rejected(package: str, index: str) -> None:
    """The index of each package is checked, because a lock may come from an untrusted source."""
    spec, lock = parsed("indexes")
    platforms = tuple(
        dataclasses.replace(
            each,
            pip=tuple(dataclasses.replace(pin, index=index) if pin.name == package else pin for pin in each.pip),
        )
        for each in lock.platforms
    )
    with pytest.raises(InvalidInputError, match=f"`{package}` from the index `{index}`"):
        compile_dockerfile(spec, dataclasses.replace(lock, platforms=platforms))


def test_tag_depends_on_credentials_but_not_on_the_order_of_indexes() -> None:
    """Promise 5: the order of unordered lists does not change the tag; everything that changes the image does."""
    spec, lock = parsed("indexes")
    turned = dataclasses.replace(spec.pip, extra_indexes=spec.pip.extra_indexes[::-1])
    same = compile_dockerfile(dataclasses.replace(spec, pip=turned), lock)
    assert same == compile_dockerfile(spec, lock)
    assert compile_dockerfile(spec, dataclasses.replace(lock, private_indexes=())) != same
