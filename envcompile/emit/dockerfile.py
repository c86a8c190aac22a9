"""The plan, written down."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from envcompile.emit import quoting

if TYPE_CHECKING:
    from jinja2 import Template

    from envcompile.plan.model import Plan

# Of 64 hexadecimal digits: 128 bits, so that nobody finds two Dockerfiles for one tag.
TAG_DIGITS = 32


def dockerfile(plan: Plan) -> str:
    """The text of the Dockerfile: LF line ends, ends with a newline, the same for the same plan everywhere."""
    several = len(plan.targets) > 1
    tools = [name for name, _ in plan.targets[0].tools]
    selected = [*tools, "build-base", "run-base", "lock"] if several else []
    return _template().render(plan=plan, several=several, selected=selected)


def tag(text: str) -> str:
    """The tag of a Dockerfile: the first digits of its sha256, as `sha256sum` prints them."""
    return hashlib.sha256(text.encode()).hexdigest()[:TAG_DIGITS]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("envcompile.emit"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is no HTML; `quoting` is what protects it
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )
    environment.filters.update(word=quoting.word, exec_form=quoting.exec_form, line=quoting.line)
    return environment.get_template("Dockerfile.j2")
