"""A stand-in for micromamba, for the engine tests only: `micromamba create` of an `@EXPLICIT` list, by py-rattler.

The real program cannot be had where these tests run. This one takes the part of its command line that our Dockerfile
uses, installs the same archives at the same paths, and leaves behind what the real one leaves (a history with the time
in it, a package cache with its list of URLs, a list of environments in the home folder, byte code with times unless
told not to), so that what the Dockerfile removes is really there. It is stricter in one thing: every archive has a hash
and matches it before anything is linked, those at `file://` too, which rattler would not check.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

import rattler
from rattler.package_streaming import extract

VERSION = "2.0.5"
COPIES = "allow-hard-links = false\nallow-ref-links = false\n"
ALGORITHMS = {32: "md5", 64: "sha256"}
LINE = re.compile(
    r"(?P<url>(?:https?|file)://[^\s#]+/(?P<file>[^/\s#]+\.(?:tar\.bz2|conda)))#(?:sha256:)?(?P<hash>[0-9a-f]+)"
)


class Refused(Exception):  # noqa: N818 - the message is the point
    """Why nothing is installed; the message is for people."""


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="micromamba", description=__doc__, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=VERSION)
    create = parser.add_subparsers(dest="command", required=True).add_parser("create", description=__doc__)
    for name in ("--yes", "--quiet", "--no-rc", "--no-env", "--no-pyc", "--always-copy"):
        create.add_argument(name, action="store_true", help="as in micromamba")
    create.add_argument("--root-prefix", type=Path, default=Path.home() / "micromamba", help="as in micromamba")
    create.add_argument("--prefix", type=Path, required=True, help="as in micromamba")
    create.add_argument("--file", type=Path, required=True, help="an @EXPLICIT list, each line with a hash")
    create.add_argument("--ssl-verify", help="a bundle of certificates")
    options = parser.parse_args(arguments)
    if options.ssl_verify:
        os.environ["SSL_CERT_FILE"] = options.ssl_verify
    try:
        install(options)
    except (Refused, OSError) as problem:
        print(f"critical libmamba (stand-in) {problem}", file=sys.stderr)
        return 1
    return 0


def install(options: argparse.Namespace) -> None:
    """Check every archive, then link them all."""
    cache = Path(options.root_prefix, "pkgs")
    cache.mkdir(parents=True, exist_ok=True)
    archives = [fetch(cache, *entry) for entry in entries(options.file.read_text("utf-8"))]
    records = [record(archive, url) for archive, url in archives]
    prefix = str(options.prefix)
    asyncio.run(
        rattler.install(
            records,
            prefix,
            cache_dir=cache / "rattler",
            execute_link_scripts=True,
            show_progress=False,
            config=rattler.Config.from_toml(COPIES) if options.always_copy else None,
        )
    )
    meta = options.prefix / "conda-meta"
    urls = {record.file_name: url for record, (_, url) in zip(records, archives, strict=True)}
    for path in meta.glob("*.json"):
        found = json.loads(path.read_text("utf-8"))
        # Installed from the file that was checked; what is recorded is where it came from.
        found["url"] = urls[found["fn"]]
        found["channel"] = found["url"].rsplit("/", 2)[0]
        path.write_text(json.dumps(found, indent=4), "utf-8")
    with (meta / "history").open("a", encoding="utf-8") as history:
        history.write(f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==\n# cmd: {' '.join(sys.argv)}\n")
        history.writelines(f"+{url}\n" for _, url in archives)
    known = Path.home() / ".conda" / "environments.txt"
    known.parent.mkdir(exist_ok=True)
    known.write_text(f"{prefix}\n", "utf-8")
    if not options.no_pyc:
        compile_sources(options.prefix)


def entries(text: str) -> list[tuple[str, str, str]]:
    """URL, file name and hash of every line; a list that could install anything unchecked is refused whole."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if "@EXPLICIT" not in lines:
        raise Refused("the stand-in installs @EXPLICIT lists only: it has no solver")
    found = []
    for line in lines:
        if line == "@EXPLICIT":
            continue
        match = LINE.fullmatch(line)
        if not match or len(match["hash"]) not in ALGORITHMS:
            raise Refused(f"not a URL with #sha256 or #md5: {line}")
        found.append((match["url"], unquote(match["file"]), match["hash"]))
    return found


def fetch(cache: Path, url: str, name: str, expected: str) -> tuple[Path, str]:
    """The archive in the cache, with the bytes that the hash says, and its URL."""
    path = cache / name
    algorithm = ALGORITHMS[len(expected)]
    if not path.is_file() or digest(path, algorithm) != expected:
        with urllib.request.urlopen(url, timeout=60) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
        with (cache / "urls.txt").open("a", encoding="utf-8") as urls:
            urls.write(f"{url}\n")
    actual = digest(path, algorithm)
    if actual != expected:
        path.unlink()
        raise Refused(f"{name} tarball has incorrect {algorithm.upper()}: expected {expected}, actual {actual}")
    return path, url


def digest(path: Path, algorithm: str) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    return hashlib.new(algorithm, path.read_bytes(), usedforsecurity=False).hexdigest()


def record(archive: Path, url: str) -> rattler.RepoDataRecord:
    """What rattler installs: the checked file itself, so nothing is fetched a second time."""
    with tempfile.TemporaryDirectory() as folder:
        hashes = extract(archive, Path(folder))
        size, (sha256, md5) = archive.stat().st_size, (each.hex() for each in hashes)
        package = rattler.PackageRecord.from_index_json(Path(folder, "info", "index.json"), size, sha256, md5)
    channel = urlsplit(url)._replace(fragment="").geturl().rsplit("/", 2)[0]
    return rattler.RepoDataRecord(package, archive.name, archive.resolve().as_uri(), channel)


def compile_sources(prefix: Path) -> None:
    """Byte code with times in it, as micromamba makes it: in an empty environment, so no variable changes that."""
    python = prefix / "bin" / "python"
    if python.exists():
        folders = [str(each) for each in prefix.glob("lib/python3*/site-packages")]
        subprocess.run([str(python), "-m", "compileall", "-q", *folders], env={}, check=False)


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 2
    except BaseException:  # noqa: BLE001 - reported here, since nothing runs after os._exit
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    # py-rattler 0.28 can crash while the interpreter ends.
    os._exit(code)
