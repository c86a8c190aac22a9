"""`python -m catalogue`: renew the catalogue, and list the changes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from catalogue.changes import changes, removed
from catalogue.frameworks import Index
from catalogue.images import tags
from catalogue.renew import Renewed, from_index, from_registry, to_do
from catalogue.text import dumps
from envcompile.base_image.catalogue_check import parse_checked_catalogue
from envcompile.cli.output import Reporter
from envcompile.diagnostics.errors import EXIT_OK, CheckFailedError, EnvcompileError, InvalidInputError
from envcompile.net.process import run_process
from envcompile.project.files import read_bytes, write_text
from envcompile.project.settings import read_mirrors
from envcompile.registry.client import RegistryClient
from envcompile.resolve.model import Effects
from envcompile.resolve.pip.simple_index import SimpleIndex
from envcompile.resolve.pip.uv import find_uv, read_uv_default_url

_ROOT = Path(__file__).parents[1]
_SHIPPED = _ROOT / "envcompile" / "base_image" / "data" / "catalogue.json"
_SCHEMA = _ROOT / "schemas" / "catalogue.v1.json"
_LIMIT = 4 << 20
# If a registry lacks more than one in ten of the known tags, it is probably a partial mirror or the wrong registry.
_FEW = 10
_DESCRIPTION = """\
Renews what is known of nvidia/cuda images and of frameworks, and prints what changed: `+` new, `-` gone, `~` another.
What only people know stays as it is; what they have to add is said on standard error. Registries are asked through the
mirrors and the login of this user, the package index is uv's. The same answers give the same bytes."""
_EPILOG = """\
exit codes: 0 done, or nothing to do; 1 with --check: it would change; 2 usage;
3 a registry or the index does not answer"""


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m catalogue",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, default=_SHIPPED, help="default: the package's")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if it would change")
    parser.add_argument("--only", choices=("images", "frameworks"), help="ask the registry alone, or the index alone")
    parser.add_argument("--index", metavar="URL", help="the package index (default: uv's)")
    looked = "images to look into at most, newest first (default: 30): hubs count these and not the list of tags"
    parser.add_argument("--most", metavar="N", type=int, default=30, help=looked)
    parser.add_argument("--again", action="store_true", help="read the metadata of known releases, too")
    parser.add_argument("--gone", action="store_true", help="accept that more than one tag in ten is gone")
    today = datetime.now(timezone.utc).date().isoformat()
    parser.add_argument("--date", metavar="YYYY-MM-DD", default=today, help="the date of what changes (default: today)")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Renew the catalogue, and return the exit code."""
    arguments = _arguments(argv)
    plain = argparse.Namespace(quiet=False, verbose=False, format="text", color="auto")
    try:
        return _renew(arguments)
    except EnvcompileError as error:
        Reporter(sys.stderr, os.environ, plain).show_error(error)
        return error.exit_code


def _renew(arguments: argparse.Namespace) -> int:
    old = _read(arguments.file)
    new = _renewed(old, arguments)
    lines = list(changes(old, new.data))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stderr.writelines(f"by hand: {note}\n" for note in (*new.notes, *to_do(new.data)))
    if new.data == old:
        sys.stderr.write(f"`{arguments.file}` is current\n")
        return EXIT_OK
    lost = removed(old, new.data)
    if lost * _FEW > len(tags(old)) and not arguments.gone:
        raise CheckFailedError(f"{lost} of {len(tags(old))} known tags are gone", "if that is so, add `--gone`")
    new.data["date"] = arguments.date
    text = dumps(new.data)
    parse_checked_catalogue(str(arguments.file), text, json.loads(_SCHEMA.read_text("utf-8")))
    if arguments.check:
        raise CheckFailedError(f"`{arguments.file}` would change", "run `python -m catalogue`")
    write_text(arguments.file, text)
    sys.stderr.write(f"wrote `{arguments.file}`\n")
    return EXIT_OK


def _read(path: Path) -> dict[str, Any]:
    try:
        text = read_bytes(path, _LIMIT).decode()
    except UnicodeDecodeError:
        raise InvalidInputError(f"`{path}` is not UTF-8 text") from None
    parse_checked_catalogue(str(path), text, json.loads(_SCHEMA.read_text("utf-8")))
    data: dict[str, Any] = json.loads(text)
    return data


def _renewed(data: dict[str, Any], arguments: argparse.Namespace) -> Renewed:
    notes: tuple[str, ...] = ()
    if arguments.only != "frameworks":
        home = Path(os.environ.get("HOME") or Path.home())
        registry = RegistryClient(Path(os.environ.get("DOCKER_CONFIG") or home / ".docker"), read_mirrors(os.environ))
        data, notes = from_registry(data, registry, arguments.most, arguments.date)
    if arguments.only != "images":
        index = Index(SimpleIndex(arguments.index or _index(), os.environ))
        data, more = from_index(data, index, again=arguments.again)
        notes += more
    return Renewed(data, notes)


def _index() -> str:
    """Return the URL of the package index that uv uses for this user."""
    if named := os.environ.get("UV_DEFAULT_INDEX"):
        return named.rpartition("=")[2] if "=" in named.partition("://")[0] else named
    with TemporaryDirectory(prefix="envcompile-") as folder:
        return read_uv_default_url(find_uv(os.environ), Effects(run_process, os.environ), folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
