"""Promise 10: no file that envcompile did not write is overwritten. Each command, each format, and links."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.oci.archive import is_built_image
from envcompile.project.discovery import find_dockerfiles, find_spec_of_file, is_generated_file
from envcompile.project.outputs import check_output_file, format_own_name
from tests.kit.project import FIXTURES

FOREIGN = "FROM scratch\n# a day's work\n"
# The words of each command that writes a file, and another name for the file.
WRITERS = {
    "Dockerfile": (("dockerfile",), "envcompile.Dockerfile"),
    "requirements.txt": (("export", "--format", "requirements"), "envcompile.requirements.txt"),
    "bake.json": (("bake",), "envcompile-bake.json"),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "compile" / "indexes", tmp_path / "project"))


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envcompile", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, encoding="utf-8")


@pytest.mark.parametrize("name", WRITERS)
def test_the_file_of_another_program_is_replaced_with_force_only(name: str, project: Path) -> None:
    words, own = WRITERS[name]
    file = project / name
    file.write_text(FOREIGN, "utf-8")
    before = sorted(project.iterdir())
    done = run(*words, "-o", name, folder=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"`{name}` exists, and envcompile did not write it" in done.stderr
    assert "--force" not in done.stderr
    assert file.read_text("utf-8") == FOREIGN
    assert sorted(project.iterdir()) == before
    # The hint works as it stands, and its file may be written again.
    command = f"envcompile {' '.join(words)} -o {own}"
    assert f"hint: write another file: `{command}`" in done.stderr
    assert run(*command.split()[1:], folder=project).returncode == 0
    assert run(*command.split()[1:], folder=project).returncode == 0
    assert run(*words, "-o", name, "--force", folder=project).returncode == 0
    assert file.read_bytes() == (project / own).read_bytes()
    assert run(*words, "-o", name, folder=project).returncode == 0


@pytest.mark.parametrize("name", ["Dockerfile", "requirements.txt"])
def test_check_does_not_advise_to_overwrite(name: str, project: Path) -> None:
    words, own = WRITERS[name]
    (project / name).write_text(FOREIGN, "utf-8")
    done = run(*words, "-o", name, "--check", folder=project)
    assert done.returncode == 1
    assert f"-o {own}`" in done.stderr
    assert f"-o {name}" not in done.stderr
    (project / own).write_text("another one\n", "utf-8")
    assert "name another file with `-o`" in run(*words, "-o", name, "--check", folder=project).stderr


def test_the_hint_names_the_spec(project: Path) -> None:
    for ending in ("toml", "lock"):
        (project / f"envcompile.{ending}").rename(project / f"cpu.{ending}")
    (project / "Dockerfile").write_text(FOREIGN, "utf-8")
    done = run("-f", "cpu.toml", "dockerfile", "-o", "Dockerfile", "--check", folder=project)
    assert "hint: write another file: `envcompile dockerfile -f cpu.toml -o cpu.Dockerfile`" in done.stderr
    done = run("-f", "cpu.toml", "dockerfile", "-o", "cpu.Dockerfile", "--check", folder=project)
    assert "hint: run `envcompile dockerfile -f cpu.toml -o cpu.Dockerfile`" in done.stderr


def test_verify_looks_at_the_file_of_the_hint(project: Path) -> None:
    assert run("dockerfile", "-o", "envcompile.Dockerfile", folder=project).returncode == 0
    assert run("verify", folder=project).returncode == 0
    file = project / "envcompile.Dockerfile"
    assert find_dockerfiles(str(project / "envcompile.toml")) == [str(file)]
    for name in ("envcompile.Dockerfile", "envcompile.requirements.txt"):
        assert run(*WRITERS[name.removeprefix("envcompile.")][0], "-o", name, folder=project).returncode == 0
        assert find_spec_of_file(str(project / name)) == str(project / "envcompile.toml")
    file.write_bytes(file.read_bytes() + b"#\n")
    done = run("verify", folder=project)
    assert (done.returncode, "run `envcompile dockerfile -o envcompile.Dockerfile`" in done.stderr) == (1, True)


@pytest.mark.parametrize("text", ["[[package]]\nname = 'six'\n", "version = 1\n", "GEM\n  remote: x\n", "\0\1"])
def test_a_lock_of_another_tool_stays(text: str, project: Path) -> None:
    """`poetry.toml` and `poetry.lock`: the name of the lock follows from that of the spec."""
    (project / "envcompile.toml").rename(project / "poetry.toml")
    lock = project / "poetry.lock"
    lock.write_text(text, "utf-8")
    for option in ("-U", "--check"):
        done = run("lock", option, "-f", "poetry.toml", "--offline", folder=project)
        assert (done.returncode, "`poetry.lock` exists, and envcompile did not write it" in done.stderr) == (2, True)
    assert lock.read_text("utf-8") == text


def test_links_that_lead_out_are_refused_and_those_inside_are_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "repository", tmp_path / "outside"
    folder = root / "a"
    folder.mkdir(parents=True)
    outside.mkdir()
    own, link = "# Made by envcompile from x\n", folder / "Dockerfile"
    (outside / "own").write_text(own, "utf-8")
    (root / "own").write_text(own, "utf-8")
    (root / "foreign").write_text(FOREIGN, "utf-8")

    def refusal(target: str) -> str:
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        try:
            check_output_file(link, is_generated_file, None)
        except InvalidInputError as error:
            return error.message
        return ""

    # Without a repository, the folder of the file is the project.
    assert "leads out of the project" in refusal("../own")
    (root / ".git").mkdir()
    assert refusal("../own") == ""
    assert refusal("../new") == ""
    assert "envcompile did not write it" in refusal("../foreign")
    assert f"is a link that leads out of the project, to `{outside / 'own'}`" in refusal("../../outside/own")
    assert "leads out of the project" in refusal(str(outside / "new"))
    assert "leads out of the project" in refusal("../.git/hooks/pre-commit")
    (root / "elsewhere").symlink_to("../outside")
    with pytest.raises(InvalidInputError, match="leads out of the project"):
        check_output_file(root / "elsewhere" / "new", is_generated_file, None)
    check_output_file(link, is_generated_file, None, force=True)


def test_a_lock_behind_a_link_out_of_the_repository_is_not_written(project: Path, tmp_path: Path) -> None:
    """A cloned repository decides about the links in it, so they must not reach other files of the user."""
    (project / ".git").mkdir()
    outside = tmp_path / "outside.lock"
    shutil.move(project / "envcompile.lock", outside)
    before = outside.read_bytes()
    (project / "envcompile.lock").symlink_to(outside)
    done = run("lock", "-U", "--offline", folder=project)
    assert (done.returncode, "`envcompile.lock` is a link that leads out of the project" in done.stderr) == (2, True)
    assert outside.read_bytes() == before
    assert run("verify", folder=project).returncode == 0


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_device_is_not_replaced(force: tuple[str, ...], project: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = run("dockerfile", "-o", str(pipe), *force, folder=project)
    assert (done.returncode, "is a device or a pipe, not a file" in done.stderr) == (2, True)
    assert pipe.is_fifo()
    done = run("dockerfile", "-o", str(tmp_path), *force, folder=project)
    assert (done.returncode, "is a folder, not a file" in done.stderr) == (2, True)


def write_archive(path: Path, *names: str) -> None:
    rows = [{"digest": "sha256:0", "annotations": {"io.containerd.image.name": name}} for name in names]
    data = json.dumps({"manifests": rows}).encode()
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("index.json")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))


def test_an_image_of_an_earlier_build_is_recognized_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    write_archive(file, "docker.io/library/ml:" + 32 * "a", "docker.io/library/ml:latest")
    assert is_built_image(str(file))
    for name in ("docker.io/library/ml:latest", "ml:" + 31 * "a", ""):
        write_archive(file, name)
        assert not is_built_image(str(file))
    for data in (b"", b"PK\3\4", b"x" * 2000):
        file.write_bytes(data)
        assert not is_built_image(str(file))


def test_build_leaves_the_archive_of_another_program(project: Path) -> None:
    file = project / "backup.tar"
    write_archive(file, "backup:1")
    before = file.read_bytes()
    done = run("build", "--output", "type=oci,dest=backup.tar", folder=project)
    assert (done.returncode, "`backup.tar` exists, and envcompile did not write it" in done.stderr) == (2, True)
    assert "write the image to another file" in done.stderr
    assert file.read_bytes() == before


def test_own_names(tmp_path: Path) -> None:
    output = str(tmp_path / "pylock.toml")
    assert format_own_name(output, "pylock.toml", "envcompile") == str(tmp_path / "pylock.envcompile.toml")
    assert format_own_name("Dockerfile", "Dockerfile", "cpu") == "cpu.Dockerfile"
    assert format_own_name("cpu.Dockerfile", "Dockerfile", "cpu") is None
