"""The user's login at a registry: docker's config.json, its credential helpers, and the registry's challenges.

Formats: docker's configuration file (`auths`, `credsStore`, `credHelpers`), the docker-credential-helpers protocol, and
the token flow of the distribution project ("Docker Registry v2 authentication"), with OAuth 2 for identity tokens.
No message from this module holds a password or a token.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from envcompile.diagnostics.errors import UnavailableError
from envcompile.net.http import HttpClient, ReadableBody, Request, Response, create_body_reader
from envcompile.net.process import run_process
from envcompile.net.urls import format_basic_authorization, is_web_url, parse_origin
from envcompile.registry.reference import HUB_LOGIN_KEY
from envcompile.spec.values import DOCKER_HUB_ALIASES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from envcompile.registry.reference import ImageReference

ValueT = TypeVar("ValueT")
# Runs a credential helper. The parameters are its command line and its standard input, the result its standard output.
CredentialHelper = Callable[[tuple[str, ...], str], str]

_MAX_CONFIG_BYTES = 4 << 20
_MAX_TOKEN_BYTES = 1 << 20
# The user name that a helper returns if the secret is an identity token.
_IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - a fixed word of the protocol
_NOT_FOUND_MESSAGE = "credentials not found"
_CHALLENGE_PARAMETER = re.compile(r'(?<![A-Za-z_])([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_CHALLENGE_SCHEME = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?:\s+|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class RegistryCredentials:
    """A user name and password, or an identity token. Its `repr` shows none of them, so no message contains them."""

    user: str = ""
    password: str = ""
    identity_token: str = ""

    def format_basic_header(self) -> str:
        """The value of an Authorization header."""
        return format_basic_authorization(self.user, self.password)


class RegistrySession:
    """An HTTP client that uses the credentials of one docker configuration, and keeps the tokens that it receives."""

    def __init__(self, docker_config: Path, http: HttpClient, run_helper: CredentialHelper) -> None:
        self._docker_config = docker_config
        self._http = http
        self._run_helper = run_helper
        self._authorization_headers: dict[tuple[str, str], str] = {}

    def send(
        self, image: ImageReference, request: Request, consume: Callable[[ReadableBody], ValueT]
    ) -> Response[ValueT]:
        """Send a request; if the registry requires credentials, send it again with them.

        Raises `RegistryAccessError` if the registry denies access, and `UnavailableError` if the registry or the token
        server does not answer correctly, or if the credentials cannot be read.
        """
        key = (image.base_url, image.repository)
        response = self._http.send(_with_authorization(request, self._authorization_headers.get(key)), consume)
        # Credentials are sent only to the registry itself, not to a server that it redirects to.
        if response.status == HTTPStatus.UNAUTHORIZED and parse_origin(response.url) == parse_origin(image.base_url):
            credentials = find_credentials(self._docker_config, image, self._run_helper)
            header = create_authorization_header(self._http, image, response.challenges, credentials)
            if header is not None:
                self._authorization_headers[key] = header
                response = self._http.send(_with_authorization(request, header), consume)
        if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise image.create_denied_error(response.status)
        return response


def _with_authorization(request: Request, header: str | None) -> Request:
    return replace(request, headers={**request.headers, "Authorization": header}) if header else request


# Docker's configuration and its credential helpers


def find_credentials(folder: Path, image: ImageReference, run_helper: CredentialHelper) -> RegistryCredentials | None:
    """The credentials that docker would use for this registry, or None for anonymous access.

    Raises `UnavailableError` if docker's configuration cannot be read, or if a credential helper is missing or fails.
    """
    config = _read_docker_config(folder)
    is_hub = image.login_key == HUB_LOGIN_KEY
    names = (HUB_LOGIN_KEY, *sorted(DOCKER_HUB_ALIASES)) if is_hub else (image.login_key,)
    helpers = _as_table(config.get("credHelpers"))
    for name in names:
        helper = helpers.get(name) or (config.get("credsStore") if name == names[0] else None)
        if isinstance(helper, str) and helper:
            found = _credentials_from_helper(helper, name, run_helper, folder)
            if found:
                return found
    entries = {_normalize_host(key): entry for key, entry in _as_table(config.get("auths")).items()}
    for name in names:
        if found := _credentials_from_entry(_as_table(entries.get(_normalize_host(name)))):
            return found
    return None


def create_helper_runner(environment: Mapping[str, str], timeout: float = 60.0) -> CredentialHelper:
    """A function that runs a credential helper from this environment's PATH.

    `timeout` is in seconds. It is long, because some helpers prompt the user.

    The exit code is ignored, because a helper without credentials for the registry writes "credentials not found" to
    standard output and fails. The function raises `UnavailableError` if there is no such program or if it does not
    finish in time.
    """

    def run(argv: tuple[str, ...], text: str) -> str:
        hint = "install it, or remove it from docker's `config.json`"
        label = f"the credential helper `{argv[0]}`"
        return run_process(argv, None, environment, stdin=text.encode(), timeout=timeout, label=label, hint=hint).stdout

    return run


def _read_docker_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(_MAX_CONFIG_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as problem:
        reason = f"cannot be read: {problem.strerror}"
    except (ValueError, RecursionError):  # not quoted: its text contains a part of the file, which may be a password
        reason = "is not JSON"
    else:
        return _as_table(config)
    raise UnavailableError(f"docker's `{path}` {reason}", "correct it, or set `DOCKER_CONFIG` to another folder")


def _normalize_host(key: str) -> str:
    """The host in a key of `auths`: docker writes the host alone, older versions wrote URLs."""
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


def _credentials_from_helper(
    helper: str, name: str, run_helper: CredentialHelper, folder: Path
) -> RegistryCredentials | None:
    program = f"docker-credential-{helper}"
    hint = f"repair it, or remove it from `{folder / 'config.json'}`"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        raise UnavailableError("docker's configuration names an invalid credential helper", hint)
    output = run_helper((program, "get"), name)
    try:
        answer = _as_table(json.loads(output))
    except (ValueError, RecursionError):
        answer = {}
    user, secret = _as_text(answer.get("Username")), _as_text(answer.get("Secret"))
    if secret and user == _IDENTITY_TOKEN_USER:
        return RegistryCredentials(identity_token=secret)
    if secret:
        return RegistryCredentials(user, secret)
    if answer or _NOT_FOUND_MESSAGE in output:
        return None
    raise UnavailableError(f"the credential helper `{program}` returned no credentials for `{name}`", hint)


# The registry's challenges


def create_authorization_header(
    http: HttpClient, image: ImageReference, challenges: tuple[str, ...], credentials: RegistryCredentials | None
) -> str | None:
    """The value of the Authorization header that answers the challenges of a 401; None if no answer is possible.

    `challenges` are the values of its WWW-Authenticate headers. Raises `UnavailableError` if the token server does not
    answer or sends no token.
    """
    schemes = _parse_challenges(challenges)
    if "bearer" in schemes:
        return _fetch_bearer_token(http, image, schemes["bearer"], credentials)
    if "basic" in schemes and credentials and credentials.password:
        return credentials.format_basic_header()
    return None


def _parse_challenges(headers: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Scheme -> its parameters, with schemes and keys in lower case. One header may hold several challenges."""
    schemes: dict[str, dict[str, str]] = {}
    for header in headers:
        parts = _CHALLENGE_SCHEME.split(header)
        for scheme, rest in zip(parts[1::2], parts[2::2], strict=True):
            parameters = {key.lower(): quoted or plain for key, quoted, plain in _CHALLENGE_PARAMETER.findall(rest)}
            schemes.setdefault(scheme.lower(), parameters)
    return schemes


