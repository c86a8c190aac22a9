"""Resolve pip packages with uv: one run for the files, and another one for the dependency graph, if it is needed.

uv writes either the files and hashes (pylock.toml) or the packages that require each package (requirements.txt), so
the second run repeats the first one with all versions fixed, from the cache. It is not needed if the metadata of all
wheels is known, because the graph then follows from the metadata.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

import tomli

from envcompile.diagnostics.errors import InvalidInputError, UnavailableError
from envcompile.lock.model import PipPackage
from envcompile.net.process import select_environment
from envcompile.project.files import temporary_folder
from envcompile.project.toml_writer import format_toml_pair, format_toml_tables
from envcompile.resolve.model import CERTIFICATE_HINT, PipSolution, UnsolvableError, allows_upgrades, solve_keeping_pins
from envcompile.resolve.pip.index_router import serve_index_router
from envcompile.resolve.pip.wheels import find_best_wheel, parse_annotations, write_sdist_stubs, write_stubs
from envcompile.spec.pip import DEFAULT_INDEX, find_index_name
from envcompile.versions import version_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from envcompile.project.toml_writer import TomlTable
    from envcompile.resolve.model import Effects, PipRequest
    from envcompile.resolve.pip.index_router import IndexRouter

_UV_VARIABLES = (
    "SSL_CLIENT_CERT UV_CACHE_DIR UV_NO_CACHE UV_SYSTEM_CERTS UV_NATIVE_TLS UV_HTTP_TIMEOUT UV_HTTP_RETRIES "
    "UV_INSECURE_HOST UV_KEYRING_PROVIDER UV_CREDENTIALS_DIR UV_DEFAULT_INDEX UV_CONCURRENT_DOWNLOADS UV_OFFLINE"
).split()
_INDEX_LOGIN_VARIABLE = re.compile(r"UV_INDEX_.*(?:_USERNAME|_PASSWORD)")
# The minor versions of glibc 2 in the values of `--python-platform` (uv 0.13.9). A base image with a glibc between two
# of them gets wheels for the older one.
_MANYLINUX_POLICIES: tuple[int, ...] = (17, 28, *range(31, 41))
_NO_SOLUTION_LINE = "No solution found"
_NETWORK_DISABLED = "network was disabled"
# The status 403 is not included, because some indexes return it for a package that does not exist.
_CREDENTIALS_REFUSED = "authentication credentials (401"
_MISSING_PROJECT = re.compile(r"(?<!\S)(\S+)\s+was\s+not\s+found\s+in\s+the\s+package\s+registry")
# The hint of uv names an option of uv. It is replaced by a hint that names the key of the spec.
_NO_WHEEL_LINE = re.compile(r"hint:\s+Wheels\s+are\s+required\s+for\s+`([^`]+)`\s+because[^\n]*")
_SDIST_HINT = r'hint: `allow-sdist = ["\1"]` in `[pip]` builds the package from its sdist when the image is built'
_NETWORK_ERROR = re.compile(r"dns error|error trying to connect|Failed to fetch|network|timed out", re.IGNORECASE)
# Only the help of uv names its default index.
_DEFAULT_URL_LINE = re.compile(r"default package index \(by default: <(https://[^<>]+)>\)")


class UvSettings(NamedTuple):
    """The options and the environment of uv, and the router if there are several indexes."""

    options: tuple[str, ...]
    environment: Mapping[str, str]
    router: IndexRouter | None = None

    def find_index_name(self, package: str) -> str:
        """Return the name of the index that served a package. Raises `KeyError` if uv did not request the package."""
        return self.router.served[package] if self.router else DEFAULT_INDEX


def read_uv_default_url(uv: str, effects: Effects, folder: str) -> str:
    """Return the URL of uv's default index. Raises `InvalidInputError` if the help of uv does not contain it."""
    finished = effects.run((uv, "pip", "compile", "--help"), folder, effects.environment)
    if found := _DEFAULT_URL_LINE.search(finished.stdout):
        return found[1]
    raise InvalidInputError("cannot find out the default index of `uv`", "set `index` in `[pip]`")


