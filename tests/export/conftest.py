"""conda-lock itself, in a child of its own: importing it takes seconds, and its warnings are not ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = """
import json, logging, os, pathlib, sys, tempfile
from conda_lock._vendor.conda.models.match_spec import MatchSpec
from conda_lock.content_hash import compute_content_hashes
from conda_lock.lockfile import parse_conda_lock_file, write_conda_lock_file
from conda_lock.src_parser import make_lock_spec
from conda_lock.virtual_package import default_virtual_package_repodata

logging.disable()
folder = pathlib.Path(tempfile.mkdtemp())
names = folder / "names.json"  # from pip's names to conda's, which is asked of the network unless it is a file
names.write_text("{}")
virtual = default_virtual_package_repodata()

def hashes(text):
    path = folder / "environment.yml"
    path.write_text(text)
    return compute_content_hashes(make_lock_spec(src_files=[path], mapping_url=str(names)), virtual)

def needs(depends):
    found = {}
    for each in map(MatchSpec, depends):
        found.setdefault(each.name, []).append(each)
    one = {name: each[0] if len(each) == 1 else MatchSpec.merge(each)[0] for name, each in found.items()}
    return {name: each.version.spec_str if each.version is not None else "" for name, each in one.items()}

def parts(text):
    asked = MatchSpec(text)
    fields = ("name", "version", "build", "subdir", "md5", "sha256")
    return {**{key: asked.get(key) for key in fields}, "channel": asked.get("channel") and asked.get("channel").name}

def written(text):
    # What conda-lock itself writes of a file that it has read.
    path = folder / "conda-lock.yml"
    path.write_text(text)
    content = parse_conda_lock_file(path)
    for package in content.package:
        package.categories = package.categories or {"main"}
    write_conda_lock_file(content, path, metadata_choices=None, include_help_text=False)
    return path.read_text()

for line in sys.stdin:
    (does, asked), = json.loads(line).items()
    try:
        answer = [globals()[does](each) for each in asked]
    except Exception as error:
        answer = repr(error)
    print(json.dumps(answer), flush=True)
os._exit(0)
"""


class CondaLock:
    """The child: `ask(does, texts)` gives an answer for each text."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child

    def ask(self, does: str, asked: list[Any]) -> list[Any]:
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write(json.dumps({does: asked}) + "\n")
        self.child.stdin.flush()
        answer = json.loads(self.child.stdout.readline())
        assert isinstance(answer, list), f"conda-lock refused {asked}: {answer}"
        return answer


@pytest.fixture(scope="package")
def conda_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CondaLock]:
    if find_spec("conda_lock") is None:
        pytest.skip("conda-lock is not installed, and there is nothing to agree with")
    argv = [sys.executable, "-W", "ignore", "-c", CHILD]
    # It leaves folders behind, being ended as it is.
    environment = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("conda-lock"))}
    with subprocess.Popen(argv, stdin=-1, stdout=-1, env=environment, text=True, encoding="utf-8") as child:
        yield CondaLock(child)
