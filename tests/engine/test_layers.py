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
from envcompile.plan.layers import Layer, find_layer
from tests.cli.test_lock_several_indexes import envcompile
from tests.engine.test_conda import spec as conda_spec
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
    """Names of packages that belong to these layers, and come after one another in the alphabet."""
    found: list[str] = []
    for number in range(1000):
        if len(found) < len(wanted) and find_layer(f"p{number:03}", 0, 8).label == wanted[len(found)]:
            found.append(f"p{number:03}")
    assert len(found) == len(wanted)
    return found


def wheel(name: str, files: Mapping[str, str]) -> Wheel:
    """A package with a module of its own, and other files."""
    own = {f"{name}/__init__.py": f"NAME = {name!r}\n"}
    return Wheel(name, "1.0", files=tuple(sorted({**own, **files}.items())))


def overlapping() -> tuple[Wheel, ...]:
    """The same paths in packages of one layer and of several: alike and not alike, with byte code and without."""
    one, two, three, four = names("tiny_1", "tiny_1", "tiny_2", "tiny_3")
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
            patched.setattr(f"envcompile.plan.{module}.find_layer", lambda *_: Layer("tiny", 1))
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
    """A file that several packages have is that of the last layer, and within a layer of the last package."""
    wheels = overlapping()
    with served(Index(wheels)) as index:
        split, _ = built(engine, tmp_path, engine.stand_ins(SPEC.format(pip=pip(index, wheels))), monkeypatch)
    tree = merged(split)
    assert tree[f"{SITE}/tests/__init__.py"].sha256 == sha256("OF = 333\n")
    assert tree[f"{SITE}/both.py"].sha256 == sha256("OF = 2\n")
    assert tree[f"{SITE}/README"].sha256 == sha256("four\n")
    assert tree[f"env/bin/run-{wheels[3].name}"].mode == 0o755
    # The empty environment, and one for each list.
    assert len(split) == 1 + 3


@pytest.mark.index
def test_conda_and_pip_packages_in_layers_are_those_of_one_layer(
    engine: Engine, conda_channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is in the layer of the package whose record lists it, and what nobody lists is in the last."""
    wheels = (*overlapping(), wheel("more", {"greeter/__init__.py": "FROM_PIP = True\n"}))
    with served(Index(wheels)) as index:
        # The default index has the wheel that installs the conda packages.
        names = ", ".join(f'"{each.name}"' for each in wheels)
        extra = f'extra-indexes = [{{ name = "made", url = "{index.url()}", packages = [{names}] }}]'
        spec = conda_spec(engine, conda_channel.url, '"everything"', f"[pip]\npackages = [{names}]\n{extra}")
        split, lock = built(engine, tmp_path, spec, monkeypatch)
    assert merged(split)[f"{SITE}/greeter/__init__.py"].sha256 == sha256("FROM_PIP = True\n")
    for package in lock.platforms[0].conda:
        record = f"env/conda-meta/{package.name}-{package.version}-{package.build}.json"
        (home,) = [layer for layer in split if record in layer]
        archive = conda_channel.folder / package.subdir / package.file
        if package.name == "linked":
            own = ["bin/.linked-post-link.sh", "share/linked/link", "share/linked/where"]
        else:
            with tarfile.open(archive) as files:
                own = [name for name in files.getnames() if not name.startswith("info/")]
        expected = {f"{SITE}/{name.partition('/')[2]}" if name.startswith("site-") else f"env/{name}" for name in own}
        assert expected <= home.keys(), package.name
    (rest,) = [layer for layer in split if "env/conda-meta/history" in layer]
    # A folder and a file that a link script makes, and what belongs to no package.
    assert "env/share/linked/empty" in rest
    assert {path for path, entry in rest.items() if entry.kind != tarfile.DIRTYPE} == {
        "env/share/linked/greeting",
        "env/bin/activated",
        "env/bin/pip",
        "env/bin/pip3",
        f"{SITE}/pip/__main__.py",
        "env/conda-meta/history",
    }
