"""The Python API, without the command line: real locks of the fixtures, and `lock` against an index on the loopback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from doctest import ELLIPSIS, DocTestParser, DocTestRunner
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli

import envcompile
from envcompile.digests import compute_sha256
from envcompile.lock.header import FORMAT_VERSION, HEADER_COMMENT, LAYOUT_VERSION
from envcompile.project.files import display_path
from envcompile.spec.pip import PipRequirement
from tests.kit.channel import made_channel
from tests.kit.index import Index, Wheel, served
from tests.kit.project import CASES, FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = "python:3.12-slim-bookworm@sha256:" + 64 * "a"
SPEC = """
name = "x"
python = "3.12.4"
[pip]
packages = ["top"]
index = "{url}"
[image]
base = {{ image = "{base}", os = "debian-12", glibc = "2.36", python = "3.12.4", python-path = "/usr/bin/python3" }}
[lock]
exports = ["requirements.txt"]
"""


@dataclass
class Workspace:
    """A spec, an index for it, and the environment variables that the resolver needs."""

    folder: Path
    index: Index

    def __post_init__(self) -> None:
        self.events: list[envcompile.Event] = []
        self.environment = {**os.environ, "NO_PROXY": "127.0.0.1", "UV_CACHE_DIR": str(self.folder.parent / "cache")}

    def change_spec(self, old: str, new: str) -> None:
        path = self.folder / "envcompile.toml"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")

    def lock(
        self, *, upgrade: bool = False, packages: tuple[str, ...] = (), write: bool = True
    ) -> envcompile.LockResult:
        return envcompile.lock(
            envcompile.load(folder=self.folder),
            upgrade=upgrade,
            upgrade_packages=packages,
            write=write,
            environment=self.environment,
            on_event=self.events.append,
        )

    def versions(self) -> dict[str, str]:
        """The versions in the lock file."""
        (platform,) = envcompile.lock(
            envcompile.load(folder=self.folder), write=False, environment=self.environment
        ).lock.platforms
        return {each.name: each.version for each in platform.pip}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    folder = tmp_path / "project"
    folder.mkdir()
    with served(Index((Wheel("top", "1.0", ("leaf",)), Wheel("leaf", "1.0")))) as index:
        (folder / "envcompile.toml").write_text(SPEC.format(url=index.url(), base=BASE), "utf-8")
        yield Workspace(folder, index)


@pytest.fixture
def project(tmp_path: Path) -> envcompile.Project:
    shutil.copytree(FIXTURES / "compile" / "conda", tmp_path / "conda")
    return envcompile.load(folder=tmp_path / "conda")


def expected(case: str, name: str) -> str:
    return (FIXTURES / "compile" / case / "expected" / name).read_text("utf-8")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("change", ["nothing", "a comment", "the layout", "an export", "the lock's digest"])
def test_what_is_unchanged_is_locked_without_a_request(workspace: Workspace, change: str) -> None:
    """Promise 8: a release that only changes the layout keeps every pin. No index is asked."""
    first = workspace.lock()
    path = workspace.folder / "envcompile.lock"
    text = path.read_text("utf-8")
    if change == "a comment":
        workspace.change_spec("[pip]", "[pip] # a comment")
    elif change == "the layout":
        body = text.partition("layout = ")[2].partition("\n")[2]
        body = f"layout = {LAYOUT_VERSION - 1}\n{body}"
        path.write_text(
            f'{HEADER_COMMENT}format = {FORMAT_VERSION}\ndigest = "{compute_sha256(body.encode())}"\n{body}'
        )
    elif change == "an export":
        (workspace.folder / "requirements.txt").unlink()
    elif change == "the lock's digest":
        path.write_text(text.replace('digest = "sha256:', 'digest = "sha256:0', 1), "utf-8")
    before = len(workspace.index.asked)
    again = workspace.lock()
    assert (len(workspace.index.asked) > before) == (change == "the lock's digest")
    assert [each.reasons for each in again.changes] == (
        [("same packages, new layout",)] if change == "the layout" else []
    )
    assert again.lock.platforms == first.lock.platforms
    expected = {
        "nothing": (),
        "a comment": ("envcompile.lock",),
        "the layout": ("envcompile.lock",),
        "an export": ("requirements.txt",),
        "the lock's digest": ("envcompile.lock",),
    }
    assert tuple(each.name for each in again.changed_files) == expected[change]
    if change != "a comment":
        assert path.read_text("utf-8") == text


@pytest.mark.parametrize("words", [(), ("-q",), ("--check",)])
def test_the_command_recognizes_an_unchanged_project_by_digests(workspace: Workspace, words: tuple[str, ...]) -> None:
    """It takes as long as `verify`, and imports as little."""
    workspace.lock()
    code = (
        "import sys; sys.argv = ['envcompile', 'lock', *sys.argv[1:]]; import envcompile.cli.entry as entry; "
        "code = entry._run_to_exit_code(); print(code, 'argparse' in sys.modules, 'tomli' in sys.modules)"
    )
    argv = (sys.executable, "-c", code, *words)
    config = {**workspace.environment, "XDG_CONFIG_HOME": str(workspace.folder)}
    done = subprocess.run(argv, cwd=workspace.folder, env=config, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "False", "False"]
    assert done.stderr == ("" if words == ("-q",) else "`envcompile.lock` is current\n")
    # A catalogue of the user's may decide otherwise.
    (workspace.folder / "envcompile").mkdir()
    (workspace.folder / "envcompile" / "config.toml").write_text('catalogue = "c.json"', "utf-8")
    done = subprocess.run(argv, cwd=workspace.folder, env=config, check=True, capture_output=True, text=True)
    assert done.stdout.split()[1] == "True"


@pytest.mark.parametrize(
    ("key", "requirement", "expected"),
    [
        ("3.11", "python", "3.11.9"),
        ("3.11", "python >=3.8", "3.11.9"),
        ("3.12", "python >=3.11,<3.12.4", "3.12.1"),
        ("3.12.1", "python 3.12.*", "3.12.1"),
        ("3.13", "nlib", "3.13.5"),
    ],
)
def test_the_python_key_and_a_conda_requirement_both_hold(
    tmp_path: Path, key: str, requirement: str, expected: str
) -> None:
    path = write_conda_spec(tmp_path, key, requirement)
    environment = {**os.environ, "RATTLER_CACHE_DIR": str(tmp_path / "cache")}
    project = envcompile.load(path)
    (platform,) = envcompile.lock(project, environment=environment).lock.platforms
    assert platform.python is not None
    assert (platform.python.version, platform.python.source) == (expected, "conda")
    assert envcompile.verify(project, full=True).findings == ()


@pytest.mark.parametrize(
    ("key", "requirement"), [("3.11", "python >=3.12"), ("3.12.1", "python >=3.12.4"), ("3.12", "python 3.11.*")]
)
def test_a_python_key_that_contradicts_a_conda_requirement(tmp_path: Path, key: str, requirement: str) -> None:
    with pytest.raises(envcompile.DiagnosticsError) as raised:
        envcompile.load(write_conda_spec(tmp_path, key, requirement))
    assert [each.path for each in raised.value.diagnostics] == [("python",), ("conda", "packages", 0)]
    assert raised.value.diagnostics[1].message == f"no Python {key} satisfies this requirement"


def write_conda_spec(folder: Path, key: str, requirement: str) -> Path:
    """A spec with a channel that has four releases of Python."""
    versions = ("3.11.9", "3.12.1", "3.12.4", "3.13.5")
    pythons = ({"name": "python", "version": version} for version in versions)
    made_channel(folder / "channel", *pythons, {"name": "nlib", "version": "1.0", "depends": ["python >=3.8"]})
    path = folder / "envcompile.toml"
    path.write_text(
        f'name = "x"\npython = "{key}"\n[conda]\nchannels = ["./channel"]\npackages = ["{requirement}", "nlib"]\n'
        f'[image]\nbase = {{ image = "debian@sha256:{64 * "a"}", os = "debian-12", glibc = "2.36" }}\n'.replace(
            '"nlib", "nlib"', '"nlib"'
        ),
        "utf-8",
    )
    return path


# The package.


def test_the_import_of_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import envcompile; print(*sorted({*sys.modules} - before))"
    assert run_python(code).split() == ["__future__", "envcompile"]


@pytest.mark.parametrize("first", ["import envcompile.lock.model, envcompile.export.common", "envcompile.tag"])
def test_the_functions_hide_the_packages_of_the_same_name(first: str) -> None:
    """Whichever is imported first."""
    code = f"""
