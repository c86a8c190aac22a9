"""examples/ml from the real index to a running container: the whole line once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envcompile.lock.reader import parse_lock
from tests.kit.engine import ZSTD, docker, envcompile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.index]

EXAMPLE = Path(__file__).parents[2] / "examples" / "ml"
TAG = "envcompile-test-ml:run"

# Runs inside the container, with the container's own Python.
INSIDE = """
import getpass, importlib, importlib.metadata as metadata, json, os, pathlib, sys, warnings
warnings.simplefilter("ignore")
pathlib.Path.home().joinpath("written").write_text("yes")
# Before any import: setuptools puts the distributions it carries on the path.
installed = sorted([each.name.lower().replace("_", "-").replace(".", "-"), each.version]
                   for each in metadata.distributions())
failed = {}
asked = ("numpy scipy pandas sklearn jupyterlab notebook matplotlib.pyplot seaborn Cython xgboost gensim nltk cv2 "
         "tensorboard").split()
for name in asked:
    importlib.import_module(name)
# And whatever else a distribution says it can be imported as.
for name in sorted(set(metadata.packages_distributions()) - {"__pycache__"}):
    if name.isidentifier() and not name.startswith("_"):
        try:
            importlib.import_module(name)
        except Exception as problem:
            failed[name] = f"{type(problem).__name__}: {problem}"
print(json.dumps({
    "user": getpass.getuser(), "uid": os.getuid(), "gid": os.getgid(), "home": str(pathlib.Path.home()),
    "folder": os.getcwd(), "prefix": sys.prefix, "version": sys.version.split()[0], "failed": failed,
    "installed": installed,
}))
"""


class Built:
    """What one lock and one build gave."""

    def __init__(self, folder: Path, dockerfile: str, tag: str, digest: str) -> None:
        self.folder, self.dockerfile, self.tag, self.digest = folder, dockerfile, tag, digest


@pytest.fixture(scope="module")
def built(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("ml")
    original = tmp_path_factory.mktemp("original")
    shutil.copy(EXAMPLE / "envcompile.toml", original)
    spec = (EXAMPLE / "envcompile.toml").read_text("utf-8")
    (folder / "envcompile.toml").write_text(engine.stand_ins(spec), "utf-8")
    for each in (original, folder):
        envcompile("lock", "-q", folder=each)
    tag = envcompile("tag", folder=folder).strip()
    print(f"\n{envcompile('tag', folder=original).strip()} with the public base, {tag} with the stand-ins")
    dockerfile = envcompile("dockerfile", folder=folder)
    engine.forget()
    yield Built(folder, dockerfile, tag, engine.build(dockerfile, TAG, *ZSTD))
    docker("image", "rm", "--force", TAG)


def test_the_tag_is_the_hash_of_the_dockerfile(built: Built) -> None:
    name, _, tag = built.tag.partition(":")
    assert name == "ml"
    assert hashlib.sha256(built.dockerfile.encode()).hexdigest().startswith(tag)


def test_the_container_is_what_the_lock_says(engine: Engine, built: Built) -> None:
    """No more and no less is installed, every package imports, and the user is a user."""
    inside = json.loads(engine.run(TAG, "python", "-c", INSIDE).splitlines()[-1])
    lock = parse_lock((built.folder / "envcompile.lock").read_text("utf-8"), "envcompile.lock")
    assert inside["installed"] == sorted([package.name, package.version] for package in lock.platforms[0].pip)
    assert {key: inside[key] for key in ("user", "uid", "gid", "home", "folder", "prefix", "version")} == {
        "user": "app",
        "uid": 1000,
        "gid": 1000,
        "home": "/home/app",
        "folder": "/home/app",
        "prefix": "/env",
        "version": engine.python,
    }
    assert inside["failed"] == {}


@contextlib.contextmanager
def container(*command: str) -> Iterator[str]:
    name = docker("run", "--detach", "--network=host", TAG, *command).strip().splitlines()[-1]
    try:
        yield name
    finally:
        docker("rm", "--force", name)


def status(url: str, name: str, seconds: float = 90) -> int:
    """The HTTP status once something answers; the container's log when nothing does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.3)
    return pytest.fail(f"nothing answers at {url}: {docker('logs', name, check=False)[-3000:]}")


def test_jupyterlab_answers(built: Built) -> None:
    """The image's own command, on the port it exposes."""
    assert built.digest
    assert free(8888)
    with container() as name:
        assert status("http://127.0.0.1:8888/lab", name) == 200


def test_tensorboard_answers(built: Built) -> None:
    assert built.digest
    assert free(6006)
    with container("tensorboard", "--logdir", "/tmp", "--host", "127.0.0.1", "--port", "6006") as name:
        assert status("http://127.0.0.1:6006/", name) == 200


def free(port: int) -> bool:
    """Whether nothing else listens there: the answer must be the container's."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.long
def test_two_builds_from_nothing_give_one_digest(engine: Engine, built: Built) -> None:
    """Promise 6: same Dockerfile, same image, bit for bit."""
    engine.forget()
    docker("image", "rm", "--force", TAG)
    assert engine.build(built.dockerfile, TAG, "--no-cache", *ZSTD) == built.digest
