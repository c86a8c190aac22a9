"""The files that `[lock] exports` can keep: a name tells the format, and the platform that a list is for alone.

`verify` imports this before anything else: plain strings, and nothing that takes longer than it saves.
"""

from __future__ import annotations

# By its name: the format, and the platform, "" for all that are locked.
EXPORT_FILES = {
    "conda-lock.yml": ("conda-lock", ""),
    "environment.yml": ("environment", ""),
    "explicit.txt": ("explicit", ""),
    "explicit-linux-64.txt": ("explicit", "linux-64"),
    "explicit-linux-aarch64.txt": ("explicit", "linux-aarch64"),
    "pylock.toml": ("pylock", ""),
    "requirements.txt": ("requirements", ""),
}
# The first bytes of every file that is exported.
EXPORT_HEADER = "# Made by `envcompile export`"
# PEP 751 allows no other names.
_PYLOCK_NAME, _PYLOCK_PREFIX, _PYLOCK_SUFFIX = "pylock.toml", "pylock.", ".toml"


def format_export_name(name: str, stem: str) -> str:
    """What an export is called beside a spec that has a name of its own: `cpu.requirements.txt` for `cpu.toml`."""
    return f"{_PYLOCK_PREFIX}{stem}{_PYLOCK_SUFFIX}" if name == _PYLOCK_NAME else f"{stem}.{name}"


def parse_spec_stem(file: str) -> str | None:
    """The other way round: the spec's name in the name of an export, "" for the usual spec; None for other files."""
    if file in EXPORT_FILES:
        return ""
    if file.startswith(_PYLOCK_PREFIX) and file.endswith(_PYLOCK_SUFFIX):
        return file[len(_PYLOCK_PREFIX) : -len(_PYLOCK_SUFFIX)]
    return next(
        (file[: -len(name) - 1] for name in EXPORT_FILES if file.endswith(f".{name}") and name != _PYLOCK_NAME), None
    )


def format_mismatch_message(file: str, name: str) -> str:
    """What is said of a file that does not hold the artefact of this name."""
    return f"`{file}` is not the {name} of this spec and lock"
