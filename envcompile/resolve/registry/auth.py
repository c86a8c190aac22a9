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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from envcompile.errors import MissingOutside
from envcompile.resolve.registry.addresses import web_address
from envcompile.resolve.registry.http import Question, whole
from envcompile.resolve.registry.place import HUB_ALIASES, HUB_LOGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from envcompile.resolve.registry.http import Web
    from envcompile.resolve.registry.place import Place

    Helper = Callable[[tuple[str, ...], str], str]

_CONFIG_CAP = 4 << 20
_TOKEN_CAP = 1 << 20
# What a helper gives as user name when the secret is an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - a fixed word of the protocol
_NOT_FOUND = "credentials not found"
_PARAMETER = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_CHALLENGE = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?:\s+|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A user name and password, or an identity token. Has no text form on purpose."""

    user: str = ""
    password: str = ""
    identity: str = ""

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def credentials(folder: Path, place: Place, run: Helper) -> Credentials | None:
    """What docker would use for this registry, or None: anonymous. Raises `MissingOutside`."""
    config = _config(folder)
    names = (HUB_LOGIN, *sorted(HUB_ALIASES)) if place.login == HUB_LOGIN else (place.login,)
    helpers = _table(config.get("credHelpers"))
    for name in names:
        helper = helpers.get(name) or (config.get("credsStore") if name == names[0] else None)
        if isinstance(helper, str) and helper and (found := _from_helper(helper, name, run, folder)):
            return found
    entries = {_hostname(key): entry for key, entry in _table(config.get("auths")).items()}
    for name in names:
        if found := _from_entry(_table(entries.get(_hostname(name)))):
            return found
    return None


def authorization(web: Web, place: Place, challenges: tuple[str, ...], known: Credentials | None) -> str | None:
    """The value of the Authorization header that answers a 401's WWW-Authenticate headers; None: there is none.

    Raises `MissingOutside` when the token server does not answer or gives no token.
    """
    asked = _read_challenges(challenges)
    if "bearer" in asked:
        return _bearer(web, place, asked["bearer"], known)
    if "basic" in asked and known and known.password:
        return known.basic()
    return None


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(_CONFIG_CAP))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as problem:
        problem_text = f"cannot be read: {problem.strerror}"
    except (ValueError, RecursionError):  # not named: it holds the text it could not read
        problem_text = "is not JSON"
    else:
        return _table(config)
    raise MissingOutside(f"docker's `{path}` {problem_text}", "mend it, or let `DOCKER_CONFIG` name another folder")


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _hostname(key: str) -> str:
    """The host that a key of `auths` is for: docker writes the bare host, older versions wrote addresses."""
    return re.sub(r"^https?://", "", key).partition("/")[0]


def _from_entry(entry: Mapping[str, Any]) -> Credentials | None:
    user, password = _text(entry.get("username")), _text(entry.get("password"))
    if encoded := _text(entry.get("auth")):
        try:
            user, _, password = base64.b64decode(encoded).decode("utf-8").rstrip("\0").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    if identity := _text(entry.get("identitytoken")):
        return Credentials(user, password, identity)
    return Credentials(user, password) if user and password else None


def _from_helper(helper: str, name: str, run: Helper, folder: Path) -> Credentials | None:
    program = f"docker-credential-{helper}"
    hint = f"mend it, or take it out of `{folder / 'config.json'}`"
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        raise MissingOutside("docker's configuration names a credential helper that cannot be one", hint)
    said = run((program, "get"), name)
    try:
        answer = _table(json.loads(said))
    except (ValueError, RecursionError):
        answer = {}
    user, secret = _text(answer.get("Username")), _text(answer.get("Secret"))
    if secret:
        return Credentials(identity=secret) if user == _TOKEN_USER else Credentials(user, secret)
    if answer or _NOT_FOUND in said:
        return None
    raise MissingOutside(f"the credential helper `{program}` gives no credentials for `{name}`", hint)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read_challenges(headers: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Scheme, in lower case, to its parameters. One header may hold several challenges."""
    found: dict[str, dict[str, str]] = {}
    for header in headers:
        parts = _CHALLENGE.split(header)
        for scheme, rest in zip(parts[1::2], parts[2::2], strict=True):
            parameters = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(rest)}
            found.setdefault(scheme.lower(), parameters)
    return found


def _bearer(web: Web, place: Place, asked: Mapping[str, str], known: Credentials | None) -> str:
    """A token from the server that the registry names: by OAuth 2 with an identity token, else by GET."""
    realm = asked.get("realm", "")
    # A password that the registry may see over https only does not go to a token server in the clear.
    if not web_address(realm) or (place.base.startswith("https:") and not realm.startswith("https:")):
        raise place.strange("it sends us to a token server that cannot be asked")
    wanted = {"service": asked.get("service", ""), "scope": asked.get("scope") or f"repository:{place.repository}:pull"}
    if known and known.identity:
        grant = {"grant_type": "refresh_token", "refresh_token": known.identity, "client_id": "envcompile", **wanted}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        question = Question(realm, headers, "POST", urlencode(grant).encode("ascii"), hint=place.hint)
    else:
        if known:
            wanted["account"] = known.user
        query = urlencode({key: value for key, value in wanted.items() if value})
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        question = Question(url, {"Authorization": known.basic()} if known else {}, hint=place.hint)
    answer = web.ask(question, whole(_TOKEN_CAP))
    if answer.value is None:
        raise place.denied(answer.status)
    return f"Bearer {_token(place, answer.value)}"


def _token(place: Place, body: bytes) -> str:
    try:
        said = _table(json.loads(body)) if len(body) <= _TOKEN_CAP else {}
    except (ValueError, RecursionError):
        said = {}
    token = _text(said.get("token")) or _text(said.get("access_token"))
    # Checked here because http.client would put a token with a line break in it into its error.
    if not re.fullmatch(r"[!-~]+", token):
        raise place.strange("its token server gives no token")
    return token
