"""The age of images and snapshots, from the times that registries state."""

from __future__ import annotations

import dataclasses

import pytest

from envcompile.diagnostics.errors import UnavailableError
from envcompile.resolve.outdated import ImageState, count_days, read_image_states
from tests.kit.project import parsed, spec_of

OTHER = "sha256:" + "e" * 64


@pytest.mark.parametrize(
    ("time", "days"),
    [
        ("2026-10-31T00:00:00Z", 1),
        ("2026-10-31T00:00:01Z", 0),
        ("2026-10-01T00:00:00.123456789Z", 31),
        ("2026-10-31T02:00:00+02:00", 1),
        ("2026-11-02T00:00:00Z", 0),
        ("2025-11-01T00:00:00Z", 365),
    ],
)
def test_whole_days_are_counted(time: str, days: int) -> None:
    assert count_days(time, "2026-11-01T00:00:00Z") == days


class Registry:
    """Every tag has one digest, and every image was created at one time; or nothing can be read."""

    def __init__(self, created: str | None) -> None:
        self.created = created
        self.is_silent = False
        self.asked: list[str] = []

    def resolve_digest(self, reference: str) -> str:
        self.asked.append(reference)
        if self.is_silent:
            raise UnavailableError("nobody answers")
        return OTHER

    def read_creation_time(self, reference: str, platform: str) -> str | None:
        self.asked.append(f"{reference} for {platform}")
        return self.created


def test_each_base_image_is_read_once_and_default_tools_never() -> None:
    spec, lock = parsed("several")
    registry = Registry("2026-08-01T00:00:00Z")
    (state,) = read_image_states(spec, lock, registry)
    image = lock.platforms[0].run.image
    tag = image.partition("@")[0]
    assert state == ImageState(image, is_fixed=True, created="2026-08-01T00:00:00Z", newest=f"{tag}@{OTHER}")
    assert state.has_moved
    assert registry.asked == [f"{image} for linux/arm64", tag]


@pytest.mark.parametrize("created", [None, "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2026-99-01T00:00:00Z"])
def test_a_placeholder_is_not_an_age(created: str | None) -> None:
    spec, lock = parsed("several")
    (state,) = read_image_states(spec, lock, Registry(created))
    assert state.created is None


def test_an_image_without_a_tag_cannot_move_and_a_silent_registry_is_reported() -> None:
    spec, lock = parsed("several")
    bare = dataclasses.replace(lock.platforms[0].run, image=f"python@{OTHER}")
    one = dataclasses.replace(lock, platforms=(dataclasses.replace(lock.platforms[0], run=bare, build=bare),))
    (state,) = read_image_states(spec, one, Registry(None))
    assert (state.newest, state.has_moved) == (None, False)
    registry = Registry(None)
    registry.is_silent = True
    (state,) = read_image_states(spec, lock, registry)
    assert (state.problem, state.has_moved) == ("nobody answers", False)


def test_a_tool_that_the_spec_names_is_checked() -> None:
    _, lock = parsed("several")
    tool = lock.platforms[0].tools[0]
    text = f'name = "x"\npython = "3.12"\n[pip]\npackages = ["six"]\n[tools]\n{tool.name} = "{tool.image}"\n'
    *_, state = read_image_states(spec_of(text), lock, Registry(None))
    assert (state.tool, state.is_fixed, state.has_moved) == (tool.name, True, True)
