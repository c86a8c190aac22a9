"""What conda-lock makes of our files is what we say: the hash of what was asked, the needs of packages, the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.export import ExportInput, export_lock
from envcompile.export.common import derive_file_urls
from envcompile.export.conda_lock import compute_content_hash, merge_dependencies
from envcompile.resolve.conda.channels import parse_channel
from envcompile.spec.conda import CondaRequirement
from tests.kit.effort import count_examples
from tests.kit.project import FIXTURES, parsed, spec_of
from tests.spec.test_conda_properties import parsed as requirement
from tests.spec.test_conda_properties import specs

if TYPE_CHECKING:
    from envcompile.spec.model import Spec
    from tests.export.conftest import CondaLock

FILES = "https://files.example.invalid/packages"
PLATFORMS = ("linux-64", "linux-aarch64")
HEAD = """
name = "x"
platforms = ["linux-64", "linux-aarch64"]
[conda]
channels = CHANNELS
packages = PACKAGES
"""
# Channels, conda's packages, pip's, Python.
SPECS: list[tuple[list[str], list[str], list[str], str | None]] = [
    (["conda-forge"], ["zlib"], [], None),
    (["conda-forge", "nvidia/label/cuda-12.8"], ["numpy >=2,<3", "nvidia/label/cuda-12.8::cuda"], [], "3.12"),
    (["https://conda.example.invalid:8443/team/conda-forge"], ["team/conda-forge::numpy ==2.1"], [], "3.12.12"),
    (["https://conda.example.invalid/main/", "file:///srv/c", "./local"], ["c::numpy", "main::zlib"], [], None),
    (["https://h.invalid:8443", "http://h.invalid/pkgs/r/"], ["channel::a", "pkgs/r/noarch::b >1", "c"], [], None),
    (["pkgs/main", "pkgs/r"], ["pkgs/main::numpy ==1.26 py*", "pkgs/r::r-base"], [], None),
    (["c"], ["numpy ==1.26|==1.27", "libblas * *openblas", "pytorch 2.* cuda*", "a =1.2", "b !=1.2.*"], [], None),
    (["c"], ["a[version='>=1|==0.5', build='py*', subdir=noarch]", "c/noarch::B >1", "y", "null", "no", "e"], [], None),
    (["c"], [f"a[md5={'0' * 32}]", f"b ==1[sha256={'0' * 64}]", "c ~=1.2", "python >=3.11"], [], None),
    (["c"], ["numpy"], ["Six", "requests[socks,Use_Chardet]>=2,!=2.5", "a~=1.4", "b===1.0", "c==1.*"], "3.12"),
    (["c"], ["pip >=23", "numpy"], ["a ; sys_platform == 'win32'", "b ; 'linux' in sys_platform"], "3.12"),
    (["c"], ["numpy"], ["a>=1 ; python_version < '3.13'", "a<1 ; python_version >= '3.13'"], "3.12"),
    (
        ["c"],
        ["numpy"],
        [
            "a ; os_name == 'nt' and python_version > '3' or platform_machine == 'sparc'",
            "b ; (os_name == 'nt' or platform_system != 'Linux') and platform_machine == 'x86_64'",
            "c ; sys_platform not in 'linux2'",
            "d ; sys_platform in 'win32, linux'",
            "e ; sys_platform not in 'win32 linux'",
            "g ; sys_platform >= 'linux'",
            "f ; 'lin' not in sys_platform and python_version > '3'",
        ],
        "3.12",
    ),
]


def made(channels: list[str], conda: list[str], pip: list[str], python: str | None) -> Spec:
    text = HEAD.replace("CHANNELS", json.dumps(channels)).replace("PACKAGES", json.dumps(conda))
    text += f"[pip]\npackages = {json.dumps(pip)}\n" if pip else ""
    return spec_of(f"python = {json.dumps(python)}\n{text}" if python else text)


def placed(case: str) -> ExportInput:
    spec, lock = parsed(case)
    return ExportInput(spec, lock, derive_file_urls(lock, FILES))


def given_of(spec: Spec) -> ExportInput:
    """With a lock whose every channel has been used: what is locked is nothing to these files."""
    channels = tuple(parse_channel(text, Path("/srv")) for text in spec.conda.channels)
    return ExportInput(spec, replace(parsed("conda-several")[1], channels=channels))


def ours(spec: Spec) -> dict[str, str]:
    return {platform: compute_content_hash(given_of(spec), platform) for platform in PLATFORMS}


@pytest.mark.parametrize("asked", SPECS, ids=lambda asked: asked[1][0])
def test_the_hash_is_conda_locks_own(conda_lock: CondaLock, asked: Any) -> None:
    spec = made(*asked)
    (hashes,) = conda_lock.ask("hashes", [export_lock("environment", given_of(spec))])
    assert hashes == ours(spec)
    assert len(set(hashes.values())) == 2


def test_a_channel_of_a_url_is_asked_for_by_its_url() -> None:
    """The name means another place to mamba; a name stays a name."""
    spec = made(["https://h.invalid/team", "conda-forge"], ["team/noarch::a >1", "conda-forge::b"], [], None)
    text = export_lock("environment", given_of(spec))
    assert '  - "https://h.invalid/team/noarch::a >1"\n  - "conda-forge::b"\n' in text


@settings(max_examples=count_examples(150))
@given(st.lists(specs(), min_size=1, max_size=1))
@example(["x ==1.0|==1.1"])
@example(["x ==1.0|==1.1 py*"])
@example(["x *"])
def test_the_hash_of_any_requirement(conda_lock: CondaLock, texts: list[str]) -> None:
    assume(all(requirement(text) for text in texts))
    spec = made(["conda-forge"], texts, [], None)
    (hashes,) = conda_lock.ask("hashes", [export_lock("environment", given_of(spec))])
    assert hashes == ours(spec)


def test_the_needs_of_every_package_of_the_channel(conda_lock: CondaLock) -> None:
    found = set()
    for path in (FIXTURES / "channels" / "conda-forge").glob("*/repodata.json"):
        repodata = json.loads(path.read_text("utf-8"))
        for records in (repodata.get("packages", {}), repodata.get("packages.conda", {})):
            found |= {tuple(record["depends"]) for record in records.values()}
    assert len(found) > 500
    depends = sorted(found)
    for each, theirs in zip(depends, conda_lock.ask("needs", depends), strict=True):
        assert merge_dependencies(each) == theirs, each


SPELLINGS = """a|a *|a * *mkl|a 1.2*|a 1.2.*|a =1.2|a ==1.2|a =1.2 b|a ==1.2 b|a 1.2 b_0|a 1.2=b_0|a=1.2=b|a>=1|a==1.2
a >=1, <2|a >= 1|a >=1.2.*|a !=1.2*|a ~=1.2|a[version='>=1,<2']|a[version="=1.2", build=b]|a[build='b']|c::A >=2
c/noarch::a[version=1.2*]|a 1.2.3.* *_cp312|a >=1.0 , < 2.0 py34_0|a =1.2*|a 1.2*,>=1|a 1.2-1"""


@pytest.mark.parametrize("text", [*SPELLINGS.replace("\n", "|").split("|"), "a 1.2|1.3", "a 3.6*|3.7*", "a >=1,<2|>=3"])
def test_any_spelling_of_a_need(conda_lock: CondaLock, text: str) -> None:
    """By itself, and beside another need of the same package."""
    for depends in ([text], [text, "a >=0.1"], ["a", text]):
        assert [merge_dependencies(depends)] == conda_lock.ask("needs", [depends])


@pytest.mark.parametrize("case", ["conda", "conda-several"])
def test_conda_lock_would_write_the_same_file(conda_lock: CondaLock, case: str) -> None:
    """Read by its parser and written by its writer: the same value, in the same order; and its schema holds."""
    yaml = pytest.importorskip("yaml")
    text = export_lock("conda-lock", placed(case))
    value = yaml.safe_load(text)
    (theirs,) = conda_lock.ask("written", [text])
    assert list(value["package"]) == list(yaml.safe_load(theirs)["package"])
    assert value == yaml.safe_load(theirs)
    spec = find_spec("conda_lock")
    assert spec
    assert spec.origin
    schema = json.loads((Path(spec.origin).parent / "lockfile/v1/conda-lock-v1.schema.json").read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(value)


@pytest.mark.parametrize("case", ["conda", "conda-several"])
def test_conda_lock_finds_nothing_to_do(case: str, tmp_path: Path) -> None:
    """The files beside each other are current to the program itself, which then solves nothing and writes nothing."""
    if find_spec("conda_lock") is None:
        pytest.skip("conda-lock is not installed")
    given_ = placed(case)
    for name, file in (("conda-lock", "conda-lock.yml"), ("environment", "environment.yml")):
        (tmp_path / file).write_text(export_lock(name, given_), "utf-8")
    before = (tmp_path / "conda-lock.yml").read_bytes()
    (tmp_path / "names.json").write_text("{}")
    # Stands in for conda, of which nothing but its version is asked: a solve would fail.
    (tmp_path / "conda").write_text('#!/bin/sh\n[ "$1" = --version ] && echo conda 24.7.1\n')
    (tmp_path / "conda").chmod(0o755)
    argv = (
        f"-m conda_lock lock -f environment.yml --lockfile conda-lock.yml --check-input-hash --conda {tmp_path}/conda"
    )

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "ignore", *argv.split(), "--pypi_to_conda_lookup_file", "names.json"],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            check=False,
            text=True,
        )

    done = run()
    platforms = [each.platform for each in given_.lock.platforms]
    assert (done.returncode, f"Spec hash already locked for {platforms}" in done.stderr) == (0, True), done.stderr
    assert (tmp_path / "conda-lock.yml").read_bytes() == before
    other = replace(given_.spec, conda=replace(given_.spec.conda, packages=(CondaRequirement("numpy >=2.1"),)))
    (tmp_path / "environment.yml").write_text(export_lock("environment", given_of(other)), "utf-8")
    done = run()
    assert (done.returncode == 0, "Could not lock the environment" in done.stderr) == (False, True), done.stderr


def test_what_the_lock_does_not_hold() -> None:
    spec, lock = parsed("conda")
    with pytest.raises(InvalidInputError, match=r"`conda-lock\.yml` needs the URL of `.*`, which") as caught:
        export_lock("conda-lock", ExportInput(spec, lock))
    assert "--files URL" in str(caught.value.hint)
    (platform,) = lock.platforms
    conda = tuple(replace(each, md5=None) for each in platform.conda)
    nameless = replace(lock, platforms=(replace(platform, conda=conda),))
    with pytest.raises(InvalidInputError, match="needs the md5 of `_openmp_mutex-"):
        export_lock("conda-lock", ExportInput(spec, nameless, derive_file_urls(nameless, FILES)))
