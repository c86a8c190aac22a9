"""The cases of fixtures/compile: whole files in, whole files out."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envcompile.emit.dockerfile import tag
from envcompile.lock.exports import Given, export
from envcompile.pipeline import compile_dockerfile
from envcompile.plan.make import make_plan
from tests.hadolint import findings
from tests.made import CASES, FIXTURES, dockerfile_of, parsed

if TYPE_CHECKING:
    from tests.conftest import Golden


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, golden: Golden) -> None:
    expected = FIXTURES / "compile" / name / "expected"
    spec, lock = parsed(name)
    text = dockerfile_of(name)
    golden(expected / "Dockerfile", text)
    golden(expected / "tag", f"{spec.image.repository or spec.name}:{tag(text)}\n")
    plan = dataclasses.asdict(make_plan(spec, lock))
    golden(expected / "plan.json", json.dumps(plan, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", [name for name in CASES if parsed(name)[0].conda.packages])
def test_golden_exports(name: str, golden: Golden) -> None:
    expected = FIXTURES / "compile" / name / "expected"
    spec, lock = parsed(name)
    given = Given(spec, lock, "https://files.example.invalid/packages")
    golden(expected / "conda-lock.yml", export("conda-lock", given))
    golden(expected / "environment.yml", export("environment", given))
    for platform in lock.platforms:
        one = dataclasses.replace(lock, platforms=(platform,))
        golden(expected / f"explicit-{platform.platform}.txt", export("explicit", Given(spec, one)))


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
    made = text.count("--no-deps --no-index --find-links /build/wheels")
    assert text.count("uv pip install") == text.count("--no-deps --require-hashes --no-build") + made


@pytest.mark.parametrize("name", CASES)
def test_no_string_of_the_user_or_the_lock_stands_in_a_run(name: str) -> None:
    """Promise 10, in part: the RUN instructions of another spec and another lock are the same texts."""
    spec, lock = parsed(name)
    # One package of each index, which has a layer of its own, and of each kind.
    one = [
        tuple({(package.index, package.kind): package for package in reversed(each.pip)}.values())[::-1]
        for each in lock.platforms
    ]
    platforms = tuple(
        dataclasses.replace(each, pip=pip, conda=each.conda[:1], apt=each.apt[:1], apt_build=each.apt_build[:1])
        for each, pip in zip(lock.platforms, one, strict=True)
    )
    indexes = tuple(dataclasses.replace(each, url="https://other.example.invalid") for each in spec.pip.extra_indexes)
    image = dataclasses.replace(spec.image, workdir="/other", user=(7, 8), env=(("OTHER", "x"),), command=("other",))
    other = dataclasses.replace(
        spec, name="other", image=image, pip=dataclasses.replace(spec.pip, extra_indexes=indexes)
    )
    assert runs(compile_dockerfile(other, dataclasses.replace(lock, platforms=platforms))) == runs(dockerfile_of(name))
    if not (lock.platforms[0].conda or lock.snapshot or spec.pip.extra_indexes or spec.pip.allow_sdist):
        assert runs(dockerfile_of(name)) == runs(dockerfile_of("ml"))


def test_an_environment_whose_markers_leave_nothing_is_an_environment_still() -> None:
    """Its interpreter is there and comes first, also when no package is."""
    spec, lock = parsed("ml")
    empty = dataclasses.replace(lock, platforms=tuple(dataclasses.replace(each, pip=()) for each in lock.platforms))
    text = compile_dockerfile(spec, empty)
    assert "COPY --link --from=env /env /env\n" in text
    assert "uv pip install" not in text
    assert "COPY --link --from=env /env /env\n" not in dockerfile_of("ml")


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
            assert stranger not in text.replace("/root/.cache/uv", "").replace("/root/micromamba", "")
