"""The plan: a Dockerfile as a value. `planner` makes all decisions; `emit` only writes them down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LockStageFile:
    """One file of the lock stage: its absolute path and its lines."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlatformTarget:
    """The parts of the Dockerfile that depend on the architecture.

    - `arch`: the value of TARGETARCH. `docker`: the value of `--platform`.
    - `build`, `run`: the base images by digest. `tools`: pairs of stage name and image.
    - `files`: the files of the lock stage.
    - `env`, `labels`: sorted by key, the settings that only the base images of this architecture need.
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
    """One stage that installs pip packages: its name, and the path of the requirements in the lock stage.

    It installs the packages of one `group` from one `index`. `private` means that the index requires credentials, so
    the build needs them as a secret.
    """

    stage: str
    requirements: str
    group: str
    index: str
    private: bool


@dataclass(frozen=True, slots=True)
class SdistLayer:
    """One stage that builds a wheel from an sdist and installs it: its name, and the folder of its lists.

    The folder has the sdist, and for each of `indexes` (its number, and whether it requires credentials) a list of
    build dependencies. `private` means that the index of the sdist requires credentials.
    """

    stage: str
    folder: str
    indexes: tuple[tuple[int, bool], ...]
    private: bool


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """The configuration of the final image. `env` and `labels` are sorted by key, `user` is `UID:GID`."""

    env: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    user: str
    workdir: str
    expose: tuple[int, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the Dockerfile contains.

    - `targets`: sorted by architecture.
    - `apt`: the stages with additional Debian packages, `build` or `run`.
    - `conda`, `python`: whether micromamba creates the environment, or a virtual environment of the base image's Python
      does; neither if there is nothing to install in one.
    - `standalone_python`: whether a platform has a standalone Python, which the build installs.
    - `provided`: whether pip packages rely on distributions in conda packages.
    - `conda_layers`: the groups into which the conda environment is split.
    - `slim`: the kinds of files that are removed.
    """

    targets: tuple[PlatformTarget, ...]
    apt: tuple[str, ...]
    conda: bool
    python: bool
    standalone_python: bool
    provided: bool
    conda_layers: tuple[str, ...]
    layers: tuple[PipLayer, ...]
    sdists: tuple[SdistLayer, ...]
    slim: tuple[str, ...]
    start: RuntimeConfig
