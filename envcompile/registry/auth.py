"""Who we are to a registry: docker's config.json, its credential helpers, and the two ways a registry asks.

Formats: docker's configuration file (`auths`, `credsStore`, `credHelpers`), the docker-credential-helpers protocol, and
the token flow of the distribution project ("Docker Registry v2 authentication"), with OAuth 2 for identity tokens.
No text that leaves this module holds a password or a token.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.http import (
    HttpClient,
    ReadableBody,
    Request,
    Response,
    create_body_reader,
)
from envcompile.net.process import run_process
from envcompile.net.urls import format_basic_authorization, is_web_url, parse_origin
from envcompile.registry.reference import HUB_LOGIN_KEY
from envcompile.spec.image_reference import DOCKER_HUB_ALIASES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envcompile.registry.reference import ImageReference

    CredentialHelper = Callable[[tuple[str, ...], str], str]

_MAX_CONFIG_BYTES = 4 << 20
_MAX_TOKEN_BYTES = 1 << 20
# What a helper gives as user name when the secret is an identity token.
_IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - a fixed word of the protocol
_NOT_FOUND_MESSAGE = "credentials not found"
_CHALLENGE_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_CHALLENGE_SCHEME = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?:\s+|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class RegistryCredentials:
    """A user name and password, or an identity token. Has no text form on purpose."""

    user: str = ""
    password: str = ""
    identity_token: str = ""

    def format_basic_header(self) -> str:
        """The value of an Authorization header."""
        return format_basic_authorization(self.user, self.password)


def find_credentials(folder: Path, place: ImageReference, run: CredentialHelper) -> RegistryCredentials | None:
    """What docker would use for this registry, or None: anonymous. Raises `UnavailableError`."""
    config = _read_docker_config(folder)
    names = (HUB_LOGIN_KEY, *sorted(DOCKER_HUB_ALIASES)) if place.login_key == HUB_LOGIN_KEY else (place.login_key,)
    helpers = _as_table(config.get("credHelpers"))
    for name in names:
        helper = helpers.get(name) or (config.get("credsStore") if name == names[0] else None)
        if isinstance(helper, str) and helper and (found := _credentials_from_helper(helper, name, run, folder)):
            return found
    entries = {_normalize_host(key): entry for key, entry in _as_table(config.get("auths")).items()}
    for name in names:
        if found := _credentials_from_entry(_as_table(entries.get(_normalize_host(name)))):
            return found
    return None


def create_authorization_header(
    web: HttpClient, place: ImageReference, challenges: tuple[str, ...], known: RegistryCredentials | None
) -> str | None:
    """The value of the Authorization header that answers a 401's WWW-Authenticate headers; None: there is none.

    Raises `UnavailableError` when the token server does not answer or gives no token.
    """
    asked = _read_challenges(challenges)
    if "bearer" in asked:
        return _fetch_bearer_token(web, place, asked["bearer"], known)
    if "basic" in asked and known and known.password:
        return known.format_basic_header()
    return None


def _read_docker_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(_MAX_CONFIG_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as problem:
        problem_text = f"cannot be read: {problem.strerror}"
    except (ValueError, RecursionError):  # not named: it holds the text it could not read
        problem_text = "is not JSON"
    else:
        return _as_table(config)
    raise UnavailableError(f"docker's `{path}` {problem_text}", "mend it, or let `DOCKER_CONFIG` name another folder")


def _as_table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _normalize_host(key: str) -> str:
    """The host that a key of `auths` is for: docker writes the bare host, older versions wrote addresses."""
    return re.sub(r"^https?://", "", key).partition("/")[0]


def _credentials_from_entry(entry: Mapping[str, Any]) -> RegistryCredentials | None:
    user, password = _as_text(entry.get("username")), _as_text(entry.get("password"))
    if encoded := _as_text(entry.get("auth")):
        try:
            user, _, password = base64.b64decode(encoded).decode("utf-8").rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    if identity := _as_text(entry.get("identitytoken")):
        return RegistryCredentials(user, password, identity)
    return RegistryCredentials(user, password) if user and password else None


def _credentials_from_helper(helper: str, name: str, run: CredentialHelper, folder: Path) -> RegistryCredentials | None:
    program = f"docker-credential-{helper}"
    hint = f"mend it, or take it out of `{folder / 'config.json'}`"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        raise UnavailableError("docker's configuration names a credential helper that cannot be one", hint)
    said = run((program, "get"), name)
    try:
        answer = _as_table(json.loads(said))
    except (ValueError, RecursionError):
        answer = {}
    user, secret = _as_text(answer.get("Username")), _as_text(answer.get("Secret"))
    if secret:
        return (
            RegistryCredentials(identity_token=secret)
            if user == _IDENTITY_TOKEN_USER
            else RegistryCredentials(user, secret)
        )
    if answer or _NOT_FOUND_MESSAGE in said:
        return None
    raise UnavailableError(f"the credential helper `{program}` gives no credentials for `{name}`", hint)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read_challenges(headers: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Scheme, in lower case, to its parameters. One header may hold several challenges."""
    found: dict[str, dict[str, str]] = {}
    for header in headers:
        parts = _CHALLENGE_SCHEME.split(header)
        for scheme, rest in zip(parts[1::2], parts[2::2], strict=True):
            parameters = {key.lower(): quoted or plain for key, quoted, plain in _CHALLENGE_PARAMETER.findall(rest)}
            found.setdefault(scheme.lower(), parameters)
    return found