import envcompile
{first}
from envcompile.lock.model import Lock
from envcompile.export.common import parse_file_urls
from envcompile import export, lock
print(envcompile.lock.__name__, envcompile.lock is lock, envcompile.export is export, lock.__module__)
"""
    assert run_python(code).split() == ["lock", "True", "True", "envcompile.api"]


def test_each_public_name_exists() -> None:
    assert sorted(envcompile.__all__) == sorted(set(envcompile.__all__))
    assert set(envcompile.__all__) <= set(dir(envcompile))
    for name in envcompile.__all__:
        assert getattr(envcompile, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'unlock'"):
        envcompile.unlock  # type: ignore[attr-defined]  # noqa: B018 - the attribute is the test


# load


def test_load_finds_the_spec_above_a_folder(tmp_path: Path, project: envcompile.Project) -> None:
    (tmp_path / "conda" / "below").mkdir()
    assert envcompile.load(folder=tmp_path / "conda" / "below") == project
    assert envcompile.load("envcompile.toml", folder=tmp_path / "conda").spec == project.spec
    assert envcompile.load(project.path).spec.name == "conda"
    assert project.lock_path == tmp_path / "conda" / "envcompile.lock"


def test_load_raises_every_mistake_with_its_location(tmp_path: Path) -> None:
    path = tmp_path / "envcompile.toml"
    path.write_text('name = "x"\npyton = "3.12"\n[pip]\npackages = ["a =1"]\n', "utf-8")
    with pytest.raises(envcompile.DiagnosticsError) as caught:
        envcompile.load(path)
    error = caught.value
    assert [each.rule for each in error.diagnostics] == ["missing-key", "unknown-key", "requirement"]
    assert error.exit_code == 2
    with pytest.raises(envcompile.InvalidInputError, match="does not exist"):
        envcompile.load(tmp_path / "none.toml")
    path.unlink()
    with pytest.raises(envcompile.InvalidInputError, match=r"there is no `envcompile\.toml`"):
        envcompile.load(folder=tmp_path)


# lock


def test_lock_writes_the_lock_and_its_exports(workspace: Workspace) -> None:
    result = workspace.lock()
    lock_path, export_path = workspace.folder / "envcompile.lock", workspace.folder / "requirements.txt"
    assert result.changed_files == (lock_path, export_path)
    assert result.lock.text == lock_path.read_text("utf-8")
    assert (result.changes, result.warnings) == ((), ())
    (platform,) = result.lock.platforms
    assert [(each.name, each.version) for each in platform.pip] == [("leaf", "1.0"), ("top", "1.0")]
    assert workspace.events == [envcompile.StepStarted("resolving 1 requirement for linux-64")]
    assert envcompile.verify(result.lock.project).findings == ()
    assert envcompile.export(result.lock, "requirements") == export_path.read_text("utf-8")
    assert workspace.lock().changed_files == ()


def test_lock_reports_the_changes_and_their_reasons(workspace: Workspace) -> None:
    workspace.lock()
    workspace.index.wheels += (Wheel("leaf", "2.0"), Wheel("more", "1.0"))
    workspace.change_spec('"top"', '"top", "more"')
    result = workspace.lock()
    assert [(each.label, each.before, each.after) for each in result.changes] == [("more", None, "1.0")]
    result = workspace.lock(packages=("leaf",))
    assert [(each.name, each.status, each.after) for each in result.changes] == [("leaf", "changed", "2.0")]
    workspace.index.wheels += (Wheel("leaf", "3.0"), Wheel("more", "2.0"))
    result = workspace.lock(packages=("leaf==1.0",))
    assert [(each.name, each.after) for each in result.changes] == [("leaf", "1.0")]
    assert {each.name: each.after for each in workspace.lock(upgrade=True).changes} == {"leaf": "3.0", "more": "2.0"}


def test_lock_changes_no_file_without_write(workspace: Workspace) -> None:
    result = workspace.lock(write=False)
    assert [path.name for path in result.changed_files] == ["envcompile.lock", "requirements.txt"]
    assert [path.name for path in workspace.folder.iterdir()] == ["envcompile.toml"]


def test_lock_reads_the_spec_again_if_it_changed(workspace: Workspace) -> None:
    project = envcompile.load(folder=workspace.folder)
    workspace.change_spec('"top"', '"leaf"')
    result = envcompile.lock(project, environment=workspace.environment)
    assert result.lock.spec.pip.packages == (PipRequirement("leaf"),)
    assert envcompile.verify(result.lock.project).findings == ()
    assert [each.line for each in envcompile.verify(project).findings] == [5, 5]


def test_lock_warns_of_a_damaged_lock_and_keeps_its_pins(workspace: Workspace) -> None:
    workspace.lock()
    path = workspace.folder / "envcompile.lock"
    path.write_text(path.read_text("utf-8").replace("layout", "lay-out"), "utf-8")
    workspace.index.wheels += (Wheel("leaf", "2.0"),)
    workspace.events.clear()
    result = workspace.lock()
    assert [type(each) for each in workspace.events] == [envcompile.WarningIssued, envcompile.StepStarted]
    assert result.warnings == (workspace.events[0],)
    assert "2 pins can still be read" in result.warnings[0].message
    assert workspace.versions()["leaf"] == "1.0"


def test_lock_raises_what_the_command_prints(workspace: Workspace) -> None:
    workspace.lock()
    with pytest.raises(envcompile.InvalidInputError, match="`lief` is not in the lock"):
        workspace.lock(packages=("lief",))
    workspace.change_spec('"top"', '"top >=2"')
    with pytest.raises(envcompile.DiagnosticsError) as caught:
        workspace.lock()
    assert [each.rule for each in caught.value.diagnostics] == ["unsolvable"]
    assert caught.value.exit_code == 1
    workspace.change_spec('"top >=2"', '"more"')
    shutil.rmtree(workspace.folder.parent / "cache")
    with pytest.raises(envcompile.UnavailableError):
        envcompile.lock(envcompile.load(folder=workspace.folder), offline=True, environment=workspace.environment)
    with pytest.raises(envcompile.InvalidInputError, match=r"catalogue\.json` does not exist"):
        envcompile.lock(envcompile.load(folder=workspace.folder), catalogue=workspace.folder / "catalogue.json")


def test_nothing_is_printed_and_the_folder_stays(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lock = workspace.lock().lock
    envcompile.verify(lock.project)
    envcompile.dockerfile(lock)
    envcompile.export(lock, "pylock", environment=workspace.environment)
    assert Path.cwd() == tmp_path
    assert capfd.readouterr() == ("", "")


# verify


def test_verify_lists_each_requirement_that_fails(project: envcompile.Project) -> None:
    assert envcompile.verify(project) == envcompile.VerifyResult()
    text = project.source.text
    project.path.write_text(text.replace("numpy >=2", "numpy >=3").replace('"accelerate"', '"accelerate <1"'), "utf-8")
    found = envcompile.verify(envcompile.load(project.path))
    assert [(each.line, each.column) for each in found.findings] == [(7, 24), (10, 13)]
    assert found.findings[0].message.startswith("the spec requires `numpy >=3` from conda, but the lock has numpy 2.")
    assert found.findings[0].file == project.path
    assert found.findings[0].hint == f"run `envcompile lock -f {project.path}`"
    (error,) = found.errors
    assert isinstance(error, envcompile.DiagnosticsError)
    assert error.exit_code == 1


@pytest.mark.parametrize("change", ["", "# a comment\n", "x"])
def test_the_text_of_a_spec_is_parsed_once(
    project: envcompile.Project, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the text has changed, or the requirements, which the lock's facts are then compared with."""
    text = project.source.text
    text = text.replace("numpy >=2", "numpy >=3") if change == "x" else text + change
    project.path.write_text(text, "utf-8")
    parsed, loads = [], tomli.loads

    def count_loads(source: str) -> dict[str, Any]:
        parsed.append(source)
        return loads(source)

    monkeypatch.setattr(tomli, "loads", count_loads)
    loaded = envcompile.load(project.path)
    assert bool(envcompile.verify(loaded).findings) == (change == "x")
    if change != "x":
        envcompile.tag(loaded)
    assert parsed.count(text) == 1


