"""The plan: a Dockerfile as a value. `planner` makes all decisions; `emit` only writes the text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LockStageFile:
    """One file of the lock in the Dockerfile: its absolute path and its lines."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlatformTarget:
    """The parts of the Dockerfile that depend on the architecture.

    - `arch`: the value of TARGETARCH. `docker`: the value of `--platform`. `machine`: the output of `uname -m`.
    - `build`, `run`: the base images by digest. `tools`: pairs of stage name and image.
    - `files`: the files of the lock.
    - `env`, `labels`: the settings that the base images of this architecture need, sorted by key. Empty if those of all
      architectures are the same, because `RuntimeConfig` then has them.
    - `summary`: a description of the base image and of Python for the contents at the top of the Dockerfile.
    """

    arch: str
    docker: str
    machine: str
    build: str
    run: str
    tools: tuple[tuple[str, str], ...]
    files: tuple[LockStageFile, ...]
    summary: str
    gpu: str
    env: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def list_lines(self, path: str) -> tuple[str, ...]:
        """The lines of a file of the lock. Empty if this platform does not have it."""
        return next((file.lines for file in self.files if file.path == path), ())


@dataclass(frozen=True, slots=True)
class PipLayer:
    """One stage that installs pip packages: its name, and the path of its requirements in the lock.

    It installs the packages of one `index`, several of them if it `is_shared`. `private` means that the index requires
    credentials, so the build needs them as a secret.
    """

    stage: str
    requirements: str
    is_shared: bool
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
class HealthCheck:
    """HEALTHCHECK: its options, such as `--interval=30s`, and its command."""

    options: tuple[str, ...]
    command: tuple[str, ...]


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
    stop_signal: str | None = None
    healthcheck: HealthCheck | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the Dockerfile contains.

    - `targets`: sorted by architecture.
    - `account`: the line `NAME UID GID HOME WORKDIR` from which the build adds the user.
    - `apt`: the stages with additional Debian packages, `build` or `run`.
    - `conda`: whether the environment is created from conda packages.
    - `python`: whether the environment is a virtual environment of a Python that conda does not install. If neither is
      set, there is no environment.
    - `standalone_python`: whether a platform has a standalone Python, which the build installs.
    - `private_installer`: whether the index of the program that installs conda packages requires credentials.
    - `provided`: whether pip packages rely on distributions in conda packages.
    - `conda_layers`: the labels of the layers into which the conda environment is split.
    - `layers`, `sdists`: the stages that install pip packages.
    - `guards_pip`: whether `pip` explains that the environment is locked, because no platform has the package `pip`.
    - `start`: the configuration of the final image.
    """

    targets: tuple[PlatformTarget, ...]
    account: str
    apt: tuple[str, ...]
    conda: bool
    python: bool
    standalone_python: bool
    private_installer: bool
    provided: bool
    conda_layers: tuple[str, ...]
    layers: tuple[PipLayer, ...]
    sdists: tuple[SdistLayer, ...]
    guards_pip: bool
    start: RuntimeConfig
