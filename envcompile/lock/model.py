"""The content of a lock as frozen values: packages, base images, interpreters, and the decision about base images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from envcompile.lock.header import FORMAT_VERSION, LAYOUT_VERSION

if TYPE_CHECKING:
    from envcompile.diagnostics.diagnostic import Diagnostic


@dataclass(frozen=True, slots=True)
class PipPackage:
    """One locked distribution: one file for one platform.

    `name` is normalised (PEP 503), and `sha256` has 64 hexadecimal digits. `size` is in bytes, None if the index
    does not state it. `index` is the name of the index. `depends` are the packages that this one needs on the platform,
    sorted, with the extras and the versions that it accepts (`urllib3[socks] <3,>=2`); a lock of an earlier release has
    only their names. `kind` is `wheel`, or `sdist` for a file from which the build stage builds a wheel.
    `requires_python` is the range of Python versions in the metadata of the file, "" for all versions or if unknown.
    `build_env` are the environment variables with which an sdist is built, except those that the spec states, sorted.
    `unpacked` is the size in bytes of the files in a wheel, None if the index does not show its table of contents.
    """

    name: str
    version: str
    file: str
    sha256: str
    size: int | None = None
    index: str = "default"
    depends: tuple[str, ...] = ()
    kind: str = "wheel"
    requires_python: str = ""
    build_env: tuple[tuple[str, str], ...] = ()
    unpacked: int | None = None


@dataclass(frozen=True, slots=True)
class SdistBuild:
    """The wheels that are installed to build the sdist `name`, sorted by name. The run image does not contain them."""

    name: str
    packages: tuple[PipPackage, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """A conda channel: its name in the lock, and its URL without user, token and platform."""

    name: str
    url: str


class ActivationVariable(NamedTuple):
    """A variable that an activation script of a conda package always sets to the same value.

    `script` is the path of the script in the package, or that of a file in `etc/conda/env_vars.d`. With `is_default`,
    the script sets the variable only if it is not set.
    """

    name: str
    value: str
    script: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """One locked conda package: one archive.

    `subdir` is the folder of the channel (`linux-64` or `noarch`), `channel` the name of a `Channel` of the lock,
    and `file` the name of the archive. `sha256` and `md5` are hexadecimal, and `size` is in bytes. `depends` are the
    MatchSpecs of the channel's record. `provides` are the normalised names (PEP 503) of the Python distributions in
    the package, sorted. `env` are the variables that its activation scripts always set to the same value, in the order
    of the scripts. `activate` are the paths of the scripts that do more than that; `UNKNOWN_SCRIPTS` if the archive
    could not be read.
    """

    name: str
    version: str
    build: str
    channel: str
    subdir: str
    file: str
    sha256: str
    md5: str | None = None
    size: int | None = None
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    env: tuple[ActivationVariable, ...] = ()
    activate: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AptPackage:
    """One locked Debian package, from the archive at the snapshot of the lock.

    `architecture` is Debian's name for it (`amd64`, or `all`), `sha256` is hexadecimal, and `size` is in bytes.
    `depends` are the names of the packages of the same list that this one needs, sorted. `unpacked` is the size in
    bytes of the installed files by the Installed-Size of the archive (Debian Policy 5.6.20), None if it states none.
    """

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    depends: tuple[str, ...] = ()
    unpacked: int | None = None


class PythonBuild(NamedTuple):
    """The archive of a standalone Python: its name, its URL at the release host, its sha256, and its size in bytes."""

    file: str
    url: str
    sha256: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PythonInterpreter:
    """The Python interpreter: its exact version, its path in the image, and the source of these facts.

    `source` is `conda` or `apt` for a locked package, and `standalone` for a `build` that is installed into the image.
    For the Python of a base image it is `spec` (the user states it), `image` (read from the image when it was locked)
    or `assumed` (the newest patch version that the release of envcompile knows). A step of the build compares the
    version with the base image. `abi` is the ABI tag of its wheels if it is not the default one of CPython: `cp313t`
    for the free-threaded build.
    """

    version: str
    path: str
    source: str
    abi: str = ""
    build: PythonBuild | None = None


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image by digest, its operating system (`debian-12`) and the version of its glibc (X.Y)."""

    image: str
    os: str
    glibc: str


@dataclass(frozen=True, slots=True)
class ToolImage:
    """The image of a build tool such as uv, by digest."""

    name: str
    image: str


class RejectedImage(NamedTuple):
    """An image or a kind of image that was considered and rejected, and the reason."""

    image: str
    because: str


class Step(NamedTuple):
    """One step of the explanation: a rule, its inputs (locked packages or keys of the spec), and what it decided.

    `source` names the origin of the fact behind the rule.
    """

    step: int
    rule: str
    inputs: tuple[str, ...]
    decision: str
    rejected: tuple[RejectedImage, ...] = ()
    source: str = ""


class SizeSaving(NamedTuple):
    """How much smaller the run image is than the image `against`: an estimate in unpacked gigabytes (X.Y)."""

    gigabytes: str
    against: str


