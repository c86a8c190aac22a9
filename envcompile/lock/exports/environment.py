"""`environment.yml`: what was asked for, not what is pinned, as conda, mamba and conda-lock read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.exports.yaml import dumps
from envcompile.spec.asked import asked_of_conda
from envcompile.spec.exports import OURS
from envcompile.spec.match_spec import match_spec
from envcompile.spec.requirement import canonical

if TYPE_CHECKING:
    from envcompile.lock.exports import Given
    from envcompile.lock.exports.yaml import Value
    from envcompile.spec.match_spec import MatchSpec


def text(given: Given) -> str:
    """The file, with the spec's channels and no others, and the platforms for conda-lock."""
    dependencies: list[Value] = [spelled(each) for each in conda_requirements(given)]
    if given.spec.pip.packages:
        dependencies.append({"pip": [canonical(each) for each in given.spec.pip.packages]})
    return f"{OURS}; what is asked for, without the pins.\n" + dumps(
        {
            "name": given.spec.name,
            # Without the last one, conda would add the channels of the user's own configuration.
            "channels": [*given.spec.conda.channels, "nodefaults"],
            "platforms": [each.platform for each in given.lock.platforms],
            "dependencies": dependencies,
        }
    )


def conda_requirements(given: Given) -> tuple[MatchSpec, ...]:
    """What is asked of conda: packages in their order, the Python, and `pip` where pip has something to install.

    A channel that the spec gives by its URL stands there with it: mamba looks for a name in a place of its own. conda
    takes either, and the last part of its path for a folder of this machine.
    """
    named = given.spec.conda.channels
    urls = {
        each.name: each.url for each in given.lock.channels if each.name not in named and each.url.startswith("http")
    }
    asked = [match_spec(each) for each in asked_of_conda(given.spec)]
    if given.spec.pip.packages and all(each.name != "pip" for each in asked):
        # conda says that it adds it where it is missing; mamba and conda-lock say nothing.
        asked.append(match_spec("pip"))
    return tuple(each._replace(channel=urls.get(each.channel or "", each.channel)) for each in asked)


def spelled(asked: MatchSpec) -> str:
    """The one spelling: `channel/subdir::name version build[md5=…]`, and what is not asked for left out."""
    subdir = f"/{asked.subdir}" if asked.subdir and asked.channel else ""
    channel = f"{asked.channel}{subdir}::" if asked.channel else ""
    brackets = {"subdir": asked.subdir if not asked.channel else None, "md5": asked.md5, "sha256": asked.sha256}
    pairs = ",".join(f"{key}={value}" for key, value in brackets.items() if value)
    version = asked.version or ("*" if asked.build else None)
    words = " ".join(word for word in (asked.name, version, asked.build) if word)
    return f"{channel}{words}[{pairs}]" if pairs else f"{channel}{words}"