def _fetch_bearer_token(
    web: HttpClient, place: ImageReference, asked: Mapping[str, str], known: RegistryCredentials | None
) -> str:
    """A token from the server that the registry names: by OAuth 2 with an identity token, else by GET."""
    realm = asked.get("realm", "")
    # A password that the registry may see over https only does not go to a token server in the clear.
    if not is_web_url(realm) or (place.base_url.startswith("https:") and not realm.startswith("https:")):
        raise place.create_protocol_error("it sends us to a token server that cannot be asked")
    wanted = {"service": asked.get("service", ""), "scope": asked.get("scope") or f"repository:{place.repository}:pull"}
    if known and known.identity_token:
        grant = {
            "grant_type": "refresh_token",
            "refresh_token": known.identity_token,
            "client_id": "envcompile",
            **wanted,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        question = Request(realm, headers, "POST", urlencode(grant).encode("ascii"), hint=place.hint)
    else:
        if known:
            wanted["account"] = known.user
        query = urlencode({key: value for key, value in wanted.items() if value})
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        question = Request(url, {"Authorization": known.format_basic_header()} if known else {}, hint=place.hint)
    answer = web.send(question, create_body_reader(_MAX_TOKEN_BYTES))
    if answer.value is None:
        raise place.create_denied_error(answer.status)
    return f"Bearer {_parse_token(place, answer.value)}"


def _parse_token(place: ImageReference, body: bytes) -> str:
    try:
        said = _as_table(json.loads(body)) if len(body) <= _MAX_TOKEN_BYTES else {}
    except (ValueError, RecursionError):
        said = {}
    token = _as_text(said.get("token")) or _as_text(said.get("access_token"))
    # Checked here because http.client would put a token with a line break in it into its error.
    if not re.fullmatch(r"[!-~]+", token):
        raise place.create_protocol_error("its token server gives no token")
    return token


# Running docker's credential helpers: programs that take a name on standard input and answer on standard output.


def create_helper_runner(environment: Mapping[str, str], limit: float = 60.0) -> Callable[[tuple[str, ...], str], str]:
    """A runner of helpers that are found on this environment's PATH: argv and standard input to standard output.

    Its exit code does not count: helpers say "credentials not found" on standard output and fail. `limit` is in
    seconds; some helpers ask the user. It raises `UnavailableError` when the program is not there or does not end.
    """

    def run(argv: tuple[str, ...], text: str) -> str:
        hint = "install it, or remove it from docker's `config.json`"
        label = f"the credential helper `{argv[0]}`"
        return run_process(argv, None, environment, stdin=text.encode(), timeout=limit, label=label, hint=hint).stdout

    return run


# Asking registries as one user: what a registry has let in once is let in again.


ValueT = TypeVar("ValueT")


class RegistrySession:
    """The network, with the credentials of one docker configuration; `run` runs a credential helper."""

    def __init__(self, docker_config: Path, http: HttpClient, run: Callable[[tuple[str, ...], str], str]) -> None:
        self._docker_config = docker_config
        self._run_helper = run
        self._http = http
        self._authorization_headers: dict[tuple[str, str], str] = {}

    def send(
        self, place: ImageReference, question: Request, consume: Callable[[ReadableBody], ValueT]
    ) -> Response[ValueT]:
        """Ask; and when the registry wants to know who we are, once more as somebody."""
        key = (place.base_url, place.repository)
        known = self._authorization_headers.get(key)
        answer = self._http.send(_with_authorization(question, known), consume)
        # A 401 of a store that we were redirected to is none of our credentials' business.
        if answer.status == HTTPStatus.UNAUTHORIZED and parse_origin(answer.url) == parse_origin(place.base_url):
            who = find_credentials(self._docker_config, place, self._run_helper)
            header = create_authorization_header(self._http, place, answer.challenges, who)
            if header is not None:
                self._authorization_headers[key] = header
                answer = self._http.send(_with_authorization(question, header), consume)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise place.create_denied_error(answer.status)
        return answer


def _with_authorization(question: Request, header: str | None) -> Request:
    return replace(question, headers={**question.headers, "Authorization": header}) if header else question
