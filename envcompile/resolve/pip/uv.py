"""Which indexes uv asks, and what it is told of them."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import tomli

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.model import PipPackage
from envcompile.net.process import select_environment
from envcompile.project.toml_writer import format_toml_pair, format_toml_tables
from envcompile.resolve.model import CERTIFICATE_HINT, UnsolvableError, allows_upgrades, solve_keeping_pins
from envcompile.resolve.pip.index_router import serve_index_router
from envcompile.resolve.pip.wheels import find_best_wheel, parse_annotations, write_sdist_stubs, write_stubs
from envcompile.spec.pip import DEFAULT_INDEX, find_index_name
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from envcompile.project.toml_writer import TomlTable
    from envcompile.resolve.model import Effects, PipRequest
    from envcompile.resolve.pip.index_router import IndexRouter

# uv's own default stands in its help and nowhere else.
_DEFAULT_URL_LINE = re.compile(r"default package index \(by default: <(https://[^>]+)>\)")


class UvSettings(NamedTuple):
    """The options and the environment that uv is run with; the signpost where there are several indexes."""

    options: tuple[str, ...]
    environment: Mapping[str, str]
    router: IndexRouter | None = None

    def find_index_name(self, package: str) -> str:
        """The name of the index that a package of the answer came from. Raises `KeyError` for one nobody asked for."""
        return self.router.served[package] if self.router else DEFAULT_INDEX


def read_uv_default_url(uv: str, effects: Effects, folder: str) -> str:
    """The index that uv asks when nobody names one. Raises `InvalidInputError` when it does not say which that is."""
    finished = effects.run((uv, "pip", "compile", "--help"), folder, effects.environment)
    if found := _DEFAULT_URL_LINE.search(finished.stdout):
        return found[1]
    raise InvalidInputError("`uv` does not say which index is its default", "give it as `index` under `[pip]`")


def find_user_index(environment: Mapping[str, str]) -> str:
    """The index that the user has set as uv's default, without the name that it may have; "" where there is none."""
    return re.sub(r"^[\w.-]+=", "", environment.get("UV_DEFAULT_INDEX", ""))


@contextmanager
def prepare_uv(
    request: PipRequest, environment: Mapping[str, str], folder: str, default_of_uv: Callable[[str], str]
) -> Iterator[UvSettings]:
    """What to run uv with in `folder`, for as long as the block lasts."""
    if not request.indexes:
        # With a name, so that UV_INDEX_DEFAULT_USERNAME and _PASSWORD are for it.
        own = {"UV_DEFAULT_INDEX": f"{DEFAULT_INDEX}={request.index}"} if request.index else {}
        yield UvSettings(("--no-config",), {**environment, **own})
        return
    default = request.index or find_user_index(environment) or default_of_uv(folder)
    with serve_index_router(request.indexes, re.sub(r"(?<=://)[^/@]*@", "", default)) as post:
        # An explicit index is asked for nothing; but whatever credentials uv has for it, it then has where it is sent.
        known = {DEFAULT_INDEX: default} | {each.name: each.url for each in request.indexes}
        rows: Iterator[TomlTable] = ({"name": name, "url": url, "explicit": True} for name, url in known.items())
        Path(folder, "indexes.toml").write_text("".join(format_toml_tables("index", rows)), "utf-8")
        # What is cached is filed under the signpost's address, which nobody will have again: not in the user's cache.
        own = {"UV_DEFAULT_INDEX": post.url, "UV_CACHE_DIR": str(Path(folder, "cache"))}
        yield UvSettings(("--config-file", "indexes.toml"), {**post.exclude_from_proxies(environment), **own}, post)


# uv as pip resolver: one solve for the files, one look into its cache for who needs whom.


