"""The cases of fixtures/compile: whole files in, whole files out."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envcompile.cli.main import main
from envcompile.diagnostics.errors import EXIT_OK
from envcompile.emit.dockerfile import compile_dockerfile, compute_tag
from envcompile.export import EXPORTERS, ExportInput, export_lock, select_platform
from envcompile.plan.layers import find_layer
from envcompile.plan.planner import make_plan
from envcompile.project.generated_files import EXPORT_FILES
from tests.kit.hadolint import findings
from tests.kit.project import CASES, FIXTURES, dockerfile_of, parsed, places

if TYPE_CHECKING:
    from tests.conftest import Golden


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, golden: Golden) -> None:
    expected = FIXTURES / "compile" / name / "expected"
    spec, lock = parsed(name)
    text = dockerfile_of(name)
    golden(expected / "Dockerfile", text)
    golden(expected / "tag", f"{spec.image.repository or spec.name}:{compute_tag(text)}\n")
    plan = dataclasses.asdict(make_plan(spec, lock))
    golden(expected / "plan.json", json.dumps(plan, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", [name for name in CASES if parsed(name)[1].platforms[0].base_decision])
@pytest.mark.parametrize("form", ["text", "json"])
def test_golden_explain(name: str, form: str, golden: Golden, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Promise 9: why this base, and what was rejected."""
    folder = FIXTURES / "compile" / name
    assert main(["explain", "-f", str(folder / "envcompile.toml"), "--as", form]) == EXIT_OK
    golden(folder / "expected" / f"explain.{'txt' if form == 'text' else form}", capsysbinary.readouterr().out.decode())


def exports_of(name: str) -> list[tuple[str, str]]:
    """The exports of a case: the formats, and the files in `expected/`."""
    spec, lock = parsed(name)
    requested = {kind for kind in ("conda", "pip", "apt") if getattr(spec, kind).packages}
    sdists = any(package.kind == "sdist" for platform in lock.platforms for package in platform.pip)
    rows = [row for row in EXPORTERS.values() if row.package_kinds[0] in requested]
    return [
        (row.name, row.platform_file_name("" if row.supports_several_platforms else platform.platform))
        for row in rows
        if not (sdists and row.has_pins and "pip" in row.package_kinds)
        for platform in lock.platforms[: 1 if row.supports_several_platforms else None]
    ]


@pytest.mark.parametrize(
    ("name", "format_", "file"), [(name, *export) for name in CASES for export in exports_of(name)]
)
def test_golden_exports(name: str, format_: str, file: str, golden: Golden) -> None:
    spec, lock = parsed(name)
    lock = select_platform(lock, EXPORT_FILES[file][1] or None)
    golden(FIXTURES / "compile" / name / "expected" / file, export_lock(format_, ExportInput(spec, lock, places(lock))))


@pytest.mark.parametrize("name", CASES)
def test_hadolint_finds_nothing(name: str) -> None:
    """At style level, the strictest."""
    assert findings(FIXTURES / "compile" / name / "expected" / "Dockerfile") == ""


@pytest.mark.parametrize("name", CASES)
def test_every_image_is_pinned_and_nothing_is_downloaded_unchecked(name: str) -> None:
    """Promises 1 and 2: everything is pinned, and no solver runs in `docker build`."""
    text = dockerfile_of(name)
    stages: set[str] = {"scratch"}
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == "FROM":
            image = next(word for word in words[1:] if not word.startswith("--"))
            assert image in stages or "@sha256:" in image or image.endswith("-${TARGETARCH}"), line
            stages.add(words[-1])
    # As a command: a package may be called so.
    assert not re.search(r"(?<![\w-])(?:curl|wget)(?![\w=.-])", text)
    # An sdist is compared with its hash before a wheel is made of it, and that wheel is then taken from its folder.
    built = text.count("--no-deps --no-index --find-links /build/wheels")
    assert text.count("uv pip install") == text.count("--no-deps --require-hashes --no-build") + built


@pytest.mark.parametrize("name", CASES)
def test_no_string_of_the_user_or_the_lock_stands_in_a_run(name: str) -> None:
    """Promise 10, in part: the RUN instructions of another spec and another lock are the same texts."""
    spec, lock = parsed(name)
    platforms = tuple(
        dataclasses.replace(
            each,
            pip=one_of_each_layer(each.pip),
            conda=one_of_each_layer(each.conda),
            apt=each.apt[:1],
            apt_build=each.apt_build[:1],
        )
        for each in lock.platforms
    )
    indexes = tuple(dataclasses.replace(each, url="https://other.example.invalid") for each in spec.pip.extra_indexes)
    image = dataclasses.replace(spec.image, workdir="/other", user=(7, 8), env=(("OTHER", "x"),), command=("other",))
    other = dataclasses.replace(
        spec, name="other", image=image, pip=dataclasses.replace(spec.pip, extra_indexes=indexes)
    )
    assert runs(compile_dockerfile(other, dataclasses.replace(lock, platforms=platforms))) == runs(dockerfile_of(name))
    plain = not lock.platforms[0].conda and not lock.snapshot and not spec.pip.extra_indexes
    if plain and not spec.pip.allow_sdist and name != "standalone":
        assert set(runs(dockerfile_of(name))) == set(runs(dockerfile_of("ml")))


def one_of_each_layer(packages: tuple[Any, ...]) -> tuple[Any, ...]:
    found = {
        (getattr(each, "index", ""), getattr(each, "kind", ""), find_layer(each.name, each.size, 8)): each
        for each in reversed(packages)
    }
    return tuple(found.values())[::-1]


def test_an_environment_whose_markers_leave_nothing_is_an_environment_still() -> None:
    """Its interpreter is there and comes first, also when no package is."""
    spec, lock = parsed("ml")
    empty = dataclasses.replace(lock, platforms=tuple(dataclasses.replace(each, pip=()) for each in lock.platforms))
    text = compile_dockerfile(spec, empty)
    assert "COPY --link --from=prefix /env /env\n" in text
    assert "uv pip install" not in text


def runs(text: str) -> list[str]:
    found = [part for part in text.replace("\\\n", "").splitlines() if part.startswith("RUN ")]
    assert found
    return found


def test_the_project_names_no_machine() -> None:
    """No version of the tool, no date, no path and no name of the machine enters the Dockerfile (promise 4)."""
    from envcompile import __version__

    for name in CASES:
        text = dockerfile_of(name)
        for stranger in (__version__, str(Path.cwd()), str(Path.home()) + "/"):
            assert stranger not in text.replace("/root/.cache/uv", "")
