"""What every pip back end must answer alike, asked of each of them through an index on the loopback interface."""

from __future__ import annotations

import os
import platform
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.errors import EnvcompileError, InvalidInputError, UnavailableError
from envcompile.platforms import PLATFORMS
from envcompile.resolve.model import Effects, PipRequest, UnsolvableError
from envcompile.resolve.pip.pip_tools import PipToolsResolver, find_running_interpreter
from envcompile.resolve.pip.uv import UvResolver
from envcompile.spec.model import ExtraIndex
from envcompile.spec.pip import PipRequirement
from tests.kit.fork_server import run_forked
from tests.kit.index import Index, Wheel, certificates, proxy, served, world, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from envcompile.lock.model import PipPackage
    from envcompile.resolve.model import PipResolver

    Ask = Callable[..., tuple[PipPackage, ...]]

HERE = find_running_interpreter()
MACHINE = HERE.machine or platform.machine()
GLIBC = HERE.glibc or "2.36"
WORLD = world(MACHINE, HERE.python)


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with served(Index(WORLD)) as serving:
        yield serving


@pytest.fixture(
    params=[
        UvResolver,
        pytest.param(
            PipToolsResolver, marks=pytest.mark.skipif(not find_spec("piptools"), reason="pip-tools is not installed")
        ),
    ]
)
def resolver(request: pytest.FixtureRequest) -> PipResolver:
    made: PipResolver = request.param()
    if isinstance(made, PipToolsResolver) and not HERE.glibc:
        pytest.skip("pip-tools resolves for CPython on Linux with glibc only")
    return made


@pytest.fixture
def ask(resolver: PipResolver, index: Index, tmp_path: Path) -> Ask:
    """The back end's answer to some requirements; `url` and `environment` in place of the usual ones."""

    def asking(
        *requirements: str, url: str = "", environment: Mapping[str, str] | None = None, **fields: object
    ) -> tuple[PipPackage, ...]:
        path = f"{tmp_path}:{os.environ['PATH']}"
        home = {"PATH": path, "HOME": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "uv")}
        where = {"UV_DEFAULT_INDEX": url or index.url(), "PIP_INDEX_URL": url or index.url()}
        target = next(each for each in PLATFORMS.values() if each.machine == MACHINE)
        plain: dict[str, object] = {"exclude": (), "python": HERE.python, "glibc": GLIBC, "platform": target}
        question = PipRequest(requirements=tuple(map(PipRequirement, requirements)), **{**plain, **fields})  # type: ignore[arg-type]
        return resolver.resolve(question, Effects(run_forked, {**(environment or {}), **home, **where})).packages

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
    with pytest.raises(UnsolvableError) as raised:
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
    with pytest.raises(UnsolvableError):
        ask("lib", exclude_newer="2024-01-01T00:00:00Z")
    with served(Index(WORLD, html=True)) as untold, pytest.raises(UnsolvableError):
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
    with pytest.raises(UnsolvableError) as raised:
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
        with pytest.raises(UnsolvableError) as raised:
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
    with pytest.raises(UnavailableError) as raised:
        ask("app", url=url, environment={"UV_HTTP_RETRIES": "0"})
    assert "s3cret" not in shown(raised.value)


def test_a_page_that_is_refused_is_no_answer(ask: Ask, resolver: PipResolver, request: pytest.FixtureRequest) -> None:
    """Not even when an older release, which does not need that project, would do."""
    if isinstance(resolver, UvResolver):
        request.applymarker(pytest.mark.xfail(reason="uv takes a 403 for a project that is not there"))
    with served(Index((*WORLD, Wheel("app", "3.0", ("walled",))), refused=frozenset({"walled"}))) as index:
        with pytest.raises(UnavailableError) as raised:
            ask("app", url=index.url())
        assert "walled" in shown(raised.value)


def cpu(**fields: object) -> Index:
    """Laid out as PyTorch's own: HTML, local versions, links from the root; and names that are none of its business."""
    wheels = (Wheel("torch", "2.9.1+cpu"), Wheel("torch", "2.8.0+cpu"), Wheel("lib", "99.0"), Wheel("nets", "99.0"))
    return Index(wheels, html=True, root="/whl/cpu", files="/whl/cpu", **fields)  # type: ignore[arg-type]


