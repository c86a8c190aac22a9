"""Which indexes uv asks, and what it is told of them."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.diagnostics.errors import InvalidInputError
from envcompile.resolve.indexes import signpost
from envcompile.spec.pip import DEFAULT_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.resolve.indexes import Signpost
    from envcompile.resolve.protocol import Effects, PipRequest

# uv's own default stands in its help and nowhere else. What a program says is read off standard error here.
_ASK_UV = """
import subprocess, sys
asked = subprocess.run([sys.argv[1], "pip", "compile", "--help"], capture_output=True, encoding="utf-8")
sys.stderr.write(asked.stdout)
"""
_DEFAULT_URL = re.compile(r"default package index \(by default: <(https://[^>]+)>\)")


class Asked(NamedTuple):
    """The options and the environment that uv is run with; the signpost where there are several indexes."""

    options: tuple[str, ...]
    environment: Mapping[str, str]
    signpost: Signpost | None = None

    def index_of(self, package: str) -> str:
        """The name of the index that a package of the answer came from. Raises `KeyError` for one nobody asked for."""
        return self.signpost.served[package] if self.signpost else DEFAULT_INDEX


def default_url(uv: str, effects: Effects, folder: str) -> str:
    """The index that uv asks when nobody names one. Raises `Unusable` when it does not say which that is."""
    finished = effects.run((sys.executable, "-c", _ASK_UV, uv), folder, effects.environment)
    if found := _DEFAULT_URL.search(finished.stderr):
        return found[1]
    raise InvalidInputError("`uv` does not say which index is its default", "give it as `index` under `[pip]`")


def users_default(environment: Mapping[str, str]) -> str:
    """The index that the user has set as uv's default, without the name that it may have; "" where there is none."""
    return re.sub(r"^[\w.-]+=", "", environment.get("UV_DEFAULT_INDEX", ""))


@contextmanager
def asked(
    request: PipRequest, environment: Mapping[str, str], folder: str, default_of_uv: Callable[[str], str]
) -> Iterator[Asked]:
    """What to run uv with in `folder`, for as long as the block lasts."""
    if not request.indexes:
        # With a name, so that UV_INDEX_DEFAULT_USERNAME and _PASSWORD are for it.
        own = {"UV_DEFAULT_INDEX": f"{DEFAULT_INDEX}={request.index}"} if request.index else {}
        yield Asked(("--no-config",), {**environment, **own})
        return
    default = request.index or users_default(environment) or default_of_uv(folder)
    with signpost(request.indexes, re.sub(r"(?<=://)[^/@]*@", "", default)) as post:
        # An explicit index is asked for nothing; but whatever credentials uv has for it, it then has where it is sent.
        known = {DEFAULT_INDEX: default} | {each.name: each.url for each in request.indexes}
        rows = (
            f'[[index]]\nname = "{name}"\nurl = {json.dumps(url)}\nexplicit = true\n' for name, url in known.items()
        )
        Path(folder, "indexes.toml").write_text("".join(rows), "utf-8")
        # What is cached is filed under the signpost's address, which nobody will have again: not in the user's cache.
        own = {"UV_DEFAULT_INDEX": post.url, "UV_CACHE_DIR": str(Path(folder, "cache"))}
        yield Asked(("--config-file", "indexes.toml"), {**post.environment(environment), **own}, post)
