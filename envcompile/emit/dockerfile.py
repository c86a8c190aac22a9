"""The text of the Dockerfile, with the quoting of every string from the spec and the lock.

No such string appears in a RUN instruction. Words are quoted for BuildKit's lexer, lists are JSON, and data are lines
of a heredoc with a quoted end. No such line can end its heredoc.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from envcompile.plan.planner import make_plan
from envcompile.spec.values import CONTROL_CHARACTER

if TYPE_CHECKING:
    from envcompile.lock.model import Lock
    from envcompile.plan.model import Plan
    from envcompile.spec.model import Spec

HEREDOC_END = "EOF"
_BARE_WORD = re.compile(r"[A-Za-z0-9._/:@+=-]+")


def quote_word(value: str) -> str:
    """Quote one word of ENV, LABEL or WORKDIR, so that BuildKit's lexer reads it as `value`.

    Inside double quotes the backslash, the double quote and the dollar sign are special; a newline cannot be written.

    Raises `ValueError` for control characters other than tab, which the spec and the lock cannot contain.
    """
    if CONTROL_CHARACTER.search(value):
        raise ValueError(f"a Dockerfile cannot contain {value!r}")
    if _BARE_WORD.fullmatch(value):
        return value
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'


def format_exec_form(values: tuple[str, ...]) -> str:
    """The values of CMD or ENTRYPOINT as JSON. Docker runs invalid JSON as a shell command, without a warning.

    Raises `ValueError` for control characters other than tab.
    """
    if any(CONTROL_CHARACTER.search(value) for value in values):
        raise ValueError(f"a Dockerfile cannot contain {values!r}")
    return json.dumps(list(values), ensure_ascii=False)


def check_heredoc_line(value: str) -> str:
    """Return `value` if it can be a line of a heredoc with a quoted end, in which nothing is expanded.

    Raises `ValueError` for control characters other than tab, and for the end of the heredoc.
    """
    if CONTROL_CHARACTER.search(value) or value == HEREDOC_END:
        raise ValueError(f"a Dockerfile cannot contain {value!r}")
    return value


# 32 of 64 hexadecimal digits are 128 bits: finding two Dockerfiles with the same tag is infeasible.
TAG_LENGTH = 32

# All values of TARGETARCH on Linux: the architectures of the Go toolchain (`go tool dist list`).
TARGET_ARCHITECTURES = (
    *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
    *("ppc64", "ppc64le", "riscv64", "s390x"),
)


def compile_dockerfile(spec: Spec, lock: Lock) -> str:
    """The text of the Dockerfile for a spec and a lock that satisfies it."""
    return render_dockerfile(make_plan(spec, lock))


def render_dockerfile(plan: Plan) -> str:
    """The text of the Dockerfile, with LF line ends. The same plan gives the same text on every machine."""
    several = len(plan.targets) > 1
    locked = {target.arch for target in plan.targets}
    tools = [name for name, _ in plan.targets[0].tools]
    template = _create_jinja_environment().get_template("Dockerfile.j2")
    return template.render(
        plan=plan,
        several=several,
        suffix=lambda target: f"-{target.arch}" if several else "",
        # Every stage needs `--platform`: without it, a stage is for the platform of the builder.
        platform="" if several else f"--platform={plan.targets[0].docker} ",
        selected=[*tools, "lock", "build-base", "run-base"],
        foreign=[arch for arch in TARGET_ARCHITECTURES if arch not in locked],
        scripts=_list_scripts(plan),
        script=lambda name: _create_jinja_environment().get_template(name).render().rstrip("\n"),
        refusal=f"this Dockerfile is locked for {' and '.join(target.docker for target in plan.targets)} only",
    )


def _list_scripts(plan: Plan) -> list[tuple[str, str]]:
    """The scripts that the plan needs: their paths in the lock stage, and the names of their templates."""
    python = ("python-install",) if plan.standalone_python else ()
    conda = ("activated", *(("provided.py",) if plan.provided else ()), "split") if plan.conda else ()
    pip = ("pip", "overlaps.py", "added") if plan.layers else ()
    sdists = ("sdist-fetch", "sdist-install", "added") if plan.sdists else ()
    slim = ("slim",) if plan.slim else ()
    names = {"pip": "pip-install"}
    return [
        *([("/apt/install", "apt-install")] if plan.apt else []),
        *(
            (f"/install/{name}", names.get(name, name))
            for name in dict.fromkeys((*python, *conda, *pip, *sdists, *slim))
        ),
    ]


def compute_tag(text: str) -> str:
    """The tag of a Dockerfile: the first digits of its sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:TAG_LENGTH]


def format_full_tag(spec: Spec, dockerfile: str) -> str:
    """The name of the image: `repository:hash`, or `name:hash` for a spec without a repository."""
    return f"{spec.image.repository or spec.name}:{compute_tag(dockerfile)}"


def load_templates() -> None:
    """Load and compile all templates now, so that the first Dockerfile of the process is rendered faster."""
    environment = _create_jinja_environment()
    for name in environment.list_templates():
        environment.get_template(name)


@cache
def _create_jinja_environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("envcompile.emit", folder) for folder in ("templates", "scripts")]),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is not HTML; the filters below quote it
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )
    environment.filters.update(word=quote_word, exec_form=format_exec_form, line=check_heredoc_line)
    return environment
