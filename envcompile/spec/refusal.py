"""Why a string is not taken."""

from __future__ import annotations

RECIPE = "build the environment without it, then put your own code on top: `FROM repository:tag`, `COPY . /app`"
# In bytes. A spec is some kilobytes, and no TOML of this size keeps the parser busy for a second.
LIMIT = 256 << 10
# More than people write in a requirement; what reads one may take the square of its length, and recurses.
LONGEST, DEEPEST = 2000, 20
# How the names of files end.
ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz")


class Refusal(Exception):  # noqa: N818 - it is an answer
    """Why a string is no requirement for a spec: the rule's slug, a sentence, a hint."""

    def __init__(self, rule: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.rule, self.message, self.hint = rule, message, hint
