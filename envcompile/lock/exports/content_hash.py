"""conda-lock's hash of what was asked for, by which `conda-lock --check-input-hash` knows that a lock is current.

As conda-lock 4.0.3 has it: `content_hash.py` (what is hashed), `src_parser/` (what it makes of an environment.yml),
`virtual_package.py` and `default-virtual-packages.yaml` (what it takes the target for, unless it is told).
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from envcompile.lock.exports.environment import conda_requirements
from envcompile.lock.exports.marker import holds_on_linux
from envcompile.platforms import PLATFORMS
from envcompile.spec.requirement import canonical, requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.exports import Given
    from envcompile.spec.match_spec import MatchSpec

# Name, version and build of what every target is taken to have. `{machine}_0`: releases since 3.0.3 write the build as
# 2.x did.
_VIRTUAL = (
    ("__unix", "0", ""),
    ("__linux", "5.10", ""),
    ("__archspec", "1", "{machine}"),
    ("__glibc", "2.28", ""),
    ("__cuda", "11.4", ""),
)
_TIMESTAMP = 1577854800000
# Channels of conda's own defaults are one channel to it.
_DEFAULTS = ("pkgs/main", "pkgs/r")


def content_hash(given: Given, platform: str) -> str:
    """The hash of the `environment` export for one platform: 64 hexadecimal digits."""
    asked = {(each["manager"], each["name"]): each for each in _asked(given)}
    content = {
        "channels": [
            json.dumps({"url": each, "used_env_vars": []}, separators=(",", ":")) for each in given.spec.conda.channels
        ],
        "specs": [asked[key] for key in sorted(asked)],
        "virtual_package_hash": {
            "noarch": {"info": {"subdir": "noarch"}, "packages": {}},
            platform: {"info": {"subdir": platform}, "packages": _virtual_packages(platform)},
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _asked(given: Given) -> Iterator[dict[str, Any]]:
    """Each requirement as conda-lock has it; of two for one package the last one counts."""
    yield from (_conda(each) for each in conda_requirements(given))
    if not given.spec.pip.packages:
        return
    for text in given.spec.pip.packages:
        parsed = requirement(canonical(text))
        if not holds_on_linux(parsed.marker):
            continue
        version = ",".join(sorted(str(each) for each in parsed.specifier)).replace("===", "==")
        found = {**_requirement("pip", parsed.name, version or "*"), "extras": sorted(parsed.extras)}
        yield {**found, "markers": str(parsed.marker)} if parsed.marker else found
    # In the place of what the file asks of it.
    yield _requirement("conda", "pip", "*")


def _conda(asked: MatchSpec) -> dict[str, Any]:
    version = asked.version or ("*" if asked.build else "")
    # conda drops the operator of `==1.26|==1.27` too, and only where no build follows.
    version = version if asked.build else version.removeprefix("==")
    return {
        **_requirement("conda", asked.name, version),
        "build": asked.build,
        "conda_channel": _channel(asked.channel),
    }


def _channel(channel: str | None) -> str | None:
    """What conda calls a channel: of a URL its path, or all of it where it has none."""
    if channel and "://" in channel:
        channel = channel.rstrip("/").partition("://")[2].partition("/")[2] or channel.rstrip("/")
    return "defaults" if channel in _DEFAULTS else channel


def _requirement(manager: str, name: str, version: str) -> dict[str, Any]:
    return {
        "name": name,
        "manager": manager,
        "category": "main",
        "extras": [],
        "version": version,
        "build": None,
        "conda_channel": None,
        "hash": None,
    }


def _virtual_packages(platform: str) -> dict[str, dict[str, Any]]:
    packages = {}
    for name, version, template in _VIRTUAL:
        text = template.format(machine=PLATFORMS[platform].machine)
        build = f"{text}_0" if text else "0"
        packages[f"{name}-{version}-{build}.tar.bz2"] = {
            "name": name,
            "version": version,
            "build_string": text,
            "build_number": 0,
            "noarch": "",
            "depends": [],
            "timestamp": _TIMESTAMP,
            "package_type": "virtual_system",
            "build": build,
            "subdir": platform,
        }
    return packages