def test_verify_checks_generated_files(project: envcompile.Project) -> None:
    path = project.path.parent / "Dockerfile"
    path.write_text(envcompile.dockerfile(project).text, "utf-8")
    assert envcompile.verify(project).findings == ()
    path.write_text(f"{path.read_text('utf-8')}#\n", "utf-8")
    (finding,) = envcompile.verify(project).findings
    assert (finding.file, finding.line) == (path, None)
    assert finding.hint == f"run `envcompile dockerfile -o {display_path(path)} -f {project.path}`"
    assert [each.exit_code for each in envcompile.verify(project).errors] == [1]


def test_verify_needs_a_lock(project: envcompile.Project) -> None:
    project.lock_path.unlink()
    with pytest.raises(envcompile.InvalidInputError, match="does not exist"):
        envcompile.verify(project)


# dockerfile, tag, export


@pytest.mark.parametrize("case", CASES)
def test_dockerfile_and_tag_are_those_of_the_command(case: str) -> None:
    project = envcompile.load(FIXTURES / "compile" / case / "envcompile.toml")
    made = envcompile.dockerfile(project)
    assert made.text == expected(case, "Dockerfile")
    assert made.tag == envcompile.tag(project) == expected(case, "tag").strip()


def test_an_outdated_lock_has_no_dockerfile(project: envcompile.Project) -> None:
    project.path.write_text(project.source.text.replace("numpy >=2", "numpy >=3"), "utf-8")
    changed = envcompile.load(project.path)
    for function in (envcompile.dockerfile, envcompile.tag, envcompile.build):
        with pytest.raises(envcompile.DiagnosticsError) as caught:
            function(changed)
        assert [each.rule for each in caught.value.diagnostics] == ["stale"]


