"""What every pip back end must answer alike, asked of each of them through an index on the loopback interface."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from envcompile.errors import EnvcompileError, MissingOutside
from envcompile.platforms import PLATFORMS
from envcompile.resolve.pip_tools import PipTools, running
from envcompile.resolve.process import run
from envcompile.resolve.protocol import Effects, PipRequest, Unsolvable
from envcompile.resolve.uv import Uv
from tests.resolve.loopback import Index, Wheel, served, world, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from envcompile.lock.model import PipPackage
    from envcompile.resolve.protocol import PipResolver

    Ask = Callable[..., tuple[PipPackage, ...]]

HERE = running()
MACHINE = HERE.machine or platform.machine()
GLIBC = HERE.glibc or "2.36"
WORLD = world(MACHINE, HERE.python)


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with served(Index(WORLD)) as serving:
        yield serving


@pytest.fixture(
    params=[
        Uv,
        pytest.param(
            PipTools, marks=pytest.mark.skipif(not find_spec("piptools"), reason="pip-tools is not installed")
        ),
    ]
)
def resolver(request: pytest.FixtureRequest) -> PipResolver:
    made: PipResolver = request.param()
    if isinstance(made, PipTools) and not HERE.glibc:
        pytest.skip("pip-tools resolves for CPython on Linux with glibc only")
    return made


@pytest.fixture
def ask(resolver: PipResolver, index: Index, tmp_path: Path) -> Ask:
    """The back end's answer to some requirements; `url` and `environment` in place of the usual ones."""

    def asking(
        *requirements: str, url: str = "", environment: Mapping[str, str] | None = None, **fields: object
    ) -> tuple[PipPackage, ...]:
        home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "uv")}
        where = {"UV_DEFAULT_INDEX": url or index.url(), "PIP_INDEX_URL": url or index.url()}
        target = next(each for each in PLATFORMS.values() if each.machine == MACHINE)
        plain: dict[str, object] = {"exclude": (), "python": HERE.python, "glibc": GLIBC, "platform": target}
        question = PipRequest(requirements=requirements, **{**plain, **fields})  # type: ignore[arg-type]
        return resolver.resolve(question, Effects(run, {**(environment or {}), **home, **where}))

    return asking


def pins(answer: tuple[PipPackage, ...]) -> list[str]:
    return [f"{each.name}=={each.version}" for each in answer]


@pytest.mark.parametrize("html", [False, True], ids=["json", "html"])
def test_every_field(ask: Ask, *, html: bool) -> None:
    with served(Index(WORLD, html=html)) as index:
        answer = ask("App", url=index.url())
    app, lib = answer
    wheel = next(each for each in WORLD if (each.name, each.version) == ("lib", "2.0"))
    assert (lib.name, lib.version, lib.file, lib.sha256) == ("lib", "2.0", wheel.file, wheel.sha256())
    assert lib.size == (None if html else len(wheel.content()))
    assert (app.depends, lib.depends, app.index, app.kind) == (("lib",), (), "default", "wheel")
    # An extra's packages are needed by the package itself.
    assert [each.depends for each in ask("app[more]")] == [("lib", "plug"), (), ("lib",)]


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (["app ==1.0", "lib ==1.1", "setuptools"], ["app==1.0", "lib==1.1", "setuptools==80.0"]),
        (["app[more]"], ["app==2.0", "lib==1.1", "plug==1.0"]),
        (["two_words", "plug ; python_version < '3'", "lib ; sys_platform == 'linux'"], ["lib==2.0", "two-words==1.0"]),
        (["chooses"], ["chooses==1.0", "lib==1.1"]),
        (["strict <2"], ["lib==1.0", "strict==1.0"]),
        (["lib >=3.0rc1"], ["lib==3.0rc1"]),
        (["lib ==2.1"], ["lib==2.1"]),
        ([], []),
    ],
    ids=["exact", "extra", "markers", "patch level", "backtracking", "prerelease", "yanked", "nothing"],
)
def test_versions(ask: Ask, requirements: list[str], expected: list[str]) -> None:
    assert pins(ask(*requirements)) == expected


