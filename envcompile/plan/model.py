"""The plan: a Dockerfile as a value. `planner` makes all decisions; `emit` only writes the text."""

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
    - `env`, `labels`: the settings that the base images of this architecture need, sorted by key. Empty if those of all
      architectures are the same, because `RuntimeConfig` then has them.
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

    The folder has the name and hash of the sdist, and a list of the build dependencies from each index. An item of
    `indexes` is the number of such an index, and whether it requires credentials. `private` means that the index of the
    sdist requires credentials.
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
    - `conda`: whether micromamba creates the environment.
    - `python`: whether the environment is a virtual environment of a Python that conda does not install. If neither is
      set, there is no environment.
    - `standalone_python`: whether a platform has a standalone Python, which the build installs.
    - `provided`: whether pip packages rely on distributions in conda packages.
    - `conda_layers`: the groups into which the conda environment is split.
    - `layers`, `sdists`: the stages that install pip packages.
    - `slim`: the kinds of files that are removed.
    - `start`: the configuration of the final image.
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