_UV_VARIABLES = (
    "SSL_CLIENT_CERT UV_CACHE_DIR UV_NO_CACHE UV_SYSTEM_CERTS UV_NATIVE_TLS UV_HTTP_TIMEOUT UV_HTTP_RETRIES "
    "UV_INSECURE_HOST UV_KEYRING_PROVIDER UV_CREDENTIALS_DIR UV_DEFAULT_INDEX UV_CONCURRENT_DOWNLOADS UV_OFFLINE"
).split()
_INDEX_LOGIN_VARIABLE = re.compile(r"UV_INDEX_.*(?:_USERNAME|_PASSWORD)")
# The values of `--python-platform` (uv 0.13.9). A base with a glibc between two of them gets wheels for the older one.
_MANYLINUX_POLICIES: tuple[int, ...] = (17, 28, *range(31, 41))
_NO_SOLUTION_LINE = "No solution found"
_NETWORK_DISABLED = "network was disabled"
# Not 403, which is what some indexes say of a package that they do not have.
_CREDENTIALS_REFUSED = "authentication credentials (401"
_MISSING_PROJECT = re.compile(r"(\S+)\s+was\s+not\s+found\s+in\s+the\s+package\s+registry")
# An option of uv's, which nobody who writes a spec has given.
_NO_WHEEL_LINE = re.compile(r"hint:\s+Wheels\s+are\s+required\s+for\s+`([^`]+)`\s+because[^\n]*")
_SDIST_HINT = r'hint: `allow-sdist = ["\1"]` in `[pip]` has it built from its sdist where the image is built'
_NETWORK_ERROR = re.compile(r"dns error|error trying to connect|Failed to fetch|network|timed out", re.IGNORECASE)


class UvResolver:
    """The uv binary of its wheel, else the one on the path."""

    def resolve(self, request: PipRequest, effects: Effects) -> tuple[PipPackage, ...]:
        """The packages for one platform; see `PipResolver`."""
        logins = filter(_INDEX_LOGIN_VARIABLE.fullmatch, effects.environment)
        passed = select_environment(effects.environment, *_UV_VARIABLES, *logins)
        default = partial(read_uv_default_url, find_uv(effects.environment), effects)
        with (
            TemporaryDirectory(prefix="envcompile-") as folder,
            prepare_uv(request, passed, folder, default) as indexes,
        ):
            here = Path(folder)
            (here / "requirements.in").write_text("".join(f"{line}\n" for line in request.requirements), "utf-8")
            (here / "exclude.txt").write_text("".join(f"{name}\n" for name in request.exclude), "utf-8")
            (here / "stubs").mkdir()
            write_stubs(here / "stubs", dict(request.provided))
            write_sdist_stubs(here / "stubs", request.sdists)
            if kept := request.kept_pins():
                (here / "pylock.toml").write_text(
                    _format_preferences((each.name, each.version) for each in kept), "utf-8"
                )
            held = {} if allows_upgrades(request.upgrade, request.exact) else {each.name: each.version for each in kept}
            solve_keeping_pins(lambda pins: self._solve_with_pins(request, effects, here, indexes, pins), held)
            packages = tomli.loads((here / "pylock.toml").read_text("utf-8")).get("packages", [])
            needs = self._resolve_graph(request, effects, here, indexes, packages)
        return _parse_packages(packages, needs, request, indexes)

    def _solve_with_pins(
        self, request: PipRequest, effects: Effects, here: Path, indexes: UvSettings, held: Mapping[str, str]
    ) -> None:
        pins = "".join(f"{name}=={version}\n" for name, version in held.items())
        (here / "constraints.txt").write_text(request.list_constraints() + pins, "utf-8")
        self._run_uv(request, effects, str(here), indexes, ("--format", "pylock.toml", "-o", "pylock.toml"))

    def _resolve_graph(
        self,
        request: PipRequest,
        effects: Effects,
        here: Path,
        indexes: UvSettings,
        packages: Iterable[Mapping[str, Any]],
    ) -> dict[str, set[str]]:
        """Who needs whom, read off the annotations of uv's other format: the same answer, from the cache alone."""
        pins = "".join(f"{each['name']}=={each['version']}\n" for each in packages)
        (here / "graph.txt").write_text(pins, "utf-8")
        form = ("--format", "requirements.txt", "--annotation-style", "line", "-o", "graph.txt")
        try:
            self._run_uv(request, replace(effects, offline=True), str(here), indexes, form)
        except (UnsolvableError, UnavailableError):
            if effects.offline:
                raise
            # No cache, or one that another process has just cleaned: the same question with the network.
            (here / "graph.txt").write_text(pins, "utf-8")
            self._run_uv(request, effects, str(here), indexes, form)
        return parse_annotations((here / "graph.txt").read_text("utf-8"))

    def _run_uv(
        self, request: PipRequest, effects: Effects, folder: str, indexes: UvSettings, form: tuple[str, ...]
    ) -> None:
        platform = f"{request.platform.machine}-manylinux_2_{_choose_manylinux_policy(request.glibc)}"
        newer = ("--exclude-newer", request.exclude_newer) if request.exclude_newer else ()
        argv = (
            *(find_uv(effects.environment), "pip", "compile", "requirements.in", "--excludes", "exclude.txt"),
            *(
                "--quiet",
                "--no-header",
                "--no-progress",
                "--color",
                "never",
                "--only-binary",
                ":all:",
                *indexes.options,
            ),
            *("--python", sys.executable, "--no-python-downloads", "--python-version", request.python),
            *("--python-platform", platform, *newer, *form),
            *(
                "--constraints",
                "constraints.txt",
                *(("--find-links", "stubs") if request.provided or request.sdists else ()),
            ),
            *(("--offline",) if effects.offline else ()),
        )
        finished = effects.run(argv, folder, indexes.environment)
        if finished.exit_code:
            said = indexes.router.hide_url(finished.stderr) if indexes.router else finished.stderr
            raise _create_failure(said, request)


