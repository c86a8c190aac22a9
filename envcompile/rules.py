"""The table of rules: one row for each mistake a spec can hold.

A row is a slug that never changes, a summary, and the explanation that `envcompile explain SLUG` prints.
Each row has a folder of its name in `fixtures/errors/`, and each folder a row: a test sees to it.
"""

from __future__ import annotations

from envcompile.rule import Rule
from envcompile.rules_of_bases import ROWS

_ROWS = (
    # The file as a whole.
    Rule(
        "toml-syntax",
        "the file is not TOML",
        "The text breaks TOML's grammar at the marked place, so nothing in it can be read.",
    ),
    Rule(
        "encoding",
        "the file is not UTF-8 text",
        "TOML is UTF-8 without a byte order mark and without NUL bytes. Save the file as plain UTF-8.",
    ),
    Rule(
        "too-large",
        "the file is larger than any spec",
        "A spec is read only up to 256 KiB: a larger file is a mistake or an attack on the parser.",
    ),
    Rule(
        "control-character",
        "a string holds a control character",
        "Control characters, a newline above all, have no place in any value: in a Dockerfile a newline starts an "
        "instruction of its own. Tabs are allowed.",
    ),
    # Keys and shapes.
    Rule(
        "unknown-key",
        "a key that this table does not have",
        "Every key of a spec means something: one that is not known is a spelling mistake or a wish, and is never "
        "skipped in silence.",
    ),
    Rule("missing-key", "a key that must be there is not", "The table is incomplete without the named key."),
    Rule("wrong-type", "a value of another type is expected", "The key is known, and its value is of the wrong type."),
    Rule(
        "nothing-to-install",
        "the spec asks for no package",
        "An environment without a single package needs no lock and no image of its own.",
    ),
    # Top level.
    Rule(
        "name",
        "not a name for an image",
        "`name` becomes the image's name: lower-case letters, digits, and single `.`, `_` or `-` between them.",
    ),
    Rule(
        "python-version",
        "not a Python version",
        'Write X.Y, such as `python = "3.12"`; X.Y.Z names the exact patch level the base image is said to have.',
    ),
    Rule("platform", "not a platform that can be compiled for", "Known are linux-64 and linux-aarch64."),
    Rule(
        "timestamp",
        "not a timestamp with a time zone",
        "A point in time that means the same everywhere carries its offset: 2026-11-01T00:00:00Z.",
    ),
    Rule("duplicate", "the same thing twice", "Of two entries for one thing, one is not meant."),
    # Requirements.
    Rule(
        "requirement",
        "not a PEP 508 requirement",
        "pip packages are written as PEP 508 has it: NAME[EXTRA] SPECIFIER ; MARKER.",
    ),
    Rule(
        "requirement-option",
        "a pip option in the place of a requirement",
        "A requirement is a name and a range. Options of pip have keys of their own in the spec.",
    ),
    Rule(
        "requirement-path",
        "a path, an editable or a version-control requirement",
        "A lock pins what anybody can fetch again. One's own code goes on top of the image: "
        "`FROM repository:tag`, `COPY . /app`.",
    ),
    Rule(
        "requirement-url",
        "a URL in the place of a requirement",
        "Files are found by name and hash in an index, so that a mirror can serve them.",
    ),
    Rule(
        "match-spec",
        "not a conda requirement that every solver reads alike",
        "conda packages are written as MatchSpecs: `numpy >=2`, `pytorch * cuda*`, `conda-forge::libgdal`. What conda "
        "and rattler read differently is refused, with the spelling that both understand.",
    ),
    Rule("channel", "not a conda channel", "A name such as conda-forge, a URL, or a local path."),
    Rule("url", "not the URL of a package index", "http or https, a host and a path; no query, no credentials."),
    Rule(
        "index",
        "an extra index that could serve nothing, or has the name of the default one",
        "An extra index serves the packages that are named for it and no others, and each package comes from one "
        "index: the first in the list that it is named for.",
    ),
    Rule("resolver", "not a known resolver", "pip packages: uv or pip-tools. conda packages: rattler or conda-lock."),
    Rule(
        "sdist",
        "an sdist that cannot be locked without running its code",
        "Sdists are taken only of the packages in `allow-sdist`. What one needs is read from the files in it, where "
        "they say it for certain (PKG-INFO by PEP 643, or pyproject.toml by PEP 621), or from `[pip.metadata.NAME]` in "
        "the spec; its code is run in the build stage and nowhere else.",
    ),
    Rule("package-name", "not the name of a package", "Letters, digits, and `.`, `_` or `-` between them."),
    Rule(
        "apt-package",
        "not a package of the distribution's release",
        "`[apt]` asks for packages by the bare names of the base image's own release, as its archive has them at the "
        "snapshot. A name that several packages provide is none of them.",
    ),
    Rule(
        "apt-base",
        "a base in which apt cannot work",
        "Debian packages are added to a Debian or Ubuntu base that has apt, dpkg and the archive's keyring. What it "
        "has already is read from its registry, once.",
    ),
    Rule(
        "snapshot",
        "a moment whose archive cannot be used",
        "An archive older than the base image has older packages than it, and apt removes and downgrades nothing; one "
        "that is still to come is not fixed yet.",
    ),
    Rule(
        "excluded-requirement",
        "a package is asked for and excluded",
        "What `packages` asks for by name cannot be left out by `exclude`.",
    ),
    Rule(
        "userinfo",
        "a user name, a password or a token in a URL",
        "Credentials are never written in a spec: they would end in the lock, in the image's history and in logs.",
    ),
    Rule(
        "cuda-conflict",
        "what is locked does not use the CUDA that the spec asks for",
        "`version` under `[cuda]` says which CUDA the packages of the lock are built for; `false`, that none uses it. "
        "The resolvers were asked so, and found packages for another one, or for the processor alone; a lock that says "
        "something else than the spec is not written. Name the build that is meant, such as `pytorch * cuda*`.",
    ),
    Rule(
        "unsolvable",
        "no set of packages answers the requirements",
        "The resolver looked at every release the index has and found none that fits all requirements on the named "
        "platform, Python and C library. Its own explanation stands below the line.",
    ),
    Rule(
        "stale",
        "the lock does not answer the spec",
        "What is pinned is not what is asked for any more: a requirement that no pin satisfies, a package that nothing "
        "asks for, a platform, or a key that decides what the resolvers see. A requirement that was loosened is "
        "satisfied still, and needs no new lock. `envcompile lock` moves what must move, and keeps every other pin.",
    ),
    # Images.
    Rule(
        "image-reference",
        "not an image reference",
        "NAME:TAG or NAME:TAG@sha256:DIGEST, the name in lower case, as `docker pull` takes it.",
    ),
    Rule(
        "base-unknown",
        "nothing is known of this base image",
        "Which wheels fit depends on the C library of the base. What its name, its registry and its files do not tell, "
        "the spec must: os, glibc, python and python-path.",
    ),
    Rule(
        "catalogue",
        "a file that is not a catalogue of what is known of CUDA",
        "`--catalogue`, or `catalogue` in the user's settings, names a JSON file that takes the place of the facts of "
        "this release. It is checked as a whole before anything of it is believed: its form is "
        "`envcompile schema catalogue`, and what its tables name must be there.",
    ),
    Rule("tool", "not a tool of the build", "Known are uv and micromamba."),
    Rule("cuda-version", "not a CUDA version", "X or X.Y in quotes, or `false` to keep CUDA out."),
    Rule("driver", "not the version of a driver", "The oldest NVIDIA driver of the hosts, such as 535 or 535.104.05."),
    Rule("compute", "not a GPU architecture", "A compute capability as NVIDIA writes it, such as 8.0 or 9.0."),
    Rule(
        "export",
        "not a file that this lock can keep",
        "The name of the file tells its format, and what it lists must be asked for: conda-lock.yml, environment.yml "
        "and explicit.txt are of conda's packages, requirements.txt and pylock.toml of pip's. An explicit list is for "
        "one platform: of several, name explicit-linux-64.txt and its like.",
    ),
    Rule("user", "not a numeric user", "UID:GID, both numbers from 0 to 2147483647, such as `1000:1000`."),
    Rule("port", "not a port", "Ports are whole numbers from 1 to 65535."),
    Rule("path", "not an absolute path", "An absolute path in the image, without `..`, such as `/work`."),
    Rule("env-name", "not the name of an environment variable", "Letters, digits and `_`, not starting with a digit."),
    Rule(
        "env-reserved",
        "an environment variable that the image or the build needs for itself",
        "`PATH` finds the environment's programs and is set by the image. The build of an sdist sets `HOME`, `LC_ALL`, "
        "`PATH`, `PYTHONPATH` and two more, so that the wheel is the same wherever it is made.",
    ),
    Rule(
        "label-name",
        "not the name of a label",
        "Lower-case letters and digits, with `.`, `_`, `-` or `/` between them.",
    ),
    Rule("command", "an empty command", "A command is a list of a program and its arguments."),
    # Base images and CUDA, some of them warnings.
    *ROWS,
)

RULES = {rule.slug: rule for rule in _ROWS}
