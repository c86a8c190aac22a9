"""The text of the Dockerfile and its tag."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from envcompile.emit.contents import format_contents
from envcompile.emit.quoting import check_heredoc_line, format_exec_form, quote_word
from envcompile.plan.planner import make_plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envcompile.lock.model import Lock
    from envcompile.plan.model import Plan
    from envcompile.spec.model import Spec

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
    # The name of the architecture in the names of stages is what `docker buildx build --check` wants to see beside
    # `--platform`. For several platforms there are also stages without it, which TARGETARCH selects.
    single = "" if several else f"-{plan.targets[0].arch}"
    run_base = "base"
    build_base = "base" if all(target.build == target.run for target in plan.targets) else "build-base"
    checks_machine = _checks_machine_alone(plan)
    lists = list(dict.fromkeys(file.path for target in plan.targets for file in target.files))
    lists = [path for path in lists if path != "/machine" or checks_machine]
    sources = {name: [path for tool, path in _TOOL_FILES if tool == name] for name, _ in plan.targets[0].tools}
    body = (
        _create_jinja_environment()
        .get_template("Dockerfile.j2")
        .render(
            plan=plan,
            several=several,
            single=single,
            suffix=lambda target: f"-{target.arch}" if several else "",
            run_base=run_base,
            build_base=build_base,
            lists=lists,
            mounted=[path for path in lists if path.startswith(("/apt/", "/conda/", "/machine"))],
            checks_machine=checks_machine,
            uses_credentials=_uses_credentials(plan),
            tools=[(name, path) for name, paths in sources.items() for path in paths],
            from_tools=lambda name: (
                f"lock /tools/{sources[name][0].rpartition('/')[2]}"
                if several
                else f"{name}{single} {sources[name][0]}"
            ),
            selected=list(dict.fromkeys((run_base, build_base, *(["python"] if plan.conda else []), "lock"))),
            folders=_group_by_folder,
            variables=_format_env(plan),
            foreign=[arch for arch in TARGET_ARCHITECTURES if arch not in locked],
            fetches=bool(plan.apt or plan.conda or plan.layers or plan.sdists or plan.standalone_python),
            scripts=_list_scripts(plan),
            conda_scripts=[f"/{name}" for name in _list_conda_scripts(plan)],
            # Wheels need no more than a Python; what compiles code needs the base image of the build.
            compiles=bool(plan.sdists or "build" in plan.apt),
            installers=[f"/{name}" for name in _list_installers(plan)],
            refusal=f"this Dockerfile is locked for {' and '.join(target.docker for target in plan.targets)} only",
        )
    )
    return format_contents(plan, body) + body


def _uses_credentials(plan: Plan) -> bool:
    """Whether an index of any package, or of a build requirement, requires credentials."""
    requirements = (private for layer in plan.sdists for _, private in layer.indexes)
    sdists = (layer.private for layer in plan.sdists)
    return any((plan.private_installer, *requirements, *sdists, *(layer.private for layer in plan.layers)))


def _group_by_folder(paths: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return folder -> names: one COPY instruction writes all files of a folder."""
    found: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        found.setdefault(f"{folder}/", []).append(name)
    return list(found.items())


_LINE_WIDTH = 116


def _format_env(plan: Plan) -> str:
    """The ENV instruction of the final image, on as many lines as it needs."""
    words = ['PATH="/env/bin:$PATH"'] if plan.conda or plan.python else []
    words += [f"{name}={quote_word(value)}" for name, value in plan.start.env]
    lines = [f"ENV {words[0]}"]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= _LINE_WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"    {word}")
    return " \\\n".join(lines)


# The files that the build takes out of the images of its tools.
_TOOL_FILES = (("uv", "/uv"),)


def _list_scripts(plan: Plan) -> list[str]:
    """The names of the scripts that the plan needs, in the order in which the build runs them."""
    environment = plan.python or plan.conda
    parts = (
        ("install-apt", bool(plan.apt)),
        ("install-python", plan.standalone_python),
        ("check-machine", _checks_machine_alone(plan)),
        ("create-venv", plan.python),
        ("install-rattler", plan.conda),
        *((name, True) for name in _list_conda_scripts(plan)),
        ("explain-pip", plan.guards_pip and not plan.conda),
        *((name, True) for name in _list_installers(plan)),
        ("add-user", True),
        ("profile", environment),
    )
    return [name for name, used in parts if used]


def _list_conda_scripts(plan: Plan) -> list[str]:
    """The scripts that create the environment from conda packages."""
    parts = (
        ("create-conda-environment", True),
        ("install_conda.py", True),
        ("activated", True),
        ("explain-pip", plan.guards_pip),
        ("check_provided.py", plan.provided),
        ("split_layers.py", True),
    )
    return [name for name, used in parts if used and plan.conda]


def _checks_machine_alone(plan: Plan) -> bool:
    """Whether a base image is used in which no virtual environment is created, a step that checks the machine."""
    return not plan.python or plan.standalone_python or any(target.build != target.run for target in plan.targets)


def _list_installers(plan: Plan) -> list[str]:
    """The scripts that install pip packages."""
    parts = (
        ("install-wheels", bool(plan.layers)),
        ("install-build-requirements", any(layer.indexes for layer in plan.sdists)),
        ("build-sdist", bool(plan.sdists)),
        ("fetch-sdist", bool(plan.sdists)),
    )
    return [name for name, used in parts if used]


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
    environment.filters.update(word=quote_word, exec_form=format_exec_form, heredoc_line=check_heredoc_line)
    return environment
