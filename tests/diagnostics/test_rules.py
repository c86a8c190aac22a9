"""Promise 11: every mistake points at the text. One folder of fixtures/errors/ per rule, through the real command line.

A folder has `envcompile.toml` and `expected/stderr`, and optionally:
- `command`: the command line after `envcompile`, instead of `lock`;
- `envcompile.lock`: the lock beside the spec, instead of that of fixtures/compile/ml;
- `padding`: the size of a comment that the test appends to the spec, in bytes;
- `channel`, `catalogue.json`: a conda channel and a catalogue, which the spec finds in its parent folder;
- `wheels`: the wheels of the index, a line for each: name, version, requirements, `+EXTRA`, `@TAG`; or an sdist, with
  its build requirements after `sdist`. The test then also serves every base image.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from envcompile.cli.main import main
from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_INVALID_INPUT, EXIT_OK
from envcompile.diagnostics.rules import RULES
from tests.kit.archive import made_archive, paragraph, status
from tests.kit.hub import made_hub
from tests.kit.index import Index, Wheel, served
from tests.kit.project import FIXTURES
from tests.kit.sdists import Sdist, metadata, system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Golden
    from tests.kit.archive import MadeArchive

ERRORS = FIXTURES / "errors"
LOCK = (FIXTURES / "compile" / "ml" / "envcompile.lock").read_bytes()
# The resolver's own message follows this line. It changes from release to release.
REASON = "the resolver reports for "


def test_every_rule_has_one_fixture_folder() -> None:
    assert sorted(path.name for path in ERRORS.iterdir()) == sorted(RULES)


def test_every_rule_is_explained() -> None:
    for slug, rule in RULES.items():
        assert slug == rule.slug
        assert rule.summary == rule.summary.strip().rstrip(".")
        assert rule.explanation.endswith((".", "`"))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """An index with the wheels of the folder, or else one tiny wheel; and empty caches."""
    listed = ERRORS / request.node.callspec.params["slug"] / "wheels"
    wheels = tuple(map(wheel, listed.read_text("utf-8").splitlines())) if listed.exists() else (Wheel("tiny", "1.0"),)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    with served(Index(wheels)) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url())
        yield


def wheel(line: str) -> Wheel | Sdist:
    name, version, *words = line.split()
    if words[:1] == ["sdist"]:
        return Sdist(name, version, (metadata(name, version), system("setuptools", *words[1:])))
    requires = tuple(each for each in words if each[0] not in "+@")
    extras = tuple(each[1:] for each in words if each[0] == "+")
    tag = next((each[1:] for each in words if each[0] == "@"), "py3-none-any")
    return Wheel(name, version, requires, extras, tag)


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """User settings with a registry that has every base image."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg, which signs the apt archives, is not installed")
    with made_hub() as (hub, settings):
        # Its digest is always the same, and stands in the spec of `image-platform`.
        hub.image([], name="library/one-architecture")
        yield settings


@pytest.fixture(scope="module")
def archive() -> Iterator[MadeArchive]:
    """An apt archive with a few packages, and a base image for them: for the rule `apt-package`."""
    if shutil.which("gpg") is None:
        pytest.skip("gpg, which signs the apt archive, is not installed")
    with made_archive() as found:
        names = ("gcc-12", "gcc-13", "libgl1", "libglx0", "libgl1-mesa-dri")
        found.suites["bookworm"] = [
            *map(paragraph, names),
            *(paragraph(name, Provides="mail-transport-agent") for name in ("exim4", "postfix")),
        ]
        found.image(status("libc6"))
        yield found


@pytest.fixture
def settings(archive: MadeArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User settings with the URLs of that archive and of the registry."""
    have_settings(archive.settings(), tmp_path, monkeypatch)


def have_settings(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "config" / "envcompile"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text, "utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("slug", sorted(RULES))
def test_rule(  # noqa: PLR0913, PLR0917
    slug: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Golden,
    request: pytest.FixtureRequest,
) -> None:
    if slug == "apt-package":
        request.getfixturevalue("settings")
    if (ERRORS / slug / "wheels").exists():
        have_settings(request.getfixturevalue("hub"), tmp_path, monkeypatch)
    folder = place(slug, tmp_path / "work")
    monkeypatch.chdir(folder)
    code = main(words(slug))
    said, errors = capsys.readouterr()
    assert said == ""
    rule = RULES[slug]
    expected = EXIT_FAILED if rule.phase == "lock" else EXIT_INVALID_INPUT
    assert code == (EXIT_OK if rule.severity == "warning" else expected)
    assert f"{rule.severity}[{slug}]: " in errors
    assert (folder / "envcompile.lock").read_bytes() == earlier_lock(slug)
    assert sorted(path.name for path in folder.iterdir()) == ["envcompile.lock", "envcompile.toml"]
    golden(ERRORS / slug / "expected" / "stderr", above_the_reason(errors))


@pytest.mark.parametrize("slug", ["encoding", "missing-key", "wrong-type"])
def test_rule_in_a_subprocess(slug: str, tmp_path: Path) -> None:
    """The output is the same if the standard streams are pipes."""
    folder = place(slug, tmp_path / "work")
    done = subprocess.run(
        [sys.executable, "-m", "envcompile", *words(slug)],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "1"},
        check=False,
    )
    assert (done.stdout, done.returncode) == (b"", EXIT_INVALID_INPUT)
    assert done.stderr == (ERRORS / slug / "expected" / "stderr").read_bytes()


def place(slug: str, folder: Path) -> Path:
    """A project folder with the spec of the rule and an older lock."""
    folder.mkdir()
    if (ERRORS / slug / "channel").exists():
        shutil.copytree(ERRORS / slug / "channel", folder.parent / "channel")
    if (ERRORS / slug / "catalogue.json").exists():
        shutil.copy(ERRORS / slug / "catalogue.json", folder.parent)
    spec = (ERRORS / slug / "envcompile.toml").read_bytes()
    padding = ERRORS / slug / "padding"
    if padding.exists():
        spec += b"#" * int(padding.read_text("utf-8")) + b"\n"
    (folder / "envcompile.toml").write_bytes(spec)
    (folder / "envcompile.lock").write_bytes(earlier_lock(slug))
    return folder


def earlier_lock(slug: str) -> bytes:
    own = ERRORS / slug / "envcompile.lock"
    return own.read_bytes() if own.exists() else LOCK


def words(slug: str) -> list[str]:
    command = ERRORS / slug / "command"
    return shlex.split(command.read_text("utf-8")) if command.exists() else ["lock"]


def above_the_reason(errors: str) -> str:
    """The output up to the line that introduces the resolver's own message."""
    lines = errors.splitlines(keepends=True)
    last = next((number for number, line in enumerate(lines) if REASON in line), len(lines))
    return "".join(lines[: last + 1])
