"""`allow-sdist` through the real uv and an index on the loopback interface: locked whole, and nothing of it is run."""

from __future__ import annotations

import contextlib
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from envcompile.lock.writer import format_lock
from envcompile.net.process import run_process
from envcompile.resolve.model import Effects
from envcompile.resolve.pip.sdists import read_sdist
from envcompile.resolve.pip.uv import find_default_index
from tests.cli.test_lock_several_indexes import HERE, envcompile
from tests.kit.index import Index, Wheel, served
from tests.kit.sdists import Sdist, metadata, system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import PlatformLock

pytestmark = pytest.mark.skipif(not HERE.glibc, reason="the base is as this machine, which has no glibc")

TOOLS = (
    Wheel("setuptools", "80.0"),
    Wheel("setuptools", "60.0"),
    Wheel("wheel", "0.40"),
    Wheel("ninja", "1.0"),
    Wheel("mesonpy", "1.0"),
    Wheel("lib", "1.0"),
    Wheel("lib", "2.0"),
    Wheel("other", "1.0", tag="py3-none-win_amd64"),
)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file that any code of the sdists below leaves behind."""
    return tmp_path / "ran"


def code(canary: Path) -> tuple[tuple[str, str], tuple[str, str]]:
    """A setup.py and a backend of the tree's own, which both tell on whoever runs them."""
    tells = f"open({str(canary)!r}, 'a').write(__file__)\n"
    return ("setup.py", tells), ("backend.py", tells)


def lock(folder: Path, index: Index, pip: str) -> tuple[PlatformLock | None, str]:
    """What is locked for this platform, if anything, and what was said."""
    folder.mkdir(exist_ok=True)
    digest = 64 * "a"
    platform = "linux-64" if HERE.machine == "x86_64" else "linux-aarch64"
    (folder / "envcompile.toml").write_text(
        f"""name = "x"
python = "{HERE.python}"
platforms = ["{platform}"]
[pip]
index = "{index.url()}"
{pip}
[image.base]
image = "x@sha256:{digest}"
os = "debian-12"
glibc = "{HERE.glibc}"
python = "{HERE.python}"
python-path = "/p"
[tools]
uv = "uv@sha256:{digest}"
""",
        "utf-8",
    )
    done = envcompile(folder, "lock")
    if done.returncode:
        return None, done.stderr
    text = (folder / "envcompile.lock").read_text("utf-8")
    assert format_lock(parse_lock(text, "x")) == text
    return parse_lock(text, "x").find_platform(platform), done.stderr


def shown(locked: PlatformLock | None) -> list[str]:
    assert locked
    return [f"{each.kind} {each.name} {each.version}" for each in locked.pip]


@pytest.fixture
def index(canary: Path) -> Iterator[Index]:
    """A case of every way in which an sdist says, or does not say, what it needs."""
    own = code(canary)
    old = metadata("dynamic", "2.0", form="2.1")
    table = '\n[project]\nname = "table"\nversion = "1.0"\ndependencies = ["lib <2"]\n'
    sdists = (
        Sdist("static", "1.0", (metadata("static", "1.0", "Requires-Dist: lib <2"), *own)),
        Sdist("static", "2.0", (metadata("static", "2.0", "Requires-Dist: nowhere"), system(), *own)),
        Sdist("dynamic", "2.0", (old, system("setuptools >=61", "lib"), *own)),
        Sdist("partly", "1.0", (metadata("partly", "1.0", "Dynamic: Requires-Dist"), *own)),
        Sdist("table", "1.0", (("pyproject.toml", system("setuptools <70")[1] + table), *own)),
        Sdist("meson", "1.0", (metadata("meson", "1.0"), system("mesonpy", backend="mesonpy"), *own)),
        Sdist("far", "1.0", (metadata("far", "1.0"), system("lib @ git+https://example.invalid/lib"), *own)),
        Sdist("other", "1.0", (metadata("other", "1.0"), system(), *own)),
        Sdist("both", "1.0", (metadata("both", "1.0"), system(), *own)),
    )
    with served(Index((*TOOLS, *sdists, Wheel("both", "1.0")))) as index:
        yield index


def test_an_sdist_is_locked_with_what_it_is_built_with(index: Index, tmp_path: Path, canary: Path) -> None:
    """Of the newer release `nowhere` is nowhere: that is known only once it was read, and the older one is taken."""
    locked, said = lock(tmp_path / "x", index, 'packages = ["static"]\nallow-sdist = ["Static"]')
    assert locked, said
    assert shown(locked) == ["wheel lib 1.0", "sdist static 1.0"]
    assert locked.pip[1].file == "static-1.0.tar.gz"
    assert locked.pip[1].depends == ("lib <2",)
    [build] = locked.pip_build
    assert [(each.name, each.version) for each in build.packages] == [("setuptools", "80.0"), ("wheel", "0.40")]
    assert not canary.exists()


