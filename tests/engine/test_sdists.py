"""An sdist with a C extension on the real engine: built from a lock, twice to the same bytes; nothing else stays."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.engine.test_apt import Work, now
from tests.kit.debian_archive import debian_archive
from tests.kit.engine import CA_BUNDLE, docker
from tests.kit.index import Index, served
from tests.kit.sdists import Sdist, metadata, system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kit.engine import Engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.index,
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the archive is fetched by apt, and this is no Debian"),
]

SETUP = """import os
from setuptools import Extension, setup
setup(ext_modules=[Extension("cext", ["cext.c"], define_macros=[("TOLD", '"' + os.environ["TOLD"] + '"')])])
"""
# It tells where it was compiled, as assertions and debugging information do.
C = """#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "cext", 0, -1, 0};
PyMODINIT_FUNC PyInit_cext(void) {
    PyObject *made = PyModule_Create(&module);
    PyModule_AddStringConstant(made, "where", __FILE__);
    PyModule_AddStringConstant(made, "told", TOLD);
    return made;
}
"""
SDIST = Sdist(
    "cext",
    "1.0",
    (
        metadata("cext", "1.0", "Requires-Dist: six"),
        ("pyproject.toml", system("setuptools ==80.9.0")[1] + '[project]\nname = "cext"\nversion = "1.0"\n'),
        ("setup.py", SETUP),
        ("cext.c", C),
    ),
)
LOOK = "import cext, importlib.metadata as m; print(cext.where, cext.told, sorted(d.name for d in m.distributions()))"


def spec(engine: Engine, index: Index, build: str) -> str:
    text = f"""name = "x"
python = "3.11"
[pip]
packages = ["cext"]
allow-sdist = ["cext"]
extra-indexes = [{{ name = "made", url = "{index.url()}", packages = ["cext"] }}]
[pip.metadata.cext]
build-env = {{ TOLD = "-D=on;  $HOME" }}
{build}
[image]
base = ""
"""
    return engine.stand_ins(text)


def test_a_c_extension_is_built_from_the_lock(engine: Engine, tmp_path: Path) -> None:
    """Promises 1 and 6. What it is built with is locked, and is not in the image."""
    with debian_archive() as archive, served(Index((SDIST,))) as index:
        work = Work(tmp_path, archive)
        apt = f'[apt]\nbuild = ["gcc", "libc6-dev", "libpython3.11-dev"]\nsnapshot = {now()}'
        locked = work.lock(spec(engine, index, apt))
        assert [(each.name, each.kind) for each in locked.pip] == [("cext", "sdist"), ("six", "wheel")]
        assert [each.name for each in locked.pip_build[0].packages] == ["packaging", "setuptools", "wheel"]
        text = work.dockerfile()
        engine.forget()
        # The second build compiles again. It has the same Debian packages, which test_apt.py installs twice.
        again = ("--no-cache-filter=sdist-cext,env",)
        digests = [engine.build(text, "envcompile-test-sdist", *work.secret(), *each) for each in ((), again)]
    assert digests[0] == digests[1]
    assert engine.run("envcompile-test-sdist", "python", "-c", LOOK).strip() == "cext.c -D=on;  $HOME ['cext', 'six']"
    look = "ls -A /env/lib/python3.11/site-packages; ls -d /build /usr/bin/gcc; find /env -newermt @0"
    said = engine.run("envcompile-test-sdist", "sh", "-c", f"({look}) 2>&1 || true")
    assert "setuptools" not in said
    assert "cannot access '/build'" in said
    assert "cannot access '/usr/bin/gcc'" in said
    assert "/env/" not in said.replace("/env/lib/python3.11/site-packages", "")


def test_without_a_compiler_it_says_so(engine: Engine, tmp_path: Path) -> None:
    with debian_archive() as archive, served(Index((SDIST,))) as index:
        work = Work(tmp_path, archive)
        work.lock(spec(engine, index, ""))
        options = ("--network=host", "--progress=plain", "--secret", f"id=ca,src={CA_BUNDLE}")
        said = docker("buildx", "build", *options, "-", text=work.dockerfile(), check=False)
    assert "the sdist cext cext-1.0.tar.gz cannot be built" in said
    assert 'add `build = ["g++"]` to [apt]' in said
