"""The plan: a Dockerfile as a value. Whatever is decided is decided here; the back end only writes it down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LockStageFile:
    """One file of the lock stage: its absolute path there, and its lines."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlatformTarget:
    """What differs between architectures.

    `arch` as TARGETARCH spells it, `docker` as `--platform` takes it; `build` and `run` base images by digest;
    `tools` pairs of stage name and image; `files` the lock stage; `env` and `labels`, sorted by key, what goes with the
    bases of this architecture alone.
    """

    arch: str
    docker: str
    build: str
    run: str
    tools: tuple[tuple[str, str], ...]
    files: tuple[LockStageFile, ...]
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PipLayer:
    """One installation of pip packages: the stage's name, and the requirement list in the lock stage.

    They are the `group` of packages (plan/groups.py) that come from `index`; `private` says that it wants credentials,
    which the build then must be given.
    """

    stage: str
    requirements: str
    group: str
    index: str
    private: bool


@dataclass(frozen=True, slots=True)
class SdistLayer:
    """One sdist that is made a wheel of and installed: the stage's name, and in the lock stage a folder of its lists.

    In it are, for each index of `indexes` (number, and whether it wants credentials), what it is built with; and the
    sdist itself. `private` says that the sdist's own index wants credentials.
    """

    stage: str
    folder: str
    indexes: tuple[tuple[int, bool], ...]
    private: bool


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How the final image starts. `env` and `labels` are sorted by key, `user` is `UID:GID`."""

    env: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    user: str
    workdir: str
    expose: tuple[int, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the Dockerfile says. `targets` are sorted by architecture.

    `conda` and `python` say what the environment is: made by micromamba, or a virtual environment of the base's Python,
    or nothing at all; `apt` to which stages Debian packages are added, of `build` and `run`. `find_conda_layers` are
    the
    groups into which what micromamba made is split, `slim` the kinds of files that are taken away, as the label says.
    """

    targets: tuple[PlatformTarget, ...]
    apt: tuple[str, ...]
    conda: bool
    python: bool
    conda_layers: tuple[str, ...]
    layers: tuple[PipLayer, ...]
    sdists: tuple[SdistLayer, ...]
    slim: tuple[str, ...]
    start: RuntimeConfig
