"""Promise 7: `verify` asks whether the lock satisfies the spec, requirement by requirement, and names what fails.

Real pairs of spec and lock, each changed in one way of which it is known by construction whether the lock answers
still.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tempfile
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.cli.fast_path import are_all_fresh
from envcompile.cli.main import main
from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_INVALID_INPUT, EXIT_OK
from envcompile.lock.freshness import check_freshness
from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from envcompile.spec.conda import parse_match_spec
from envcompile.spec.pip import parse_requirement
from tests.kit.effort import count_examples
from tests.kit.project import CASES, case, parsed, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from envcompile.lock.model import Lock, PlatformLock
    from envcompile.spec.model import Spec


class Mutated(NamedTuple):
    """A spec and a lock, the exit code that `verify` must give, and what it must name; no code where both may be."""

    spec: str
    lock: str
    code: int | None
    names: tuple[str, ...] = ()


Draw = st.DataObject


def swapped(text: str, old: str, new: str) -> str:
    assert old in text, (old, text)
    return text.replace(old, new, 1)


def pick(data: Draw, spec: Spec) -> tuple[str, str]:
    """A requirement of the spec: `conda` or `pip`, and its text."""
    return data.draw(
        st.sampled_from(
            [
                *(("conda", each.text) for each in spec.conda.packages),
                *(("pip", each.text) for each in spec.pip.packages),
            ]
        )
    )


def named(side: str, text: str) -> str:
    return parse_match_spec(text).name if side == "conda" else parse_requirement(text).name


def pins(lock: Lock, side: str, wanted: str) -> list[str]:
    """The versions that are locked, of one platform after the other; without local parts, which ranges do not take."""
    packages: list[Any] = [package for platform in lock.platforms for package in getattr(platform, side)]
    return [str(package.version).partition("+")[0] for package in packages if package.name == wanted]


def pin(lock: Lock, side: str, wanted: str) -> str | None:
    """The version that is locked for the first platform that has one; None where the marker has left it out."""
    return next(iter(pins(lock, side, wanted)), None)


def bare(side: str, text: str) -> str:
    """The requirement without its range: its name, and its extras."""
    return parse_match_spec(text).name if side == "conda" else re.split(r"[ ;<>=!~]", text)[0]


def tightened(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    side, old = pick(data, spec)
    version = pin(lock, side, named(side, old))
    operators = ["<", ">", "!="]
    new = f"{bare(side, old)} {data.draw(st.sampled_from(operators))}{version or '1'}"
    if version is None:  # a marker that did not hold: now it is asked for
        return Mutated(
            swapped(texts[0], f'"{old}"', f'"{new}"'), texts[1], EXIT_FAILED, (f"`{new}`", "the lock has no")
        )
    return Mutated(
        swapped(texts[0], f'"{old}"', f'"{new}"'), texts[1], EXIT_FAILED, (f"`{new}`", version, "envcompile.toml:")
    )


def loosened(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    side, old = pick(data, spec)
    version = pin(lock, side, named(side, old))
    if version is None:
        return Mutated(f"{texts[0]}# nothing\n", texts[1], EXIT_OK)
    operator = data.draw(st.sampled_from([">=", "<=", "=="]))
    short = bare(side, old)
    ways = [short, f"{short}>=0"]
    if len({*pins(lock, side, named(side, old))}) == 1:
        ways += [f"{short} {operator}{version}", f"{short.upper()}  {operator} {version}"]
    return Mutated(swapped(texts[0], f'"{old}"', f'"{data.draw(st.sampled_from(ways))}"'), texts[1], EXIT_OK)


def closure(packages: Any, roots: set[str]) -> set[str]:
    """All that the roots need, the slow way."""
    needs = {each.name: {re.split(r"[ \[]", need)[0] for need in each.depends} for each in packages}
    while more := {need for root in roots for need in needs.get(root, ())} - roots:
        roots |= more
    return roots & set(needs)


def left_over(platform: PlatformLock, spec: Spec) -> set[str]:
    """What a platform holds and the requirements do not lead to."""
    conda = {each.name for each in spec.conda.packages} | ({"python"} if spec.conda.packages else set())
    pip = {each.name for each in spec.pip.packages}
    unneeded = {each.name for each in platform.conda} - closure(platform.conda, conda)
    return unneeded | ({each.name for each in platform.pip} - closure(platform.pip, pip))


def removed(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    side, old = pick(data, spec)
    text = texts[0].replace(f'"{old}", ', "", 1).replace(f', "{old}"', "", 1).replace(f'    "{old}",\n', "", 1)
    text = text if text != texts[0] else swapped(text, f'"{old}"', "")
    table = getattr(spec, side)
    packages = tuple(each for each in table.packages if each.text != old)
    changes: Any = {side: dataclasses.replace(table, packages=packages)}
    rest = dataclasses.replace(spec, **changes)
    if not (rest.conda.packages or rest.pip.packages):
        return Mutated(text, texts[1], EXIT_INVALID_INPUT, ("error[nothing-to-install]",))
    if any(left_over(platform, rest) for platform in lock.platforms):
        return Mutated(text, texts[1], EXIT_FAILED, (f"`{named(side, old)}` any more, but the lock contains it",))
    if "[" in old:  # the extra is noted
        return Mutated(text, texts[1], EXIT_FAILED, (named(side, old),))
    return Mutated(text, texts[1], EXIT_OK)


def added(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    side = data.draw(st.sampled_from([each for each in ("conda", "pip") if getattr(spec, each).packages]))
    before = f"[{side}]"
    head, _, rest = texts[0].partition(before)
    asked = {each.name for each in getattr(spec, side).packages}
    there = set.intersection(*({each.name for each in getattr(platform, side)} for platform in lock.platforms)) - asked
    there -= {each for platform in lock.platforms for package in platform.conda for each in package.provides}
    new = data.draw(st.sampled_from([*sorted(there), "no-such-package", "acme >=1"]))
    text = head + before + rest.replace("packages = [", f'packages = ["{new}", ', 1)
    if new in there:
        return Mutated(text, texts[1], EXIT_OK)
    return Mutated(text, texts[1], EXIT_FAILED, (f"`{new}`", f"the lock has no `{new.split()[0]}`", "envcompile.toml:"))


def platforms(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    del data, lock
    if len(spec.platforms) > 1:
        text = swapped(texts[0], ', "linux-aarch64"]', "]")
    else:
        text = swapped(texts[0], "\n\n", '\nplatforms = ["linux-64", "linux-aarch64"]\n\n')
    return Mutated(text, texts[1], EXIT_FAILED, ("`linux-aarch64`", "envcompile.toml:"))


KEYS: list[tuple[str, str, str, int, str]] = [
    # case, old, new, exit code, what is named
    ("conda", "/conda-forge", "/corp", EXIT_FAILED, "/corp"),
    ("conda", '/conda-forge"]', '/conda-forge", "corp"]', EXIT_OK, ""),
    ("conda", '["https', '["corp", "https', EXIT_FAILED, "conda.channels"),
    ("conda", "[pip]", '[cuda]\nversion = "12"\n[pip]', EXIT_FAILED, "without `cuda.version`, and the spec has `12`"),
    ("conda", "[pip]", "[cuda]\nversion = false\n[pip]", EXIT_FAILED, "`cuda.version`"),
    ("conda", '"pip"]', '"pip"]\nresolver = "rattler"', EXIT_OK, ""),
    ("conda", "[pip]", "[tools]\npython = 'other:1'\n[pip]", EXIT_FAILED, "`tools.python`"),
    ("several", "2026-11-01", "2026-10-01", EXIT_FAILED, "`2026-10-01T00:00:00Z`"),
    ("several", "2026-11-01", "2026-11-02", EXIT_OK, ""),
    ("several", "exclude-newer = 2026-11-01T00:00:00Z", "", EXIT_OK, ""),
    ("several", "[socks]", "", EXIT_FAILED, "`requests[socks]`"),
    ("several", "requests[socks]", "requests[socks,security]", EXIT_FAILED, "`requests[security]`"),
    ("several", "== 'win32'", "== 'linux'", EXIT_FAILED, "the lock has no `tzdata`"),
    ("several", "numpy >=2", "numpy >=2 ; python_version < '3'", EXIT_FAILED, "no requirement needs `numpy` any more"),
    ("several", "numpy >=2", "numpy >=2 ; python_full_version >= '3.12.12'", EXIT_OK, ""),
    ("several", '"3.12.12"', '"3.12"', EXIT_OK, ""),
    ("several", '"3.12.12"', '"3.12.11"', EXIT_FAILED, "the spec requests Python 3.12.11, but the lock has 3.12.12"),
    ("several", "3.12-slim-bookworm@", "3.12-slim-trixie@", EXIT_FAILED, "`image.base`"),
    ("several", "782412e", "0000000", EXIT_FAILED, "`image.base`"),
    ("several", "@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254", "", EXIT_OK, ""),
    ("apt", '"tini"]', '"tini", "gcc"]', EXIT_FAILED, "`apt.packages`"),
    ("apt", '"git", "tini"', '"tini", "git"', EXIT_OK, ""),
    ("apt", "2026-11-23", "2026-11-22", EXIT_FAILED, "`apt.snapshot`"),
    ("apt", "snapshot = 2026-11-23T00:00:00Z\n", "", EXIT_OK, ""),
    ("apt-several", 'build = ["make"]', "", EXIT_FAILED, "`apt.build`"),
    ("apt-several", "snapshot = 2026-11-23T00:00:00Z\n", "", EXIT_FAILED, "`apt.snapshot`"),
    ("indexes", "/whl/cpu", "/whl/cu128", EXIT_FAILED, "`pip.extra-indexes`"),
    ("indexes", 'name = "corp"', 'name = "mine"', EXIT_FAILED, "`pip.extra-indexes`"),
    ("indexes", '"acme-*"', '"acme-*", "numpy"', EXIT_FAILED, "`pip.extra-indexes`"),
    ("indexes", '"acme-*"', '"Acme_*", "other-*"', EXIT_OK, ""),
    ("indexes", '["torch", "torchvision"]', '["torch"]', EXIT_OK, ""),
    ("several", "[image]", "[lock]\nexports = []\n[image]", EXIT_OK, ""),
    ("several", "[image]", '[lock]\nexports = ["pylock.toml"]\n[image]', EXIT_FAILED, "`pylock.toml` does not exist"),
    ("several", "[image]", '[lock]\nexports = ["explicit.txt"]\n[image]', EXIT_INVALID_INPUT, "error[export]"),
    ("everything", '["nvidia-nccl-cu13"]', "[]", EXIT_FAILED, "`pip.exclude`"),
    ("everything", '["nvidia-nccl-cu13"]', '["nvidia-nccl-cu13", "acme"]', EXIT_OK, ""),
    ("everything", '["nvidia-nccl-cu13"]', '["nvidia-nccl-cu13", "scipy"]', EXIT_FAILED, "the spec excludes `scipy`"),
    ("everything", '["nvidia-nccl-cu13"]', '["nvidia_nccl.cu13"]', EXIT_OK, ""),
    ("everything", 'glibc = "2.39"', 'glibc = "2.38"', EXIT_FAILED, "`image.base.glibc`"),
    ("everything", ', glibc = "2.39"', "", EXIT_OK, ""),
    ("everything", "/uv:0.13.9@", "/uv:0.13.8@", EXIT_FAILED, "`tools.uv`"),
    ("everything", "/usr/bin/python3", "/usr/bin/python4", EXIT_FAILED, "`image.base.python-path`"),
    ("everything", 'workdir = "/work/here"', 'workdir = "/work"', EXIT_OK, ""),
    ("everything", 'workdir = "/work/here"', 'workdir = "work"', EXIT_INVALID_INPUT, "error[path]"),
    ("everything", '["tini", "--"]', "[]", EXIT_INVALID_INPUT, "error[command]"),
    ("everything", 'name = "everything"', 'name = "something"', EXIT_OK, ""),
    ("everything", 'name = "everything"', 'nam = "everything"', EXIT_INVALID_INPUT, "error[unknown-key]"),
]


def key(data: Draw, *_: object) -> Mutated:
    folder, old, new, code, names = data.draw(st.sampled_from(KEYS))
    spec, lock = case(folder)
    return Mutated(swapped(spec, old, new), lock, code, (names,))


def repinned(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    """A pin that a program has moved, with a right digest: no comment of the spec is needed to see it."""
    side, old = pick(data, spec)
    wanted = named(side, old)
    version = pin(lock, side, wanted)
    if version is None:
        return Mutated(*texts, EXIT_OK)
    spec_text = swapped(texts[0], f'"{old}"', f'"{bare(side, old)} =={version}"')

    def moved(platform: PlatformLock) -> PlatformLock:
        packages: Any = getattr(platform, side)
        rows = tuple(dataclasses.replace(each, version="0.0.1") if each.name == wanted else each for each in packages)
        changes: Any = {side: rows}
        return dataclasses.replace(platform, **changes)

    rows = tuple(map(moved, lock.platforms))
    other = dataclasses.replace(
        lock, platforms=rows, spec_digest=lock.spec_text_digest, spec_text_digest=lock.spec_digest
    )
    return Mutated(spec_text, format_lock(other), EXIT_FAILED, (f"=={version}", f"{wanted} 0.0.1"))


def dropped(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    """A package that a program has lost, with a right digest."""
    del spec
    platform = data.draw(st.sampled_from(lock.platforms))
    side = data.draw(st.sampled_from([each for each in ("conda", "pip") if getattr(platform, each)]))
    package = data.draw(st.sampled_from(getattr(platform, side)))
    changes: Any = {side: tuple(each for each in getattr(platform, side) if each != package)}
    if side == "pip":
        # An sdist takes with it what it is built with.
        changes["pip_build"] = tuple(each for each in platform.pip_build if each.name != package.name)
    rest = tuple(dataclasses.replace(each, **changes) if each == platform else each for each in lock.platforms)
    other = dataclasses.replace(
        lock, platforms=rest, spec_digest=lock.spec_text_digest, spec_text_digest=lock.spec_digest
    )
    return Mutated(texts[0], format_lock(other), EXIT_FAILED, (f"`{package.name}`",))


def damaged(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    """An edit by hand: of a pin, a hash, a digest; a line less; a truncation at any byte."""
    del spec, lock
    text = texts[1]
    lines = text.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(text) - 1))
    line = data.draw(st.integers(0, len(lines) - 1))
    edited = {
        "truncated": text[:at],
        "line deleted": "".join(lines[:line] + lines[line + 1 :]),
        "line doubled": "".join([*lines[:line], lines[line], *lines[line:]]),
        "character": text[:at] + data.draw(st.sampled_from('0a"\n,{')) + text[at + 1 :],
    }[data.draw(st.sampled_from(["truncated", "line deleted", "line doubled", "character"]))]
    return Mutated(
        texts[0],
        edited,
        EXIT_OK if edited == text else EXIT_INVALID_INPUT,
        () if edited == text else ("`envcompile.lock`",),
    )


def the_same(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    """Comments, line ends: nothing that is asked."""
    del spec, lock
    ways: list[Callable[[str, str], tuple[str, str]]] = [
        lambda spec, lock: (f"# a comment\n{spec}", lock),
        lambda spec, lock: (spec.replace("\n", "\r\n"), lock),
        lambda spec, lock: (f"{spec}\n\n# a comment", lock.replace("\n", "\r\n")),
    ]
    return Mutated(*data.draw(st.sampled_from(ways))(*texts), EXIT_OK)


def cut_spec(data: Draw, spec: Spec, lock: Lock, texts: tuple[str, str]) -> Mutated:
    """A spec that ends anywhere: it may be one still."""
    del spec, lock
    return Mutated(texts[0][: data.draw(st.integers(0, len(texts[0]) - 1))], texts[1], None)


KINDS: tuple[Callable[..., Mutated], ...] = (
    tightened,
    loosened,
    removed,
    added,
    repinned,
    dropped,
    platforms,
    key,
    key,
    damaged,
    damaged,
    the_same,
    cut_spec,
)


@settings(max_examples=count_examples(500))
@given(st.data())
def test_stale_or_unreadable_exactly_when_it_is(data: st.DataObject) -> None:
    """And the mutated thing is named, without a traceback."""
    chosen = data.draw(st.sampled_from(CASES))
    spec, lock = parsed(chosen)
    # Of Debian packages it is noted which are asked for: no requirement has a range there.
    kind = data.draw(st.sampled_from(KINDS if spec.pip.packages or spec.conda.packages else KINDS[KINDS.index(key) :]))
    mutated = kind(data, spec, lock, case(chosen))
    code, said, glanced = verified(mutated.spec, mutated.lock)
    if mutated.code is not None:
        assert code == mutated.code, (kind.__name__, said)
    for each in mutated.names:
        assert each in said, (kind.__name__, said)
    if glanced:
        # The short way is sound: the long way finds nothing either.
        assert check_freshness(spec_of(mutated.spec), parse_lock(mutated.lock, "x.lock")) == []


def verified(spec: str, lock: str) -> tuple[int, str, bool]:
    """The exit code, what was said, and whether a glance was enough."""
    with tempfile.TemporaryDirectory() as folder, inside(folder), contextlib.redirect_stderr(StringIO()) as errors:
        Path("envcompile.toml").write_bytes(spec.encode())
        Path("envcompile.lock").write_bytes(lock.encode())
        glanced = are_all_fresh([])
        return EXIT_OK if glanced else main(["verify"]), errors.getvalue(), glanced


@contextlib.contextmanager
def inside(folder: str) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
