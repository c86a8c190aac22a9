"""The explicit list is what CEP 23 says, and rattler reads it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export import ExportInput, export_lock
from tests.kit.project import parsed

# https://conda.org/learn/ceps/cep-0023: a line of an explicit file.
LINE = re.compile(r"https://\S+/[^/\\#]+(?:\.tar\.bz2|\.conda)#(?:(?P<md5>[0-9a-f]{32})|(?P<sha256>[0-9a-f]{64}))")
READ = """
import json, os, sys
from rattler.explicit_environment import ExplicitEnvironmentSpec
read = ExplicitEnvironmentSpec.from_str(sys.stdin.read())
print(json.dumps([str(read.platform), [each.url for each in read.packages]]), flush=True)
os._exit(0)
"""


def text(platform: str = "linux-64") -> str:
    spec, lock = parsed("conda-several")
    (one,) = (each for each in lock.platforms if each.platform == platform)
    return export_lock("explicit", ExportInput(spec, replace(lock, platforms=(one,))))


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
def test_rattler_reads_it(platform: str) -> None:
    if find_spec("rattler") is None:
        pytest.skip("py-rattler is not installed")
    done = subprocess.run(
        [sys.executable, "-c", READ], input=text(platform), capture_output=True, check=True, text=True
    )
    named, urls = json.loads(done.stdout)
    lines = text(platform).splitlines()
    assert lines[1:3] == [f"# platform: {platform}", "@EXPLICIT"]
    assert (named, urls) == (platform, lines[3:])
    locked = parsed("conda-several")[1].find_platform(platform)
    assert locked
    assert sorted(url.rpartition("#")[2] for url in urls) == sorted(str(each.md5) for each in locked.conda)


def test_every_line_has_a_hash_and_stands_after_what_it_needs() -> None:
    spec, lock = parsed("conda")
    lines = export_lock("explicit", ExportInput(spec, lock)).partition("@EXPLICIT\n")[2].splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    at = {
        package.name: lines.index(next(each for each in lines if f"/{package.file}#" in each))
        for package in lock.platforms[0].conda
    }
    for package in lock.platforms[0].conda:
        needs = {each.split()[0] for each in package.depends} & set(at)
        assert all(at[need] < at[package.name] for need in needs if (package.name, need) != ("python", "pip"))


def test_a_package_without_md5_has_its_sha256() -> None:
    spec, lock = parsed("conda")
    (platform,) = lock.platforms
    conda = tuple(replace(each, md5=None) for each in platform.conda)
    lines = export_lock(
        "explicit", ExportInput(spec, replace(lock, platforms=(replace(platform, conda=conda),)))
    ).splitlines()
    found = [LINE.fullmatch(line) for line in lines[3:]]
    assert {each["sha256"] for each in found if each} == {each.sha256 for each in conda}


def test_one_list_is_for_one_platform() -> None:
    with pytest.raises(InvalidInputError, match="`linux-64`, `linux-aarch64`") as caught:
        export_lock("explicit", ExportInput(*parsed("conda-several")))
    assert caught.value.hint == "add `--platform linux-64`"


@pytest.mark.parametrize("name", ["conda-lock", "explicit", "environment"])
def test_nothing_to_export(name: str) -> None:
    with pytest.raises(InvalidInputError, match="lists conda packages, and the lock has none") as caught:
        export_lock(name, ExportInput(*parsed("several")))
    assert "`[conda]`" in str(caught.value.hint)
