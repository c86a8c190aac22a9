"""`envcompile tree` and `envcompile why`, from the spec and the lock alone."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_commands import run
from tests.kit.project import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURES / "compile" / "several", tmp_path / "project")
    return tmp_path / "project"


def test_platforms_that_are_alike_stand_once(project: Path) -> None:
    said = run("tree", folder=project).stdout
    blocks = said.split("\n\n")
    assert {name for block in blocks for name in block.splitlines()[0].split(", ")} == {"linux-64", "linux-aarch64"}
    one = run("tree", "--platform", "linux-aarch64", folder=project).stdout
    assert one.startswith("linux-aarch64\n")
    assert run("why", "numpy", folder=project).stdout.splitlines()[0] == "linux-64, linux-aarch64"


def test_drawn_as_the_stream_can_show_it(project: Path) -> None:
    assert "── " in run("tree", folder=project, PYTHONIOENCODING="utf-8").stdout
    said = run("tree", folder=project, PYTHONIOENCODING="ascii").stdout
    assert ("`-- " in said, said.isascii()) == (True, True)


def test_json(project: Path) -> None:
    graph = json.loads(run("tree", "--as", "json", folder=project).stdout)
    asked = {row["name"] for row in graph["linux-64"] if row["asked"]}
    for name in (row["name"] for row in graph["linux-64"]):
        ways = json.loads(run("why", name, "--as", "json", folder=project).stdout)["linux-64"]
        assert ways
        assert all(way[0]["name"] in asked and way[-1]["name"] == name for way in ways)


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (["tree", "nunpy"], "`nunpy` is not in the lock", "did you mean `numpy`?"),
        (
            ["why", "Charset_Normaliser"],
            "`Charset_Normaliser` is not in the lock",
            "did you mean `charset-normalizer`?",
        ),
        (["why", "nothing-like-it"], "`nothing-like-it` is not in the lock", "`envcompile tree` shows what is"),
        (["why", "a b"], "`a b` is not a package name", "write only the name"),
        (
            ["tree", "--platform", "linux-65"],
            "the lock does not have the platform `linux-65`",
            "did you mean `linux-64`?",
        ),
    ],
)
def test_not_in_the_lock(words: list[str], sentence: str, hint: str, project: Path) -> None:
    done = run(*words, folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {sentence}\n  = hint: {hint}" in done.stderr


def test_usage(project: Path) -> None:
    assert "is not a number of levels" in run("tree", "--depth", "-1", folder=project).stderr
    assert run("why", folder=project).returncode == 2
    (project / "envcompile.lock").unlink()
    assert "hint: run `envcompile lock`" in run("tree", folder=project).stderr


def test_a_name_as_people_write_it(project: Path) -> None:
    assert (
        run("why", "Charset_Normalizer", folder=project).stdout
        == (run("why", "charset-normalizer", folder=project).stdout)
        != ""
    )


def test_a_spec_that_has_changed_hides_nothing(project: Path) -> None:
    """What the spec no longer asks for is still in the lock, and is drawn; only nothing leads there any more."""
    whole = run("tree", "--depth", "0", folder=project).stdout
    text = (project / "envcompile.toml").read_text("utf-8")
    assert '"numpy >=2", ' in text
    (project / "envcompile.toml").write_text(text.replace('"numpy >=2", ', ""), "utf-8")
    now = run("tree", "--depth", "0", folder=project).stdout
    assert sorted(now.split()) == sorted(whole.split())
    assert "no requested package depends on it" in run("why", "numpy", folder=project).stdout
