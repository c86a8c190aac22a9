"""Images of one locked set: `envcompile build` beside the Dockerfiles that people write by hand.

Cold: nothing is cached, every file is downloaded. Rebuild: one small pin has changed, the builder's cache is kept. The
sides are (a) one stage and `pip install -r`, (b) two stages as uv's documentation has them, `envcompile build`, and the
Dockerfile of envcompile in a plain `docker buildx build`. That of repo2docker is no side: it wants a context that is
not kept, an image of the hub, and in every build micromamba and conda's packages from their hosts. (That is how 2026.4
writes it.)
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.docker import Engine, engine
from benchmarks.measure import run
from benchmarks.report import Goal, Table
from benchmarks.setting import ENVCOMPILE
from envcompile.lock.reader import parse_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.setting import Setting
    from envcompile.lock.model import Lock

_EXAMPLE = Path(__file__).parents[1] / "examples" / "ml" / "envcompile.toml"
_JUPYTER = ("jupyter", "lab", "--ip=127.0.0.1", "--port={port}", "--no-browser", "--allow-root")
# Set by `.ci/engine`, whose images stand in for the public ones where no hub is within reach.
_BASE, _PYTHON, _UV = "ENVCOMPILE_TEST_BASE", "ENVCOMPILE_TEST_BASE_PYTHON", "ENVCOMPILE_TEST_UV"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Certificates of a company's proxy reach pip and uv as they reach our own builds: as a secret, and nothing stays.
_TRUST = "--mount=type=secret,id=ca,target=/run/ca.pem"
_TRUSTING = "if [ -s /run/ca.pem ]; then export PIP_CERT=/run/ca.pem SSL_CERT_FILE=/run/ca.pem; fi"

ONE_STAGE = """\
FROM {base}
COPY requirements.txt .
RUN {trust} {trusting}; python3 -m venv /env && /env/bin/pip install --no-cache-dir -r requirements.txt
ENV PATH=/env/bin:$PATH
"""
TWO_STAGES = """\
FROM {uv} AS uv
FROM {base} AS builder
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
WORKDIR /app
RUN --mount=from=uv,source=/uv,target=/bin/uv --mount=type=cache,target=/root/.cache/uv {trust} \\
    --mount=type=bind,source=requirements.txt,target=requirements.txt \\
    {trusting}; uv venv && uv pip install -r requirements.txt