def _choose_manylinux_policy(glibc: str) -> int:
    """The newest minor version of glibc 2 that uv knows a platform for and that is not newer than the base's."""
    _, minor = version_numbers(glibc)
    return max((known for known in _MANYLINUX_POLICIES if known <= minor), default=min(_MANYLINUX_POLICIES))


def find_default_index(effects: Effects) -> str:
    """The URL of the index that uv asks where the spec names none: the user's, or its own.

    Raises `UnavailableError` without uv, and `InvalidInputError` when it does not say which index is its own.
    """
    if users := find_user_index(effects.environment):
        return users
    with TemporaryDirectory(prefix="envcompile-") as folder:
        return read_uv_default_url(find_uv(effects.environment), effects, folder)


def find_uv(environment: Mapping[str, str]) -> str:
    """The path of the uv binary. Raises `UnavailableError` when there is none."""
    from shutil import which  # noqa: PLC0415 - only where the wheel is not installed

    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    if beside.exists():
        return str(beside)
    found = None
    with suppress(ImportError, FileNotFoundError):  # no wheel of it here, or one without its binary
        from uv import find_uv_bin  # noqa: PLC0415 - an optional dependency

        found = find_uv_bin()
    found = found or which("uv", path=environment.get("PATH"))
    if not found:
        raise UnavailableError(
            "`uv`, which resolves pip packages, is not there", "run `pip install 'envcompile[lock]'`"
        )
    return found


