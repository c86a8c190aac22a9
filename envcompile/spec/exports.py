"""The files that `[lock] exports` can keep: a name tells the format, and the platform that a list is for alone.

`verify` imports this before anything else: plain strings, and nothing that takes longer than it saves.
"""

from __future__ import annotations

# By its name: the format, and the platform, "" for all that are locked.
EXPORTS = {
    "conda-lock.yml": ("conda-lock", ""),
    "environment.yml": ("environment", ""),
    "explicit.txt": ("explicit", ""),
    "explicit-linux-64.txt": ("explicit", "linux-64"),
    "explicit-linux-aarch64.txt": ("explicit", "linux-aarch64"),
    "pylock.toml": ("pylock", ""),
    "requirements.txt": ("requirements", ""),
}
# The first bytes of every file that is exported.
OURS = "# Made by `envcompile export`"
# PEP 751 allows no other names.
_PYLOCK, _BEFORE, _AFTER = "pylock.toml", "pylock.", ".toml"


def export_of(name: str, stem: str) -> str:
    """What an export is called beside a spec that has a name of its own: `cpu.requirements.txt` for `cpu.toml`."""
    return f"{_BEFORE}{stem}{_AFTER}" if name == _PYLOCK else f"{stem}.{name}"


def stem_of(file: str) -> str | None:
    """The other way round: the spec's name in the name of an export, "" for the usual spec; None for other files."""
    if file in EXPORTS:
        return ""
    if file.startswith(_BEFORE) and file.endswith(_AFTER):
        return file[len(_BEFORE) : -len(_AFTER)]
    return next((file[: -len(name) - 1] for name in EXPORTS if file.endswith(f".{name}") and name != _PYLOCK), None)


def otherwise(file: str, name: str) -> str:
    """What is said of a file that does not hold the artefact of this name."""
    return f"`{file}` is not the {name} of this spec and lock"
