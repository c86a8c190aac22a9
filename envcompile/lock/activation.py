"""The variables that activation scripts of conda packages set, and the scripts that must be run.

The lock records both for each package; `activation_effects` finds them. Programs that are started without the entry
point of the image have only the static variables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import ActivationVariable, CondaPackage

SCRIPTS_FOLDER, VARIABLES_FOLDER = "etc/conda/activate.d/", "etc/conda/env_vars.d/"
# Stands for all scripts of a package whose archive could not be read.
UNKNOWN_SCRIPTS = f"{SCRIPTS_FOLDER}*.sh"
_FILE_NAME = r"[A-Za-z0-9_+@~-][A-Za-z0-9_.+@~-]*"
SCRIPT_PATTERN = re.compile(rf"{SCRIPTS_FOLDER}{_FILE_NAME}\.sh")
VARIABLES_FILE_PATTERN = re.compile(rf"{VARIABLES_FOLDER}{_FILE_NAME}\.json")
# What the keys of a package in the lock may contain.
ACTIVATION_PATTERNS = {
    # Not the variables of a login, of the loader, of the shell and of the activation itself.
    "name": re.compile(
        r"(?!(?:PATH|HOME|USER|LOGNAME|SHELL|PWD|OLDPWD|SHLVL|TERM|HOSTNAME|LANG|LANGUAGE|IFS|ENV|PS[0-4]|PROMPT_COMMAND|"
        r"CONDA_PREFIX|CONDA_SHLVL|CONDA_DEFAULT_ENV|_|(?:LD|LC|BASH)_.*)$)[A-Za-z_][A-Za-z0-9_]*"
    ),
    # On one line, as a Dockerfile needs it.
    "value": re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,2000}"),
    "script": re.compile(rf"{SCRIPT_PATTERN.pattern}|{VARIABLES_FILE_PATTERN.pattern}"),
}
ACTIVATION_CONDITION_PATTERN = re.compile("unset")
ACTIVATE_PATTERN = re.compile(rf"{SCRIPT_PATTERN.pattern}|{re.escape(UNKNOWN_SCRIPTS)}")


def is_settable(name: str) -> bool:
    """Whether the image may set a variable with this name because a package wants it."""
    return ACTIVATION_PATTERNS["name"].fullmatch(name) is not None


def is_storable_value(value: str) -> bool:
    """Whether the lock and a Dockerfile can hold the value of a variable."""
    return ACTIVATION_PATTERNS["value"].fullmatch(value) is not None


def merge_variables(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Return the static variables of all packages, sorted by name.

    As in the shell, the scripts apply in the order of their names, after the files in `etc/conda/env_vars.d`. A later
    one wins, unless it sets a default only.
    """
    found: dict[str, str] = {}
    for variable in sorted((each for package in packages for each in package.env), key=_order_key):
        if variable.is_default:
            found.setdefault(variable.name, variable.value)
        else:
            found[variable.name] = variable.value
    return dict(sorted(found.items()))


def _order_key(variable: ActivationVariable) -> tuple[bool, str]:
    return variable.script.startswith(SCRIPTS_FOLDER), variable.script