DEFAULT = (
    *WORLD,
    Wheel("nets", "1.0", ("torch >=2", "acme-core", "lib")),
    Wheel("torch", "3.0"),
    Wheel("acme-core", "9"),
)


def test_each_package_comes_from_the_index_it_is_named_for_and_from_no_other(ask: Ask) -> None:
    """The confusion case, both ways round, for packages that only turn up on the way."""
    corp = Index((Wheel("acme-core", "1.0"), Wheel("lib", "98.0")))
    with served(Index(DEFAULT)) as public, served(cpu()) as torch, served(corp):
        extras = (
            ExtraIndex("cpu", torch.url(), ("Torch", "torch_*")),
            ExtraIndex("corp", corp.url(), ("acme-*", "tor?h")),
        )
        answer = ask("nets", url=public.url(), indexes=extras)
        assert [(each.name, each.version, each.index) for each in answer] == [
            ("acme-core", "1.0", "corp"),
            ("lib", "2.0", "default"),
            ("nets", "1.0", "default"),
            ("torch", "2.9.1+cpu", "cpu"),
        ]
        assert answer[3].file == "torch-2.9.1+cpu-py3-none-any.whl"
        assert answer[2].depends == ("acme-core", "lib", "torch")
        assert all("torch" in path for path in torch.asked)
        assert all("acme" in path for path in corp.asked)
        assert not any("torch" in path or "acme" in path for path in public.asked)
        # What an index does not have is nowhere, whoever else offers it.
        with pytest.raises(UnsolvableError) as raised:
            ask("lib", "two-words", url=public.url(), indexes=(ExtraIndex("corp", corp.url(), ("two-*",)),))
        assert "two-words" in raised.value.reason
        assert "index `corp`" in raised.value.reason
        assert "127.0.0.1" not in shown(raised.value)
        kept = ask("nets", "torch", url=public.url(), indexes=extras, preferences=answer)
        assert kept == answer
        older = ask("torch <2.9", url=public.url(), indexes=extras, preferences=answer)
        assert pins(older) == ["torch==2.8.0+cpu"]


def test_the_specs_default_index(ask: Ask, resolver: PipResolver) -> None:
    with served(Index((Wheel("lib", "7.0"),))) as own, served(cpu()) as torch:
        assert pins(ask("lib", index=own.url())) == ["lib==7.0"]
        extra = ExtraIndex("cpu", torch.url(), ("torch",))
        assert pins(ask("lib", "torch", index=own.url(), indexes=(extra,))) == ["lib==7.0", "torch==2.9.1+cpu"]
        if isinstance(resolver, UvResolver):
            own.password = CANARY
            named = {"UV_INDEX_DEFAULT_USERNAME": "me", "UV_INDEX_DEFAULT_PASSWORD": CANARY}
            assert pins(ask("lib <8", index=own.url(), environment=named)) == ["lib==7.0"]
            assert pins(ask("lib", index=own.url(), indexes=(extra,), environment=named)) == ["lib==7.0"]


def test_several_indexes_let_nothing_else_in(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / ".config/uv").mkdir(parents=True)
    with served(Index((Wheel("lib", "2.8"), Wheel("torch", "7.0")))) as other, served(cpu()) as torch:
        (tmp_path / ".config/uv/uv.toml").write_text(f'[[index]]\nurl = "{other.url()}"\n')
        environment = dict.fromkeys(("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"), other.url())
        extra = ExtraIndex("cpu", torch.url(), ("torch",))
        assert pins(ask("lib", "torch", environment=environment, indexes=(extra,))) == ["lib==2.0", "torch==2.9.1+cpu"]
    assert not other.asked


CANARY = "c4nary"