def test_pins_are_kept_moved_and_given_up(ask: Ask) -> None:
    earlier = ask("app ==1.0", "lib ==1.0", "two-words")
    kept = ask("app", "lib", preferences=earlier)
    assert pins(kept) == ["app==1.0", "lib==1.0"]
    assert pins(ask("app", "lib", preferences=earlier, upgrade=frozenset({"lib"}))) == ["app==1.0", "lib==2.0"]
    assert pins(ask("app", "lib", preferences=earlier, upgrade=True)) == ["app==2.0", "lib==2.0"]
    # What is new comes as it fits to the pins, whatever is asked for first.
    for words in (("strict", "app"), ("app", "strict")):
        assert pins(ask(*words, preferences=earlier)) == ["app==1.0", "lib==1.0", "strict==1.0"]
    # What the spec no longer allows moves, and so does what stands in its way, but nothing else.
    earlier = ask("strict ==1.0", "app ==1.0")
    assert pins(ask("strict", "lib >=2", "app", preferences=earlier)) == ["app==1.0", "lib==2.0", "strict==2.0"]
    assert pins(ask("strict >=2", "app", preferences=earlier)) == ["app==1.0", "lib==2.0", "strict==2.0"]


def test_exact_versions(ask: Ask) -> None:
    """They hold for what the answer holds anyway, add nothing to it, and stay where nothing asks for them any more."""
    earlier = ask("app ==1.0", "two-words")
    chosen = ask("app", "two-words", preferences=earlier, upgrade=frozenset({"lib"}), exact={"lib": "1.1"})
    assert pins(chosen) == ["app==1.0", "lib==1.1", "two-words==1.0"]
    assert ask("app", "two-words", preferences=chosen) == chosen
    assert pins(ask("two-words", exact={"lib": "1.1"})) == ["two-words==1.0"]
    # Whatever stands in the way of it moves; what is asked for does not.
    earlier = ask("strict ==2.0", "app ==1.0")
    lower = ask("strict", "app", preferences=earlier, upgrade=frozenset({"lib"}), exact={"lib": "1.0"})
    assert pins(lower) == ["app==1.0", "lib==1.0", "strict==1.0"]
    with pytest.raises(Unsolvable) as raised:
        ask("lib >=2", exact={"lib": "1.0"})
    assert "1.0" in raised.value.reason


@pytest.mark.parametrize("version", ["2.1", "3.0rc1"], ids=["yanked", "prerelease"])
def test_an_exact_version_that_nobody_would_choose(ask: Ask, version: str) -> None:
    """Who names it gets it, and keeps it."""
    chosen = ask("lib", exact={"lib": version})
    assert pins(chosen) == [f"lib=={version}"]
    assert pins(ask("lib", preferences=chosen)) == [f"lib=={version}"]


def test_a_kept_pin_keeps_its_file(ask: Ask) -> None:
    older = Index(tuple(each for each in WORLD if "manylinux_2_28" not in each.tag))
    with served(older):
        (before,) = ask("native ==1.0", url=older.url())
    (free,), (kept,) = ask("native ==1.0"), ask("native", preferences=(before,))
    assert "manylinux_2_17" in before.file
    assert "manylinux_2_28" in free.file
    assert kept == before


def test_excluded_packages_and_what_only_they_need_are_left_out(ask: Ask) -> None:
    answer = ask("app", "plug", "two-words", exclude=("lib", "Two_Words"))
    assert pins(answer) == ["app==2.0", "plug==1.0"]
    assert [each.depends for each in answer] == [(), ()]
    assert pins(ask("app[more]", exclude=("plug", "lib"))) == ["app==2.0"]


@pytest.mark.skipif(tuple(map(int, GLIBC.split("."))) < (2, 31), reason="this machine's glibc is older than 2.31")
def test_the_glibc_of_the_base_decides(ask: Ask) -> None:
    assert pins(ask("native", glibc="2.31")) == ["native==2.0"]
    (older,) = ask("native", glibc="2.28")
    assert (older.version, older.file) == ("1.0", f"native-1.0-py3-none-manylinux_2_28_{MACHINE}.whl")


def test_exclude_newer(ask: Ask) -> None:
    assert pins(ask("lib", exclude_newer="2025-06-01T00:00:00Z")) == ["lib==1.1"]
    assert pins(ask("lib", exclude_newer="2024-06-01T00:00:00Z")) == ["lib==1.0"]
    with pytest.raises(Unsolvable):
        ask("lib", exclude_newer="2024-01-01T00:00:00Z")
    with served(Index(WORLD, html=True)) as untold, pytest.raises(Unsolvable):
        ask("lib", exclude_newer="2025-06-01T00:00:00Z", url=untold.url())


