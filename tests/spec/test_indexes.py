"""Which index serves which package."""

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
def test_the_first_that_names_it_and_no_other(package: str, index: str) -> None:
    indexes = (
        ExtraIndex("cpu", URL, ("Torch", "nvidia_*-cu1?")),
        ExtraIndex("corp", URL, ("Acme.*", "nvidia-*", "typing_extensions")),
    )
    assert find_index_name(package, indexes) == index


def test_a_glob_of_many_stars_takes_no_time() -> None:
    assert find_index_name("a" * 60 + "b", (ExtraIndex("x", URL, ("*a" * 30 + "*c",)),)) == "default"


def test_order_of_indexes_counts_and_order_and_spelling_of_names_does_not() -> None:
    first = spec_of(SPEC.replace("PACKAGES", '["Torch", "zeta_*"]'))
    assert recorded_inputs(spec_of(SPEC.replace("PACKAGES", '["zeta-*", "torch"]'))) == recorded_inputs(first)
    assert recorded_inputs(spec_of(SPEC.replace("PACKAGES", '["torch"]'))) != recorded_inputs(first)
    swapped = dataclasses.replace(first.pip, extra_indexes=first.pip.extra_indexes[::-1])
    assert recorded_inputs(dataclasses.replace(first, pip=swapped)) != recorded_inputs(first)


@pytest.mark.parametrize(("name", "wrong"), [("LIB", True), ("acme-x", False), ("a*", False), ("lib-*", False)])
def test_what_an_earlier_index_takes_away(name: str, *, wrong: bool) -> None:
    """Globs may overlap: the order says who serves. A name that its index could never serve is a mistake."""
    text = SPEC.replace("PACKAGES", f'["{name}"]')
    if not wrong:
        assert spec_of(text).pip.extra_indexes[0].packages == (name,)
        return
    with pytest.raises(DiagnosticsError) as raised:
        spec_of(text)
    assert [found.rule for found in raised.value.diagnostics] == ["index"]


@pytest.mark.parametrize(("package", "index"), [("numpy", "corp"), ("torch", "default"), ("torch", "other")])
def test_a_lock_with_a_package_of_an_index_it_is_not_named_for_is_refused(package: str, index: str) -> None:
    """Whoever wrote it: a lock may come from anybody."""
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


def test_the_order_of_the_indexes_moves_no_tag_but_their_credentials_do() -> None:
    """Promise 5: a reordering of what is unordered does not move it; anything that changes the image does."""
    spec, lock = parsed("indexes")
    turned = dataclasses.replace(spec.pip, extra_indexes=spec.pip.extra_indexes[::-1])
    same = compile_dockerfile(dataclasses.replace(spec, pip=turned), lock)
    assert same == compile_dockerfile(spec, lock)
    assert compile_dockerfile(spec, dataclasses.replace(lock, private_indexes=())) != same