@pytest.mark.parametrize("place", ["netrc", "variables", "keyring", "uv's store", "bearer"])
def test_credentials_of_an_extra_index(ask: Ask, resolver: PipResolver, tmp_path: Path, place: str) -> None:
    if place != "netrc" and not isinstance(resolver, UvResolver):
        pytest.skip("pip knows credentials from URLs, netrc and keyrings, and none that are not basic")
    environment: dict[str, str] = {}
    secret = {"token": CANARY} if place == "bearer" else {"password": CANARY}
    with served(cpu(**secret)) as torch:
        extra = ExtraIndex("pytorch-cpu", torch.url(), ("torch",))
        if place == "netrc":
            (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
            (tmp_path / ".netrc").chmod(0o600)
        elif place == "variables":
            environment = {"UV_INDEX_PYTORCH_CPU_USERNAME": "me", "UV_INDEX_PYTORCH_CPU_PASSWORD": CANARY}
        elif place == "keyring":
            # The program that uv asks, as whoever has it answers.
            (tmp_path / "keyring").write_text(f"#!/bin/sh\n[ \"$1 $3\" = 'get me' ] && echo {CANARY}\n")
            (tmp_path / "keyring").chmod(0o755)
            environment = {"UV_KEYRING_PROVIDER": "subprocess", "UV_INDEX_PYTORCH_CPU_USERNAME": "me"}
        else:
            environment = {"UV_CREDENTIALS_DIR": str(credentials(tmp_path, torch))}
        answer = ask("lib", "torch", indexes=(extra,), environment=environment)
        assert pins(answer) == ["lib==2.0", "torch==2.9.1+cpu"]
        assert CANARY not in repr(answer)
        torch.password, torch.token = (torch.password and "other", torch.token and "other")
        with pytest.raises(UnavailableError) as refused:
            ask("lib", "torch", indexes=(extra,), environment=environment)
        assert CANARY not in shown(refused.value)
        assert "torch" in refused.value.message
        assert "credentials" in str(refused.value.hint) + refused.value.message


def credentials(folder: Path, index: Index) -> Path:
    """uv's own store of credentials: the file that `uv auth login` writes, whose `scheme` can be `bearer` too."""
    store = folder / "store"
    store.mkdir()
    basic = f'scheme = "basic"\nusername = "me"\npassword = "{index.password}"\n'
    how = f'scheme = "bearer"\ntoken = "{index.token}"\n' if index.token else basic
    (store / "credentials.toml").write_text(f'[[credential]]\nservice = "{index.url()}"\n{how}')
    return store


def test_credentials_in_the_users_url_of_the_default_index(ask: Ask, resolver: PipResolver) -> None:
    """Beside extra indexes pip could only be given them where others see them."""
    with served(Index(WORLD, password=CANARY)) as public, served(cpu()) as torch:
        extra = ExtraIndex("cpu", torch.url(), ("torch",))
        url = public.url(f"me:{CANARY}@")
        if isinstance(resolver, UvResolver):
            assert pins(ask("lib", "torch", url=f"named={url}", indexes=(extra,))) == ["lib==2.0", "torch==2.9.1+cpu"]
            return
        with pytest.raises(InvalidInputError) as raised:
            ask("lib", "torch", url=url, indexes=(extra,))
        assert CANARY not in shown(raised.value)


def test_a_proxy_is_asked_for_every_index_and_never_for_this_machine(ask: Ask) -> None:
    with served(Index(WORLD)) as public, served(cpu()) as torch:
        hosts = {"public.invalid": public.url().rpartition("/")[0], "torch.invalid": torch.url().partition("/whl")[0]}
        with proxy(hosts) as (url, asked):
            environment = {"http_proxy": url, "HTTP_PROXY": url}
            extra = ExtraIndex("cpu", "http://torch.invalid/whl/cpu", ("torch",))
            answer = ask(
                "lib", "torch", index="http://public.invalid/simple", indexes=(extra,), environment=environment
            )
    assert pins(answer) == ["lib==2.0", "torch==2.9.1+cpu"]
    assert {path.split("/")[2] for path in asked} == set(hosts)


def test_an_authority_of_ones_own(ask: Ask, tmp_path: Path) -> None:
    authority, server = certificates(tmp_path)
    with served(cpu(tls=server)) as torch:
        extra = ExtraIndex("cpu", torch.url(), ("torch",))
        trusting = {"SSL_CERT_FILE": str(authority)}
        assert pins(ask("torch", indexes=(extra,), environment=trusting)) == ["torch==2.9.1+cpu"]
        with pytest.raises(UnavailableError) as raised:
            ask("torch", indexes=(extra,), environment={"UV_HTTP_RETRIES": "0"})
        assert "SSL_CERT_FILE" in str(raised.value.hint)