def find_user_index(environment: Mapping[str, str]) -> str:
    """Return the URL of the default index in the user's environment, without its optional name; "" if not set."""
    return re.sub(r"^[\w.-]+=", "", environment.get("UV_DEFAULT_INDEX", ""))


@contextmanager
def prepare_uv(
    request: PipRequest, environment: Mapping[str, str], folder: str, read_default: Callable[[str], str]
) -> Iterator[UvSettings]:
    """Yield the settings for running uv in `folder`.

    If the request has several indexes, a router runs during the `with` block. `read_default` takes a folder to run uv
    in, and returns the URL of uv's default index.
    """
    if not request.indexes:
        # The index has a name, so that uv uses UV_INDEX_DEFAULT_USERNAME and UV_INDEX_DEFAULT_PASSWORD for it.
        variables = {"UV_DEFAULT_INDEX": f"{DEFAULT_INDEX}={request.index}"} if request.index else {}
        yield UvSettings(("--no-config",), {**environment, **variables})
        return
    default = request.index or find_user_index(environment) or read_default(folder)
    with serve_index_router(request.indexes, re.sub(r"(?<=://)[^/@]*@", "", default)) as router:
        # No package refers to these explicit indexes. They let uv find its credentials for the redirected requests.
        urls = {DEFAULT_INDEX: default} | {each.name: each.url for each in request.indexes}
        rows: Iterator[TomlTable] = ({"name": name, "url": url, "explicit": True} for name, url in urls.items())
        Path(folder, "indexes.toml").write_text("".join(format_toml_tables("index", rows)), "utf-8")
        # The URL of the router changes with every run, so its entries would only fill the user's cache.
        variables = {"UV_DEFAULT_INDEX": router.url, "UV_CACHE_DIR": str(Path(folder, "cache"))}
        yield UvSettings(
            ("--config-file", "indexes.toml"), {**router.exclude_from_proxies(environment), **variables}, router
        )


