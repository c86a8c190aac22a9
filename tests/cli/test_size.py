"""`envcompile size`: the table, JSON, one platform, and a budget for CI."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from tests.cli.test_commands import run
from tests.kit.index import Index, Wheel, served
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Golden


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    shutil.copytree(FIXTURES / "compile" / getattr(request, "param", "several"), tmp_path / "project")
    return tmp_path / "project"


@pytest.mark.parametrize(
    ("project", "form"),
    [
        *((name, "text") for name in ("apt", "conda-several", "cuda-sdist", "indexes", "standalone")),
        *((name, "json") for name in ("indexes", "standalone")),
    ],
    indirect=["project"],
)
def test_every_form(project: Path, form: str, golden: Golden, request: pytest.FixtureRequest) -> None:
    """The files are read by people: unknown sizes are said, and images are named."""
    name = request.node.callspec.params["project"]
    done = run("size", "--as", form, folder=project)
    assert (done.returncode, done.stderr) == (0, "")
    golden(FIXTURES / "size" / f"{name}.{form}", done.stdout)


def test_one_platform(project: Path) -> None:
    both, one = (
        json.loads(run("size", "--as", "json", *words, folder=project).stdout)["platforms"]
        for words in ([], ["--platform", "linux-aarch64"])
    )
    assert (list(both), list(one)) == (["linux-64", "linux-aarch64"], ["linux-aarch64"])
    assert one["linux-aarch64"] == both["linux-aarch64"]
    assert run("size", "--platform", "linux-64", folder=project).stdout.count("linux-") == 1
    done = run("size", "--platform", "linux-65", folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the lock does not have the platform `linux-65`" in done.stderr


def test_the_threshold_of_one_platform_is_that_of_the_lock(project: Path) -> None:
    """A platform alone has the layers that it has beside others."""
    lock = parse_lock((project / "envcompile.lock").read_text("utf-8"), "x")
    first, second = lock.platforms
    other = replace(lock, platforms=(first, replace(second, layer_threshold=64)))
    (project / "envcompile.lock").write_text(format_lock(other), "utf-8")
    layers = json.loads(run("size", "--as", "json", "--platform", "linux-64", folder=project).stdout)
    assert all(each["shared"] for each in layers["platforms"]["linux-64"]["layers"])


@pytest.mark.parametrize("project", ["sdist"], indirect=True)
def test_a_budget_is_compared_with_all_archives(project: Path) -> None:
    """1,076,490 bytes with the build requirements of docopt, and 36,951 without them."""
    done = run("size", "--budget", "1.07649MB", folder=project)
    assert (done.returncode, done.stderr) == (0, "")
    table = run("size", folder=project).stdout
    assert done.stdout == table
    done = run("size", "--budget", "1.076489MB", folder=project)
    assert (done.returncode, done.stdout) == (1, table)
    assert done.stderr == (
        "error: the budget is 1.076489MB, and the lock has 1.1 MB to download for `linux-64`, 1 byte too much and "
        "1.1 MB to download for `linux-aarch64`, 1 byte too much\n"
        "  = hint: `envcompile why docopt` shows what needs the largest package\n"
    )
    assert run("why", "docopt", folder=project).returncode == 0
    done = run("size", "--budget", "1MB", "--as", "json", "--platform", "linux-64", "--format", "json", folder=project)
    assert (done.returncode, [*json.loads(done.stdout)["platforms"]]) == (1, ["linux-64"])
    (error,) = map(json.loads, done.stderr.splitlines())
    assert (error["level"], "1.1 MB to download for `linux-64`, 76 kB too much" in error["message"]) == ("error", True)


@pytest.mark.parametrize("project", ["indexes"], indirect=True)
def test_a_budget_says_what_it_cannot_compare(project: Path) -> None:
    done = run("size", "--budget", "1GiB", "-q", folder=project)
    lacking = "`acme-models`, `acme-net`, `torch`"
    warning = f"warning: the budget does not include packages without a size in the lock: {lacking}\n"
    assert (done.returncode, done.stderr) == (0, warning)
    done = run("size", "--budget", "1MB", folder=project)
    assert (done.returncode, done.stderr.count("warning: "), done.stderr.count("error: ")) == (1, 1, 1)
    assert "at least 23 MB to download for `linux-64`, 22 MB too much" in done.stderr
    assert "acme" not in run("size", folder=project).stderr


@pytest.mark.parametrize("word", ["4", "4TB", "4gb", "-4GB", "lots", ""])
def test_a_malformed_budget_is_a_usage_error(project: Path, word: str) -> None:
    done = run("size", f"--budget={word}", folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        f"`{word}` is not a size: write a number and one of the units MB, GB, MiB and GiB, such as 4GB" in done.stderr
    )


def test_a_lock_is_needed(project: Path) -> None:
    (project / "envcompile.lock").unlink()
    done = run("size", "--budget", "4GB", folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint: run `envcompile lock`" in done.stderr


# What `lock` records, and the line at its end.

SPEC = """
name = "x"
python = "3.12.4"
platforms = ["linux-64", "linux-aarch64"]
[pip]
packages = ["top"{more}]
index = "{url}"
[image.base]
image = "python:3.12-slim-bookworm@sha256:{digest}"
os = "debian-12"
glibc = "2.36"
python = "3.12.4"
python-path = "/usr/bin/python3"
[tools]
uv = "uv@sha256:{digest}"
"""
TOP = Wheel("top", "1.0", ("leaf", "extra; platform_machine == 'aarch64'"), padding=3_000_000)
LEAF, EXTRA = Wheel("leaf", "1.0"), Wheel("extra", "1.0", padding=2_000_000)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with served(Index((TOP, LEAF, EXTRA, Wheel("same", "1.0")))) as index:
        write_spec(tmp_path, index)
        yield index


def write_spec(folder: Path, index: Index, more: str = "") -> None:
    (folder / "envcompile.toml").write_text(SPEC.format(url=index.url(), digest="a" * 64, more=more), "utf-8")


def test_lock_ends_with_the_size_of_each_distinct_platform(tmp_path: Path, index: Index) -> None:
    environment = {"UV_CACHE_DIR": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    assert len(TOP.content()) + len(LEAF.content()) == pytest.approx(3_000_000, rel=0.01)
    wanted = [
        "linux-64: 3.0 MB to download, no CUDA, python:3.12-slim-bookworm",
        "linux-aarch64: 5.0 MB to download, no CUDA, python:3.12-slim-bookworm",
    ]
    done = run("lock", "--dry-run", folder=tmp_path, **environment)
    assert (done.returncode, done.stderr.splitlines()[-2:]) == (0, wanted)
    done = run("lock", folder=tmp_path, **environment)
    assert (done.stdout, done.stderr.splitlines()[-2:]) == ("", wanted)
    # Nothing has changed.
    assert "to download" not in run("lock", "-U", folder=tmp_path, **environment).stderr
    assert "to download" not in run("lock", folder=tmp_path, **environment).stderr
    write_spec(tmp_path, index, ", 'same'")
    assert "to download" not in run("lock", "--check", folder=tmp_path, **environment).stderr
    done = run("lock", "-q", folder=tmp_path, **environment)
    assert (done.returncode, "to download" in done.stderr) == (0, False)
    assert '"same"' in (tmp_path / "envcompile.lock").read_text("utf-8")


def test_platforms_with_the_same_size_have_one_line(tmp_path: Path, index: Index) -> None:
    write_spec(tmp_path, index)
    text = (tmp_path / "envcompile.toml").read_text("utf-8").replace('"top"', '"leaf"')
    (tmp_path / "envcompile.toml").write_text(text, "utf-8")
    done = run("lock", folder=tmp_path, UV_CACHE_DIR=str(tmp_path / "cache"), NO_PROXY="127.0.0.1")
    *_, last = done.stderr.splitlines()
    assert last == f"{len(LEAF.content())} bytes to download, no CUDA, python:3.12-slim-bookworm"
    assert done.stderr.count("to download") == 1


@pytest.mark.parametrize("has_ranges", [True, False])
def test_the_lock_has_the_unpacked_size_of_wheels(tmp_path: Path, index: Index, *, has_ranges: bool) -> None:
    """An index that serves parts of files shows the tables of contents. Another one shows those of small files."""
    index.ranges = has_ranges
    index.beside = not has_ranges
    environment = {"UV_CACHE_DIR": str(tmp_path / "cache"), "XDG_CACHE_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    run("lock", folder=tmp_path, **environment)
    text = (tmp_path / "envcompile.lock").read_text("utf-8")
    first, _ = parse_lock(text, "x").platforms
    leaf, top = (sum(each.file_size for each in ZipFile(BytesIO(one.content())).infolist()) for one in (LEAF, TOP))
    assert top > 3_000_000
    assert [each.unpacked for each in first.pip] == [leaf, top if has_ranges else None]
    _, title, *_, total = run("size", "--platform", "linux-64", folder=tmp_path).stdout.splitlines()
    assert title.split() == ["to", "download", "unpacked"]
    unpacked = ["3.0", "MB"] if has_ranges else ["at", "least", str(leaf), "bytes"]
    assert total.split() == ["3.0", "MB", *unpacked, "sum", "of", "2", "layers"]
    # The metadata is in the cache now, and the lock stays the same.
    (tmp_path / "envcompile.lock").unlink()
    run("lock", folder=tmp_path, **environment)
    assert (tmp_path / "envcompile.lock").read_text("utf-8") == text
