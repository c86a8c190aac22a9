"""What mends a text that is not TOML."""

from __future__ import annotations

# By the words of the reason, as source.py gives it; the first that fits.
_HINTS = (
    ("after a statement", "one key and one value per line; a version or a text stands in quotes"),
    ("expected '='", "write `key = value`; a key with other characters than letters, digits, `-`, `_` in quotes"),
    ("invalid value", 'put texts and versions in quotes: `python = "3.12"`'),
    ("invalid statement", "write `key = value`, or the header of a table such as `[pip]`"),
    ("initial character", "a key starts with a letter, a digit, `-`, `_` or a quote"),
    ("unterminated string", "close the string with the quote that opened it, on the same line"),
    ("unclosed array", "close the array with `]`, and put a comma between its items"),
    ("unclosed inline table", "close the table with `}`, and put a comma between its keys"),
    ("at the end of", "close the header, such as `[pip]`"),
    ("escape", "write a backslash as `\\\\`, or the text in single quotes"),
    ("hex value", "write a backslash as `\\\\`, or the text in single quotes"),
    ("illegal character", "take the character out, or write it as an escape such as `\\t`"),
    ("date", "write a moment as 2026-11-01T00:00:00Z"),
    ("too deeply", "no value of a spec is nested more than three deep"),
    ("too many digits", "no number of a spec has more than five digits"),
    ("parts", "no key of a spec has more than three parts"),
)
_TWICE = ("overwrite", "twice", "duplicate", "namespace")


def syntax_hint(reason: str) -> str:
    """What to do about a reason of `SyntaxProblem`."""
    if any(word in reason for word in _TWICE):
        return "give each key and each table once"
    return next((hint for words, hint in _HINTS if words in reason), "see https://toml.io for how TOML is written")
