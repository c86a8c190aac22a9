"""The table of diagnostic rules: one row for each kind of mistake, with its slug, summary and explanation.

A slug never changes after a release. `envcompile explain SLUG` prints the summary and the explanation. A test checks
that every rule has an example in `fixtures/errors/SLUG/`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

# When a mistake is found. `text`: the file is not a TOML text. `value`: one value is wrong, which the JSON Schema also
# detects. `spec`: valid values contradict each other or outside facts. `lock`: after resolving, so the exit code is 1.
Phase = Literal["text", "value", "spec", "lock"]
Severity = Literal["error", "warning"]


class DiagnosticRule(NamedTuple):
    """One kind of mistake. `key` is the key to mark if the code that reports the mistake has no access to the spec."""

    slug: str
    summary: str
    explanation: str
    phase: Phase = "value"
    severity: Severity = "error"
    key: tuple[str, ...] = ()


_BASE_IMAGE_KEY = ("image", "base")
_CUDA_VERSION_KEY = ("cuda", "version")
_CONDA_PACKAGES_KEY = ("conda", "packages")
_PIP_PACKAGES_KEY = ("pip", "packages")

_ALL_RULES = (
    # The file as a whole.
    DiagnosticRule(
        "toml-syntax",
        "the file is not valid TOML",
        "The text does not follow the grammar of TOML at the marked position, so the file cannot be read.",
        phase="text",
    ),
    DiagnosticRule(
        "encoding",
        "the file is not UTF-8 text",
        "TOML files are UTF-8 without a byte order mark and without NUL bytes. Save the file as plain UTF-8.",
        phase="text",
    ),
    DiagnosticRule(
        "too-large",
        "the file is too large for a spec",
        "envcompile reads specs of at most 256 KiB. A larger file is a mistake, or an attempt to overload the parser.",
        phase="text",
    ),
    DiagnosticRule(
        "control-character",
        "a string contains a control character",
        "Control characters are not allowed in any value. A newline, for example, would start a new instruction in the "
        "Dockerfile. Tabs are allowed.",
    ),
    # Keys and types.
    DiagnosticRule(
        "unknown-key",
        "the table has no such key",
        "An unknown key is a spelling mistake or a feature that envcompile does not have. It is never ignored.",
    ),
    DiagnosticRule("missing-key", "a required key is missing", "The table is not valid without the named key."),
    DiagnosticRule("wrong-type", "a value has the wrong type", "The key exists, but expects a value of another type."),
    DiagnosticRule(
        "nothing-to-install",
        "the spec requests no packages",
        "An environment without packages needs no lock and no image of its own.",
        phase="spec",
    ),
    # Top level.
    DiagnosticRule(
        "name",
        "the value is not a valid image name",
        "`name` becomes the name of the image: lower-case letters and digits, separated by single `.`, `_` or `-`.",
    ),
    DiagnosticRule(
        "python-version",
        "the value is not a valid Python version",
        'Write X.Y, for example `python = "3.12"`. Write X.Y.Z to state the exact patch release of the base image.',
    ),
    DiagnosticRule("platform", "the platform is not supported", "Supported are linux-64 and linux-aarch64."),
    DiagnosticRule(
        "timestamp",
        "the value is not a timestamp with a time zone",
        "A timestamp must mean the same everywhere, so it needs an offset from UTC: 2026-11-01T00:00:00Z.",
    ),
    DiagnosticRule(
        "too-long",
        "the value is too long for a line of a Dockerfile",
        "Docker reads lines of at most 65,535 bytes in a Dockerfile. An environment variable, a label or a command is "
        "one line.",
        phase="spec",
    ),
    DiagnosticRule("duplicate", "an entry occurs twice", "Keep one of the two entries.", phase="spec"),
    # Requirements.
    DiagnosticRule(
        "requirement",
        "the string is not a PEP 508 requirement",
        "pip packages are written as PEP 508 requirements: NAME[EXTRA] SPECIFIER ; MARKER.",
        phase="spec",
    ),
    DiagnosticRule(
        "requirement-option",
        "the string is a pip option instead of a requirement",
        "A requirement is a name and a version range. The options of pip have keys of their own in the spec.",
        phase="spec",
    ),
    DiagnosticRule(
        "requirement-path",
        "the requirement is a path, an editable install or a version-control URL",
        "A lock can pin only files that anyone can download again. Add your own code on top of the image: "
        "`FROM repository:tag`, `COPY . /app`.",
        phase="spec",
    ),
    DiagnosticRule(
        "requirement-url",
        "the requirement is a URL",
        "envcompile finds files in an index by name and hash, so that a mirror can serve them.",
        phase="spec",
    ),
    DiagnosticRule(
        "match-spec",
        "the string is not a conda requirement that every solver reads in the same way",
        "conda packages are written as MatchSpecs: `numpy >=2`, `pytorch * cuda*`, `conda-forge::libgdal`. A notation "
        "that conda and rattler read differently is rejected; the hint shows one that both understand.",
        phase="spec",
    ),
    DiagnosticRule(
        "channel",
        "the string is not a conda channel",
        "A channel is a name such as conda-forge, a URL, or a local path.",
        phase="spec",
    ),
    DiagnosticRule(
        "url",
        "the string is not the URL of a package index",
        "The URL of an index has the scheme http or https, a host and a path, but no query and no credentials.",
    ),
    DiagnosticRule(
        "index",
        "an extra index serves no package, or has the name of the default index",
        "An extra index serves exactly the packages that it names. Each package comes from one index: the first one in "
        "the list that names it, or else the default index.",
        phase="spec",
    ),
    DiagnosticRule(
        "resolver",
        "the resolver is not known",
        "pip packages are resolved by uv or pip-tools, conda packages by rattler or conda-lock.",
    ),
    DiagnosticRule(
        "sdist",
        "the sdist cannot be locked without running its code",
        "envcompile uses sdists only of packages in `allow-sdist`. It reads the dependencies from static metadata "
        "(PKG-INFO by PEP 643, or pyproject.toml by PEP 621) or from `[pip.metadata.NAME]` in the spec. The code of an "
        "sdist runs only in the build stage of the Dockerfile.",
        phase="spec",
    ),
    DiagnosticRule(
        "package-name",
        "the string is not a package name",
        "A package name has letters and digits, separated by `.`, `_` or `-`.",
    ),
    DiagnosticRule(
        "apt-package",
        "the archive has no such Debian package",
        "`[apt]` must list exact names of packages, as the archive of the base image's release has them. "
        "Virtual packages cannot be requested: name one of the packages that provide them.",
        phase="spec",
    ),
    DiagnosticRule(
        "apt-base",
        "apt does not work in this base image",
        "Debian packages can be added to a Debian or Ubuntu base image that contains apt, dpkg and the keyring of the "
        "archive. envcompile reads the packages of the base image from its registry.",
        phase="spec",
    ),
    DiagnosticRule(
        "snapshot",
        "the archive cannot be used at this snapshot",
        "A snapshot before the date of the base image has older packages than the image, and envcompile never "
        "downgrades or removes packages. A snapshot in the future can still change.",
        phase="spec",
    ),
    DiagnosticRule(
        "excluded-requirement",
        "a package is both requested and excluded",
        "A package cannot be listed in both `packages` and `exclude`.",
        phase="spec",
    ),
    DiagnosticRule(
        "userinfo",
        "a URL contains a user name, a password or a token",
        "Do not write credentials in a spec: they would end up in the lock, in the history of the image and in logs.",
    ),
    DiagnosticRule(
        "unsolvable",
        "no set of packages satisfies the requirements",
        "The resolver found no releases that satisfy all requirements on the platform, with the Python version and the "
        "C library of the image. The resolver's own explanation is printed below the marked line.",
        phase="lock",
    ),
    DiagnosticRule(
        "stale",
        "the lock does not satisfy the spec",
        "The pinned packages are not what the spec requests any more: a pin does not satisfy its requirement, a "
        "package is not required, a platform is missing, or an option of the resolvers changed. A lock stays valid if "
        "a requirement becomes less strict. `envcompile lock` changes only the pins that must change.",
        phase="lock",
    ),
    DiagnosticRule(
        "inconsistent",
        "locked packages do not fit together",
        "Every locked package accepts the exact Python of the environment, and each of its dependencies is locked in a "
        "version that it accepts. No distribution is installed by conda and by pip.",
        phase="lock",
    ),
    DiagnosticRule(
        "overlap",
        "two packages contain the same module or library",
        "Packages with different names can contain the same files. Two pip packages then overwrite each other, and a "
        "library from conda and from pip is in the image twice. Keep one of them, leave the other out of the lock with "
        "`exclude` in `[pip]`, or accept it with `allow-overlap` in `[pip]`.",
        phase="lock",
    ),
    # The image and the tools of the build.
    DiagnosticRule(
        "image-reference",
        "the string is not an image reference",
        "Write NAME:TAG or NAME:TAG@sha256:DIGEST with a lower-case name, as for `docker pull`.",
    ),
    DiagnosticRule(
        "base-unknown",
        "the properties of the base image are not known",
        "The C library of the base image decides which wheels can be installed. State in the spec what envcompile "
        "cannot derive from the image's name, registry or files: os, glibc, python and python-path.",
    ),
    DiagnosticRule(
        "image-platform",
        "a digest in the spec is that of an image for another platform",
        "A digest names an image for one platform, or an index of the images for several. With the digest of the "
        "former, other platforms would get programs for the wrong machine. `lock` asks the registry once for the "
        "platforms of a digest in the spec, and the build compares the machine of each base image with the lock.",
        phase="spec",
    ),
    DiagnosticRule(
        "catalogue",
        "the file is not a valid CUDA catalogue",
        "The option `--catalogue` or the user setting `catalogue` names a JSON file that replaces the CUDA facts of "
        "this release. The file must follow the schema that `envcompile schema catalogue` prints, and its tables must "
        "be consistent with each other.",
        phase="spec",
    ),
    DiagnosticRule("tool", "the build has no such tool", "The tools of the build are Python and uv."),
    DiagnosticRule(
        "cuda-version", "the value is not a CUDA version", "Write X or X.Y in quotes, or `false` to exclude CUDA."
    ),
    DiagnosticRule(
        "driver",
        "the value is not a driver version",
        "Write the oldest NVIDIA driver that the image must support, for example 535 or 535.104.05.",
    ),
    DiagnosticRule(
        "compute",
        "the value is not a GPU architecture",
        "Write the compute capability of the GPU as NVIDIA lists it, for example 8.0 or 9.0.",
    ),
    DiagnosticRule(
        "export",
        "the lock cannot be exported to this file",
        "The name of the file selects the format, and the lock must contain packages that the format can list. Some "
        "formats are for one platform; with several platforms, write explicit-linux-64.txt and so on. "
        "`envcompile export --help` describes the formats.",
    ),
    DiagnosticRule(
        "user",
        "the value is not a numeric user and group",
        "Write UID:GID, two numbers from 0 to 2147483647, for example `1000:1000`.",
    ),
    DiagnosticRule("port", "the value is not a port", "Ports are integers from 1 to 65535."),
    DiagnosticRule(
        "signal",
        "the value is not the name of a signal",
        "Write the name of a signal with `SIG`, as signal(7) lists it, for example `SIGINT`.",
    ),
    DiagnosticRule(
        "duration",
        "the value is not a duration",
        "Write numbers with the units h, m, s and ms, from the largest to the smallest, for example `30s` or `1m30s`.",
    ),
    DiagnosticRule("retries", "the value is not a number of retries", "Write an integer from 1 to 1000."),
    DiagnosticRule(
        "path",
        "the value is not an absolute path",
        "Write an absolute path in the image without `..`, such as `/work`.",
    ),
    DiagnosticRule(
        "env-name",
        "the key is not a valid name of an environment variable",
        "Use letters, digits and `_`; the first character is not a digit.",
    ),
    DiagnosticRule(
        "env-reserved",
        "the environment variable is reserved",
        "The image sets `PATH` to the programs of the environment. The build of an sdist sets `HOME`, `LC_ALL`, "
        "`PATH`, `PYTHONPATH` and two more, so that it produces the same wheel everywhere.",
    ),
    DiagnosticRule(
        "secret-name",
        "the name of a variable or label looks like a secret",
        "The values of `env` and `labels` in `[image]` and of `build-env` are written into the Dockerfile, the image "
        "and its history, and into git. A name with a word such as `token`, `password` or `key` is reported; the words "
        "are those of BuildKit's check SecretsUsedInArgOrEnv. Pass secrets when the container starts, with "
        "`docker run --env NAME`, `--env-file` or a mounted file. If the value is no secret, list the name in "
        "`allow-secret-names` in `[image]`.",
        phase="spec",
        severity="warning",
    ),
    DiagnosticRule(
        "invisible-character",
        "a value for the Dockerfile contains characters that are not shown",
        "Characters of no width and those that change the direction of a text can make a value look like another one.",
        phase="spec",
        severity="warning",
    ),
    DiagnosticRule(
        "label-name",
        "the key is not a valid label name",
        "Use lower-case letters and digits, separated by `.`, `_`, `-` or `/`.",
    ),
    DiagnosticRule(
        "command", "the command is empty", "A command is a list of a program and its arguments.", phase="spec"
    ),
    # Base images and CUDA: errors.
    DiagnosticRule(
        "cuda-conflict",
        "the locked packages do not use the CUDA version that the spec requests",
        "`version` in `[cuda]` is the CUDA version for which the locked packages are built; `false` means that none "
        "uses CUDA. The resolvers found packages for another version, or for the CPU only. Request the build that you "
        "want, for example `pytorch * cuda*`.",
        phase="lock",
        key=_CUDA_VERSION_KEY,
    ),
    DiagnosticRule(
        "cuda-mixed",
        "the locked packages need different major versions of CUDA",
        "A process that loads the CUDA runtimes of two major versions crashes, or uses the wrong one. Request releases "
        "of the packages that are built for the same major version.",
        phase="lock",
        key=_PIP_PACKAGES_KEY,
    ),
    DiagnosticRule(
        "cuda-too-old",
        "a package needs a newer CUDA version than the spec requests",
        "A package that uses the CUDA libraries of the image needs at least the minor version it was built with.",
        phase="lock",
        key=_CUDA_VERSION_KEY,
    ),
    DiagnosticRule(
        "cuda-unknown",
        "the CUDA version does not exist",
        "The catalogue has neither a toolkit nor an image of this version. `nvidia-smi` prints the newest CUDA version "
        "that the driver supports, which need not be a release of the toolkit: there is no CUDA 12.7.",
        phase="spec",
        key=_CUDA_VERSION_KEY,
    ),
    DiagnosticRule(
        "cuda-deleted",
        "the images of this CUDA version were deleted",
        "NVIDIA deletes images of unsupported versions: 10.x and older, and all but the last patch release of each "
        "11.x.",
        phase="lock",
        key=_CUDA_VERSION_KEY,
    ),
    DiagnosticRule(
        "cuda-no-image",
        "no nvidia/cuda image meets the requirements",
        "No image in the catalogue has the libraries that the packages need, on the requested system and in the "
        "requested CUDA version.",
        phase="lock",
        key=_BASE_IMAGE_KEY,
    ),
    DiagnosticRule(
        "cudnn-no-match",
        "no nvidia/cuda image has the cuDNN version that a package needs",
        "A package works with a cuDNN of the same major version and of the same or a newer minor version as the one it "
        "was built with.",
        phase="lock",
        key=_BASE_IMAGE_KEY,
    ),
    DiagnosticRule(
        "cuda-no-platform",
        "the nvidia/cuda image is not available for a platform",
        "Images of older CUDA versions and of some systems exist for amd64 only.",
        phase="lock",
        key=("platforms",),
    ),
    DiagnosticRule(
        "base-glibc",
        "the C library of the base image is too old for the locked packages, or too new for their compiler",
        "A wheel needs the glibc version in its tag (manylinux_2_31) or a newer one. nvcc up to 12.9 cannot compile "
        "with the headers of glibc 2.41.",
        phase="lock",
        key=_BASE_IMAGE_KEY,
    ),
    DiagnosticRule(
        "base-musl",
        "the base image has musl instead of glibc",
        "envcompile locks packages for glibc, and CUDA does not exist for Alpine.",
        phase="lock",
        key=_BASE_IMAGE_KEY,
    ),
    DiagnosticRule(
        "driver-too-old",
        "the oldest supported driver cannot run this CUDA version",
        "Every major version of CUDA has a minimum driver. An nvidia/cuda image starts only on drivers that support "
        "its minor version.",
        phase="lock",
        key=("cuda", "driver"),
    ),
    DiagnosticRule(
        "compute-unsupported",
        "the locked packages contain no code for a GPU architecture",
        "A CUDA toolkit compiles for a range of GPU architectures, and a wheel contains code for some of them.",
        phase="lock",
        key=("cuda", "compute"),
    ),
    DiagnosticRule(
        "base-python",
        "no Python of this version can be installed into the base image",
        "A base image without the requested Python gets a build of python-build-standalone, which has not released "
        "this version. conda may have it.",
        phase="lock",
        key=("python",),
    ),
    DiagnosticRule(
        "cuda-unpinned",
        "a package needs files that exist only in NVIDIA's apt archive",
        "NVIDIA's archive has no snapshots, so a package locked today may be gone in a year. envcompile uses wheels "
        "or conda packages with the same files instead, which it locks by hash. Here it found none: add a conda "
        "package that has them.",
        phase="lock",
        key=_BASE_IMAGE_KEY,
    ),
    DiagnosticRule(
        "conda-cpu-build",
        "conda locked a build without CUDA",
        "A conda solver that does not know of a CUDA driver selects CPU builds without a warning.",
        phase="lock",
        key=_CONDA_PACKAGES_KEY,
    ),
    DiagnosticRule(
        "cuda-minor-differs",
        "the locked packages contain another minor version of CUDA than the spec requests",
        "A driver runs every minor version of its major version, so either version works. Request the locked version, "
        "or packages that are built for the requested one.",
        phase="lock",
        key=_CUDA_VERSION_KEY,
    ),
    DiagnosticRule(
        "missing-program",
        "no locked package appears to contain a program that the image starts",
        "The program is the first word of `entrypoint`, `command` or the command of `healthcheck`. It is not in the "
        "minimal system of the base image, and no locked package has a similar name, so the container would probably "
        "not start. The lock does not list the files of packages: ignore the warning if a package with another name "
        "contains the program.",
        phase="lock",
        severity="warning",
    ),
    # Base images and CUDA: warnings.
    DiagnosticRule(
        "cpu-only-wheel",
        "the locked wheel has no CUDA support",
        "The package runs on the CPU only, whatever the image contains.",
        phase="lock",
        severity="warning",
        key=_PIP_PACKAGES_KEY,
    ),
    DiagnosticRule(
        "run-time-compiler",
        "a locked package compiles code when it runs",
        "The first use of the package compiles CUDA code with nvcc, or Triton kernels with the C compiler of the "
        "system. `jit = true` in `[cuda]` adds what it needs to the image.",
        phase="lock",
        severity="warning",
        key=_PIP_PACKAGES_KEY,
    ),
    DiagnosticRule(
        "cuda-sdist",
        "an sdist appears to compile CUDA code",
        "envcompile does not know the package, but its `build-env` requests CUDA (`FORCE_CUDA`, "
        "`TORCH_CUDA_ARCH_LIST`, `CMAKE_ARGS`), or it is built with a torch that has CUDA. So the build stage has "
        'nvcc. `FORCE_CUDA = "0"` in its `build-env` builds it without CUDA.',
        phase="lock",
        severity="warning",
        key=_PIP_PACKAGES_KEY,
    ),
    DiagnosticRule(
        "onnxruntime-preload",
        "onnxruntime does not find the locked CUDA libraries by itself",
        "onnxruntime does not search other wheels for libraries. Call `onnxruntime.preload_dlls()` (1.21 or newer), or "
        "import torch first.",
        phase="lock",
        severity="warning",
        key=_PIP_PACKAGES_KEY,
    ),
    DiagnosticRule(
        "driver-minor-only",
        "the oldest supported driver is older than this CUDA version",
        "CUDA runs on this driver through minor version compatibility: features of newer drivers are missing, and the "
        "driver cannot compile PTX of a newer minor version.",
        phase="lock",
        severity="warning",
        key=("cuda", "driver"),
    ),
    DiagnosticRule(
        "nvcc-minor-differs",
        "nvcc and the locked packages have different minor versions of CUDA",
        "There is no image of the packages' minor version, so envcompile chose the nearest one of the same major "
        "version.",
        phase="lock",
        severity="warning",
        key=_BASE_IMAGE_KEY,
    ),
    DiagnosticRule(
        "cuda-old-image",
        "the base image is superseded or no longer supported",
        "NVIDIA maintains only the newest patch release of a minor version, and deletes the others after six months or "
        "more.",
        phase="lock",
        severity="warning",
        key=_CUDA_VERSION_KEY,
    ),
    DiagnosticRule(
        "gpu-unused",
        "GPU libraries are locked in an environment that uses no GPU",
        "Some packages depend on NVIDIA's libraries even on machines without a GPU: hundreds of megabytes that no "
        "program loads. Request a build without them if there is one (`xgboost-cpu`), or list them under `exclude` in "
        "`[pip]`.",
        phase="lock",
        severity="warning",
        key=_PIP_PACKAGES_KEY,
    ),
)

RULES = {rule.slug: rule for rule in _ALL_RULES}
