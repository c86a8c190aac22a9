"""What people type in a container, in every kind of image: login shells, any user id, pip, no entrypoint."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
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

PIP = """
name = "shell"
python = "3.11"
[pip]
packages = ["six"]
[image]
base = ""
command = ["sleep", "60"]
"""
# What the images of nvidia/cuda have: an entrypoint with scripts that it sources, and variables.
CUDA = """FROM BASE
ENV NVARCH=x86_64 NVIDIA_VISIBLE_DEVICES=all LD_LIBRARY_PATH=/usr/local/cuda/lib64
ENV PATH=/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY --chmod=755 <<'EOF' /opt/nvidia/nvidia_entrypoint.sh
#!/bin/bash
echo "== CUDA =="
exec "$@"
EOF
ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]
"""
RANDOM_USER = "1000720000:0"
USERS = ("", RANDOM_USER, "0")


@dataclass
class Image:
    """A built image; `module` can be imported in it."""

    engine: Engine
    tag: str
    module: str

    def run(self, command: str, user: str = "", *options: str) -> str:
        """Run a shell command by the entrypoint of the image."""
        who = ("--user", user) if user else ()
        words = shlex.split(command)
        said = docker("run", "--rm", "--network=host", *who, *options, self.tag, *words, check=False)
        # What the activation script prints goes to standard error, which may come before or after the other output.
        return said.replace("settings: activated\n", "")


@pytest.fixture(scope="module", params=["pip", "conda", "apt", "cuda"])
def image(
    request: pytest.FixtureRequest, engine: Engine, conda_channel: Channel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    folder, tag = tmp_path_factory.mktemp(request.param), f"envcompile-test-shell-{request.param}"
    if request.param == "apt":
        with debian_archive() as archive:
            work = Work(folder, archive)
            base = IMAGE.replace("BASE", engine.base).replace(
                " }", f', python = "{engine.python}", python-path = "/usr/bin/python3" }}'
            )
            apt = f'[apt]\npackages = ["tini"]\nsnapshot = {now()}\n[image]\n{base}\ncommand = ["sleep", "60"]\n'
            tools = f'[tools]\nuv = "{engine.uv}"\n'
            work.lock(f'name = "a"\npython = "{engine.python}"\n[pip]\npackages = ["six"]\n{apt}{tools}')
            engine.build(work.dockerfile(), tag, *work.secret())
    else:
        spec = engine.stand_ins(PIP)
        if request.param == "conda":
            spec = conda_spec(engine, conda_channel.url, '"everything"')
            spec = spec.replace("[tools]", 'command = ["sleep", "60"]\n[tools]')
        if request.param == "cuda":
            name = f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/nvidia/cuda:stand-in"
            digest = engine.build(CUDA.replace("BASE", engine.base), name, "--push")
            spec = spec.replace(engine.base, f"{name}@{digest}")
        (folder / "envcompile.toml").write_text(spec, "utf-8")
        envcompile("lock", "-q", folder=folder)
        engine.build(envcompile("dockerfile", "-q", folder=folder), tag, "--secret", f"id=ca,src={CA_BUNDLE}")
    yield Image(engine, tag, "greeter" if request.param == "conda" else "six")
    docker("image", "rm", "--force", tag)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("shell", ["bash -lc", "sh -lc", "bash -c", "sh -c"])
def test_shells_have_the_python_of_the_environment(image: Image, shell: str, user: str) -> None:
    said = image.run(f"{shell} 'command -v python; python -c \"import {image.module}\" && echo imported'", user)
    # Activation scripts may print something, to standard error.
    assert {"/env/bin/python", "imported"} <= set(said.splitlines()), said


@pytest.mark.parametrize("user", USERS)
def test_a_second_process_in_a_running_container(image: Image, user: str) -> None:
    """As `docker exec` and a terminal in JupyterLab start one: no entrypoint runs."""
    name = docker("run", "--detach", "--network=host", image.tag).split()[-1]
    try:
        who = ("--user", user) if user else ()
        for shell in ("bash -lc", "sh -lc", "bash -c"):
            code = f"command -v python; python -c 'import {image.module}' && echo imported"
            said = docker("exec", *who, name, *shell.split(), code, check=False)
            assert {"/env/bin/python", "imported"} <= set(said.splitlines()), said
    finally:
        docker("rm", "--force", name)


def test_without_the_entrypoint(image: Image) -> None:
    """As Apptainer, enroot and the `command` of Kubernetes run it."""
    said = image.run(f"-c 'import {image.module}; print(1)'", "", "--entrypoint", "python")
    assert said == "1\n"


@pytest.mark.parametrize("user", ["", RANDOM_USER])
def test_any_user_can_write_to_the_home_folder(image: Image, user: str) -> None:
    said = image.run("sh -c 'touch ~/x && mkdir -p ~/.cache/y && stat -c %a,%g ~ && echo $HOME'", user)
    assert said.splitlines()[-2:] == ["2775,0", "/home/app"], said


def test_the_locale_and_the_variables_of_the_user(image: Image) -> None:
    """Promise 13. HOME is right for every user id, and USER and LOGNAME would not be."""
    said = image.run("sh -c 'locale; echo HOME=$HOME USER=$USER LOGNAME=$LOGNAME'", "0")
    assert 'LC_CTYPE="C.UTF-8"' in said
    assert said.splitlines()[-1] == "HOME=/home/app USER= LOGNAME="
    assert image.run("bash -lc 'echo $HOME'", "0").splitlines()[-1] == "/root"


@pytest.mark.parametrize("command", ["pip install humanize", "pip3 install humanize", "python -m pip install humanize"])
def test_pip_explains_why_it_installs_nothing(image: Image, command: str) -> None:
    said = image.run(f"sh -c '{command}; echo exit code $?'").splitlines()
    assert "exit code 1" in said
    sentence = "This environment is locked, so pip cannot change it: add the package to the spec"
    assert [line for line in said if line.startswith(sentence)], said
    assert "Traceback" not in str(said)


def test_the_advice_of_pip_works(image: Image) -> None:
    """Up to the installation: a package that is made here stands for one of the index."""
    if image.module != "six":
        pytest.skip("Debian's Python, of which the conda package is made, has no ensurepip")
    said = image.run("pip install humanize")
    found = re.search(r"in a copy: (.*) && ~/try/bin/pip install NAME", said)
    assert found
    code = f"{found[1]} && ~/try/bin/pip --version && ~/try/bin/python -c 'import six' && echo works"
    said = image.run(f"bash -c {shlex.quote(code)}")
    assert said.splitlines()[-1] == "works", said


def test_the_configuration(image: Image) -> None:
    config = json.loads(docker("image", "inspect", image.tag))[0]["Config"]
    env = dict(each.split("=", 1) for each in config["Env"])
    assert (env["SHELL"], env["LANG"], env["HOME"]) == ("/bin/bash", "C.UTF-8", "/home/app")
    assert env["PATH"].startswith("/env/bin:")
    assert not {"USER", "LOGNAME"} & env.keys()
