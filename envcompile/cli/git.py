"""A file as a revision of git has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.header import HEADER_COMMENT
from envcompile.project.discovery import find_spec_of_file, lock_path_from_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# git's words for a path that a revision has not: in the working tree it may be there, or not.
_MISSING_FILE_MESSAGES = (b"does not exist in", b"but not in")


def read_file_at_revision(path: Path, revision: str) -> bytes | None:
    """The content; None when the revision has no such file. Raises `InvalidInputError` or `UnavailableError`.

    By git's plumbing: it starts no pager, and neither a filter nor the `textconv` that may be this very program.
    """
    if not revision or revision.startswith("-"):
        raise InvalidInputError(f"`{revision}` is not a revision of git", "write one as `HEAD~1`, a branch or a tag")
    folder = path.absolute().parent
    there = _run_git(folder, "rev-parse", "--git-dir")
    if b"not a git repository" in there.stderr:
        said = f"`{folder}` is not in a git repository, so it has no `{revision}` to compare with"
        raise InvalidInputError(said, "name a file: `envcompile diff OLD.lock`")
    if there.returncode:
        raise UnavailableError(f"git does not read this repository: {_find_error_message(there)}")
    if _run_git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").returncode:
        raise InvalidInputError(
            f"git knows no revision `{revision}`, and there is no such file", "`git log` lists revisions"
        )
    found = _run_git(folder, "cat-file", "blob", f"{revision}:./{path.name}")
    if found.returncode and not any(words in found.stderr for words in _MISSING_FILE_MESSAGES):
        raise UnavailableError(f"git does not read the lock of `{revision}`: {_find_error_message(found)}")
    return None if found.returncode else found.stdout


def _find_error_message(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")


def _run_git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
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


# What a commit takes away.
#
# pre-commit gives a hook the names of files that are there: of a lock that is gone it says nothing.


_LOCK_COMMENT = HEADER_COMMENT.encode()
# pre-commit and prek say so where not the index but the commits between two revisions are looked at.
_FROM_REF_VARIABLE, _TO_REF_VARIABLE = "PRE_COMMIT_FROM_REF", "PRE_COMMIT_TO_REF"


def specs_without_their_lock(environment: Mapping[str, str]) -> Iterator[str]:
    """The specs whose lock the commit removes, and those that it removes and leaves the lock.

    Raises `UnavailableError`.

    The current folder is the repository's, or one inside it: what is outside of the folder is none of its business.
    """
    before, after = environment.get(_FROM_REF_VARIABLE), environment.get(_TO_REF_VARIABLE)
    range_ = (f"{before}...{after}",) if before and after else ("--cached",)
    asked = ("diff", *range_, "--raw", "--no-abbrev", "--diff-filter=D", "--no-renames", "--relative", "-z")
    # `:100644 000000 <blob before> <blob after> D`, then the name, each ended by a NUL.
    fields = os.fsdecode(_read_git_output(*asked)).split("\0")
    for entry, name in zip(fields[::2], fields[1::2], strict=False):
        if name.endswith(".lock"):
            spec = find_spec_of_file(name)
            # Other programs have locks, too.
            if (
                spec
                and Path(spec).is_file()
                and _read_git_output("cat-file", "blob", entry.split()[2]).startswith(_LOCK_COMMENT)
            ):
                yield spec
        elif name.endswith(".toml") and _is_own_lock(lock_path_from_spec(name)):
            yield find_spec_of_file(name) or name


def _is_own_lock(lock: str) -> bool:
    """Whether there is a lock of ours of that name."""
    try:
        with Path(lock).open("rb") as file:
            return file.read(len(_LOCK_COMMENT)) == _LOCK_COMMENT
    except OSError:
        return False


def _read_git_output(*words: str) -> bytes:
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
