"""Download the locked conda packages, compare each with its sha256, and install them into /env with py-rattler.

install_conda.py LIST   each line of LIST is URL#SHA256 LAYER for a package, or - LAYER for a layer without packages
"""

import asyncio
import hashlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import rattler
from rattler.networking import AuthenticationMiddleware, Client, MirrorMiddleware, RetryMiddleware
from rattler.package_streaming import PackageArchive, download_to_path

CACHE, BUNDLE, MIRRORS = Path("/var/cache/envcompile-conda"), Path("/run/bundle/conda"), Path("/run/mirrors")
PREFIX = Path("/env")
MAX_CONCURRENT_DOWNLOADS = 16
SECRETS_HINT = (
    "behind a proxy, build with --secret id=ca,src=FILE; for a channel that requires credentials, with --secret "
    "id=netrc,src=FILE or --secret id=conda-credentials,src=FILE"
)


class Archive(NamedTuple):
    """The archive of a package: its URL and its sha256, which names it in the cache and in the bundle."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The name of the archive in its channel."""
        return self.url.rpartition("/")[2]

    @property
    def stored_name(self) -> str:
        """The name of the archive in the cache and in the bundle."""
        return self.sha256 + (".conda" if self.name.endswith(".conda") else ".tar.bz2")

    @property
    def part(self) -> Path:
        """The path of the archive while it is downloaded."""
        return CACHE / f"{self.stored_name}.{os.getpid()}"


def read_list(text: str) -> list[Archive]:
    """The archives in the list of packages."""
    sources = (line.split(" ")[0].rpartition("#") for line in text.splitlines() if not line.startswith("- "))
    return [Archive(url, sha256) for url, _, sha256 in sources]


def compute_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_stored(archive: Archive) -> Path | None:
    """The archive in the bundle or in the cache, if it has its sha256."""
    paths = (folder / archive.stored_name for folder in (BUNDLE, CACHE))
    return next((path for path in paths if path.is_file() and compute_sha256(path) == archive.sha256), None)


def read_mirrors() -> dict[str, list[str]]:
    """The URL of each mirror, by that of the host. A line of the secret `mirrors` has a host and its mirror's URL."""
    lines = MIRRORS.read_text("utf-8").splitlines() if MIRRORS.is_file() else []
    return {f"https://{host}/": [f"{url.rstrip('/')}/"] for host, url in map(str.split, filter(None, lines))}


async def download(archives: list[Archive]) -> None:
    """Download archives, with the credentials of the build."""
    client = Client([MirrorMiddleware(read_mirrors()), RetryMiddleware(5), AuthenticationMiddleware()])
    slots = asyncio.Semaphore(MAX_CONCURRENT_DOWNLOADS)

    async def download_one(archive: Archive) -> None:
        async with slots:
            try:
                await download_to_path(client, archive.url, archive.part)
            except Exception as error:  # noqa: BLE001 - py-rattler documents no class of its errors
                message = f"envcompile: {archive.url} cannot be downloaded: {error}"
                hint = (
                    "behind a proxy, build with --secret id=ca,src=FILE; for a channel that requires credentials, with"
                )
                secrets = "--secret id=netrc,src=FILE or --secret id=conda-credentials,src=FILE"
                raise SystemExit(f"{message}\nenvcompile: {hint} {secrets}") from None

    await asyncio.gather(*map(download_one, archives))


def store_download(archive: Archive) -> None:
    """Move a download into the cache, if it has its sha256."""
    if compute_sha256(archive.part) != archive.sha256:
        archive.part.unlink()
        raise SystemExit(f"envcompile: {archive.url} is not the locked file: its sha256 differs")
    archive.part.replace(CACHE / archive.stored_name)


def find_archives(archives: list[Archive]) -> list[Path]:
    """The paths of the archives, each compared with its sha256. Those that are not stored yet are downloaded."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor() as pool:
        found = dict(zip(archives, pool.map(find_stored, archives), strict=True))
        if missing := [archive for archive, path in found.items() if path is None]:
            if BUNDLE.is_dir():
                names = ", ".join(archive.name for archive in missing)
                raise SystemExit(f"envcompile: the bundle has no files with the locked sha256 for {names}")
            asyncio.run(download(missing))
            list(pool.map(store_download, missing))
    return [found[archive] or CACHE / archive.stored_name for archive in archives]


async def read_record(archive: Archive, path: Path, folder: Path) -> rattler.RepoDataRecord:
    """The record of an archive that was compared with its sha256. py-rattler installs the file itself."""
    index = folder / "index.json"
    index.write_bytes(await (await PackageArchive.from_path(path)).read_file("info/index.json") or b"")
    package = rattler.PackageRecord.from_index_json(index, sha256=archive.sha256)
    return rattler.RepoDataRecord(package, archive.name, path.as_uri(), archive.url.rsplit("/", 2)[0])


async def install(archives: list[Archive], paths: list[Path]) -> None:
    """Install the packages. They are unpacked in a folder of this stage, never in one that builds share."""
    unpacked = Path(tempfile.mkdtemp())
    records = [await read_record(archive, path, unpacked) for archive, path in zip(archives, paths, strict=True)]
    # Link scripts are part of some packages. Their archives have the locked sha256.
    await rattler.install(records, PREFIX, cache_dir=unpacked, execute_link_scripts=True, show_progress=False)
    shutil.rmtree(unpacked)


def write_origins(archives: list[Archive]) -> None:
    """Write the URL of each package into its record in conda-meta, and remove the paths of this stage."""
    urls = {archive.name: archive.url for archive in archives}
    for path in (PREFIX / "conda-meta").glob("*.json"):
        record = json.loads(path.read_text("utf-8"))
        record["url"] = urls[record["fn"]]
        record["channel"] = record["url"].rsplit("/", 2)[0]
        for key in ("extracted_package_dir", "package_tarball_full_path", "link"):
            record.pop(key, None)
        path.write_text(f"{json.dumps(record, indent=2, sort_keys=True)}\n", "utf-8")
    (PREFIX / "CACHEDIR.TAG").unlink(missing_ok=True)


def main() -> None:
    """Install the packages of a list."""
    archives = read_list(Path(sys.argv[1]).read_text("utf-8"))
    asyncio.run(install(archives, find_archives(archives)))
    write_origins(archives)


if __name__ == "__main__":
    code = 0
    try:
        main()
    except SystemExit as error:
        code = 1
        print(error, file=sys.stderr)
    except Exception:  # noqa: BLE001 - reported here, because nothing runs after os._exit
        code = 1
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # py-rattler 0.28 can crash while the interpreter ends.
    os._exit(code)
