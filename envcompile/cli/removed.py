"""What a commit takes away.

pre-commit gives a hook the names of files that are there: of a lock that is gone it says nothing.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import UnavailableError
from envcompile.lock.head import COMMENT
from envcompile.project.discovery import find_spec_of_file, lock_path_from_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OURS = COMMENT.encode()
# pre-commit and prek say so where not the index but the commits between two revisions are looked at.
_FROM, _TO = "PRE_COMMIT_FROM_REF", "PRE_COMMIT_TO_REF"


def bereft(environment: Mapping[str, str]) -> Iterator[str]:
    """The specs whose lock the commit removes, and those that it removes and leaves the lock. Raises `MissingOutside`.

    The current folder is the repository's, or one inside it: what is outside of the folder is none of its business.
    """
    before, after = environment.get(_FROM), environment.get(_TO)
    range_ = (f"{before}...{after}",) if before and after else ("--cached",)
    asked = ("diff", *range_, "--raw", "--no-abbrev", "--diff-filter=D", "--no-renames", "--relative", "-z")
    # `:100644 000000 <blob before> <blob after> D`, then the name, each ended by a NUL.
    fields = os.fsdecode(_git(*asked)).split("\0")
    for entry, name in zip(fields[::2], fields[1::2], strict=False):
        if name.endswith(".lock"):
            spec = find_spec_of_file(name)
            # Other programs have locks, too.
            if spec and Path(spec).is_file() and _git("cat-file", "blob", entry.split()[2]).startswith(_OURS):
                yield spec
        elif name.endswith(".toml") and _begins(lock_path_from_spec(name)):
            yield find_spec_of_file(name) or name


def _begins(lock: str) -> bool:
    """Whether there is a lock of ours of that name."""
    try:
        with Path(lock).open("rb") as file:
            return file.read(len(_OURS)) == _OURS
    except OSError:
        return False


def _git(*words: str) -> bytes:
    try:
        done = subprocess.run(("git", *words), capture_output=True, check=False)  # noqa: S607 - the user's git
    except OSError as problem:
        raise UnavailableError(f"`git` cannot be started: {problem.strerror}", "`--hook` needs it") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise UnavailableError(
            f"`git {words[0]}` does not tell what the commit removes: {said}", "run it in a repository"
        )
    return done.stdout
