"""One row of the table of rules."""

from __future__ import annotations

from typing import NamedTuple


class DiagnosticRule(NamedTuple):
    """One kind of mistake: `slug` is stable, `summary` one line, `explanation` what to know and to do."""

    slug: str
    summary: str
    explanation: str


# The rules about base images and CUDA, rows of the table in `rules`.


_BASE_IMAGE_RULES = (
    DiagnosticRule(
        "cuda-mixed",
        "locked packages bring or need more than one major version of CUDA",
        "Two CUDA runtimes of different major versions in one process crash or hide each other. Take releases of "
        "the packages that are built for the same major version.",
    ),
    DiagnosticRule(
        "cuda-too-old",
        "a package needs a newer CUDA than the spec asks for",
        "A package that takes CUDA from the image was built with a newer minor version than the one asked for.",
    ),
    DiagnosticRule(
        "cuda-unknown",
        "no such version of CUDA is known",
        "The version is neither a toolkit nor an image that the catalogue knows. There never was a 12.7: "
        "`nvidia-smi` shows what the driver supports, which is no release of the toolkit.",
    ),
    DiagnosticRule(
        "cuda-deleted",
        "the images of this version of CUDA were deleted",
        "NVIDIA deletes images of versions that are no longer supported: 10.x and older, and all but the last patch "
        "of each 11.x.",
    ),
    DiagnosticRule(
        "cuda-no-image",
        "no nvidia/cuda image fits",
        "What the packages need of the image, the system and the version of CUDA together exist in no image that is "
        "known with enough confidence.",
    ),
    DiagnosticRule(
        "cudnn-no-match",
        "no nvidia/cuda image has the cuDNN that a package needs",
        "cuDNN must be of the same major version and of at least the same minor version as the one a package was "
        "built with.",
    ),
    DiagnosticRule(
        "cuda-no-platform",
        "the nvidia/cuda image that fits is not there for a platform",
        "Images of older versions and of some systems are for amd64 only.",
    ),
    DiagnosticRule(
        "base-glibc",
        "the base's C library is too old for what is locked, or too new for its compiler",
        "A wheel runs with the glibc of its tag (manylinux_2_31) or newer; and nvcc up to 12.9 does not read the "
        "headers of glibc 2.41.",
    ),
    DiagnosticRule(
        "base-musl",
        "the base has musl, and what is locked needs glibc",
        "Packages are locked for glibc, and there is no CUDA for Alpine.",
    ),
    DiagnosticRule(
        "driver-too-old",
        "the oldest driver to support cannot run this CUDA",
        "A major version of CUDA has an oldest driver, whatever its minor version; an nvidia/cuda image starts only "
        "on drivers of its own minor version.",
    ),
    DiagnosticRule(
        "compute-unsupported",
        "what is locked has no code for a GPU architecture",
        "A toolkit compiles for a range of GPU architectures, and a wheel holds code for some of them.",
    ),
    DiagnosticRule(
        "base-python",
        "the base that is needed has no such Python",
        "An nvidia/cuda image has no Python of its own, and takes its distribution's: 3.12 with Ubuntu 24.04, 3.10 "
        "with 22.04, 3.8 with 20.04. Conda brings any Python.",
    ),
    DiagnosticRule(
        "cuda-unpinned",
        "a package needs what only NVIDIA's own archive has, which has no snapshot",
        "Debian packages of NVIDIA are not kept: what is locked today cannot be had in a year. What they hold is "
        "taken from wheels or from conda packages instead, which have hashes.",
    ),
    DiagnosticRule(
        "conda-cpu-build",
        "conda locked a build without CUDA",
        "A solver that is told of no CUDA takes builds for the CPU in silence.",
    ),
    DiagnosticRule(
        "cpu-only-wheel",
        "the locked wheel has no CUDA",
        "It runs on the CPU only, whatever the image brings.",
    ),
    DiagnosticRule(
        "onnxruntime-preload",
        "onnxruntime finds CUDA only when it is told to look",
        "Call `onnxruntime.preload_dlls()` (from 1.21) or import torch first: it does not look into other wheels.",
    ),
    DiagnosticRule(
        "cuda-minor-differs",
        "what is locked brings another minor version of CUDA than the spec asks for",
        "The locked one is used. Drivers of a major version run all of its minor versions.",
    ),
    DiagnosticRule(
        "driver-minor-only",
        "the oldest driver to support is older than this CUDA",
        "It runs by minor version compatibility: what newer drivers added is missing, and PTX of a newer minor "
        "version cannot be compiled by it.",
    ),
    DiagnosticRule(
        "nvcc-minor-differs",
        "nvcc is of another minor version of CUDA than the packages",
        "There is no image of their minor version, and the nearest one of the same major version is taken.",
    ),
    DiagnosticRule(
        "cuda-old-image",
        "the image is superseded, or its version no longer supported",
        "NVIDIA maintains the newest patch of a minor version only, and deletes the others after six months or more.",
    ),
    DiagnosticRule(
        "gpu-unused",
        "libraries for a GPU in an environment that uses none",
        "Some packages bring NVIDIA's libraries whether or not there is a GPU: hundreds of megabytes that nothing "
        "loads. A build without them may have a name of its own (`xgboost-cpu`), or `exclude` under `[pip]` leaves "
        "them out.",
    ),
)


