"""The formats of `envcompile export`, and the names of the files that `[lock] exports` keeps up to date.

`EXPORTERS` is the only list of exporters: the choices and the help of the command, the check of the spec, the
recognition of files by name, the schema and the pre-commit hook's pattern follow from it.

`verify` imports this module before anything else, so this module uses plain classes and strings and imports nothing.
"""

from __future__ import annotations


class Exporter:
    """One export format.

    - `name`: the value of `--format`.
    - `file_name`: the usual name of the file.
    - `module`: the module of `envcompile.export` whose `render_export` returns the text of the file.
    - `package_kinds`: the kinds of packages that the format can list. A lock without packages of the first kind has
      nothing to export.
    - `contents`, `used_by`: what the file contains and which programs read it, for the help and the documentation.
    - `stem_format`: the pattern of the file's name for a spec that is not called `envcompile.toml` or `pyproject.toml`.
    - `supports_several_platforms`: whether one file covers several platforms.
    - `needs_file_urls`: whether the format contains the URLs of pip's files.
    - `needs_conda_pip`: whether the installer runs the environment's own pip for pip packages.
    - `has_pins`: whether the format lists the packages of the lock, not the requirements of the spec.
    """

    def __init__(  # noqa: PLR0913 - the columns of a row
        self,
        name: str,
        file_name: str,
        module: str,
        *,
        package_kinds: tuple[str, ...],
        contents: str,
        used_by: str,
        stem_format: str = "{stem}.{file_name}",
        supports_several_platforms: bool = True,
        needs_file_urls: bool = False,
        needs_conda_pip: bool = False,
        has_pins: bool = True,
    ) -> None:
        self.name, self.file_name, self.module = name, file_name, module
        self.package_kinds, self.contents, self.used_by = package_kinds, contents, used_by
        self.stem_format, self.supports_several_platforms = stem_format, supports_several_platforms
        self.needs_file_urls, self.needs_conda_pip, self.has_pins = needs_file_urls, needs_conda_pip, has_pins

    def platform_file_name(self, platform: str) -> str:
        """The name of a file that covers one platform, such as `explicit-linux-64.txt`; "" stands for all platforms."""
        stem, dot, suffix = self.file_name.rpartition(".")
        return f"{stem}-{platform}{dot}{suffix}" if platform else self.file_name


# Sorted by name.
EXPORTERS = {
    row.name: row
    for row in (
        Exporter(
            "conda-lock",
            "conda-lock.yml",
            "conda_lock",
            package_kinds=("conda", "pip"),
            contents="conda and pip packages, in version 1 of the format",
            used_by="conda-lock, mamba, micromamba",
            needs_file_urls=True,
            needs_conda_pip=True,
        ),
        Exporter(
            "environment",
            "environment.yml",
            "environment_yml",
            package_kinds=("conda", "pip"),
            contents="the requirements of the spec, without pins",
            used_by="conda, mamba, conda-lock",
            has_pins=False,
        ),
        Exporter(
            "explicit",
            "explicit.txt",
            "explicit",
            package_kinds=("conda",),
            contents="the conda packages of one platform, as an `@EXPLICIT` list with hashes",
            used_by="conda, mamba, micromamba",
            supports_several_platforms=False,
        ),
        Exporter(
            "pylock",
            "pylock.toml",
            "pylock",
            package_kinds=("pip",),
            contents="pip packages, with the hash and the URL of each file (PEP 751)",
            used_by="uv and other installers of lock files",
            # PEP 751 allows no other names.
            stem_format="pylock.{stem}.toml",
            needs_file_urls=True,
        ),
        Exporter(
            "requirements",
            "requirements.txt",
            "requirements_txt",
            package_kinds=("pip",),
            contents="pip packages, with the hash of one file for each platform",
            used_by="pip, pip-sync, uv",
        ),
    )
}

# The names in `envcompile.platforms.PLATFORMS`, repeated here because `verify` does not import that module.
PLATFORM_NAMES = ("linux-64", "linux-aarch64")

# File name -> the name of its format, and the only platform that the file covers ("" for all locked platforms).
EXPORT_FILES = {
    row.platform_file_name(platform): (row.name, platform)
    for row in EXPORTERS.values()
    for platform in ("", *(() if row.supports_several_platforms else PLATFORM_NAMES))
}

DOCKERFILE_NAME = "Dockerfile"
# The first bytes of every Dockerfile, and of every exported file.
DOCKERFILE_HEADER = "# Made by envcompile "
EXPORT_HEADER = "# Made by `envcompile export`"


def format_export_name(name: str, stem: str) -> str:
    """The file name of the export `name` for a spec with this stem: `cpu.requirements.txt` for `cpu.toml`."""
    return EXPORTERS[EXPORT_FILES[name][0]].stem_format.format(stem=stem, file_name=name)


def parse_spec_stem(file: str) -> str | None:
    """The stem of the spec's name in the file name of an export: `cpu` for `cpu.requirements.txt`.

    The inverse of `format_export_name`. Returns "" for a name without a stem, such as `requirements.txt`, and None if
    the name is not that of an export.
    """
    if file in EXPORT_FILES:
        return ""
    for name in EXPORT_FILES:
        prefix, _, suffix = format_export_name(name, "\0").partition("\0")
        if file.startswith(prefix) and file.endswith(suffix) and len(file) >= len(prefix) + len(suffix):
            return file[len(prefix) : len(file) - len(suffix)]
    return None


def format_mismatch_message(file: str, name: str) -> str:
    """The message for a file that differs from the one that would be generated."""
    return f"`{file}` is not the {name} of this spec and lock"
