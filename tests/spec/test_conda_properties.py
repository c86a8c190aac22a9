"""`spec.conda` reads requirements and versions as rattler does: those of a real channel, and random ones.

rattler runs in a child process that ends with `os._exit`, because py-rattler 0.28 may crash when an interpreter ends.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envcompile.diagnostics.diagnostic import RequirementError
from envcompile.lock.model import CondaPackage
from envcompile.spec.conda import (
    MatchSpec,
    compare_conda_versions,
    matches_package,
    parse_conda_version,
    parse_match_spec,
)
from tests.kit.effort import count_examples

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNEL = Path(__file__).parents[2] / "fixtures/channels/conda-forge"
CHILD = """
import json, os, sys
from rattler import BuildString, MatchSpec, PackageRecord, Version

def ordered(pair):
    try:
        left, right = map(Version, pair)
    except Exception:
        return None
    return (left > right) - (left < right)

def admitted(text, records):
    try:
        spec = MatchSpec(text, strict=False)
    except Exception as error:
        return str(error)
    return [spec.matches(record) for record in records]

for line in sys.stdin:
    asked = json.loads(line)
    records = [
        PackageRecord(name=asked["name"], version=version, build=BuildString(build), build_number=0, subdir="noarch")
        for version, build in asked["records"]
    ]
    order = [ordered(pair) for pair in asked["pairs"]]
    print(json.dumps({"order": order, "specs": [admitted(text, records) for text in asked["specs"]]}), flush=True)
os._exit(0)
"""
BUILDS = ["py312h1_0", "py39_0", "cuda126_py312h1_200", "cpu_mkl", "mkl", "0", "h1_0_cpu", "pyhd8ed1ab_0"]

Records = list[tuple[str, str]]


class Rattler:
    """The child process: each question and each answer is one line."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self.child = child

    def ask(self, name: str = "x", records: Records = [], specs: list[str] = [], pairs: Any = ()) -> dict[str, Any]:  # noqa: B006
        assert self.child.stdin
        assert self.child.stdout
        question = {"name": name, "records": records, "specs": specs, "pairs": list(pairs)}
        self.child.stdin.write(json.dumps(question) + "\n")
        self.child.stdin.flush()
        answer: dict[str, Any] = json.loads(self.child.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def rattler() -> Iterator[Rattler]:
    if find_spec("rattler") is None:
        pytest.skip("py-rattler is not installed")
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=-1, stdout=-1, text=True, encoding="utf-8") as child:
        yield Rattler(child)


def package(name: str, number: str, build: str, subdir: str = "noarch") -> CondaPackage:
    return CondaPackage(name, number, build, "conda-forge", subdir, "", "")


# Few numbers and words, so that many versions are equal or close.
NUMBERS = st.sampled_from("0 1 2 3 10 01 00 26".split())
WORDS = st.sampled_from(["", "", "", "a", "a1", "b1c", "rc1", "dev", "dev0", "post1", "alpha2", "RC2"])
FIRST = st.builds("{}{}".format, NUMBERS, WORDS)
LATER = FIRST | st.sampled_from(["a", "rc1", "dev0", "post1", "post", "alpha2"])


@st.composite
def versions(draw: st.DrawFn, ends: str = "_", local: bool = True) -> str:
    separators = draw(st.sampled_from([".", ".", "._", ".-"]))
    text = draw(FIRST)
    for each in draw(st.lists(LATER, max_size=3)):
        text += draw(st.sampled_from(separators)) + each
    text += ends if ends and "-" not in separators and draw(st.integers(0, 9)) == 0 else ""
    text = draw(st.sampled_from(["", "", "", "0!", "1!"])) + text
    return text + (draw(st.sampled_from(["", "", "", "+cu118", "+1", "+0.a", "+a.1"])) if local else "")