class UvResolver:
    """A resolver that runs the uv program that `find_uv` finds."""

    def resolve(self, request: PipRequest, effects: Effects, *, with_dependencies: bool = True) -> PipSolution:
        """Return the packages for one platform; see `PipResolver`."""
        logins = filter(_INDEX_LOGIN_VARIABLE.fullmatch, effects.environment)
        variables = select_environment(effects.environment, *_UV_VARIABLES, *logins)
        default = partial(read_uv_default_url, find_uv(effects.environment), effects)
        with (
            temporary_folder() as path,
            prepare_uv(request, variables, str(path), default) as indexes,
        ):
            (path / "requirements.in").write_text("".join(f"{each}\n" for each in request.requirements), "utf-8")
            (path / "exclude.txt").write_text("".join(f"{name}\n" for name in request.exclude), "utf-8")
            (path / "stubs").mkdir()
            write_stubs(path / "stubs", dict(request.provided))
            write_sdist_stubs(path / "stubs", request.sdists)
            if kept := request.kept_pins():
                (path / "pylock.toml").write_text(
                    _format_preferences((each.name, each.version) for each in kept), "utf-8"
                )
            pins = {} if allows_upgrades(request.upgrade, request.exact) else {each.name: each.version for each in kept}
            solve_keeping_pins(
                lambda kept_pins: self._solve_with_pins(request, effects, path, indexes, kept_pins), pins
            )
            packages = tomli.loads((path / "pylock.toml").read_text("utf-8")).get("packages", [])
            needs = self._resolve_graph(request, effects, path, indexes, packages) if with_dependencies else {}
        urls = {
            _read_sha256(wheel): str(wheel["url"])
            for row in packages
            for wheel in row.get("wheels", ())
            if "url" in wheel
        }
        return PipSolution(_parse_packages(packages, needs, request, indexes), urls, with_dependencies)

    def _solve_with_pins(
        self, request: PipRequest, effects: Effects, path: Path, indexes: UvSettings, pins: Mapping[str, str]
    ) -> None:
        pin_lines = "".join(f"{name}=={version}\n" for name, version in pins.items())
        (path / "constraints.txt").write_text(request.list_constraints() + pin_lines, "utf-8")
        self._run_uv(request, effects, str(path), indexes, ("--format", "pylock.toml", "-o", "pylock.toml"))

    def _resolve_graph(
        self,
        request: PipRequest,
        effects: Effects,
        path: Path,
        indexes: UvSettings,
        packages: Iterable[Mapping[str, Any]],
    ) -> dict[str, set[str]]:
        """Return the dependencies of each package, by name, from the annotations in a requirements.txt of uv."""
        pins = "".join(f"{each['name']}=={each['version']}\n" for each in packages)
        (path / "graph.txt").write_text(pins, "utf-8")
        output_options = ("--format", "requirements.txt", "--annotation-style", "line", "-o", "graph.txt")
        try:
            self._run_uv(request, replace(effects, offline=True), str(path), indexes, output_options)
        except (UnsolvableError, UnavailableError):
            if effects.offline:
                raise
            # uv has no cache, or another process has just cleaned it, so this run needs network access.
            (path / "graph.txt").write_text(pins, "utf-8")
            self._run_uv(request, effects, str(path), indexes, output_options)
        return parse_annotations((path / "graph.txt").read_text("utf-8"))

    def _run_uv(
        self, request: PipRequest, effects: Effects, folder: str, indexes: UvSettings, output_options: tuple[str, ...]
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
            *("--python-platform", platform, *newer, *output_options),
            *(
                "--constraints",
                "constraints.txt",
                *(("--find-links", "stubs") if request.provided or request.sdists else ()),
            ),
            *(("--offline",) if effects.offline else ()),
        )
        finished = effects.run(argv, folder, indexes.environment)
        if finished.exit_code:
            errors = indexes.router.hide_url(finished.stderr) if indexes.router else finished.stderr
            raise _create_failure(errors, request)


def _choose_manylinux_policy(glibc: str) -> int:
    """Return the newest minor version of glibc 2 that uv supports and that is not newer than that of the base image.

    If the base image is older than all of them, return the oldest one that uv supports.
    """
    _, minor = version_numbers(glibc)
    return max((known for known in _MANYLINUX_POLICIES if known <= minor), default=min(_MANYLINUX_POLICIES))


def find_default_index(effects: Effects) -> str:
    """Return the URL of the index that uv uses if the spec names none: the user's default, or that of uv.

    Raises `UnavailableError` if uv is not installed, and `InvalidInputError` if its help does not name the index.
    """
    if users := find_user_index(effects.environment):
        return users
    with temporary_folder() as folder:
        return read_uv_default_url(find_uv(effects.environment), effects, str(folder))


def find_uv(environment: Mapping[str, str]) -> str:
    """Return the path of the uv program: the one beside Python, that of the installed wheel, or the one in PATH.

    Raises `UnavailableError` if uv is not installed.
    """
    from shutil import which  # noqa: PLC0415 - only if uv is not beside Python

    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    if beside.exists():
        return str(beside)
    found = None
    with suppress(ImportError, FileNotFoundError):  # the wheel is not installed, or has no program
        from uv import find_uv_bin  # noqa: PLC0415 - an optional dependency

        found = find_uv_bin()
    found = found or which("uv", path=environment.get("PATH"))
    if not found:
        raise UnavailableError(
            "`uv`, which resolves pip packages, is not installed", "run `pip install 'envcompile[lock]'`"
        )
    return found


def _format_sdist_hint(found: re.Match[str], request: PipRequest) -> str:
    """The hint to allow an sdist; empty for a package that may already be built from its sdist."""
    return "" if found[1] in request.sdists else found.expand(_SDIST_HINT)


