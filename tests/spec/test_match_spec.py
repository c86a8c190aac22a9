"""conda requirements: their parts, the packages that match them, and the messages for rejected ones."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from itertools import pairwise

import pytest

from envcompile.diagnostics.diagnostic import RequirementError
from envcompile.lock.model import CondaPackage
from envcompile.spec.conda import (
    MatchSpec,
    compare_conda_versions,
    matches_package,
    parse_conda_requirement,
    parse_conda_version,
    parse_match_spec,
)
from envcompile.spec.values import MAX_REQUIREMENT_LENGTH

READ = {
    "numpy": (None, None),
    "numpy *": (None, None),
    "numpy=*": (None, None),
    "numpy * *": (None, None),
    "numpy 1.26": ("==1.26", None),
    "numpy ==1.26": ("==1.26", None),
    "numpy==1.26": ("==1.26", None),
    "numpy = 1.26": ("1.26.*", None),
    "numpy=1.26": ("1.26.*", None),
    "numpy 1.26.*": ("1.26.*", None),
    "numpy 1.26*": ("1.26.*", None),
    "numpy ==1.26.*": ("1.26.*", None),
    "numpy==1.26.*,>=1.26.2": ("1.26.*,>=1.26.2", None),
    "numpy=1.26*": ("1.26.*", None),
    "numpy !=1.26": ("!=1.26", None),
    "numpy !=1.26.*": ("!=1.26.*", None),
    "numpy >=1.26.*": (">=1.26", None),
    "numpy>=2,<3": (">=2,<3", None),
    "numpy >= 2 , < 3": (">=2,<3", None),
    "numpy 1.26|>=2,!=2.1": ("==1.26|>=2,!=2.1", None),
    "numpy ~=1.26.1": ("~=1.26.1", None),
    "x264 >=1!164.3095,<1!165": (">=1!164.3095,<1!165", None),
    "astroid >=3.3.8,<3.4.0-dev0": (">=3.3.8,<3.4.0-dev0", None),
    "pytorch * cuda*": (None, "cuda*"),
    "pytorch=*=cuda*": (None, "cuda*"),
    "pytorch 2.* cuda*": ("2.*", "cuda*"),
    "pytorch=2.*=cuda*": ("2.*", "cuda*"),
    "pytorch >=2,<3 cuda*": (">=2,<3", "cuda*"),
    "pytorch>=2,<3=cuda*": (">=2,<3", "cuda*"),
    # With a build, `=1.26` is the exact version.
    "numpy=1.26=py*": ("==1.26", "py*"),
    "numpy =1.26 py*": ("==1.26", "py*"),
    "numpy=1.26=*": ("==1.26", None),
    "numpy=1.26,<2=py*": ("1.26.*,<2", "py*"),
    "numpy=1.26[build='py*']": ("1.26.*", "py*"),
    "numpy[version='>=2,<3', build=py*]": (">=2,<3", "py*"),
    'numpy 1.26[version="2|3"]': ("==2|==3", None),
}

WHERE = {
    "numpy": (None, None),
    "conda-forge::numpy": ("conda-forge", None),
    "conda-forge/noarch::numpy": ("conda-forge", "noarch"),
    "pkgs/main/linux-64::numpy": ("pkgs/main", "linux-64"),
    "conda-forge/label/dev::numpy": ("conda-forge/label/dev", None),
    "numpy[channel=conda-forge/noarch]": ("conda-forge", "noarch"),
    "conda-forge::numpy[channel=nvidia,subdir=noarch]": ("nvidia", "noarch"),
    "conda-forge/noarch::numpy[channel=nvidia]": ("nvidia", "noarch"),
    "numpy[channel=nvidia/noarch,subdir=linux-64]": ("nvidia", "linux-64"),
}

DIFFERENT = "means different things to conda and rattler"
# The text: a part of the message, and a part of the hint.
REJECTED = {
    "": ("is not a conda requirement", "`"),
    "numpy*": ("is not a conda requirement", "`"),
    "numpy@1.26": ("is not a conda requirement", "`"),
    "ümlaut": ("is not a conda requirement", "`"),
    "numpy >1.26.*": (DIFFERENT, "`>1.26`"),
    "numpy >=1.26*": (DIFFERENT, "`>=1.26`"),
    "numpy !=1.26*": (DIFFERENT, "`!=1.26.*`"),
    "numpy 1.*.4": (DIFFERENT, "`1.*`"),
    "numpy *.4": (DIFFERENT, "`*`"),
    "numpy 1.26.**": (DIFFERENT, "`1.26.*`"),
    "numpy ~=1": (DIFFERENT, "`>=1`"),
    "numpy ~=1.26.*": (DIFFERENT, "`>=1.26`"),
    "numpy ~=1.26_1": (DIFFERENT, "`>=1.26_1`"),
    "torch =2.4+cu118": (DIFFERENT, "`==2.4+cu118`"),
    "torch !=2.4+cu118.*": (DIFFERENT, "`!=2.4+cu118`"),
    "openssl >1.1a_": (DIFFERENT, "`1.1a`"),
    "numpy ==1.26.* py*": (DIFFERENT, "`1.26.*`"),
    "numpy >=1,==1.26.*": (DIFFERENT, "`1.26.*`"),
    "numpy[version='==1.26.*']": (DIFFERENT, "`1.26.*`"),
    "numpy >=1,=1.26*": (DIFFERENT, "`1.26.*`"),
    "numpy[version='=1.26*']": (DIFFERENT, "`1.26.*`"),
    "numpy (1.26)": (DIFFERENT, "`,` binds closer than `|`"),
    "numpy[version='(1.2|1.3),<2']": (DIFFERENT, "`,` binds closer than `|`"),
    "numpy !=*": ("has an operator but no version", "`*`"),
    "numpy >=1 <2": ("has no comma between two ranges", "`>=1,<2`"),
    "numpy >=1 =1.26": ("has no comma between two ranges", "`>=1,=1.26`"),
    "numpy>=1<2": ("has no comma between two ranges", "`>=2,<3`"),
    "numpy[version='>=1 <2']": ("has no comma between two ranges", "`>=2,<3`"),
    "numpy >=1,": ("has a `,` or `|` without a version on each side", "`"),
    "numpy =>1": ("is not a comparison operator", "`>=1`"),
    "numpy===1": ("is not a comparison operator", "`==1`"),
    "numpy > =1": ("has a space before an `=`", "`>=1`"),
    "numpy >=1, =1.26": ("has a space before an `=`", "`>=1,=1.26`"),
    "numpy 1.26 =py*": ("has a space before an `=`", "`1.26=py*`"),
    "x264 v164": ("is not a version", "`"),
    "numpy 1.26.": ("is not a version", "`"),
    "numpy 1.2_3-4": ("has both `-` and `_`", "`1.2_3_4`"),
    "numpy 20240101000000000000": ("is too long", "shorter"),
    "numpy\t1.26": ("contains whitespace other than", "space"),
    "numpy\x1f": ("contains whitespace other than", "space"),
    "numpy 1.26  # the last one": ("contains a comment", "outside"),
    "numpy >=2 # https://example.com/1": ("contains a comment", "outside"),
    "numpy >=2; python_version<'3'": ("has a condition", "`numpy >=2`"),
    "numpy >=2 if linux": ("has a condition", "`numpy >=2`"),
    "pytorch >=2 cuda* mkl": ("has more than a version and a build", "`"),
    "pytorch * ^cuda.*$": ("is not a build", "`"),
    "pytorch * cuda**": ("is not a build", "`"),
    "uvicorn[standard] >=0.30": ("requests an extra", "`[pip]`"),
    "ffmpeg[licence=gpl]": ("has the unknown key `licence` in brackets", "`version`, `build`"),
    "numpy[build_number=2]": ("requests a build number", '`[build="*_2"]`'),
    "numpy[version='>=2'": ("has invalid brackets", "`"),
    "numpy[version = '2']": ("has invalid brackets", "`"),
    "numpy[version='2' build='py*']": ("has invalid brackets", "`"),
    "numpy[version='2',]": ("has invalid brackets", "`"),
    "numpy[version='2',version='3']": ("has invalid brackets", "`"),
    "numpy[sha256=abc]": ("is not a sha256", "lower case"),
    "numpy[subdir=osx-64]": ("is not a subdir", "`linux-64`"),
    "conda-forge:numpy": ("names a channel with a single colon", "`conda-forge::numpy`"),
    "conda-forge/noarch:numpy": ("names a channel with a single colon", "`conda-forge/noarch::numpy`"),
    "::numpy": ("has no channel before `::`", "`numpy`"),
    "conda-forge:: numpy": ("does not name one package of one channel", "`conda-forge::numpy`"),
    "numpy = [version='2']": ("is not a version", "`"),
    "*::numpy": ("is not a channel name", "`conda-forge::numpy`"),
    "defaults::numpy": ("names `defaults`", "`pkgs/main::numpy`"),
    "conda-forge/osx-arm64::numpy": ("is not a supported subdir", "`linux-aarch64`"),
}

OTHER_RULES = {
    "-c conda-forge": "requirement-option",
    "./numpy-1.26-py312_0.conda": "requirement-path",
    "numpy-1.26-py312_0.tar.bz2": "requirement-path",
    "https://conda.anaconda.org/conda-forge::numpy": "requirement-url",
    "https://me:secret@example.com/channel::numpy": "userinfo",
}

# Rows of equal versions, in ascending order. Most are examples from CEP 33.
ORDER = (
    ("0.4.1.rc", "0.4.1.RC"),
    ("0.4.1+local",),
    ("0.4.1", "0.4.1.0", "0.4.1+0", "00.4.01"),
    ("0.4.1+1.local",),
    ("0.5dev",),
    ("0.5_",),
    ("0.5a1",),
    ("0.5rc1",),
    ("0.5.dev1", "0.5.0dev1"),
    ("0.5.0rc1", "0.5.rc1"),
    ("0.5",),
    ("0.5.1-1", "0.5.1_1", "0.5.1.1"),
    ("0.5post1",),
    ("0.960923",),
    ("1.0",),
    ("1.0.post1",),
    ("1!0.1",),
)

PACKAGE = CondaPackage(
    "numpy", "1.26.4", "py312h1_0", "conda-forge", "linux-64", "n.conda", sha256=64 * "a", md5=32 * "b"
)
MATCHING = (
    *("numpy", "NumPy", "numpy =1.26", "numpy 1.26.4", "numpy 1.26.4.0", "numpy >1.26,<2", "numpy <1|>=1.26"),
    *("numpy ~=1.26.1", "numpy !=1.26", "numpy !=1.25.*", "numpy * py312*", "numpy * *_0", "numpy * p*h*_*"),
    *("conda-forge::numpy", "conda-forge/linux-64::numpy", "numpy[subdir=linux-64]", "numpy * PY312H1_0"),
    *(f"numpy[sha256={64 * 'a'}]", f"numpy[md5={32 * 'b'}]"),
)
NOT_MATCHING = (
    *("scipy", "numpy 1.26", "numpy =1.2", "numpy=1.26=py*", "numpy >1.26.4", "numpy <1.26.4", "numpy ~=1.25.1"),
    *("numpy !=1.26.*", "numpy >=1,<1.26|>=2", "numpy * py31", "numpy * *h2_*", "numpy * py312h1_0*0", "numpy * cuda*"),
    *("nvidia::numpy", "conda-forge/noarch::numpy", "numpy[channel=nvidia]", f"numpy[sha256={64 * 'b'}]"),
)


@pytest.mark.parametrize(("text", "parts"), READ.items())
def test_versions_are_normalised(text: str, parts: tuple[str | None, str | None]) -> None:
    spec = parse_match_spec(text)
    assert (spec.version, spec.build) == parts
    if spec.version is not None:
        name = f"{spec.name}[version='{spec.version}']"
        assert parse_match_spec(name).version == spec.version


@pytest.mark.parametrize(("text", "place"), WHERE.items())
def test_channel_and_subdir(text: str, place: tuple[str | None, str | None]) -> None:
    assert parse_match_spec(text) == MatchSpec("numpy", None, None, *place)


@pytest.mark.parametrize(("text", "expected"), REJECTED.items())
def test_rejected_match_spec_has_a_hint(text: str, expected: tuple[str, str]) -> None:
    with pytest.raises(RequirementError) as caught:
        parse_match_spec(text)
    message, hint = expected
    assert caught.value.rule == "match-spec"
    assert message in caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("text", "rule"), OTHER_RULES.items())
def test_foreign_syntax_has_its_own_rule(text: str, rule: str) -> None:
    with pytest.raises(RequirementError) as caught:
        parse_match_spec(text)
    assert caught.value.rule == rule
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"


def test_long_texts_are_rejected() -> None:
    for text in (
        "numpy " + "=" * MAX_REQUIREMENT_LENGTH,
        "a::" * 500,
        "n" * MAX_REQUIREMENT_LENGTH + "*",
        "numpy[" + "a=b," * 400,
    ):
        with pytest.raises(RequirementError):
            parse_match_spec(text)


@pytest.mark.parametrize("text", MATCHING)
def test_package_that_matches(text: str) -> None:
    assert matches_package(parse_match_spec(text), PACKAGE)


@pytest.mark.parametrize("text", NOT_MATCHING)
def test_package_that_does_not_match(text: str) -> None:
    assert not matches_package(parse_match_spec(text), PACKAGE)


@pytest.mark.parametrize(
    ("text", "admitted", "others"),
    [
        ("numpy <2", "2.0rc1 2.0.dev0 1.26.post1 1.26 2+cu118", "2 2.0 2.0.post1 1!1.0"),
        ("numpy >1.0", "1.0.post1 1.0.1 1.0+1 1!0.1", "1 1.0.0 1.0rc1 1.0+cu118"),
        ("numpy =1.26", "1.26 1.26.0 1.26rc1 1.26.post1 1.26+cu118", "1.260 1.2 1!1.26 1.27"),
        ("numpy =1.26.0", "1.26 1.26.0rc1 1.26rc1 1.26.0.1", "1.26.1 1.27"),
        ("numpy ~=1.26.0", "1.26 1.26.4 1.26.post1", "1.26rc1 1.27 2"),
    ],
)
def test_range_boundaries(text: str, admitted: str, others: str) -> None:
    spec = parse_match_spec(text)
    made = [dataclasses.replace(PACKAGE, version=each) for each in (admitted + " " + others).split()]
    assert [each.version for each in made if matches_package(spec, each)] == admitted.split()


def test_invalid_version_is_in_no_range() -> None:
    package = dataclasses.replace(PACKAGE, version="1..2")
    assert matches_package(parse_match_spec("numpy"), package)
    assert not matches_package(parse_match_spec("numpy !=1"), package)


def test_the_order_of_versions() -> None:
    for row in ORDER:
        assert {compare_conda_versions(parse_conda_version(row[0]), parse_conda_version(each)) for each in row} == {
            0
        }, row
    for (lower, *_), (upper, *_) in pairwise(ORDER):
        assert (
            compare_conda_versions(parse_conda_version(lower), parse_conda_version(upper)),
            compare_conda_versions(parse_conda_version(upper), parse_conda_version(lower)),
        ) == (-1, 1)


@pytest.mark.parametrize("text", ["", ".1", "1.", "1..2", "1!", "1+", "1-2_3", "1 2", "1*", "é", "1!2!3"])
def test_invalid_version_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_conda_version(text)


def test_matching_imports_no_slow_module() -> None:
    """`verify` imports this module, and must start fast."""
    program = (
        "import sys, envcompile.spec.conda; "
        "print({'packaging', 'rattler', 'jinja2', 'tomli', 'fnmatch', 'os.path', 'json'} & (set(sys.modules) - early))"
    )
    started = f"import sys; early = set(sys.modules); {program}"
    done = subprocess.run([sys.executable, "-I", "-c", started], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_series_with_an_inequality_has_its_own_hint() -> None:
    with pytest.raises(RequirementError) as caught:
        parse_match_spec("zz <3,>=1.2*")
    assert caught.value.hint == "write `>=1.2`"


def test_a_colon_in_brackets_belongs_to_the_value() -> None:
    with pytest.raises(RequirementError, match=r"`corp:main` in .* is not"):
        parse_match_spec("zz[channel=corp:main]")


@pytest.mark.parametrize(
    ("pattern", "build", "matches"),
    [
        ("*b*c", "bxc", True),
        ("a*x*xy", "axy", False),  # the parts must not overlap
        ("a*x*xy", "axxy", True),
        ("*X", "py_x", True),
        ("X*", "py_x", False),
    ],
)
def test_the_parts_of_a_build_pattern(pattern: str, build: str, *, matches: bool) -> None:
    package = CondaPackage("x", "1.0", build, "c", "noarch", "x.conda", 64 * "0")
    assert parse_conda_requirement(f"x * {pattern}").allows(package) == matches


@pytest.mark.parametrize("text", ["x * py%", "x * py*;", "x >=1.99999999999999999999", "x >=a[b[c]]"])
def test_a_valid_start_is_not_enough(text: str) -> None:
    with pytest.raises(RequirementError):
        parse_conda_requirement(text)