LITERALS = versions() | versions(ends="", local=False)
COMPARED = st.sampled_from(["", "=", "==", "!=", ">", ">=", "<", "<="])
STARRED = st.sampled_from(["", "=", "==", "!=", ">=", "<"])
CONSTRAINTS = st.one_of(
    st.builds("{}{}".format, COMPARED, LITERALS),
    st.builds("{}{}{}".format, STARRED, LITERALS, st.sampled_from([".*", "*"])),
    st.builds("~={}".format, LITERALS),
    st.just("*"),
)
BUILT = st.sampled_from("* py* cuda* *_cpu *mkl cpu_mkl py3*_0 PY39_0 *1*_*0 0 h1_0_cpu".split())


@st.composite
def ranges(draw: st.DrawFn, blank: str = "") -> str:
    text = draw(CONSTRAINTS)
    for each in draw(st.lists(CONSTRAINTS, max_size=2)):
        text += draw(st.sampled_from([",", "|", f"{blank},", f"|{blank}"])) + each
    return re.sub("([=<>!~]=|[=<>])", rf"\1{blank}", text) if draw(st.booleans()) else text


@st.composite
def specs(draw: st.DrawFn) -> str:
    """Requirements, most of them like those that people write."""
    name = draw(st.sampled_from(["x", "x", "conda-forge::x", "conda-forge/noarch::X"]))
    form = draw(st.integers(0, 4))
    between = draw(st.sampled_from(["", " ", "  "]))
    asked = draw(ranges(blank=" " if form == 0 else ""))
    between = between or ("" if asked[0] in "<>=!~" else " ")
    build = draw(BUILT)
    return (
        f"{name}{between}{asked}",
        f"{name}{between}{asked} {build}",
        f"{name}{between}{asked}={build}",
        f"{name}{between}{asked}[build='{build}']",
        f'{name}[version="{asked}",build={build}]',
    )[form]


def parsed(text: str) -> MatchSpec | None:
    """The requirement, or None if it is rejected; then there must be a message and a hint."""
    try:
        return parse_match_spec(text)
    except RequirementError as refusal:
        error = refusal
    assert error.message
    assert error.hint
    return None


def agree(rattler: Rattler, text: str, records: Records) -> None:
    """A requirement that is accepted matches the same packages as in rattler, which ignores channel and subdir."""
    spec = parsed(text)
    if spec is None:
        return
    anywhere = spec._replace(channel=None, subdir=None)
    ours = [matches_package(anywhere, package(spec.name, *each)) for each in records]
    assert rattler.ask(spec.name, records, [text])["specs"] == [ours], text
    if spec.version is not None:
        # rattler reads the normalised version in the same way.
        kept = f'{spec.name}[version="{spec.version}"]'
        ours = [matches_package(parse_match_spec(kept), package(spec.name, *each)) for each in records]
        assert parse_match_spec(kept).version == spec.version
        assert rattler.ask(spec.name, records, [kept])["specs"] == [ours], kept


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64"])
def test_requirements_in_channel_match_the_same_records_as_in_rattler(rattler: Rattler, platform: str) -> None:
    records: dict[str, Records] = defaultdict(list)
    asked: dict[str, set[str]] = defaultdict(set)
    for subdir in (platform, "noarch"):
        repodata = json.loads((CHANNEL / subdir / "repodata.json").read_text(encoding="utf-8"))
        for record in [*repodata["packages"].values(), *repodata["packages.conda"].values()]:
            records[record["name"]].append((record["version"], record["build"]))
            for text in [*record.get("depends", ()), *record.get("constrains", ())]:
                asked[parse_match_spec(text).name].add(text)
    pairs = 0
    for name, texts in asked.items():
        found, written = records.get(name, []), sorted(texts)
        theirs = rattler.ask(name, found, written)["specs"]
        ours = [[matches_package(parse_match_spec(text), package(name, *each)) for each in found] for text in written]
        assert ours == theirs, [one for one, mine, other in zip(written, ours, theirs, strict=True) if mine != other]
        pairs += len(found) * len(written)
    assert pairs


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64", "noarch"])
def test_versions_in_channel_have_the_same_order_as_in_rattler(rattler: Rattler, platform: str) -> None:
    numbers: dict[str, set[str]] = defaultdict(set)
    repodata = json.loads((CHANNEL / platform / "repodata.json").read_text(encoding="utf-8"))
    for record in [*repodata["packages"].values(), *repodata["packages.conda"].values()]:
        numbers[record["name"]].add(record["version"])
    pairs = [(one, other) for each in numbers.values() for one in sorted(each) for other in sorted(each)]
    assert [
        compare_conda_versions(parse_conda_version(one), parse_conda_version(other)) for one, other in pairs
    ] == rattler.ask(pairs=pairs)["order"]