def _create_failure(errors: str, request: PipRequest) -> UnsolvableError | UnavailableError:
    text = re.sub(r"(?<=://)[^/\s@]+(?=@)", "***", errors).strip()
    reason = re.sub(r"^error: ", "", text)
    if _NETWORK_DISABLED in text:
        message = "a package is not in the cache of uv, and `--offline` or `UV_OFFLINE` is set"
        return UnavailableError(message, "run the command again with network access")
    if _CREDENTIALS_REFUSED in text:
        hint = "add them to netrc, run `uv auth login`, or set UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD"
        names = _MISSING_PROJECT.findall(reason) or ["a package"]
        index = find_index_name(names[0], request.indexes)
        return UnavailableError(f"the index `{index}` requires credentials for `{names[0]}`", hint)
    if _NO_SOLUTION_LINE in text:
        indexes = {name: find_index_name(name, request.indexes) for name in _MISSING_PROJECT.findall(reason)}
        notes = [
            f"{name} was requested only from the index `{index}`."
            for name, index in indexes.items()
            if index != DEFAULT_INDEX
        ]
        reason = _NO_WHEEL_LINE.sub(lambda found: _format_sdist_hint(found, request), reason)
        return UnsolvableError(request.platform.name, "\n".join([reason, *notes]))
    if _NETWORK_ERROR.search(text):
        hint = CERTIFICATE_HINT if "certificate" in text else "check the network"
        return UnavailableError(f"the package index did not answer: {_shorten_output(reason)}", hint)
    # Another failure: a full disk, an unreadable cache, an option that this version of uv does not have.
    return UnavailableError(
        f"`uv` failed: {_shorten_output(reason)}", "run the command again, or install another version of uv"
    )


def _shorten_output(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines()[:3])[:400]


def _format_preferences(pins: Iterable[tuple[str, str]]) -> str:
    """Return a pylock.toml with names and versions. uv prefers these versions when it overwrites the file."""
    rows = ({"name": name, "version": version} for name, version in pins)
    head = (format_toml_pair("lock-version", "1.0"), format_toml_pair("created-by", "envcompile"))
    return "".join((*head, *format_toml_tables("packages", rows)))


def _parse_packages(
    rows: Iterable[Mapping[str, Any]], needs: Mapping[str, set[str]], request: PipRequest, indexes: UvSettings
) -> tuple[PipPackage, ...]:
    kept = {package.name: package for package in request.kept_pins()}
    # The stubs of conda packages are in the solution, but not in the lock.
    pip_rows = [row for row in rows if row["name"] not in request.provided]
    packages = [
        replace(_parse_package(row, needs, request, kept.get(row["name"])), index=indexes.find_index_name(row["name"]))
        for row in pip_rows
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
    # A pin keeps its file, even if a more specific wheel was uploaded later.
    file = None
    if earlier and earlier.version == version and earlier.sha256 == _read_sha256(wheels.get(earlier.file)):
        file = earlier.file
    file = file or find_best_wheel(wheels, request.platform.machine, request.glibc, request.python)
    if file is None:
        raise UnsolvableError(request.platform.name, f"{name} {version} has no wheel for this platform")
    sha256 = _read_sha256(wheels[file])
    if not sha256:
        raise UnsolvableError(request.platform.name, f"the index has no sha256 of {file}")
    return PipPackage(name, version, file, sha256, wheels[file].get("size"), depends=tuple(sorted(needs.get(name, ()))))


def _file_name_from_url(wheel: Mapping[str, Any]) -> str:
    return str(wheel.get("name") or unquote(urlsplit(wheel["url"]).path.rsplit("/", maxsplit=1)[-1]))


def _read_sha256(wheel: Mapping[str, Any] | None) -> str:
    return str(wheel.get("hashes", {}).get("sha256", "")) if wheel else ""