FROM {base}
COPY --from=builder /app /app
ENV PATH=/app/.venv/bin:$PATH
"""


@dataclass(frozen=True, slots=True)
class Question:
    """The environment to build: the text of a spec, the small package that changes, and its other version.

    `command` is the command of a container, with `{port}` for the port at which it responds under `path`.
    """

    spec: str
    small: str
    version: str
    command: tuple[str, ...] = ("python", "-m", "http.server", "--bind=127.0.0.1", "{port}")
    path: str = "/"


class Measured(NamedTuple):
    """The results of one side, in seconds and bytes.

    `changed` are the compressed bytes of the layers that a changed pin changes.
    """

    cold: float
    rebuild: float
    changed: float
    compressed: float
    on_disk: float
    answering: float


@dataclass(frozen=True, slots=True)
class _Side:
    """One side. `argv` builds in `folder`, from a handwritten Dockerfile or from ours; the image gets the tag `tag`."""

    name: str
    folder: Path
    argv: tuple[str, ...]
    tag: str
    by_hand: str | None = None

    def write(self, locked: _Locked) -> None:
        """Write the files that are built into the folder."""
        files = dict(locked.texts)
        if self.by_hand is not None:
            platform = locked.lock.platforms[0]
            uv = next(tool.image for tool in platform.tools if tool.name == "uv")
            files["Dockerfile"] = self.by_hand.format(base=platform.run.image, uv=uv, trust=_TRUST, trusting=_TRUSTING)
            files["requirements.txt"] = "".join(f"{each.name}=={each.version}\n" for each in platform.pip)
        for name, text in files.items():
            (self.folder / name).write_text(text, "utf-8")


class _Locked(NamedTuple):
    """A lock, its tag, and the texts of spec, lock and Dockerfile by their names."""

    lock: Lock
    tag: str
    texts: dict[str, str]


def compare(setting: Setting) -> Iterator[Table]:
    """Compare the images of `examples/ml` as it is locked today."""
    question = Question(_EXAMPLE.read_text("utf-8"), "tqdm", "4.67.0", _JUPYTER, "/api")
    yield measure(setting, question)


def measure(setting: Setting, question: Question) -> Table:
    """Measure all sides in turn, each without a cache. Raises `Skipped` without an engine, and `CommandFailed`."""
    environment = setting.environment()
    docker = engine(setting.folder("images"), environment)
    locks = [_locked(setting, question, pin) for pin in ("", f"{question.small}=={question.version}")]
    sides = list(_sides(setting))
    found: list[list[Measured]] = [[] for _ in sides]
    try:
        for _ in range(setting.runs or 1):
            for each, side in zip(found, sides, strict=True):
                each.append(_one(docker, side, locks, question))
    finally:
        for tag in (*(side.tag for side in sides), *(locked.tag for locked in locks)):
            docker.remove(tag)
    medians = [Measured(*map(median, zip(*each, strict=True))) for each in found]
    return _table([side.name for side in sides], medians, setting.runs or 1)


def _locked(setting: Setting, question: Question, pin: str) -> _Locked:
    folder, environment = setting.folder("images/lock"), setting.environment()
    (folder / "envcompile.toml").write_text(_with_images(question.spec), "utf-8")
    run((*ENVCOMPILE, "lock", *(("-P", pin) if pin else ())), folder, environment)
    run((*ENVCOMPILE, "dockerfile", "-o", "Dockerfile"), folder, environment)
    texts = {name: (folder / name).read_text("utf-8") for name in ("envcompile.toml", "envcompile.lock", "Dockerfile")}
    return _Locked(parse_lock(texts["envcompile.lock"], "envcompile.lock"), _tag(folder, environment), texts)


def _tag(folder: Path, environment: Mapping[str, str]) -> str:
    argv = (*ENVCOMPILE, "tag")
    said = subprocess.run(argv, cwd=folder, capture_output=True, check=True, text=True, env=dict(environment))
    return said.stdout.strip()


def _with_images(spec: str) -> str:
    """The spec with the images of `.ci/engine`, if that runs."""
    base, python, uv = map(os.environ.get, (_BASE, _PYTHON, _UV))
    if not (base and python and uv):
        return spec
    python = f'python = "{python}", python-path = "/usr/bin/python3"'
    table = f'base = {{ image = "{base}", os = "debian-12", glibc = "2.36", {python} }}'
    lines = [table if line.startswith("base = ") else line for line in spec.splitlines()]
    return "\n".join([*lines, "[tools]", f'uv = "{uv}"', ""])


def _sides(setting: Setting) -> Iterator[_Side]:
    more = ("--network=host", *(("--secret", f"id=ca,src={_CERTIFICATES}") if _CERTIFICATES.exists() else ()))
    plain = ("docker", "buildx", "build", "--load", "--provenance=false", *more)
    secret, network = more[1:], more[:1]
    by_docker = (*plain, "--tag", "{tag}", ".")
    by_us = (*ENVCOMPILE, "build", "--force", "-t", "{tag}", *secret, "--", *network)
    for name, letter, argv, by_hand in (
        ("(a) one stage, pip install -r", "a", by_docker, ONE_STAGE),
        ("(b) two stages of uv's documentation", "b", by_docker, TWO_STAGES),
        ("envcompile build", "c", by_us, None),
        ("its Dockerfile, docker build", "d", by_docker, None),
    ):
        tag = f"envcompile-benchmark:{letter}"
        words = tuple(each.format(tag=tag) for each in argv)
        yield _Side(name, setting.folder(f"images/{letter}"), words, tag, by_hand)


def _one(docker: Engine, side: _Side, locks: Sequence[_Locked], question: Question) -> Measured:
    seconds, layers = [], []
    docker.forget()
    for locked in locks:
        side.write(locked)
        seconds.append(docker.build(side.folder, side.argv))
        layers.append(docker.layers(side.tag))
    changed = sum(size for digest, size in layers[1].items() if digest not in layers[0])
    answering = docker.answering(side.tag, question.command, question.path)
    return Measured(seconds[0], seconds[1], changed, sum(layers[0].values()), docker.on_disk(side.tag), answering)


def _table(names: list[str], found: list[Measured], runs: int) -> Table:
    columns = ["cold build", "rebuild", "changed", "compressed", "on disk", "answers after"]
    rows = [
        [
            *(f"{each:.1f} s" for each in (one.cold, one.rebuild)),
            *(f"{each / 1e6:,.1f} MB" for each in (one.changed, one.compressed, one.on_disk)),
            f"{one.answering:.1f} s",
        ]
        for one in found
    ]
    a, b, ours, plain = found
    goals = (
        _at_most("cold `envcompile build`", ours.cold, "(a)", a.cold, 0.6),
        _at_most("cold `envcompile build`", ours.cold, "(b)", b.cold, 0.7),
        _at_most("compressed image", ours.compressed, "(b)", b.compressed, 0.92),
        _at_most("rebuild after one small pin", ours.rebuild, "(a)", a.rebuild, 0.2),
        _at_most("changed bytes", ours.changed, "(a)", a.changed, 0.1),
        _at_most("cold `docker build` of our Dockerfile", plain.cold, "(b)", b.cold, 1),
    )
    return Table(f"images, {runs} run{'s' * (runs > 1)} each", columns, dict(zip(names, rows, strict=True)), goals)


def _at_most(what: str, ours: float, name: str, theirs: float, factor: float) -> Goal:
    reached = ours / theirs
    return Goal(f"{what} at most {factor:g} times that of {name}: {reached:.2f} times", reached <= factor)
