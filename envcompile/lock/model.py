"""What a lock holds, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from envcompile.lock.header import FORMAT_VERSION, LAYOUT_VERSION

if TYPE_CHECKING:
    from envcompile.diagnostics.diagnostic import Diagnostic


@dataclass(frozen=True, slots=True)
class PipPackage:
    """One pinned distribution: the one file for this platform, whatever server it is fetched from.

    `name` is normalised (PEP 503), `sha256` 64 hexadecimal digits, `size` bytes where the index tells it, `index` the
    name of the index, `depends` the names of locked packages that this one needs here, sorted. `kind` is `wheel`, or
    `sdist` for one that the build stage makes a wheel of.
    """

    name: str
    version: str
    file: str
    sha256: str
    size: int | None = None
    index: str = "default"
    depends: tuple[str, ...] = ()
    kind: str = "wheel"


@dataclass(frozen=True, slots=True)
class SdistBuild:
    """What an sdist is built with, and nothing of it stays: wheels, sorted by name. `name` is the sdist's."""

    name: str
    packages: tuple[PipPackage, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """A conda channel: the name it has in the lock, and its URL without userinfo, token or platform."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class CondaPackage:
    """One pinned conda package: the one archive.

    `subdir` is the channel's folder (`linux-64` or `noarch`), `channel` the name of a `Channel` of the lock, `file` the
    archive's name, `sha256` and `md5` hexadecimal, `size` in bytes. `depends` are the record's own MatchSpecs, as the
    channel has them; `provides` the normalised names (PEP 503) of the Python distributions in it, sorted.
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


@dataclass(frozen=True, slots=True)
class AptPackage:
    """One pinned Debian package, of the archive at the lock's snapshot.

    `architecture` as Debian spells it (`amd64`, or `all`), `sha256` hexadecimal, `size` in bytes, `depends` the names
    of the packages of the same list that this one needs, sorted.
    """

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    depends: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PythonInterpreter:
    """The interpreter: exact version, its path in the image, and who said so.

    `source` is `conda` or `apt` (a locked package), or for the base's own `spec` (the user says so), `image` (read from
    it when it was locked) or `assumed` (the newest patch known to the release that locked). Whoever said it of a base,
    a step of the build compares it with the image.
    """

    version: str
    path: str
    source: str


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A base image by digest, with its operating system (`debian-12`) and C library (glibc, X.Y)."""

    image: str
    os: str
    glibc: str


@dataclass(frozen=True, slots=True)
class ToolImage:
    """A tool of the build, such as uv, as an image by digest."""

    name: str
    image: str


class RejectedImage(NamedTuple):
    """An image, or a kind of image, that was not taken, and why."""

    image: str
    because: str


class Step(NamedTuple):
    """One step of the way: `inputs` are locked packages or words of the spec, `source` where the rule is from."""

    step: int
    rule: str
    inputs: tuple[str, ...]
    decision: str
    rejected: tuple[RejectedImage, ...] = ()
    source: str = ""


class SizeSaving(NamedTuple):
    """What the run image is smaller by than another one: unpacked gigabytes (X.Y), about."""

    gigabytes: str
    against: str


@dataclass(frozen=True, slots=True)
class BaseImageDecision:
    """Why a platform stands on its bases, and what goes with them.

    `catalogue` is the day of the facts that decided, and the beginning of their digest. `cuda` is the release that
    is used (X.Y.Z, or X.Y), `driver` the oldest that runs it at all, `image_driver` the oldest that the run image
    starts with, `compute` the GPU architectures that it has code for. `env` and `make_build_environment`, what the run
    image and
    what compiles CUDA code in the build are given, are sorted by name; `apt` and `find_build_apt_packages` are the
    Debian packages
    that the run and the build stage need of their own, and `wheels` the requirements of pip, all beyond what the spec
    asks for.
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
        """The names in `wheels`, whose items have the form `NAME ==X.Y.*`."""
        return tuple(each.partition(" ")[0] for each in self.wheels)


@dataclass(frozen=True, slots=True)
class PlatformLock:
    """Everything pinned for one platform (conda's name of it). Tools and packages are sorted by name.

    `python` is None where nothing that is installed needs one. `apt` is added to the base that runs,
    `find_build_apt_packages` to the
    base that is built on: all that these bases do not have already. `decided` says why it stands on these bases; None
    in a lock of a release that did not say. `pip_build` has a row for each sdist in `pip`, sorted by its name.
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


@dataclass(frozen=True, slots=True)
class Pins:
    """The packages of one platform, as the next solve prefers them."""

    pip: tuple[PipPackage, ...] = ()
    conda: tuple[CondaPackage, ...] = ()

    def package_names(self) -> set[str]:
        """What `-P` can name."""
        return {package.name for package in self.pip} | {package.name for package in self.conda}


@dataclass(frozen=True, slots=True)
class RecordedInput:
    """What the spec said at one key (`conda.channels`), as `spec.asked.unseen` writes it."""

    key: str
    values: tuple[str, ...]


class GeneratedFile(NamedTuple):
    """A file that was generated from the lock: its name beside the spec, and the digest of its bytes (`sha256:…`)."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock: the digests of the spec it answers, and what is pinned, sorted by platform.

    `channels` are in the order of their priority, and those alone that a package comes from or could have come from.
    `asked` is what the spec asked and no pin shows, sorted by key; None in locks that were made before it was noted.
    `private_indexes` are the names, sorted, of those indexes of pip packages that want credentials.
    `snapshot` is the moment (RFC 3339, UTC) of the archive that Debian packages come from, None without any.
    `files` are the Dockerfile and the exports of `[lock] exports`, sorted by name; the Dockerfile is missing if none
    can be generated, and all in a lock of format 1. `format` is that of the file that the lock was read from.
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
        """The catalogue that decided about the base images, if it is one for all platforms."""
        known = {each.base_decision.catalogue if each.base_decision else None for each in self.platforms}
        return next(iter(known)) if len(known) == 1 else None

    def find_platform(self, name: str) -> PlatformLock | None:
        """What is pinned for one platform, if it is locked."""
        return next((each for each in self.platforms if each.platform == name), None)
