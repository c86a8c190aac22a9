"""Check that the conda packages contain the Python distributions on which pip packages rely, in the locked versions.

check_provided.py LIST   each line of LIST has a distribution, its version, and the conda package that should contain it
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path


def parse_release(text: str) -> list[int]:
    """The numbers of a version without zeros at the end."""
    known = re.match(r"v?(?:[0-9]+!)?([0-9]+(?:\.[0-9]+)*)", text)
    numbers = [int(number) for number in known[1].split(".")] if known else []
    zeros = sum(1 for _ in takewhile(lambda number: number == 0, reversed(numbers)))
    return numbers[: len(numbers) - zeros]


def find_mistakes(lines: list[str]) -> list[str]:
    """A sentence for each distribution that is missing, or that has another version than its conda package."""
    mistakes = []
    for line in lines:
        distribution, locked, package = line.split(" ")
        try:
            found = version(distribution)
        except PackageNotFoundError:
            mistakes.append(f"conda's {package} {locked} does not contain the distribution {distribution}")
            continue
        # conda may have a shorter version: py-opencv 4.9.0 contains opencv-python 4.9.0.80.
        if parse_release(found)[: len(parse_release(locked))] != parse_release(locked):
            mistakes.append(f"conda's {package} {locked} contains {distribution} {found}")
    return mistakes


def main() -> None:
    """Print all mistakes, and fail if there are any."""
    mistakes = find_mistakes(Path(sys.argv[1]).read_text("utf-8").splitlines())
    for mistake in mistakes:
        print(f"envcompile: {mistake}", file=sys.stderr)
    if mistakes:
        hint = "pip packages need it: correct `provides` in `[conda]` of the spec, and run `envcompile lock`"
        sys.exit(f"envcompile: {hint}")


if __name__ == "__main__":
    main()