def test_export_to_each_format(project: envcompile.Project) -> None:
    url = "https://files.example.invalid/packages"
    events: list[envcompile.Event] = []
    assert envcompile.export(project, "environment") == expected("conda", "environment.yml")
    assert envcompile.export(project, "requirements", on_event=events.append) == expected("conda", "requirements.txt")
    (warning,) = events
    assert isinstance(warning, envcompile.WarningIssued)
    assert "omits the 63 conda packages" in warning.message
    assert envcompile.export(project, "explicit", platform="linux-64") == expected("conda", "explicit-linux-64.txt")
    made = envcompile.export(project, "pylock", files_url=url)
    assert made == expected("conda", "pylock.toml")
    assert envcompile.export(project, "pylock", earlier_text=made, offline=True) == made
    assert envcompile.export(project, "conda-lock", files_url=url) == expected("conda", "conda-lock.yml")


def test_export_asks_the_index_for_urls(workspace: Workspace) -> None:
    lock = workspace.lock().lock
    made = envcompile.export(lock, "pylock", environment=workspace.environment)
    assert f"http://127.0.0.1:{workspace.index.port}/files/top-1.0-py3-none-any.whl" in made
    with pytest.raises(envcompile.UnavailableError):
        envcompile.export(lock, "pylock", offline=True, environment=workspace.environment)


