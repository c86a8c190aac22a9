"""The modules to mutate, and the tests that can notice it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Target(NamedTuple):
    """A module, or a folder of modules, and the test files and folders for it. Paths start at the repository's root.

    Of these tests, a mutant runs those that call the changed function, the fastest first.
    """

    path: str
    tests: tuple[str, ...]
    # Small modules with fast tests, for `--quick`.
    is_quick: bool = False


TARGETS = (
    Target("envcompile/digests.py", ("tests/test_digests.py",), is_quick=True),
    Target("envcompile/lock/header.py", ("tests/lock/test_header.py",), is_quick=True),
    Target("envcompile/lock/fields.py", ("tests/lock",)),
    Target("envcompile/lock/reader.py", ("tests/lock",)),
    Target("envcompile/lock/writer.py", ("tests/lock",)),
    Target("envcompile/lock/freshness.py", ("tests/lock",)),
    Target("envcompile/lock/freshness_pip.py", ("tests/lock",)),
    Target("envcompile/export", ("tests/export", "tests/test_compile.py")),
    Target("envcompile/spec/pip.py", ("tests/spec", "tests/diagnostics/test_rules.py")),
    Target("envcompile/spec/conda.py", ("tests/spec", "tests/lock", "tests/diagnostics/test_rules.py")),
    Target("envcompile/resolve/apt/closure.py", ("tests/resolve/apt",), is_quick=True),
)
# Tests that install packages: seconds each, and none notices what the others do not.
IGNORED_TESTS = ("tests/export/test_installed.py", "tests/resolve/apt/test_resolver.py")


def list_modules(target: Target, root: Path) -> Iterator[str]:
    """The modules of a target, sorted. Raises `FileNotFoundError` if it has none."""
    path = root / target.path
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    if not files:
        raise FileNotFoundError(target.path)
    yield from (file.relative_to(root).as_posix() for file in files)
