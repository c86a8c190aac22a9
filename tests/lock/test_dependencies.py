"""Dependencies of conda records: their names are read alike by `verify`, the installation order, `tree` and exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envcompile.cli.main import main
from envcompile.export.conda_lock import merge_dependencies
from envcompile.lock.graph import sort_by_dependencies
from envcompile.lock.model import CondaPackage
from envcompile.lock.reader import parse_lock
from envcompile.spec.conda import parse_dependency_name, split_dependency
from tests.kit.channel import made_channel
from tests.kit.project import unanswered

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """
name = "blank"
[conda]
channels = ["./channel"]
packages = ["aa"]
[image]
base = { image = "debian@sha256:DIGEST", os = "debian-12", glibc = "2.36" }
""".replace("DIGEST", 64 * "0")


@pytest.mark.parametrize(
    ("text", "name", "rest"),
    [
        ("zz", "zz", ""),
        ("zz >=0.5", "zz", ">=0.5"),
        ("zz>=0.5", "zz", ">=0.5"),
        ("zz=0.5", "zz", "=0.5"),
        ("zz!=0.5,<1", "zz", "!=0.5,<1"),
        ("zz~=0.5", "zz", "~=0.5"),
        ("ZZ[version='>=0.5']", "zz", "[version='>=0.5']"),
        ("zz 0.5.* *_cp311", "zz", "0.5.* *_cp311"),
        ("conda-forge::zz>=0.5", "zz", ">=0.5"),
        ("conda-forge/linux-64::zz >=0.5", "zz", ">=0.5"),
        ("zz[channel='corp::zz']", "zz", "[channel='corp::zz']"),
        ("zz >=0.5[channel=corp::zz]", "zz", ">=0.5[channel=corp::zz]"),
        ("  zz\t>=0.5 ", "zz", ">=0.5"),
        ("__glibc>=2.17,<3.0.a0", "__glibc", ">=2.17,<3.0.a0"),
        ("_openmp_mutex >=4.5", "_openmp_mutex", ">=4.5"),
        ("ruamel.yaml.clib >=0.2", "ruamel.yaml.clib", ">=0.2"),
    ],
)
def test_a_dependency_is_split_into_its_name_and_the_rest(text: str, name: str, rest: str) -> None:
    assert split_dependency(text) == (name, rest)
    assert parse_dependency_name(text) == name
    assert list(merge_dependencies([text])) == [name]
    needing, needed = (
        CondaPackage(each, "1", "0", "c", "noarch", f"{each}-1-0.conda", 64 * "0", depends=depends)
        for each, depends in (("aa", (text,)), (name, ()))
    )
    assert sort_by_dependencies([needing, needed]) == [needed, needing]


def test_a_dependency_without_a_space_is_found_in_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lock for a record that requires `zz>=0.5` stays fresh, and its list installs `zz` first."""
    made_channel(
        tmp_path / "channel",
        {"name": "aa", "version": "1.0", "depends": ["zz>=0.5"]},
        {"name": "zz", "version": "1.0"},
    )
    monkeypatch.chdir(tmp_path)
    spec = tmp_path / "envcompile.toml"
    spec.write_text(SPEC, "utf-8")
    assert main(["lock"]) == 0
    (platform,) = parse_lock((tmp_path / "envcompile.lock").read_text("utf-8"), "x").platforms
    assert [(each.name, each.depends) for each in platform.conda] == [("aa", ("zz>=0.5",)), ("zz", ())]
    spec.write_text(SPEC.replace('"aa"', '"aa >=1"'), "utf-8")
    assert unanswered(tmp_path) == []
    assert main(["verify"]) == 0
    capsys.readouterr()
    assert main(["export", "--format", "explicit"]) == 0
    urls = [line.split("#")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("file:")]
    assert [url.rpartition("/")[2] for url in urls] == ["zz-1.0-0.tar.bz2", "aa-1.0-0.tar.bz2"]
    # A dependency that the lock does not satisfy is still reported.
    spec.write_text(SPEC.replace('"aa"', '"aa >=1", "zz <0.5"'), "utf-8")
    assert unanswered(tmp_path) == [
        "the spec requires `zz <0.5` from conda, but the lock has zz 1.0 0 of channel/noarch for `linux-64`"
    ]