def _fetch_bearer_token(
    http: HttpClient, image: ImageReference, challenge: Mapping[str, str], credentials: RegistryCredentials | None
) -> str:
    """Fetch a token from the token server that the registry names: by OAuth 2 for an identity token, else by GET.

    Returns the value of the Authorization header, `Bearer TOKEN`.
    """
    realm = challenge.get("realm", "")
    # A password for a registry with https is not sent to a token server without https.
    if not is_web_url(realm) or (image.base_url.startswith("https:") and not realm.startswith("https:")):
        raise image.create_protocol_error("the address of its token server is invalid or insecure")
    scope = challenge.get("scope") or f"repository:{image.repository}:pull"
    parameters = {"service": challenge.get("service", ""), "scope": scope}
    if credentials and credentials.identity_token:
        grant = {"grant_type": "refresh_token", "refresh_token": credentials.identity_token, "client_id": "envcompile"}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        form = urlencode({**grant, **parameters}).encode("ascii")
        request = Request(realm, headers, "POST", form, hint=image.hint)
    else:
        if credentials:
            parameters["account"] = credentials.user
        query = urlencode({key: value for key, value in parameters.items() if value})
        headers = {"Authorization": credentials.format_basic_header()} if credentials else {}
        request = Request(f"{realm}{'&' if '?' in realm else '?'}{query}", headers, hint=image.hint)
    response = http.send(request, create_body_reader(_MAX_TOKEN_BYTES))
    if response.value is None:
        raise image.create_denied_error(response.status)
    return f"Bearer {_parse_token(image, response.value)}"


def _parse_token(image: ImageReference, body: bytes) -> str:
    try:
        answer = _as_table(json.loads(body)) if len(body) <= _MAX_TOKEN_BYTES else {}
    except (ValueError, RecursionError):
        answer = {}
    token = _as_text(answer.get("token")) or _as_text(answer.get("access_token"))
    # Checked here, because http.client rejects a token with a line break, and its error message would quote the token.
    if not re.fullmatch(r"[!-~]+", token):
        raise image.create_protocol_error("its token server sent no token")
    return token


def _as_table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""
