"""A file as a revision of git has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

# git's words for a path that a revision has not: in the working tree it may be there, or not.
_ABSENT = (b"does not exist in", b"but not in")


def at_revision(path: Path, revision: str) -> bytes | None:
    """The content; None when the revision has no such file. Raises `Unusable` or `MissingOutside`.

    By git's plumbing: it starts no pager, and neither a filter nor the `textconv` that may be this very program.
    """
    if not revision or revision.startswith("-"):
        raise InvalidInputError(f"`{revision}` is not a revision of git", "write one as `HEAD~1`, a branch or a tag")
    folder = path.absolute().parent
    there = _git(folder, "rev-parse", "--git-dir")
    if b"not a git repository" in there.stderr:
        said = f"`{folder}` is not in a git repository, so it has no `{revision}` to compare with"
        raise InvalidInputError(said, "name a file: `envcompile diff OLD.lock`")
    if there.returncode:
        raise UnavailableError(f"git does not read this repository: {_said(there)}")
    if _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").returncode:
        raise InvalidInputError(
            f"git knows no revision `{revision}`, and there is no such file", "`git log` lists revisions"
        )
    found = _git(folder, "cat-file", "blob", f"{revision}:./{path.name}")
    if found.returncode and not any(words in found.stderr for words in _ABSENT):
        raise UnavailableError(f"git does not read the lock of `{revision}`: {_said(found)}")
    return None if found.returncode else found.stdout


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("git")
    if program is None:
        raise UnavailableError("`git`, which knows the earlier lock, is not there", "name a file to compare")
    try:
        return subprocess.run(
            (program, *words),
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as problem:
        raise UnavailableError(f"`git` cannot be started: {problem.strerror}") from None