@dataclass(frozen=True, slots=True)
class BaseImageDecision:
    """Why a platform has its base images, and what they require.

    - `catalogue`: the date of the catalogue that decided, and the beginning of its digest.
    - `cuda`: the CUDA version in use (X.Y or X.Y.Z).
    - `driver`: the oldest driver that supports this version; `image_driver`: the oldest one that the run image
      starts with.
    - `compute`: the GPU architectures that the packages have code for.
    - `env`, `build_env`: variables of the run image, and of the build steps that compile CUDA code, sorted by name.
    - `apt`, `apt_build`: Debian packages that the run and the build stage need in addition to those of the spec.
    - `wheels`: requirements for pip in addition to those of the spec, such as `nvidia-cublas ==12.*`.
    """

    catalogue: str
    cuda: str | None = None
    driver: str | None = None
    image_driver: str | None = None
    compute: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    build_env: tuple[tuple[str, str], ...] = ()
    apt: tuple[str, ...] = ()
    apt_build: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()
    saving: SizeSaving | None = None
    warnings: tuple[Diagnostic, ...] = ()
    explanation: tuple[Step, ...] = ()

    @property
    def wheel_names(self) -> tuple[str, ...]:
        """The names of the packages in `wheels`."""
        return tuple(each.partition(" ")[0] for each in self.wheels)


# The size in MiB from which a package has a layer of its own, if the packages do not need a higher one.
DEFAULT_LAYER_THRESHOLD = 8


@dataclass(frozen=True, slots=True)
class PlatformLock:
    """Everything that is locked for one platform. Tools and packages are sorted by name.

    `platform` is the name that conda uses. `python` is None if no package needs a Python. `apt` are the packages that
    are added to the image `run`, and `apt_build` those that are added to `build`. `base_decision` is None in locks of
    early releases. `pip_build` has one item for each sdist in `pip`, sorted by its name. `conda_installer` are the
    wheels that install the conda packages in a build stage. `layer_threshold` is the size in MiB from which a package
    has a layer of its own, None in locks of early releases.
    """

    platform: str
    python: PythonInterpreter | None
    build: BaseImage
    run: BaseImage
    tools: tuple[ToolImage, ...]
    pip: tuple[PipPackage, ...]
    conda: tuple[CondaPackage, ...] = ()
    apt: tuple[AptPackage, ...] = ()
    apt_build: tuple[AptPackage, ...] = ()
    base_decision: BaseImageDecision | None = None
    pip_build: tuple[SdistBuild, ...] = ()
    conda_installer: tuple[PipPackage, ...] = ()
    layer_threshold: int | None = None


@dataclass(frozen=True, slots=True)
class Pins:
    """The locked packages of one platform, as preferences for the next resolution."""

    pip: tuple[PipPackage, ...] = ()
    conda: tuple[CondaPackage, ...] = ()

    def package_names(self) -> set[str]:
        """The names that the option `-P` accepts."""
        return {package.name for package in self.pip} | {package.name for package in self.conda}


@dataclass(frozen=True, slots=True)
class RecordedInput:
    """The values of one key of the spec, such as `conda.channels`, from `spec.solver_inputs.recorded_inputs`."""

    key: str
    values: tuple[str, ...]


class GeneratedFile(NamedTuple):
    """A file that was generated from the lock: its name beside the spec, and the digest of its bytes (`sha256:…`)."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock: the digests of the spec that it was made from, and the locked platforms, sorted by name.

    - `channels`: the conda channels of the packages, in the order of their priority.
    - `recorded_inputs`: the inputs of the spec that no package shows, sorted by key; None in locks of early
      releases.
    - `private_indexes`: the names of the package indexes that need credentials, sorted.
    - `snapshot`: the moment of the Debian archive (RFC 3339, UTC); None without Debian packages.
    - `files`: the Dockerfile and the exports of `[lock] exports`, sorted by name. The Dockerfile is missing if none
      can be generated. Locks of format 1 have no files.
    - `format`: the format of the file that the lock was read from.
    """

    spec_digest: str
    spec_text_digest: str
    platforms: tuple[PlatformLock, ...]
    layout: int = LAYOUT_VERSION
    channels: tuple[Channel, ...] = ()
    recorded_inputs: tuple[RecordedInput, ...] | None = None
    private_indexes: tuple[str, ...] = ()
    snapshot: str | None = None
    files: tuple[GeneratedFile, ...] = ()
    format: int = FORMAT_VERSION

    @property
    def catalogue(self) -> str | None:
        """The catalogue that decided about the base images, or None if the platforms do not have the same one."""
        known = {each.base_decision.catalogue if each.base_decision else None for each in self.platforms}
        return next(iter(known)) if len(known) == 1 else None

    def find_platform(self, name: str) -> PlatformLock | None:
        """The locked platform with this name, or None."""
        return next((each for each in self.platforms if each.platform == name), None)