@pytest.mark.parametrize(
    ("name", "built"),
    [("table", {"setuptools": "60.0", "wheel": "0.40"}), ("meson", {"mesonpy": "1.0", "ninja": "1.0"})],
)
def test_builds_are_as_the_sdist_has_them(
    index: Index, tmp_path: Path, canary: Path, name: str, built: dict[str, str]
) -> None:
    locked, said = lock(tmp_path / "x", index, f'packages = ["{name}"]\nallow-sdist = ["{name}"]')
    assert locked, said
    assert {each.name: each.version for each in locked.pip_build[0].packages} == built
    assert not canary.exists()


@pytest.mark.parametrize("name", ["dynamic", "partly"])
def test_dynamic_dependencies_are_an_error(index: Index, tmp_path: Path, canary: Path, name: str) -> None:
    locked, said = lock(tmp_path / "x", index, f'packages = ["{name}"]\nallow-sdist = ["{name}"]')
    assert locked is None
    assert "error[sdist]" in said
    assert f"add `[pip.metadata.{name}]`" in said
    assert not canary.exists()


def test_metadata_in_the_spec_replaces_that_of_the_sdist(index: Index, tmp_path: Path, canary: Path) -> None:
    """It is built with the environment's release of what the spec names, not with the newest."""
    pip = """packages = ["dynamic"]
allow-sdist = ["dynamic"]
[pip.metadata.dynamic]
requires-dist = ["lib <2"]
requires-python = ">=3"
build-requires = ["lib", "ninja"]"""
    locked, said = lock(tmp_path / "x", index, pip)
    assert locked, said
    assert shown(locked) == ["sdist dynamic 2.0", "wheel lib 1.0"]
    built = {each.name: each.version for each in locked.pip_build[0].packages}
    assert built == {"setuptools": "80.0", "wheel": "0.40", "lib": "1.0", "ninja": "1.0"}
    assert not canary.exists()


def test_a_wheel_is_taken_where_there_is_one(index: Index, tmp_path: Path) -> None:
    locked, _ = lock(tmp_path / "x", index, 'packages = ["both", "other"]\nallow-sdist = ["both", "other"]')
    assert shown(locked) == ["wheel both 1.0", "sdist other 1.0"]


def test_an_sdist_that_is_not_allowed_is_not_used(index: Index, tmp_path: Path, canary: Path) -> None:
    locked, said = lock(tmp_path / "x", index, 'packages = ["static", "meson"]\nallow-sdist = ["static"]')
    assert locked is None
    assert "error[unsolvable]" in said
    assert 'hint: build it from its sdist: `allow-sdist = ["meson"]` in `[pip]`' in said
    assert "--no-build" not in said
    assert not canary.exists()


def test_a_build_that_cannot_be_pinned(index: Index, tmp_path: Path, canary: Path) -> None:
    locked, said = lock(tmp_path / "x", index, 'packages = ["far"]\nallow-sdist = ["far"]')
    assert locked is None
    assert "a build requirement that cannot be locked" in said
    assert not canary.exists()


def test_another_file_than_the_index_says(tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sdist = Sdist("static", "1.0", (metadata("static", "1.0"), *code(canary)))
    with served(Index((*TOOLS, sdist))) as index:
        monkeypatch.setattr(Sdist, "sha256", lambda _: 64 * "0")
        locked, said = lock(tmp_path / "x", index, 'packages = ["static"]\nallow-sdist = ["static"]')
    assert locked is None
    assert "does not have the sha256 that the index lists" in said
    assert not canary.exists()


def test_pins_are_kept(index: Index, tmp_path: Path) -> None:
    """A newer setuptools moves neither the sdist nor what it is built with."""
    folder, pip = tmp_path / "x", 'packages = ["meson"]\nallow-sdist = ["meson"]'
    before, _ = lock(folder, index, pip)
    index.wheels = (*index.wheels, Wheel("mesonpy", "9.0"))
    assert lock(folder, index, f"{pip}\n# more")[0] == before
    assert envcompile(folder, "lock", "-U").returncode == 0
    moved = parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x")
    assert [each.version for each in moved.platforms[0].pip_build[0].packages] == ["9.0", "1.0"]


def test_a_damaged_archive_is_said_to_be_one() -> None:
    """Cut anywhere, or with any byte changed: what it says, or that it cannot be read, and no traceback."""
    # Too much for one buffer, and nothing that can be packed well: so the damage is met while a file is read.
    noise = "".join(sha256(bytes([one, two])).hexdigest() for one in range(64) for two in range(64))
    sdist = Sdist("top", "1.0", (metadata("top", "1.0"), ("pyproject.toml", f"[build-system]\n# {noise}\n")))
    whole = sdist.content()
    for at in range(0, len(whole), 997):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            with contextlib.suppress(ValueError):
                read_sdist(sdist.file, data)


def test_the_users_default_index_has_its_whole_address() -> None:
    for said in ("https://index.example.invalid/simple?key=1", "mine=https://index.example.invalid/simple?key=1"):
        effects = Effects(run_process, {"UV_DEFAULT_INDEX": said})
        assert find_default_index(effects) == "https://index.example.invalid/simple?key=1"