@settings(max_examples=count_examples(200))
@given(numbers=st.lists(versions() | LATER, min_size=2, max_size=12))
@example(numbers=["1.0+cu118", "1.0", "1.0.post1", "1.0rc1", "1.0dev1", "1.0_", "1.0a_", "1.0a"])
def test_generated_versions_have_the_same_order_as_in_rattler(rattler: Rattler, numbers: list[str]) -> None:
    pairs = [(one, other) for one in numbers for other in numbers]
    assert [
        compare_conda_versions(parse_conda_version(one), parse_conda_version(other)) for one, other in pairs
    ] == rattler.ask(pairs=pairs)["order"]


@settings(max_examples=count_examples(200))
@given(text=st.text("012a_.-+!", max_size=8) | st.text(max_size=5))
def test_rattler_accepts_every_accepted_version(rattler: Rattler, text: str) -> None:
    try:
        parse_conda_version(text)
    except ValueError:
        return
    assert rattler.ask(pairs=[(text, text)])["order"] == [0]


@settings(max_examples=count_examples(500), suppress_health_check=[HealthCheck.too_slow])
@given(text=specs(), numbers=st.lists(versions(), min_size=1, max_size=12), build=st.sampled_from(BUILDS))
def test_generated_requirements_match_the_same_packages(
    rattler: Rattler, text: str, numbers: list[str], build: str
) -> None:
    near = [number.strip("<>=!~*. ") for number in re.findall(r"[<>=!~]*[0-9][0-9A-Za-z.!]*", text)]
    readable = [number for number in near if not _unreadable(number)]
    records = [(number, each) for number in numbers + readable for each in (build, "py39_0", "cpu_mkl")]
    agree(rattler, text, records)


def _unreadable(number: str) -> bool:
    try:
        parse_conda_version(number)
    except ValueError:
        return True
    return False


SOUP = st.text("x 0123456789.*=<>!~,|_-+ab[]\"'(): /;#\t", max_size=24)
PIECES = "x|x |numpy|conda-forge::|noarch|=|==|>=|<|!=|~=|1|.2|.*|*|2.0|rc1|py*|[|]|version|build|channel|'|\"|,| |:|("
PIECED = st.lists(st.sampled_from([*PIECES.split("|"), "|"]), max_size=9).map("".join)
SLIPS = st.sampled_from("=<>!~*.,|[]\"' 1a_-:")
NEAR = [(number, build) for number in ("1", "1.2", "2.0", "2.0rc1", "1a1", "10") for build in ("py39_0", "0")]


@settings(max_examples=count_examples(500))
@given(text=SOUP | PIECED | st.text(max_size=20))
def test_random_text_is_rejected_or_read_as_in_rattler(rattler: Rattler, text: str) -> None:
    """Random text never causes a crash, and rattler accepts and reads every accepted text in the same way."""
    agree(rattler, text, NEAR)


@settings(max_examples=count_examples(500))
@given(text=specs(), where=st.integers(0, 30), what=SLIPS, length=st.integers(0, 2))
def test_requirement_with_a_typo_is_rejected_or_read_as_in_rattler(
    rattler: Rattler, text: str, where: int, what: str, length: int
) -> None:
    agree(rattler, text[:where] + what + text[where + length :], NEAR)
