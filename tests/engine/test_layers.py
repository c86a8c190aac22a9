"""An environment in layers is the one that a single layer would be: every file, with all that is known of it."""

from __future__ import annotations

import hashlib
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from envcompile.emit.dockerfile import compile_dockerfile
from envcompile.lock.reader import parse_lock
from envcompile.oci.archive import OciArchive
from envcompile.plan.pip import find_layer_group
from tests.cli.test_lock_several_indexes import envcompile
from tests.engine.test_conda import spec as conda_spec
from tests.kit.engine import docker
from tests.kit.hadolint import findings
from tests.kit.index import Index, Wheel, served
from tests.kit.project import spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envcompile.lock.model import Lock
    from envcompile.oci.archive import LayerEntry
    from tests.kit.built_channel import Channel
    from tests.kit.engine import Engine

pytestmark = pytest.mark.engine

SPEC = 'name = "x"\npython = "3.11"\n{pip}\n[image]\nbase = ""\n'
SITE = "env/lib/python3.11/site-packages"


def names(*wanted: str) -> list[str]:
    """Names of packages that belong to these groups, and come after one another in the alphabet."""
    found: list[str] = []
    for number in range(1000):
        if len(found) < len(wanted) and find_layer_group(f"p{number:03}", 0) == wanted[len(found)]:
            found.append(f"p{number:03}")
    assert len(found) == len(wanted)
    return found


def wheel(name: str, files: Mapping[str, str]) -> Wheel:
    """A package with a module of its own, and other files."""
    own = {f"{name}/__init__.py": f"NAME = {name!r}\n"}
    return Wheel(name, "1.0", files=tuple(sorted({**own, **files}.items())))


def overlapping() -> tuple[Wheel, ...]:
    """The same paths in packages of one layer and of several: alike and not alike, with byte code and without."""
    one, two, three, four = names("tiny-1", "tiny-1", "tiny-2", "tiny-3")
    alike = {"space/__init__.py": "", "space/data.txt": "data\n"}
    return (
        wheel(one, {**alike, "tests/__init__.py": "OF = 1\n", "both.py": "OF = 1\n", "README": "one\n"}),
        wheel(two, {**alike, "tests/__init__.py": "OF = 22\n", "both.py": "OF = 2\n"}),
        wheel(three, {**alike, "tests/__init__.py": "OF = 333\n", "space/three.py": "x = 3\n"}),
        wheel(four, {**alike, f"{four}-1.0.data/scripts/run-{four}": "#!python\n", "README": "four\n"}),
    )


def pip(index: Index, wheels: tuple[Wheel, ...]) -> str:
    asked = ", ".join(f'"{each.name}"' for each in wheels)
    return f'[pip]\nindex = "{index.url()}"\npackages = [{asked}]'


def layers_of(engine: Engine, dockerfile: str, file: Path, *options: str) -> list[dict[str, LayerEntry]]:
    """Of a build from this text: the entries of each layer of the environment by their paths, from the lowest."""
    engine.build(dockerfile, "envcompile-test-layers", "--output", f"type=oci,dest={file}", *options)
    with OciArchive(file) as archive:
        (image,) = archive.read_images()
        made = [
            layer
            for layer, step in zip(image.layers, image.list_layer_steps(), strict=True)
            if step.startswith("COPY /")
        ]
        return [{entry.path.rstrip("/"): entry for entry in archive.iter_entries(*layer)} for layer in made]


def merged(layers: list[dict[str, LayerEntry]]) -> dict[str, LayerEntry]:
    """What a container sees: a path is as the last layer has it."""
    assert not [path for layer in layers for path in layer if "/.wh." in path]
    return {path: entry for layer in layers for path, entry in layer.items()}


