"""`python -m catalogue.conda_names MAPPING.json`: write the table of the distributions in conda packages.

The input is parselmouth's compressed mapping for conda-forge (BSD-3-Clause): for each conda package, the distributions
of which it found metadata in any archive of that name. So a row is a fact about some old archive: `py` once contained a
copy of `iniconfig`, which is a package of its own today. The table keeps of each row only what holds for every archive:

1. the distribution with the package's own name;
2. if the mapping has exactly one distribution, under another name, that one, unless another conda package has that name
   and contains it. Then only a variant of that package (`matplotlib-base`, `python-duckdb`) keeps it;
3. what `conda_names.toml` states instead, with its source.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import tomli

from envcompile.project.files import write_text
from envcompile.spec.pip import normalize_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CURATED_ROWS = Path(__file__).with_name("conda_names.toml")
_TABLE = Path(__file__).parents[1] / "envcompile" / "resolve" / "conda" / "conda_pypi.txt"
# The affixes in the names of conda packages that are a part or a variant of a package and contain its distribution.
_VARIANT_SUFFIXES = "base|core|cpu|gpu|minimal|python|py"
_VARIANT_PREFIXES = "python|py|lib"
_HEADER = """\
# Conda packages and the Python distributions in them, one package per line: NAME if the distribution has the same name,
# else NAME=DISTRIBUTION,... Rows with `=*` hold for the packages of every channel, the others for those of conda-forge.
# Written by `python -m catalogue.conda_names` from parselmouth's compressed mapping for conda-forge (BSD-3-Clause), as
# of 2026-11, and from catalogue/conda_names.toml.
"""


def read_curated_rows(text: str) -> dict[str, tuple[str, ...]]:
    """Return the distributions of each curated conda package. Raises `KeyError` for a row without a source."""
    rows = {}
    for row in tomli.loads(text)["row"]:
        if not row["source"]:
            raise KeyError("source")
        rows.update(dict.fromkeys(row["conda"], tuple(sorted(row["distributions"]))))
    return rows


def select_distributions(mapping: Mapping[str, Sequence[str] | None]) -> dict[str, tuple[str, ...]]:
    """Return the distributions that every archive of a conda package contains, by rules 1 and 2 of this module."""
    known = {name: sorted({normalize_name(each) for each in names or ()}) for name, names in mapping.items()}
    own_names = {normalize_name(name) for name, names in known.items() if normalize_name(name) in names}
    selected: dict[str, tuple[str, ...]] = {}
    for name, names in known.items():
        own = normalize_name(name)
        if own in names:
            selected[name] = (own,)
        elif len(names) == 1 and (names[0] not in own_names or _is_variant(own, names[0])):
            selected[name] = (names[0],)
    return selected


def _is_variant(name: str, distribution: str) -> bool:
    stem = re.escape(distribution)
    return bool(re.fullmatch(rf"{stem}-(?:{_VARIANT_SUFFIXES})|(?:{_VARIANT_PREFIXES})-?{stem}", name))


def format_table(mapping: Mapping[str, Sequence[str] | None], curated: Mapping[str, tuple[str, ...]]) -> str:
    """Return the text of the table."""
    rows = {**select_distributions(mapping), **curated}
    lines = []
    for name, distributions in sorted(rows.items()):
        if name in curated:
            lines.append(f"{name}=*{','.join(distributions)}\n")
        else:
            lines.append(f"{name}\n" if distributions == (name,) else f"{name}={','.join(distributions)}\n")
    return _HEADER + "".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table. Return the exit code."""
    parser = argparse.ArgumentParser("python -m catalogue.conda_names", description=(__doc__ or "").split("\n\n", 1)[1])
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("mapping", type=Path, metavar="MAPPING.json", help="parselmouth's compressed mapping")
    arguments = parser.parse_args(argv)
    mapping = json.loads(arguments.mapping.read_text("utf-8"))
    curated = read_curated_rows(_CURATED_ROWS.read_text("utf-8"))
    write_text(_TABLE, format_table(mapping, curated))
    sys.stdout.write(f"wrote `{_TABLE.name}`: {len(curated)} of the packages are curated\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