def _create_failure(errors: str, request: PipRequest) -> UnsolvableError | UnavailableError:
    text = re.sub(r"(?<=://)[^/\s@]+(?=@)", "***", errors).strip()
    reason = re.sub(r"^error: ", "", text)
    if _NETWORK_DISABLED in text:
        said = "a package is not in uv's cache, and `--offline` or `UV_OFFLINE` lets nobody be asked"
        return UnavailableError(said, "lock again without it")
    if _CREDENTIALS_REFUSED in text:
        where = "netrc, uv's own store (`uv auth login`), or UV_INDEX_NAME_USERNAME and _PASSWORD"
        names = _MISSING_PROJECT.findall(reason) or ["a package"]
        index = find_index_name(names[0], request.indexes)
        return UnavailableError(f"the index `{index}` wants credentials for `{names[0]}`", f"give them in {where}")
    if _NO_SOLUTION_LINE in text:
        extra = {name: find_index_name(name, request.indexes) for name in _MISSING_PROJECT.findall(reason)}
        notes = [
            f"{name} is asked of the index `{index}` alone." for name, index in extra.items() if index != DEFAULT_INDEX
        ]
        return UnsolvableError(request.platform.name, "\n".join([_NO_WHEEL_LINE.sub(_SDIST_HINT, reason), *notes]))
    if _NETWORK_ERROR.search(text):
        hint = CERTIFICATE_HINT if "certificate" in text else "check the network"
        return UnavailableError(f"the package index did not answer: {_shorten_output(reason)}", hint)
    # Neither an answer nor the network: a full disk, an unreadable cache, an option this uv does not know.
    return UnavailableError(f"`uv` ended without an answer: {_shorten_output(reason)}", "run it again, or another uv")


def _shorten_output(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines()[:3])[:400]


def _format_preferences(pins: Iterable[tuple[str, str]]) -> str:
    """A pylock.toml of names and versions: what uv takes as preferences when it is asked to write that file."""
    rows = ({"name": name, "version": version} for name, version in pins)
    head = (format_toml_pair("lock-version", "1.0"), format_toml_pair("created-by", "envcompile"))
    return "".join((*head, *format_toml_tables("packages", rows)))


def _parse_packages(
    rows: Iterable[Mapping[str, Any]], needs: Mapping[str, set[str]], request: PipRequest, indexes: UvSettings
) -> tuple[PipPackage, ...]:
    kept = {package.name: package for package in request.kept_pins()}
    # What conda has brought is in the answer as a stub, and not in the lock.
    own = [row for row in rows if row["name"] not in request.provided]
    packages = [
        replace(_parse_package(row, needs, request, kept.get(row["name"])), index=indexes.find_index_name(row["name"]))
        for row in own
    ]
    return tuple(sorted(packages, key=lambda package: package.name))


def _parse_package(
    row: Mapping[str, Any], needs: Mapping[str, set[str]], request: PipRequest, earlier: PipPackage | None
) -> PipPackage:
    name, version = str(row["name"]), str(row["version"])
    if sdist := request.sdists.get(name, {}).get(version):
        depends = tuple(sorted(needs.get(name, ())))
        return PipPackage(name, version, sdist.file, sdist.sha256, sdist.size, depends=depends, kind="sdist")
    wheels = {_file_name_from_url(wheel): wheel for wheel in row.get("wheels", ())}
    # A pin that stays keeps its file too, also when a better one was uploaded since.
    file = None
    if earlier and earlier.version == version and earlier.sha256 == _read_sha256(wheels.get(earlier.file)):
        file = earlier.file
    file = file or find_best_wheel(wheels, request.platform.machine, request.glibc, request.python)
    if file is None:
        raise UnsolvableError(request.platform.name, f"{name} {version} has no wheel for this platform")
    sha256 = _read_sha256(wheels[file])
    if not sha256:
        raise UnsolvableError(request.platform.name, f"the index tells no sha256 of {file}")
    return PipPackage(name, version, file, sha256, wheels[file].get("size"), depends=tuple(sorted(needs.get(name, ()))))


def _file_name_from_url(wheel: Mapping[str, Any]) -> str:
    return str(wheel.get("name") or unquote(urlsplit(wheel["url"]).path.rsplit("/", maxsplit=1)[-1]))


def _read_sha256(wheel: Mapping[str, Any] | None) -> str:
    return str(wheel.get("hashes", {}).get("sha256", "")) if wheel else ""