def test_export_refuses_what_cannot_be_made(project: envcompile.Project) -> None:
    with pytest.raises(envcompile.InvalidInputError, match="`poetry` is not an export format"):
        envcompile.export(project, "poetry")
    with pytest.raises(envcompile.InvalidInputError, match="does not have the platform `linux-aarch64`"):
        envcompile.export(project, "explicit", platform="linux-aarch64")
    with pytest.raises(envcompile.InvalidInputError, match="`requirements`"):
        envcompile.export(project, "requirements", files_url="https://files.example.invalid")
    with pytest.raises(envcompile.InvalidInputError, match="user name, a password or a token"):
        envcompile.export(project, "pylock", files_url="https://me:secret@files.example.invalid")


# diff, build


def test_diff_of_two_locks(tmp_path: Path, project: envcompile.Project) -> None:
    other = envcompile.load(FIXTURES / "compile" / "conda-several" / "envcompile.toml")
    changes = envcompile.diff(project, other)
    assert ("platform", "linux-aarch64") in {(each.kind, each.name) for each in changes}
    assert envcompile.diff(project, project) == ()
    assert {each.status for each in envcompile.diff(None, other)} == {"added"}
    shutil.copytree(FIXTURES / "compile" / "several", tmp_path / "several")
    several = envcompile.load(folder=tmp_path / "several")
    several.lock_path.unlink()
    with pytest.raises(envcompile.InvalidInputError, match="does not exist"):
        envcompile.diff(project, several)


