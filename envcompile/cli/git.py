"""Runs git: reads a file at a revision, and finds specs whose lock a commit removes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.header import HEADER_COMMENT
from envcompile.net.process import ProcessResult, run_process
from envcompile.project.discovery import find_spec_of_file, lock_path_from_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Messages of git for a path that a revision does not have, whether or not the working tree has it.
_MISSING_FILE_MESSAGES = ("does not exist in", "but not in")
_HEADER_COMMENT = HEADER_COMMENT.encode()
# pre-commit and prek set these if they check the commits between two revisions instead of the index.
_FROM_REF_VARIABLE, _TO_REF_VARIABLE = "PRE_COMMIT_FROM_REF", "PRE_COMMIT_TO_REF"
_TIMEOUT = 300.0


def read_file_at_revision(path: Path, revision: str) -> bytes | None:
    """Return the content of a file, or None if the revision has no such file.

    Uses low-level git commands, which run no pager, no filter and no `textconv` (which may be this program).
    Raises `InvalidInputError` if the revision or the repository does not exist, and `UnavailableError` if git fails.
    """
    if not revision or revision.startswith("-"):
        raise InvalidInputError(f"`{revision}` is not a revision of git", "write one as `HEAD~1`, a branch or a tag")
    folder = path.absolute().parent

    def run_git(*words: str) -> ProcessResult:
        return _run_git(words, folder, os.environ, "name a file: `envcompile diff OLD.lock`")

    repository = run_git("rev-parse", "--git-dir")
    if "not a git repository" in repository.stderr:
        message = f"`{folder}` is not in a git repository, so it has no `{revision}` to compare with"
        raise InvalidInputError(message, "name a file: `envcompile diff OLD.lock`")
    if repository.exit_code:
        raise UnavailableError(f"git does not read this repository: {_find_error_message(repository)}")
    if run_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").exit_code:
        message = f"`{revision}` is neither a git revision nor a file"
        raise InvalidInputError(message, "`git log` lists revisions")
    blob = run_git("cat-file", "blob", f"{revision}:./{path.name}")
    if blob.exit_code and not any(words in blob.stderr for words in _MISSING_FILE_MESSAGES):
        raise UnavailableError(f"git does not read the lock of `{revision}`: {_find_error_message(blob)}")
    return None if blob.exit_code else blob.output


def specs_without_their_lock(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the specs whose lock the commit removes, and the removed specs whose lock remains.

    pre-commit passes only existing files to a hook, so the hook must find removed locks itself. Files outside the
    current folder are ignored. Raises `UnavailableError` if git fails.
    """
    before, after = environment.get(_FROM_REF_VARIABLE), environment.get(_TO_REF_VARIABLE)
    range_ = (f"{before}...{after}",) if before and after else ("--cached",)
    diff = ("diff", *range_, "--raw", "--no-abbrev", "--diff-filter=D", "--no-renames", "--relative", "-z")
    # `:100644 000000 <blob before> <blob after> D`, then the name, each terminated by a NUL.
    fields = os.fsdecode(_read_git_output(diff, environment)).split("\0")
    for entry, name in zip(fields[::2], fields[1::2], strict=False):
        if name.endswith(".lock"):
            spec = find_spec_of_file(name)
            # Other programs write `.lock` files too.
            if spec and Path(spec).is_file():
                blob = _read_git_output(("cat-file", "blob", entry.split()[2]), environment)
                if blob.startswith(_HEADER_COMMENT):
                    yield spec
        elif name.endswith(".toml") and _is_own_lock(lock_path_from_spec(name)):
            yield find_spec_of_file(name) or name


def _is_own_lock(lock: str) -> bool:
    """Whether the file exists and is a lock of envcompile."""
    try:
        with Path(lock).open("rb") as file:
            return file.read(len(_HEADER_COMMENT)) == _HEADER_COMMENT
    except OSError:
        return False


def _read_git_output(words: tuple[str, ...], environment: Mapping[str, str]) -> bytes:
    result = _run_git(words, None, environment, "`--hook` needs it")
    if result.exit_code:
        message = f"cannot find the removed files, because `git {words[0]}` failed: {_find_error_message(result)}"
        raise UnavailableError(message, "run it in a repository")
    return result.output


def _run_git(words: tuple[str, ...], folder: Path | None, environment: Mapping[str, str], hint: str) -> ProcessResult:
    # In the C locale the messages are in English.
    environment = {**environment, "LC_ALL": "C"}
    return run_process(("git", *words), folder, environment, timeout=_TIMEOUT, hint=hint)


def _find_error_message(result: ProcessResult) -> str:
    return result.stderr.strip().partition("\n")[0].removeprefix("fatal: ")
