"""`python -m envcompile.plan.base cases.json`: decide cases again; one line for each, the count last.

A check for whoever changes the rules or the data. The one module of the plan that reads, prints and exits.
"""

from __future__ import annotations

import sys
from pathlib import Path

from envcompile.diagnostics.errors import EXIT_FAILED, EXIT_INVALID_INPUT, EXIT_OK, EnvcompileError
from envcompile.plan.base.catalogue import shipped
from envcompile.plan.base.replay import replay


def main(argv: list[str]) -> int:
    """The exit code: 0 when every case matches, 1 when one does not, 2 when there are no cases to read."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m envcompile.plan.base CASES.json\n")
        return EXIT_INVALID_INPUT
    try:
        replayed = replay(Path(argv[0]).read_text("utf-8"), shipped())
    except (OSError, UnicodeDecodeError, EnvcompileError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_INVALID_INPUT
    for each in replayed:
        unread = f" (not read: {', '.join(each.unread)})" if each.unread else ""
        differs = f": {'; '.join(each.wrong)}" if each.wrong else ""
        sys.stdout.write(f"{each.name} {'differs' if each.wrong else 'matches'} {each.title}{differs}{unread}\n")
    matching = sum(not each.wrong for each in replayed)
    sys.stdout.write(f"{matching} of {len(replayed)} match\n")
    return EXIT_OK if matching == len(replayed) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
