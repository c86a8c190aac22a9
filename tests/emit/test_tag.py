"""Promise 5: a comment or a reordering of what is unordered does not move the tag; what changes the image does."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import tomli
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from envcompile.emit.dockerfile import compile_dockerfile, compute_tag
from envcompile.lock.freshness import check_freshness
from envcompile.spec.solver_inputs import INIT_PACKAGE
from tests.kit.effort import count_examples
from tests.kit.project import CASES, case, parsed, spec_of

if TYPE_CHECKING:
    import random

    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import Spec

SETS = {"packages", "exclude", "platforms", "expose"}


def written(table: dict[str, Any], shuffle: random.Random, path: tuple[str, ...] = ()) -> str:
    """A spec's value as TOML: keys and what is unordered in a shuffled order, with comments."""
    lines, below = [], []
    for key, value in shuffle.sample(sorted(table.items()), len(table)):
        if isinstance(value, dict) and key != "base":
            below.append((key, value))
        else:
            lines.append(f"{json.dumps(key)} = {text(key, value, shuffle)}  # {shuffle.random()}")
    head = [f"[{'.'.join(json.dumps(part) for part in path)}]"] if path else []
    tables = [written(value, shuffle, (*path, key)) for key, value in below]
    return "\n".join(["# a comment", *head, *lines, "", *tables])


def text(key: str, value: Any, shuffle: random.Random) -> str:
    if isinstance(value, list):
        items = shuffle.sample(value, len(value)) if key in SETS else value
        return "[\n" + "".join(f"  {text('', each, shuffle)}, # {each!r}\n".replace("\\n", "") for each in items) + "]"
    if isinstance(value, dict):
        pairs = shuffle.sample(sorted(value.items()), len(value))
        return "{ " + ", ".join(f"{name} = {text('', each, shuffle)}" for name, each in pairs) + " }"
    return value.isoformat() if hasattr(value, "isoformat") else json.dumps(value, ensure_ascii=False)


def tag_of(spec: Spec, lock: Lock) -> str:
    return compute_tag(compile_dockerfile(spec, lock))


@settings(max_examples=count_examples(60))
@given(st.sampled_from(CASES), st.randoms(use_true_random=False))
def test_what_is_unordered_leaves_the_tag_alone(name: str, shuffle: random.Random) -> None:
    spec, lock = parsed(name)
    other = spec_of(written(tomli.loads(case(name)[0]), shuffle))
    assert check_freshness(other, lock) == []
    assert tag_of(other, lock) == tag_of(spec, lock)


def kinds(platform: PlatformLock) -> list[str]:
    """What can move in a lock. A base to build on counts where something is built; conda's Python is its package."""
    return [
        "run",
        *(["build", "tool"] if platform.tools else []),
        *(["version", "hash", "less"] if platform.pip else []),
        *(["conda"] if platform.conda else ["python", "path"] if platform.python else []),
        *(["apt version", "apt hash", "snapshot"] if platform.apt else []),
    ]


@settings(max_examples=count_examples(100))
@given(st.sampled_from(CASES), st.data())
def test_any_pin_moves_the_tag(name: str, data: st.DataObject) -> None:
    """A version, a hash, a base, a tool, the interpreter, a package less: each is another image."""
    spec, lock = parsed(name)
    index = data.draw(st.integers(0, len(lock.platforms) - 1))
    platform = lock.platforms[index]
    place = data.draw(st.integers(0, max(0, len(platform.pip) - 1)))
    pip = list(platform.pip)
    digest = "0" * 64
    kind = data.draw(st.sampled_from(kinds(platform)))
    # Without its init, a lock does not satisfy `init = true`, and there is no image.
    assume(kind != "less" or not (spec.image.init and pip[place].name == INIT_PACKAGE))
    if kind == "less":
        del pip[place]
    elif kind == "version":
        # Of an sdist its file says it.
        newer = f"{pip[place].version}.1"
        file = pip[place].file.replace(pip[place].version, newer)
        pip[place] = dataclasses.replace(pip[place], version=newer, file=file)
    elif kind == "hash":
        pip[place] = dataclasses.replace(pip[place], sha256=digest)
    moved = dataclasses.replace(platform, pip=tuple(pip))
    if kind in ("build", "run"):
        image = dataclasses.replace(platform.build, image=f"{platform.build.image.partition('@')[0]}@sha256:{digest}")
        changes: dict[str, Any] = {kind: image}
        moved = dataclasses.replace(moved, **changes)
    elif kind == "tool":
        tools = tuple(dataclasses.replace(tool, image=f"x@sha256:{digest}") for tool in platform.tools)
        moved = dataclasses.replace(moved, tools=tools)
    elif kind == "conda":
        refiled = dataclasses.replace(platform.conda[0], sha256=digest)
        moved = dataclasses.replace(moved, conda=(refiled, *platform.conda[1:]))
    elif kind.startswith("apt "):
        fields: dict[str, Any] = {"version": "0"} if kind == "apt version" else {"sha256": digest}
        moved = dataclasses.replace(moved, apt=(dataclasses.replace(platform.apt[0], **fields), *platform.apt[1:]))
    elif kind == "snapshot":
        assert tag_of(spec, dataclasses.replace(lock, snapshot="2026-12-24T00:00:00Z")) != tag_of(spec, lock)
        return
    elif kind in ("python", "path"):
        assert platform.python
        changed: dict[str, Any] = {"version": "3.99.9"} if kind == "python" else {"path": "/opt/python3"}
        moved = dataclasses.replace(moved, python=dataclasses.replace(platform.python, **changed))
    platforms = (*lock.platforms[:index], moved, *lock.platforms[index + 1 :])
    assert tag_of(spec, dataclasses.replace(lock, platforms=platforms)) != tag_of(spec, lock)


@given(
    st.sampled_from(
        [
            {"env": (("A", "1"),)},
            {"env": (("A", "2"),)},
            {"env": (("B", "1"),)},
            {"labels": (("a", "1"),)},
            {"user": (1001, 1000)},
            {"user": (1000, 1001)},
            {"user": (0, 0)},
            {"workdir": "/elsewhere"},
            {"expose": (1234,)},
            {"entrypoint": ("tini",)},
            {"command": ("true",)},
            {"command": ("true", "true")},
        ]
    ),
    st.sampled_from(CASES),
)
def test_whatever_starts_the_image_moves_the_tag(change: dict[str, Any], name: str) -> None:
    """And needs no new lock."""
    spec, lock = parsed(name)
    other = dataclasses.replace(spec, image=dataclasses.replace(spec.image, **change))
    assert check_freshness(other, lock) == []
    assert tag_of(other, lock) != tag_of(spec, lock)


@given(st.sampled_from(CASES))
def test_only_the_name_is_the_names_business(name: str) -> None:
    """The hash is the image's, whatever it is called."""
    spec, lock = parsed(name)
    renamed = dataclasses.replace(spec, name="other", image=dataclasses.replace(spec.image, repository="else/where"))
    assert tag_of(renamed, lock) == tag_of(spec, lock)