# The table of rules: one row for each mistake a spec can hold.
#
# A row is a slug that never changes, a summary, and the explanation that `envcompile explain SLUG` prints.
# Each row has a folder of its name in `fixtures/errors/`, and each folder a row: a test sees to it.


_ALL_RULES = (
    # The file as a whole.
    DiagnosticRule(
        "toml-syntax",
        "the file is not TOML",
        "The text breaks TOML's grammar at the marked place, so nothing in it can be read.",
    ),
    DiagnosticRule(
        "encoding",
        "the file is not UTF-8 text",
        "TOML is UTF-8 without a byte order mark and without NUL bytes. Save the file as plain UTF-8.",
    ),
    DiagnosticRule(
        "too-large",
        "the file is larger than any spec",
        "A spec is read only up to 256 KiB: a larger file is a mistake or an attack on the parser.",
    ),
    DiagnosticRule(
        "control-character",
        "a string holds a control character",
        "Control characters, a newline above all, have no place in any value: in a Dockerfile a newline starts an "
        "instruction of its own. Tabs are allowed.",
    ),
    # Keys and shapes.
    DiagnosticRule(
        "unknown-key",
        "a key that this table does not have",
        "Every key of a spec means something: one that is not known is a spelling mistake or a wish, and is never "
        "skipped in silence.",
    ),
    DiagnosticRule("missing-key", "a key that must be there is not", "The table is incomplete without the named key."),
    DiagnosticRule(
        "wrong-type", "a value of another type is expected", "The key is known, and its value is of the wrong type."
    ),
    DiagnosticRule(
        "nothing-to-install",
        "the spec asks for no package",
        "An environment without a single package needs no lock and no image of its own.",
    ),
    # Top level.
    DiagnosticRule(
        "name",
        "not a name for an image",
        "`name` becomes the image's name: lower-case letters, digits, and single `.`, `_` or `-` between them.",
    ),
    DiagnosticRule(
        "python-version",
        "not a Python version",
        'Write X.Y, such as `python = "3.12"`; X.Y.Z names the exact patch level the base image is said to have.',
    ),
    DiagnosticRule("platform", "not a platform that can be compiled for", "Known are linux-64 and linux-aarch64."),
    DiagnosticRule(
        "timestamp",
        "not a timestamp with a time zone",
        "A point in time that means the same everywhere carries its offset: 2026-11-01T00:00:00Z.",
    ),
    DiagnosticRule("duplicate", "the same thing twice", "Of two entries for one thing, one is not meant."),
    # Requirements.
    DiagnosticRule(
        "requirement",
        "not a PEP 508 requirement",
        "pip packages are written as PEP 508 has it: NAME[EXTRA] SPECIFIER ; MARKER.",
    ),
    DiagnosticRule(
        "requirement-option",
        "a pip option in the place of a requirement",
        "A requirement is a name and a range. Options of pip have keys of their own in the spec.",
    ),
    DiagnosticRule(
        "requirement-path",
        "a path, an editable or a version-control requirement",
        "A lock pins what anybody can fetch again. One's own code goes on top of the image: "
        "`FROM repository:tag`, `COPY . /app`.",
    ),
    DiagnosticRule(
        "requirement-url",
        "a URL in the place of a requirement",
        "Files are found by name and hash in an index, so that a mirror can serve them.",
    ),
    DiagnosticRule(
        "match-spec",
        "not a conda requirement that every solver reads alike",
        "conda packages are written as MatchSpecs: `numpy >=2`, `pytorch * cuda*`, `conda-forge::libgdal`. What conda "
        "and rattler read differently is refused, with the spelling that both understand.",
    ),
    DiagnosticRule("channel", "not a conda channel", "A name such as conda-forge, a URL, or a local path."),
    DiagnosticRule(
        "url", "not the URL of a package index", "http or https, a host and a path; no query, no credentials."
    ),
    DiagnosticRule(
        "index",
        "an extra index that could serve nothing, or has the name of the default one",
        "An extra index serves the packages that are named for it and no others, and each package comes from one "
        "index: the first in the list that it is named for.",
    ),
    DiagnosticRule(
        "resolver", "not a known resolver", "pip packages: uv or pip-tools. conda packages: rattler or conda-lock."
    ),
    DiagnosticRule(
        "sdist",
        "an sdist that cannot be locked without running its code",
        "Sdists are taken only of the packages in `allow-sdist`. What one needs is read from the files in it, where "
        "they say it for certain (PKG-INFO by PEP 643, or pyproject.toml by PEP 621), or from `[pip.metadata.NAME]` in "
        "the spec; its code is run in the build stage and nowhere else.",
    ),
    DiagnosticRule("package-name", "not the name of a package", "Letters, digits, and `.`, `_` or `-` between them."),
    DiagnosticRule(
        "apt-package",
        "not a package of the distribution's release",
        "`[apt]` asks for packages by the bare names of the base image's own release, as its archive has them at the "
        "snapshot. A name that several packages provide is none of them.",
    ),
    DiagnosticRule(
        "apt-base",
        "a base in which apt cannot work",
        "Debian packages are added to a Debian or Ubuntu base that has apt, dpkg and the archive's keyring. What it "
        "has already is read from its registry, once.",
    ),
    DiagnosticRule(
        "snapshot",
        "a moment whose archive cannot be used",
        "An archive older than the base image has older packages than it, and apt removes and downgrades nothing; one "
        "that is still to come is not fixed yet.",
    ),
    DiagnosticRule(
        "excluded-requirement",
        "a package is asked for and excluded",
        "What `packages` asks for by name cannot be left out by `exclude`.",
    ),
    DiagnosticRule(
        "userinfo",
        "a user name, a password or a token in a URL",
        "Credentials are never written in a spec: they would end in the lock, in the image's history and in logs.",
    ),
    DiagnosticRule(
        "cuda-conflict",
        "what is locked does not use the CUDA that the spec asks for",
        "`version` under `[cuda]` says which CUDA the packages of the lock are built for; `false`, that none uses it. "
        "The resolvers were asked so, and found packages for another one, or for the processor alone; a lock that says "
        "something else than the spec is not written. Name the build that is meant, such as `pytorch * cuda*`.",
    ),
    DiagnosticRule(
        "unsolvable",
        "no set of packages answers the requirements",
        "The resolver looked at every release the index has and found none that fits all requirements on the named "
        "platform, Python and C library. Its own explanation stands below the line.",
    ),
    DiagnosticRule(
        "stale",
        "the lock does not answer the spec",
        "What is pinned is not what is asked for any more: a requirement that no pin satisfies, a package that nothing "
        "asks for, a platform, or a key that decides what the resolvers see. A requirement that was loosened is "
        "satisfied still, and needs no new lock. `envcompile lock` moves what must move, and keeps every other pin.",
    ),
    # Images.
    DiagnosticRule(
        "image-reference",
        "not an image reference",
        "NAME:TAG or NAME:TAG@sha256:DIGEST, the name in lower case, as `docker pull` takes it.",
    ),
    DiagnosticRule(
        "base-unknown",
        "nothing is known of this base image",
        "Which wheels fit depends on the C library of the base. What its name, its registry and its files do not tell, "
        "the spec must: os, glibc, python and python-path.",
    ),
    DiagnosticRule(
        "catalogue",
        "a file that is not a catalogue of what is known of CUDA",
        "`--catalogue`, or `catalogue` in the user's settings, names a JSON file that takes the place of the facts of "
        "this release. It is checked as a whole before anything of it is believed: its form is "
        "`envcompile schema catalogue`, and what its tables name must be there.",
    ),
    DiagnosticRule("tool", "not a tool of the build", "Known are uv and micromamba."),
    DiagnosticRule("cuda-version", "not a CUDA version", "X or X.Y in quotes, or `false` to keep CUDA out."),
    DiagnosticRule(
        "driver", "not the version of a driver", "The oldest NVIDIA driver of the hosts, such as 535 or 535.104.05."
    ),
    DiagnosticRule(
        "compute", "not a GPU architecture", "A compute capability as NVIDIA writes it, such as 8.0 or 9.0."
    ),
    DiagnosticRule(
        "export",
        "not a file that this lock can keep",
        "The name of the file tells its format, and what it lists must be asked for: conda-lock.yml, environment.yml "
        "and explicit.txt are of conda's packages, requirements.txt and pylock.toml of pip's. An explicit list is for "
        "one platform: of several, name explicit-linux-64.txt and its like.",
    ),
    DiagnosticRule("user", "not a numeric user", "UID:GID, both numbers from 0 to 2147483647, such as `1000:1000`."),
    DiagnosticRule("port", "not a port", "Ports are whole numbers from 1 to 65535."),
    DiagnosticRule("path", "not an absolute path", "An absolute path in the image, without `..`, such as `/work`."),
    DiagnosticRule(
        "env-name", "not the name of an environment variable", "Letters, digits and `_`, not starting with a digit."
    ),
    DiagnosticRule(
        "env-reserved",
        "an environment variable that the image or the build needs for itself",
        "`PATH` finds the environment's programs and is set by the image. The build of an sdist sets `HOME`, `LC_ALL`, "
        "`PATH`, `PYTHONPATH` and two more, so that the wheel is the same wherever it is made.",
    ),
    DiagnosticRule(
        "label-name",
        "not the name of a label",
        "Lower-case letters and digits, with `.`, `_`, `-` or `/` between them.",
    ),
    DiagnosticRule("command", "an empty command", "A command is a list of a program and its arguments."),
    # Base images and CUDA, some of them warnings.
    *_BASE_IMAGE_RULES,
)

RULES = {rule.slug: rule for rule in _ALL_RULES}
