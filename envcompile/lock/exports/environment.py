"""`environment.yml`: what was asked for, not what is pinned, as conda, mamba and conda-lock read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.lock.exports.yaml import dumps
from envcompile.spec.asked import asked_of_conda
from envcompile.spec.match_spec import match_spec
from envcompile.spec.requirement import canonical

if TYPE_CHECKING:
    from envcompile.lock.exports import Given
    from envcompile.lock.exports.yaml import Value
    from envcompile.spec.match_spec import MatchSpec
    from envcompile.spec.model import Spec


def text(given: Given) -> str:
    """The file, with the spec's channels and no others, and the platforms for conda-lock."""
    dependencies: list[Value] = [spelled(each) for each in conda_requirements(given.spec)]
    if given.spec.pip.packages:
        dependencies.append({"pip": [canonical(each) for each in given.spec.pip.packages]})
    return dumps(
        {
            "name": given.spec.name,
            # Without the last one, conda would add the channels of the user's own configuration.
            "channels": [*given.spec.conda.channels, "nodefaults"],
            "platforms": [each.platform for each in given.lock.platforms],
            "dependencies": dependencies,
        }
    )


def conda_requirements(spec: Spec) -> tuple[MatchSpec, ...]:
    """What is asked of conda: packages in their order, the Python, and `pip` where pip has something to install."""
    asked = tuple(match_spec(each) for each in asked_of_conda(spec))
    if spec.pip.packages and all(each.name != "pip" for each in asked):
        # conda says that it adds it where it is missing; mamba and conda-lock say nothing.
        return (*asked, match_spec("pip"))
    return asked


def spelled(asked: MatchSpec) -> str:
    """The one spelling of a requirement: `channel/subdir::name version build[md5=…]`, and what is not asked left out.

    To conda, as here, the name of a channel that was given by its URL is the URL's path.
    """
    subdir = f"/{asked.subdir}" if asked.subdir and asked.channel else ""
    channel = f"{asked.channel}{subdir}::" if asked.channel else ""
    brackets = {"subdir": asked.subdir if not asked.channel else None, "md5": asked.md5, "sha256": asked.sha256}
    pairs = ",".join(f"{key}={value}" for key, value in brackets.items() if value)
    version = asked.version or ("*" if asked.build else None)
    words = " ".join(word for word in (asked.name, version, asked.build) if word)
    return f"{channel}{words}[{pairs}]" if pairs else f"{channel}{words}"
