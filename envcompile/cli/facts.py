"""Which catalogue decides: the one that an option or the settings name, else that of this release."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from envcompile.cli.settings import catalogue_file
from envcompile.errors import Unusable
from envcompile.files import read_bytes, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

    from envcompile.plan.base.catalogue import Catalogue

SCHEMAS = {"spec": "spec.v1.json", "lock": "lock.v1.json", "catalogue": "catalogue.v1.json"}
# The shipped one has 50 KB.
_LIMIT = 4 << 20


def catalogue(option: str | None, environment: Mapping[str, str]) -> Catalogue:
    """The catalogue, with the date and the digest that say which it was.

    The shipped one is read as it is; another is checked first, all of it. Raises `Unusable` where it cannot be read,
    `Problems` with every mistake in it.
    """
    path = Path(option) if option is not None else catalogue_file(environment)
    if path is None:
        from envcompile.plan.base.catalogue import shipped  # noqa: PLC0415 - where it is needed

        return shipped()
    from envcompile.plan.base.validate import validated  # noqa: PLC0415

    hint = "name another with `--catalogue`" if option is not None else "mend or remove `catalogue` in the settings"
    data = read_bytes(path, _LIMIT, hint)
    if len(data) > _LIMIT:
        raise Unusable(f"`{shown(path)}` is larger than {_LIMIT >> 20} MiB, which no catalogue is", hint)
    try:
        text = data.decode()
    except UnicodeDecodeError as problem:
        raise Unusable(f"`{shown(path)}` is not UTF-8 text: byte {problem.start}", hint) from None
    return validated(shown(path), text, json.loads(schema_file("catalogue").read_text("utf-8")))


def schema_file(of: str) -> Traversable:
    """The schema of a row of `SCHEMAS`: in the package when it is installed, at the top of a checkout otherwise."""
    package = resources.files("envcompile")
    installed = package / "schemas" / SCHEMAS[of]
    return installed if installed.is_file() else package / ".." / "schemas" / SCHEMAS[of]
