"""`init = true` on the real engine: signals and zombies, in an image of each kind."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_apt import IMAGE, Work, now
from tests.engine.test_conda import spec as conda_spec
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import CA_BUNDLE, docker, envcompile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.built_channel import Channel
    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index]

# As the first process, neither ends on SIGTERM: the kernel ignores signals without a handler there.
PYTHON = 'command = ["python", "-c", "import time; time.sleep(300)"]'
SLEEP = 'command = ["sleep", "300"]'
TERMINATED, KILLED = 128 + 15, 128 + 9
ORPHANS = 3
# A process whose parent has ended before it belongs to the first process.
MAKE_ORPHANS = f"for each in $(seq {ORPHANS}); do (true &); done"
COUNT_ZOMBIES = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"


@pytest.fixture(scope="module", params=["pip", "conda", "apt"])
def image(
    request: pytest.FixtureRequest, engine: Engine, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, list[str]]]:
    """The tag of an image, and its entrypoint."""
    folder, tag = tmp_path_factory.mktemp(request.param), f"envcompile-test-init-{request.param}"
    if request.param == "apt":
        # Without a Python: the init is a Debian package.
        with debian_archive() as archive:
            work = Work(folder, archive)
            base = IMAGE.replace("BASE", engine.base)
            work.lock(
                f'name = "a"\n[apt]\npackages = ["hello"]\nsnapshot = {now()}\n[image]\n{base}\ninit = true\n{SLEEP}\n'
            )
            engine.build(work.dockerfile(), tag, *work.secret())
        entrypoint = ["/usr/bin/dumb-init", "--"]
    else:
        if request.param == "conda":
            spec = conda_spec(engine, conda_channel.url, '"everything"')
            spec = spec.replace("[tools]", f"init = true\n{PYTHON}\n[tools]")
            entrypoint = ["/env/bin/dumb-init", "--", "/env/bin/activated"]
        else:
            text = f'name = "a"\npython = "3.11"\n[pip]\npackages = ["six"]\n[image]\nbase = ""\ninit = true\n{PYTHON}'
            spec = engine.stand_ins(text)
            entrypoint = ["/env/bin/dumb-init", "--"]
        (folder / "envcompile.toml").write_text(spec, "utf-8")
        envcompile("lock", "-q", folder=folder)
        engine.build(envcompile("dockerfile", "-q", folder=folder), tag, "--secret", f"id=ca,src={CA_BUNDLE}")
    yield tag, entrypoint
    docker("image", "rm", "--force", tag)


def start(tag: str, *options: str) -> str:
    return docker("run", "--detach", "--network=host", *options, tag).split()[-1]


def find_exit_code(name: str) -> int:
    return int(json.loads(docker("inspect", name))[0]["State"]["ExitCode"])


def count_zombies(name: str, expected: int) -> int:
    """The number of zombies, after as many questions as it takes to become the expected one."""
    for _ in range(50):
        docker("exec", name, "sh", "-c", "true")
        if (found := int(docker("exec", name, "sh", "-c", COUNT_ZOMBIES))) == expected:
            break
        time.sleep(0.1)
    return found


def test_the_container_ends_on_sigterm(image: tuple[str, list[str]]) -> None:
    """Promise 13. The exit code tells that nothing was killed after the grace period."""
    tag, entrypoint = image
    assert json.loads(docker("image", "inspect", tag))[0]["Config"]["Entrypoint"] == entrypoint
    name = start(tag)
    try:
        assert docker("exec", name, "cat", "/proc/1/comm") == "dumb-init\n"
        docker("stop", "--time", "8", name)
        assert find_exit_code(name) == TERMINATED
    finally:
        docker("rm", "--force", name)


def test_zombies_are_reaped(image: tuple[str, list[str]]) -> None:
    name = start(image[0])
    try:
        docker("exec", name, "sh", "-c", MAKE_ORPHANS)
        assert count_zombies(name, 0) == 0
    finally:
        docker("rm", "--force", name)


def test_without_an_init(image: tuple[str, list[str]]) -> None:
    """What the documentation says about images without an init: here by another entrypoint."""
    name = docker("run", "--detach", "--network=host", "--entrypoint", "sleep", image[0], "300").split()[-1]
    try:
        docker("exec", name, "sh", "-c", MAKE_ORPHANS)
        assert count_zombies(name, ORPHANS) == ORPHANS
        docker("stop", "--time", "1", name)
        assert find_exit_code(name) == KILLED
    finally:
        docker("rm", "--force", name)


def test_the_command_has_the_environment(image: tuple[str, list[str]]) -> None:
    """The init starts what follows: the activation scripts, the command, and what `docker run` names."""
    tag, entrypoint = image
    name = docker("run", "--detach", "--network=host", tag, "sh", "-c", "echo [$SETTINGS_TEXT]; exit 7").split()[-1]
    try:
        assert docker("wait", name) == "7\n"
        assert ("[two words" in docker("logs", name)) is ("/env/bin/activated" in entrypoint)
    finally:
        docker("rm", "--force", name)