def built(
    engine: Engine, folder: Path, spec: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[dict[str, LayerEntry]], Lock]:
    """The layers of a spec and its lock, once it is shown that together they are what one layer would be."""
    (folder / "envcompile.toml").write_text(spec, "utf-8")
    done = envcompile(folder, "lock", **os.environ)
    assert done.returncode == 0, done.stderr
    lock = parse_lock((folder / "envcompile.lock").read_text("utf-8"), "x")
    text = compile_dockerfile(spec_of(spec), lock)
    (folder / "Dockerfile").write_text(text, "utf-8")
    assert findings(folder / "Dockerfile") == ""
    split = layers_of(engine, text, folder / "split.tar", "--no-cache")
    with monkeypatch.context() as patched:
        for module in ("pip", "conda"):
            patched.setattr(f"envcompile.plan.{module}.find_layer_group", lambda *_, **__: "tiny-1")
        text = compile_dockerfile(spec_of(spec), lock)
    one = layers_of(engine, text, folder / "one.tar", "--no-cache")
    assert len(one) < len(split)
    found, expected = merged(split), merged(one)
    assert sorted(found) == sorted(expected)
    assert [entry for path, entry in found.items() if entry != expected[path]] == []
    assert {entry.mtime for entry in found.values()} == {0}
    return split, lock


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_pip_packages_in_layers_are_those_of_one_layer(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two packages that have the same file are noticed, and it is that of the last by name."""
    wheels = overlapping()
    with served(Index(wheels)) as index:
        split, _ = built(engine, tmp_path, engine.stand_ins(SPEC.format(pip=pip(index, wheels))), monkeypatch)
    tree = merged(split)
    assert tree[f"{SITE}/tests/__init__.py"].sha256 == sha256("OF = 333\n")
    assert tree[f"{SITE}/both.py"].sha256 == sha256("OF = 2\n")
    assert tree[f"{SITE}/README"].sha256 == sha256("four\n")
    assert tree[f"env/bin/run-{wheels[3].name}"].mode == 0o755
    # The environment, one for each list, and what is taken from the last of several: nothing but what differs.
    assert len(split) == 1 + 3 + 1
    assert {path for path, entry in split[-1].items() if entry.kind != tarfile.DIRTYPE} == {
        f"{SITE}/README",
        f"{SITE}/tests/__init__.py",
        f"{SITE}/tests/__pycache__/__init__.cpython-311.pyc",
    }


def test_a_file_that_is_another_packages_folder_fails_the_build(engine: Engine, tmp_path: Path) -> None:
    one, two = names("tiny-1", "tiny-2")
    wheels = (wheel(one, {"thing": "a file\n"}), wheel(two, {"thing/__init__.py": ""}))
    with served(Index(wheels)) as index:
        (tmp_path / "envcompile.toml").write_text(engine.stand_ins(SPEC.format(pip=pip(index, wheels))), "utf-8")
        assert envcompile(tmp_path, "lock", **os.environ).returncode == 0
        text = envcompile(tmp_path, "dockerfile").stdout
        said = docker("buildx", "build", "--network=host", "--progress=plain", "-", text=text, check=False)
    assert f"envcompile: one package has a file {SITE.removeprefix('env/')}/thing, and another has a folder" in said


@pytest.mark.index
def test_conda_and_pip_packages_in_layers_are_those_of_one_layer(
    engine: Engine, conda_channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is in the layer of the package whose record lists it, and what nobody lists is in the last."""
    wheels = (*overlapping(), wheel("more", {"greeter/__init__.py": "FROM_PIP = True\n"}))
    with served(Index(wheels)) as index:
        spec = conda_spec(engine, conda_channel.url, '"everything"', pip(index, wheels))
        split, lock = built(engine, tmp_path, spec, monkeypatch)
    assert merged(split)[f"{SITE}/greeter/__init__.py"].sha256 == sha256("FROM_PIP = True\n")
    for package in lock.platforms[0].conda:
        record = f"env/conda-meta/{package.name}-{package.version}-{package.build}.json"
        (home,) = [layer for layer in split if record in layer]
        archive = conda_channel.folder / package.subdir / package.file
        with tarfile.open(archive) as files:
            own = [name for name in files.getnames() if not name.startswith("info/")]
        expected = {f"{SITE}/{name.partition('/')[2]}" if name.startswith("site-") else f"env/{name}" for name in own}
        assert expected <= home.keys(), package.name
    (rest,) = [layer for layer in split if "env/conda-meta/history" in layer]
    # The stand-in writes a CACHEDIR.TAG besides, as rattler does.
    assert {path for path, entry in rest.items() if entry.kind != tarfile.DIRTYPE} - {"env/CACHEDIR.TAG"} == {
        "env/bin/activated",
        "env/conda-meta/history",
    }


SLIM = {
    "tests/test_it.py": "import pytest\n",
    "deep/test/__init__.py": "",
    "deep/module.py": "",
    "include/it.h": "",
    "include/it": "",
    "include/__init__.py": "",
    "src/it.hpp": "",
    "lib/it.a": "",
    "lib/it.so": "",
    "lib/it.pyx": "",
}


def slim_files(engine: Engine, folder: Path, index: Index, wheels: tuple[Wheel, ...], *, slim: bool) -> set[str]:
    spec = engine.stand_ins(SPEC.format(pip=pip(index, wheels)))
    said = "slim = true\n" if slim else ""
    (folder / "envcompile.toml").write_text(spec.replace("[image]\n", f"[image]\n{said}"), "utf-8")
    assert envcompile(folder, "lock", **os.environ).returncode == 0
    text = envcompile(folder, "dockerfile").stdout
    (folder / "Dockerfile").write_text(text, "utf-8")
    assert findings(folder / "Dockerfile") == ""
    assert ('LABEL envcompile.removed="headers static-libraries tests"' in text) is slim
    tree = merged(layers_of(engine, text, folder / "image.tar"))
    return {
        path.removeprefix(f"{SITE}/")
        for path, entry in tree.items()
        if path.startswith(SITE)
        and entry.kind != tarfile.DIRTYPE
        and not path.endswith(".pyc")
        and "-info/" not in path
    }


def test_slim_takes_away_what_it_says_and_nothing_goes_without_it(engine: Engine, tmp_path: Path) -> None:
    """But for a package that is not whole without its tests."""
    plain = wheel("plain", {f"plain/{path}": text for path, text in SLIM.items()})
    tests = {"tests/__init__.py": "", "tests/helper.py": ""}
    imports = {
        "one": "from .tests import helper\n",
        "two": "import two.tests.helper as helper\n",
        "three": "try:\n    from . import (tests, three)\nexcept ImportError: ...\n",
        "four": "from four.tests.helper import test\n",
        # These import no tests of theirs.
        "five": "from unittest import tests\nimport test.support\n",
        "six": "from six.tests_of import test\n'''\nfrom the tests import nothing\n'''\n",
    }
    others = tuple(
        wheel(name, {f"{name}/a.py": text, **{f"{name}/{path}": content for path, content in tests.items()}})
        for name, text in imports.items()
    )
    wheels = (plain, *others)
    with served(Index(wheels)) as index:
        whole = slim_files(engine, tmp_path, index, wheels, slim=False)
        left = slim_files(engine, tmp_path, index, wheels, slim=True)
    assert whole == {path for each in wheels for path, _ in each.files}
    gone = {"tests/test_it.py", "deep/test/__init__.py", "include/it.h", "include/it", "src/it.hpp", "lib/it.a"}
    expected = {f"plain/{path}" for path in gone} | {f"{name}/{path}" for name in ("five", "six") for path in tests}
    assert whole - left == expected
    assert left <= whole
