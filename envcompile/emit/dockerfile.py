"""The plan, written down."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from envcompile.emit import quoting

if TYPE_CHECKING:
    from envcompile.plan.model import Plan

# Of 64 hexadecimal digits: 128 bits, so that nobody finds two Dockerfiles for one tag.
TAG_DIGITS = 32

# Every value of TARGETARCH on Linux: the architectures of the Go toolchain (`go tool dist list`), which names them.
ARCHITECTURES = (
    *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
    *("ppc64", "ppc64le", "riscv64", "s390x"),
)


def dockerfile(plan: Plan) -> str:
    """The text of the Dockerfile: LF line ends, ends with a newline, the same for the same plan everywhere."""
    several = len(plan.targets) > 1
    locked = {target.arch for target in plan.targets}
    tools = [name for name, _ in plan.targets[0].tools]
    template = _environment().get_template("Dockerfile.j2")
    return template.render(
        plan=plan,
        several=several,
        suffix=lambda target: f"-{target.arch}" if several else "",
        # On every stage: one made from another stage is for the builder's platform, unless it says otherwise.
        platform="" if several else f"--platform={plan.targets[0].docker} ",
        selected=[*tools, "lock", "build-base", "run-base"],
        foreign=[arch for arch in ARCHITECTURES if arch not in locked],
        scripts=_scripts(plan),
        script=lambda name: _environment().get_template(name).render().rstrip("\n"),
        refusal=f"this Dockerfile is locked for {' and '.join(target.docker for target in plan.targets)} only",
    )


def _scripts(plan: Plan) -> list[tuple[str, str]]:
    """The scripts of the lock stage that the plan needs: their paths there, and the names of their templates."""
    conda = ("activated", "split") if plan.conda else ()
    pip = ("pip", "overlaps.py", "added") if plan.layers else ()
    sdists = ("sdist-fetch", "sdist-install", "added") if plan.sdists else ()
    slim = ("slim",) if plan.slim else ()
    names = {"pip": "pip-install"}
    return [
        *([("/apt/install", "apt-install")] if plan.apt else []),
        *((f"/install/{name}", names.get(name, name)) for name in dict.fromkeys((*conda, *pip, *sdists, *slim))),
    ]


def tag(text: str) -> str:
    """The tag of a Dockerfile: the first digits of its sha256, as `sha256sum` prints them."""
    return hashlib.sha256(text.encode()).hexdigest()[:TAG_DIGITS]


@cache
def _environment() -> Environment:
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
    return environment
