"""`init = true` in every kind of environment: the real command line, with an index, a channel and a hub on loopback."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.kit.channel import made_channel
from tests.kit.channel import served as served_channel
from tests.kit.hub import made_hub
from tests.kit.index import Index, Wheel, served
from tests.kit.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.lock.model import PlatformLock
    from tests.kit.hub import Hub

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg signs the archives")

WHEELS = (
    Wheel("tiny", "1.0"),
    *(
        Wheel("dumb-init", version, tag=f"py2.py3-none-manylinux_2_17_{machine}", uploaded="2024-06-01T00:00:00Z")
        for version in ("1.2.4", "1.2.5")
        for machine in ("x86_64", "aarch64")
    ),
)
INIT = "[image]\ninit = true\n"
PIP = f'name = "x"\npython = "3.12"\n[pip]\npackages = ["tiny"]\n{INIT}'
RECORDS = (
    {"name": "python", "version": "3.12.4"},
    {"name": "ffmpeg", "version": "7.0"},
    {"name": "needs-init", "version": "1.0", "depends": ["dumb-init"]},
    {"name": "dumb-init", "version": "1.2.2"},
)


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[Hub, str]]:
    with made_hub() as found:
        yield found


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with served(Index(WHEELS)) as index:
        yield index


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("channel")
    made_channel(folder, *RECORDS, subdir="linux-64")
    with served_channel(folder) as url:
        yield url


@pytest.fixture
def machine(tmp_path: Path, hub: tuple[Hub, str], index: Index) -> Machine:
    return Machine(tmp_path, *hub, index)


def lock(machine: Machine, text: str, *, code: int = 0) -> PlatformLock:
    """Lock a spec. The lock is then current, also for `verify --full`, and another `lock` changes nothing."""
    (machine.folder / "envcompile.toml").write_text(text, "utf-8")
    machine.said = machine.run("lock", code=code)[1]
    if code == 0:
        machine.run("verify", "--full")
        assert "is current" in machine.run("lock", "--check")[1]
    return machine.read().platforms[0]


def conda(channel: str, *packages: str, more: str = "") -> str:
    return f'name = "x"\n{more}[conda]\nchannels = ["{channel}"]\npackages = {json.dumps(packages)}\n{INIT}'


def pip_names(platform: PlatformLock) -> dict[str, str]:
    return {each.name: each.version for each in platform.pip}


def entrypoint(machine: Machine) -> list[str]:
    (line,) = (line for line in machine.run("dockerfile")[0].splitlines() if line.startswith("ENTRYPOINT "))
    found: list[str] = json.loads(line.removeprefix("ENTRYPOINT "))
    return found


def test_the_wheel_is_locked_for_every_platform(machine: Machine) -> None:
    lock(machine, PIP.replace("[pip]", 'platforms = ["linux-64", "linux-aarch64"]\n[pip]'))
    files = [each.file for platform in machine.read().platforms for each in platform.pip if each.name == "dumb-init"]
    assert files == [f"dumb_init-1.2.5-py2.py3-none-manylinux_2_17_{name}.whl" for name in ("aarch64", "x86_64")][::-1]
    assert entrypoint(machine) == ["/env/bin/dumb-init", "--"]
    assert "dumb-init 1.2.5, which `init` in `[image]` requests" in machine.run("why", "dumb-init")[0]
    exported = machine.run("export", "--format", "requirements")[0]
    assert "dumb-init==1.2.5" in exported
    assert exported.count("# via the spec") == 2


def test_it_is_a_package_like_any_other(machine: Machine) -> None:
    """A pin is kept, `-P` moves it alone, and `exclude-newer` bounds it."""
    lock(machine, PIP.replace('"tiny"', '"tiny", "dumb-init <1.2.5"'))
    assert "dumb-init 1.2.4, which the spec requests" in machine.run("why", "dumb-init")[0]
    assert pip_names(lock(machine, PIP)) == {"tiny": "1.0", "dumb-init": "1.2.4"}
    machine.run("lock", "-P", "dumb-init")
    assert pip_names(machine.read().platforms[0]) == {"tiny": "1.0", "dumb-init": "1.2.5"}
    before = (machine.folder / "envcompile.lock").read_bytes()
    lock(machine, PIP.replace("[pip]", "exclude-newer = 2024-03-01T00:00:00Z\n[pip]"), code=1)
    assert " --> envcompile.toml:7:8\n" in machine.said
    assert "7 | init = true" in machine.said
    assert (machine.folder / "envcompile.lock").read_bytes() == before


def test_it_is_not_added_to_its_own_requirement(machine: Machine) -> None:
    platform = lock(machine, PIP.replace('"tiny"', '"tiny", "Dumb_Init ==1.2.4"'))
    assert pip_names(platform)["dumb-init"] == "1.2.4"


def test_switching_it_off_and_on(machine: Machine) -> None:
    lock(machine, PIP)
    (machine.folder / "envcompile.toml").write_text(PIP.replace("true", "false"), "utf-8")
    assert "no requirement needs `dumb-init` any more" in machine.run("verify", code=1)[1]
    assert "dumb-init" not in pip_names(lock(machine, PIP.replace("true", "false")))
    assert entrypoint(machine) == []
    (machine.folder / "envcompile.toml").write_text(PIP, "utf-8")
    said = machine.run("verify", code=1)[1]
    assert "error[stale]: the spec requests an init, but the lock has no `dumb-init`" in said
    assert " --> envcompile.toml:6:8\n" in said


def test_without_pip_packages(machine: Machine) -> None:
    """A Debian package and an empty Python environment: the wheel is the only one."""
    text = f'name = "x"\npython = "3.12"\n[apt]\npackages = ["gcc"]\n{INIT}'
    assert pip_names(lock(machine, text)) == {"dumb-init": "1.2.5"}
    assert entrypoint(machine) == ["/env/bin/dumb-init", "--"]
    assert "guard-pip" not in machine.run("dockerfile")[0]
    assert "This environment is locked" in machine.run("dockerfile")[0]


def test_conda_with_python_gets_the_wheel(machine: Machine, channel: str) -> None:
    platform = lock(machine, conda(channel, "python"))
    assert pip_names(platform) == {"dumb-init": "1.2.5"}
    assert [tool.name for tool in platform.tools] == ["python", "uv"]
    assert entrypoint(machine) == ["/env/bin/dumb-init", "--", "/env/bin/activated"]


def test_conda_without_python_gets_the_debian_package(machine: Machine, channel: str) -> None:
    """A wheel cannot be installed without a Python."""
    platform = lock(machine, conda(channel, "ffmpeg"))
    assert platform.pip == ()
    assert [each.name for each in platform.apt] == ["dumb-init"]
    assert [tool.name for tool in platform.tools] == ["python", "uv"]
    assert entrypoint(machine) == ["/usr/bin/dumb-init", "--", "/env/bin/activated"]
    assert "no Python for the wheel of the init program: dumb-init (init)" in machine.run("explain")[0]
    assert "apt dumb-init 1.0, which `init` in `[image]` requests" in machine.run("why", "dumb-init")[0]


@pytest.mark.parametrize("package", ["dumb-init", "needs-init"])
def test_conda_may_have_it_itself(machine: Machine, channel: str, package: str) -> None:
    platform = lock(machine, conda(channel, "python", package))
    assert (platform.pip, platform.apt) == ((), ())
    assert entrypoint(machine)[0] == "/env/bin/dumb-init"


def test_debian_packages_alone(machine: Machine) -> None:
    text = f'name = "x"\n[apt]\npackages = ["gcc"]\n{INIT}'
    platform = lock(machine, text)
    assert {each.name for each in platform.apt} == {"gcc", "dumb-init"}
    assert (platform.pip, platform.tools, platform.python) == ((), (), None)
    assert entrypoint(machine) == ["/usr/bin/dumb-init", "--"]
    (machine.folder / "envcompile.toml").write_text(text.replace("true", "false"), "utf-8")
    said = machine.run("verify", code=1)[1]
    assert "the lock has the Debian package `dumb-init` for `init`, but the spec requests no init" in said
    assert {each.name for each in lock(machine, text.replace("true", "false")).apt} == {"gcc"}


def test_a_debian_package_that_the_spec_lists(machine: Machine) -> None:
    platform = lock(machine, PIP.replace("[image]", '[apt]\npackages = ["dumb-init"]\n[image]'))
    assert pip_names(platform) == {"tiny": "1.0"}
    assert entrypoint(machine) == ["/usr/bin/dumb-init", "--"]


def test_an_index_without_it(machine: Machine) -> None:
    """A private index: the error is at the key that needs the package."""
    with served(Index((Wheel("tiny", "1.0"),))) as private:
        machine.environment["UV_DEFAULT_INDEX"] = private.url()
        (machine.folder / "envcompile.toml").write_text(PIP, "utf-8")
        said = machine.run("lock", code=1)[1]
    assert " --> envcompile.toml:6:8\n" in said
    assert "the package index has no package `dumb-init`" in said


def test_it_cannot_be_excluded(machine: Machine) -> None:
    text = PIP.replace('["tiny"]', '["tiny"]\nexclude = ["dumb_init"]')
    (machine.folder / "envcompile.toml").write_text(text, "utf-8")
    said = machine.run("lock", code=2)[1]
    assert "error[excluded-requirement]: `dumb_init` is excluded, but `init` in `[image]` needs it" in said