@pytest.mark.parametrize(
    ("requirements", "named"),
    [
        (["lib >=50", "app"], ["lib"]),
        (["app >=2", "lib >=1", "strict <2", "plug", "lib !=1.0"], ["strict"]),
        (["no-such-thing", "app"], ["no-such-thing"]),
        (["lost"], ["lost", "nowhere"]),
        (["windows"], ["windows"]),
    ],
    ids=["range", "conflict", "missing", "missing below", "no wheel"],
)
def test_unsolvable_names_the_requirement(ask: Ask, requirements: list[str], named: list[str]) -> None:
    with pytest.raises(Unsolvable) as raised:
        ask(*requirements)
    assert all(name in raised.value.reason for name in named)
    assert not any(word in raised.value.reason for word in ("Traceback", "-r requirements", "/tmp", "\n\n\n"))


def test_nothing_of_the_users_settings_leaks_in(ask: Ask, tmp_path: Path) -> None:
    folder = str(write((Wheel("lib", "2.9"),), tmp_path / "wheels"))
    (tmp_path / "constraints.txt").write_text("lib<2\n")
    for place, text in {
        "pip/pip.conf": f"[global]\nfind-links = {folder}\nno-index = true\n",
        "uv/uv.toml": f'find-links = ["{folder}"]\nno-index = true\n',
    }.items():
        file = tmp_path / ".config" / place
        file.parent.mkdir(parents=True)
        file.write_text(text)
    with served(Index((Wheel("lib", "2.8"),))) as other:
        names = ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_INDEX_URL")
        environment = {
            **dict.fromkeys(names, other.url()),
            **dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), folder),
            **dict.fromkeys(("PIP_CONSTRAINT", "UV_CONSTRAINT"), str(tmp_path / "constraints.txt")),
            **dict.fromkeys(("PIP_PRE", "PIP_NO_INDEX", "UV_NO_INDEX"), "1"),
            "UV_PRERELEASE": "allow",
            "PIP_CONFIG_FILE": str(tmp_path / ".config/pip/pip.conf"),
            "PYTHONPATH": folder,
        }
        assert pins(ask("lib", environment=environment)) == ["lib==2.0"]
    assert not other.asked


@pytest.mark.parametrize("place", ["url", "netrc"])
def test_credentials_are_used_and_never_shown(ask: Ask, tmp_path: Path, place: str) -> None:
    with served(Index(WORLD, password="s3cret")) as index:
        if place == "netrc":
            (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
            (tmp_path / ".netrc").chmod(0o600)
        url = index.url("me:s3cret@" if place == "url" else "")
        answer = ask("app", url=url)
        assert pins(answer) == ["app==2.0", "lib==2.0"]
        assert "s3cret" not in repr(answer)
        with pytest.raises(Unsolvable) as raised:
            ask("lib >=50", "lost", url=url)
        assert "s3cret" not in shown(raised.value)
        index.password = "another"
        with pytest.raises(EnvcompileError) as refused:
            ask("two-words", url=url)
        assert "s3cret" not in shown(refused.value)


def shown(error: EnvcompileError) -> str:
    return f"{error} {error.hint} {getattr(error, 'reason', '')} {error.__cause__} {error.__context__}"


def test_an_index_that_is_not_there(ask: Ask) -> None:
    with served(Index(WORLD)) as gone:
        url = gone.url("me:s3cret@")
    with pytest.raises(MissingOutside) as raised:
        ask("app", url=url, environment={"UV_HTTP_RETRIES": "0"})
    assert "s3cret" not in shown(raised.value)


def test_a_page_that_is_refused_is_no_answer(ask: Ask, resolver: PipResolver, request: pytest.FixtureRequest) -> None:
    """Not even when an older release, which does not need that project, would do."""
    if isinstance(resolver, Uv):
        request.applymarker(pytest.mark.xfail(reason="uv takes a 403 for a project that is not there"))
    with served(Index((*WORLD, Wheel("app", "3.0", ("walled",))), refused=frozenset({"walled"}))) as index:
        with pytest.raises(MissingOutside) as raised:
            ask("app", url=index.url())
        assert "walled" in shown(raised.value)
