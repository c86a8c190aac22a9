"""What is pip-tools' own: where it refuses to work, and what it says when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.net.process import ProcessResult
from envcompile.platforms import PLATFORMS
from envcompile.resolve.model import Effects, PipRequest, UnsolvableError
from envcompile.resolve.pip.pip_tools import (
    PipToolsResolver,
    RunningInterpreter,
    check_running_platform,
    create_failure,
    create_skipped_page_error,
    find_index_url,
)
from envcompile.resolve.pip.simple_index import IndexFile, SimpleIndex
from envcompile.resolve.pip.wheels import check_requirements, find_newer_glibc_wheel, select_packages
from envcompile.spec.pip import PipRequirement
from tests.kit.index import Index, Wheel, served

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST = PipRequest((PipRequirement("lib >=1"),), (), PLATFORMS["linux-64"], "3.12.4", "2.36")


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (
            RunningInterpreter("3.12.4", "aarch64", "2.36"),
            "this machine, which is `aarch64`; `linux-64` is `x86_64`",
        ),
        (
            RunningInterpreter("3.12.5", "x86_64", "2.36"),
            "this Python, which is `3.12.5`; the base image has `3.12.4`",
        ),
        (RunningInterpreter("3.11.4", "x86_64", "2.36"), "`3.11.4`"),
        (RunningInterpreter("3.12.4", "", ""), "CPython on Linux with glibc"),
    ],
)
def test_refuses_what_it_cannot_resolve_for(here: RunningInterpreter, said: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        check_running_platform(REQUEST, here)
    assert said in raised.value.message
    assert 'resolver = "uv"' in str(raised.value.hint)


@pytest.mark.parametrize("glibc", ["2.31", "2.36", "2.41"])
def test_another_glibc_is_no_reason_to_refuse(glibc: str) -> None:
    check_running_platform(REQUEST, RunningInterpreter("3.12.4", "x86_64", glibc))


def wheel(version: str, tag: str = "py3-none-any", sha256: str = "0" * 64, **fields: object) -> IndexFile:
    plain = {"size": 1, "uploaded": "2024-01-01T00:00:00Z", "is_yanked": False, "requires_python": ""}
    return IndexFile(f"lib-{version}-{tag}.whl", sha256, **{**plain, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([wheel("2", "py3-none-manylinux_2_34_x86_64")], "lib-2-py3-none-manylinux_2_34_x86_64.whl"),
        # An older wheel of the same release: this machine sees the release too.
        ([wheel("2", "py3-none-manylinux_2_34_x86_64"), wheel("2", "py3-none-manylinux_2_17_x86_64")], None),
        ([wheel("2", "py3-none-manylinux_2_38_x86_64")], None),
        ([wheel("0.9", "py3-none-manylinux_2_34_x86_64")], None),
        ([wheel("2", "py3-none-manylinux_2_34_x86_64", requires_python=">=3.13")], None),
    ],
    ids=["hidden", "seen too", "too new for both", "older", "other Python"],
)
def test_a_wheel_that_pip_ignores_on_an_older_glibc_is_an_error(files: list[IndexFile], expected: str | None) -> None:
    projects = {"lib": (wheel("1"), *files)}
    assert find_newer_glibc_wheel(projects, {"lib": "1"}, REQUEST, "2.31") == expected
    assert find_newer_glibc_wheel(projects, {"lib": "1"}, REQUEST, "2.36") is None


def test_a_file_without_a_digest_or_for_another_platform_is_no_answer() -> None:
    for file in (wheel("1", sha256=""), wheel("1", "py3-none-win_amd64"), wheel("1", requires_python="<3")):
        with pytest.raises(UnsolvableError):
            select_packages({"lib": "1"}, {"lib": set()}, {"lib": (file,)}, REQUEST)


def test_the_answer_is_checked() -> None:
    answer = select_packages({"lib": "1"}, {"lib": {"gone"}}, {"lib": (wheel("1"),)}, REQUEST)
    for asked, named in (("lib >1", "lib"), ("other", "other"), ("lib", "gone")):
        with pytest.raises(UnsolvableError) as raised:
            check_requirements(answer, [PipRequirement(asked)], REQUEST)
        assert named in raised.value.reason


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ("/bin/python: No module named piptools\n", "`pip-tools`, which resolves"),
        (
            "Traceback ...\nImportError: cannot import name 'x' from 'pip'\n",
            "failed: ImportError: cannot import name 'x'",
        ),
        ("Usage: ...\nError: Invalid value for --uploaded-prior-to: requires pip >= 26.0\n", "pip >= 26.0"),
        ("pip._internal.exceptions.NetworkConnectionError: 500 at https://me:s3cret@host/a.whl\n", "did not answer"),
        ("", "no output"),
    ],
)
def test_an_end_that_is_not_about_requirements(errors: str, said: str) -> None:
    error = create_failure("", errors, REQUEST, ())
    assert isinstance(error, UnavailableError)
    assert said in error.message
    assert "s3cret" not in error.message


def test_the_log_tells_of_pages_that_were_passed_over() -> None:
    line = "2026-01-02T03:04:05,678   Could not fetch URL https://me:s3cret@host/simple/lib/: {} - skipping\n"
    assert (
        create_skipped_page_error(line.format("404 Client Error: Not Found for url: https://host/simple/lib/")) is None
    )
    for reason in ("connection error: [Errno 111] Connection refused", "403 Client Error: no", "429 Too Many Requests"):
        error = create_skipped_page_error(line.format(reason))
        assert error
        assert reason in error.message
        assert "`lib`" in error.message
        assert "s3cret" not in error.message


def test_the_index_is_the_users_else_what_pip_says() -> None:
    def run(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        assert (argv[1], folder) == ("-c", "here")
        assert not {"PIP_FIND_LINKS", "PYTHONPATH"} & set(environment)
        return ProcessResult(0, "some warning\nhttps://index.example/simple")

    leaking = {"PIP_FIND_LINKS": "/wheels", "PYTHONPATH": "/elsewhere"}
    assert find_index_url(Effects(run, leaking), "here") == "https://index.example/simple"
    assert find_index_url(Effects(run, {"PIP_INDEX_URL": "https://mine/simple"}), "here") == "https://mine/simple"


def test_without_pip_the_hint_says_what_to_install() -> None:
    def run(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:  # noqa: ARG001
        return ProcessResult(1, "No module named 'pip'")

    with pytest.raises(UnavailableError) as raised:
        find_index_url(Effects(run, {}), "here")
    assert "envcompile[engines]" in str(raised.value.hint)


def test_the_proxies_and_their_exceptions_are_the_given_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with served(Index((Wheel("lib", "1"),))) as index:
        # To a proxy the whole address is sent, and this index looks only at its end: so it can stand in for one.
        (file,) = SimpleIndex("http://index.invalid/simple", {"HTTP_PROXY": index.url()}).fetch_files(["lib"])["lib"]
        assert index.asked == ["http://index.invalid/simple/lib/"]
        # This machine is never reached through a proxy.
        direct = file._replace(url=f"http://127.0.0.1:{index.port}/files/{file.name}")
        assert SimpleIndex(index.url(), {"HTTP_PROXY": "http://127.0.0.1:1"}).fetch_files(["lib"])["lib"] == (direct,)
        with pytest.raises(UnavailableError, match=r"`index\.invalid` refused the connection, through the proxy"):
            SimpleIndex("http://index.invalid/simple", {"HTTP_PROXY": "http://127.0.0.1:1"}).fetch_files(["lib"])
        around = {"HTTP_PROXY": index.url(), "no_proxy": "index.invalid"}
        with pytest.raises(UnavailableError, match=r"`index\.invalid` cannot be resolved to an address$"):
            SimpleIndex("http://index.invalid/simple", around).fetch_files(["lib"])


def test_it_refuses_before_anything_runs() -> None:
    def run(argv: tuple[str, ...], folder: str, environment: Mapping[str, str]) -> ProcessResult:
        raise AssertionError((argv, folder, environment))

    elsewhere = PipRequest((), (), PLATFORMS["linux-64"], "3.99.0", "2.36")
    with pytest.raises(InvalidInputError):
        PipToolsResolver().resolve(elsewhere, Effects(run, {}))