def test_build_checks_its_options_before_docker_is_started(project: envcompile.Project, tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    with pytest.raises(envcompile.InvalidInputError, match="`--push` needs a repository"):
        envcompile.build(project, push=True, environment=environment)
    with pytest.raises(envcompile.InvalidInputError, match="the lock does not have the platform `linux/arm64`"):
        envcompile.build(project, platforms=["linux-aarch64"], environment=environment)
    with pytest.raises(envcompile.UnavailableError, match="`docker` cannot be started"):
        envcompile.build(project, environment=environment)
    file = tmp_path / "image.tar"
    with pytest.raises(envcompile.UnavailableError, match="`docker` cannot be started"):
        envcompile.build(project, output=envcompile.ImageFile("oci", file), environment=environment)
    assert not file.exists()
    with pytest.raises(envcompile.UnavailableError, match="`docker` cannot be started"):
        envcompile.check_reproducibility(project, environment=environment)


# The documentation.


def test_the_examples_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text("utf-8")
    spec, *_ = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    wheels = (Wheel("python-dateutil", "2.9.0", ("six",)), Wheel("six", "1.16.0"))
    runner = DocTestRunner(verbose=False, optionflags=ELLIPSIS)
    names: dict[str, object] = {}
    report: list[str] = []
    with served(Index(wheels)) as index:
        base = SPEC.format(url=index.url(), base=BASE).partition("[image]\n")[2].partition("[lock]")[0]
        (tmp_path / "envcompile.toml").write_text(f'{spec}index = "{index.url()}"\n[image]\n{base}', "utf-8")
        for number, block in enumerate(blocks):
            example = DocTestParser().get_doctest(block, names, f"block {number}", "api.md", 0)
            assert runner.run(example, out=report.append, clear_globs=False).failed == 0, "".join(report)
            names = example.globs
            index.wheels = (*wheels, Wheel("six", "1.17.0"))
    assert len(blocks) > 5
