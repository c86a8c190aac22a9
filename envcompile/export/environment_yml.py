"""`environment.yml`: the requirements of the spec without pins, for conda, mamba and conda-lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.export.common import format_requirement_omissions, format_yaml
from envcompile.project.generated_files import EXPORT_HEADER
from envcompile.spec.conda import parse_match_spec
from envcompile.spec.solver_inputs import list_conda_requirements

if TYPE_CHECKING:
    from envcompile.export import ExportInput
    from envcompile.export.common import YamlValue
    from envcompile.spec.conda import MatchSpec

_HEADER = f"{EXPORT_HEADER}. Do not edit: the requirements come from the spec."


def render_export(export_input: ExportInput) -> str:
    """The text of the file, with the channels of the spec and the platforms of the lock."""
    spec = export_input.spec
    dependencies: list[YamlValue] = [format_match_spec(each) for each in collect_conda_requirements(export_input)]
    if spec.pip.packages:
        dependencies.append({"pip": [each.format_canonical() for each in spec.pip.packages]})
    comments = (_HEADER, *format_requirement_omissions(export_input))
    return "".join(f"{line}\n" for line in comments) + format_yaml(
        {
            "name": spec.name,
            # Without `nodefaults`, conda adds the channels of the user's own configuration.
            "channels": [*spec.conda.channels, "nodefaults"],
            "platforms": [each.platform for each in export_input.lock.platforms],
            "dependencies": dependencies,
        }
    )


def collect_conda_requirements(export_input: ExportInput) -> tuple[MatchSpec, ...]:
    """The conda requirements: packages in the order of the spec, Python, and `pip` if there are pip packages.

    A channel that the spec gives as a URL is written as a URL: mamba looks for a bare name on its own server, and conda
    takes the last part of the path for a local folder.
    """
    spec = export_input.spec
    urls = {
        each.name: each.url
        for each in export_input.lock.channels
        if each.name not in spec.conda.channels and each.url.startswith("http")
    }
    requirements = [each.match_spec for each in list_conda_requirements(spec)]
    if spec.pip.packages and all(each.name != "pip" for each in requirements):
        # conda adds a missing `pip` with a warning; mamba and conda-lock do not add it.
        requirements.append(parse_match_spec("pip"))
    return tuple(each._replace(channel=urls.get(each.channel or "", each.channel)) for each in requirements)


def format_match_spec(spec: MatchSpec) -> str:
    """The canonical text of a MatchSpec: `channel/subdir::name version build[md5=…]`, without unset parts."""
    subdir = f"/{spec.subdir}" if spec.subdir and spec.channel else ""
    channel = f"{spec.channel}{subdir}::" if spec.channel else ""
    brackets = {"subdir": spec.subdir if not spec.channel else None, "md5": spec.md5, "sha256": spec.sha256}
    pairs = ",".join(f"{key}={value}" for key, value in brackets.items() if value)
    version = spec.version or ("*" if spec.build else None)
    words = " ".join(word for word in (spec.name, version, spec.build) if word)
    return f"{channel}{words}[{pairs}]" if pairs else f"{channel}{words}"
