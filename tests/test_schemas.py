"""The schemas that serve editors and the decoders that serve people judge alike (design: the spec)."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
import subprocess
import sysconfig
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envcompile.cli.main import main
from envcompile.diagnostics.diagnostic import Diagnostic
from envcompile.diagnostics.errors import EXIT_OK, InvalidInputError
from envcompile.diagnostics.rules import RULES
from envcompile.diagnostics.toml_source import TomlSource
from envcompile.loading import SCHEMA_FILES, find_schema_file
from envcompile.lock.model import (
    ActivationVariable,
    AptPackage,
    BaseImageDecision,
    Channel,
    CondaPackage,
    GeneratedFile,
    PipPackage,
    PythonBuild,
    PythonInterpreter,
    RejectedImage,
    SdistBuild,
    SizeSaving,
    Step,
)
from envcompile.lock.reader import decode_lock
from envcompile.lock.writer import format_lock
from envcompile.project.generated_files import DOCKERFILE_NAME, EXPORT_FILES
from envcompile.spec.decode import decode_spec
from tests.kit.effort import count_examples
from tests.kit.project import CASES, FIXTURES, case, parsed
from tests.kit.spec_keys import FREE, FULL, TYPES, paths, put, without

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envcompile.diagnostics.source import KeyPath

# Rules that need more than the shape of one value of the spec: no schema can say them, and `decode` does not.
MEANING = {slug for slug, rule in RULES.items() if rule.phase in {"spec", "lock"}}
# Rules about the bytes, before there is a value.
TEXT = {slug for slug, rule in RULES.items() if rule.phase == "text"}
# What a schema cannot say although `decode` looks at the shape alone.
UNSAID: dict[str, Any] = {
    "a year before 1 in UTC": {"exclude-newer": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=10)))},
    "a year after 9999 in UTC": {"exclude-newer": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-10)))},
}

SPEC, LOCK, _ = (json.loads(find_schema_file(of).read_text("utf-8")) for of in SCHEMA_FILES)


def with_moments(schema: Any) -> Any:
    """The schema, a `date-time` being TOML's offset date-time and no string, as tombi reads it too."""
    if isinstance(schema, dict):
        if schema.get("format") == "date-time":
            return {"type": "moment"}
        return {key: with_moments(each) for key, each in schema.items()}
    return [with_moments(each) for each in schema] if isinstance(schema, list) else schema


# TOML knows integers from floats, and moments from strings.
_TYPES = jsonschema.Draft7Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: type(value) is int,
        "moment": lambda _, value: isinstance(value, datetime) and value.tzinfo is not None,
    }
)
_Validator: type[jsonschema.Draft7Validator] = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator, type_checker=_TYPES
)
_SPEC, _LOCK = _Validator(with_moments(SPEC)), _Validator(LOCK)


def schema_takes(value: Any) -> bool:
    return bool(_SPEC.is_valid(value))


def shape_of(value: dict[str, Any]) -> set[str]:
    """The rules that `decode` finds broken."""
    return {found.rule for found in decode_spec(TomlSource("envcompile.toml", ""), value)[1]}


@pytest.mark.parametrize("of", SCHEMA_FILES)
def test_a_schema_is_one(of: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    jsonschema.Draft7Validator.check_schema(json.loads(find_schema_file(of).read_text("utf-8")))
    assert main(["schema", of]) == EXIT_OK
    assert capsysbinary.readouterr() == (find_schema_file(of).read_bytes(), b"")


def nodes(schema: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every part of a schema that describes values, with its path in them; 0 for the items of an array."""
    yield path, schema
    for key, each in schema.get("properties", {}).items():
        yield from nodes(each, (*path, key))
    for each in schema.get("anyOf", ()):
        yield from nodes(each, path)
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], (*path, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], (*path, "*"))


@pytest.mark.parametrize("schema", [SPEC, LOCK["definitions"]["platform"], LOCK], ids=["spec", "platform", "lock"])
def test_a_schema_helps_and_is_strict(schema: Any) -> None:
    for path, node in nodes(schema):
        if "$ref" in node:
            continue
        assert node["title"], path
        assert node["description"].endswith("."), path
        assert node.get("type") != "object" or "additionalProperties" in node, path
        for example in node.get("examples", ()):
            moment = node.get("format") == "date-time"
            assert moment or _Validator(node).is_valid(example), (path, example)


def test_the_schema_has_every_key_and_no_other() -> None:
    """What holds `tests/spec_keys.py`, and all tests that are derived from it, complete."""
    known = {path for path, _ in nodes(SPEC) if path and path[-1] != "*"}
    free = {path for path, _ in paths() if path[:-1] in FREE}
    tables = {("pip", "metadata", "flash-attn"), ("conda", "provides", "mychem")}
    named = {path for path, _ in paths() if path not in tables} - free
    assert known == {(*path[:2], "*", *path[3:]) if path[:3] in tables else path for path in named}


def test_the_full_spec_is_good() -> None:
    assert schema_takes(FULL)
    assert shape_of(FULL) == set()


@pytest.mark.parametrize("slug", sorted(set(RULES) - TEXT))
def test_every_rule_is_of_shape_or_of_meaning(slug: str) -> None:
    """Judged by the rule's own fixture."""
    value = tomli.loads((FIXTURES / "errors" / slug / "envcompile.toml").read_text("utf-8"))
    shape = shape_of(value)
    assert (slug in shape) == (slug not in MEANING)
    assert schema_takes(value) == (not shape)


@pytest.mark.parametrize("what", UNSAID)
def test_what_no_schema_can_say(what: str) -> None:
    value = {**FULL, **UNSAID[what]}
    assert schema_takes(value)
    assert shape_of(value)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.text("aZ0_.-/:@*?$ \t\n\x7f\u2028+~[]%", max_size=8)


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Values that a schema was written for; now and then one that it refuses by a `not`."""
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(values, schema["anyOf"]))
    return {"object": _objects, "array": _arrays, "string": _strings}.get(schema["type"], _others)(schema)


def _objects(schema: Any) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        names = st.from_regex(schema["propertyNames"]["pattern"])
        return st.dictionaries(names, values(schema["additionalProperties"]), max_size=3)
    parts = {key: values(each) for key, each in schema["properties"].items()}
    must = schema.get("required", ())
    return st.fixed_dictionaries(
        {key: parts[key] for key in must}, optional={key: part for key, part in parts.items() if key not in must}
    )


def _arrays(schema: Any) -> st.SearchStrategy[Any]:
    return st.lists(values(schema["items"]), max_size=3)


def _strings(schema: Any) -> st.SearchStrategy[Any]:
    if schema.get("format") == "date-time":
        zones = st.integers(-600, 600).map(lambda minutes: timezone(timedelta(minutes=minutes)))
        return st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones)  # noqa: DTZ001 - zones are added
    return st.from_regex(schema["pattern"]) if "pattern" in schema else TEXTS


def _others(schema: Any) -> st.SearchStrategy[Any]:
    return st.booleans() if schema["type"] == "boolean" else st.integers(schema["minimum"], schema.get("maximum"))


SPECS = values(SPEC)
UGLY = [*"aZ0_.-/:@*?$ \t\n\r\x00\x7f\u2028+~[]%=<>é"]


@given(SPECS)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_specs_of_the_schema(value: dict[str, Any]) -> None:
    assert schema_takes(value) == (not shape_of(value)), shape_of(value)


@given(SPECS, st.data())
@settings(max_examples=count_examples(400), suppress_health_check=list(HealthCheck))
def test_specs_with_a_mistake(value: dict[str, Any], data: st.DataObject) -> None:
    """One thing changed somewhere: a value of another type, a key too many or too few, a character of a string."""
    changed = copy.deepcopy(value)
    places = [path for path, _ in paths(changed)]
    path = data.draw(st.sampled_from(places))
    around: Any = changed
    for part in path[:-1]:
        around = around[part]
    around[path[-1]] = data.draw(mistakes(around[path[-1]]))
    assert schema_takes(changed) == (not shape_of(changed)), (path, shape_of(changed))


def mistakes(value: Any) -> st.SearchStrategy[Any]:
    """Values that are near a value, or of another type."""
    others = st.sampled_from([*TYPES.values(), date(2026, 11, 1), datetime(2026, 11, 1)])  # noqa: DTZ001 - that is one
    if isinstance(value, dict):
        kept = st.sampled_from(sorted(value)).map(lambda name: {k: v for k, v in value.items() if k != name})
        more = st.tuples(TEXTS, others).map(lambda pair: {**value, pair[0]: pair[1]})
        return others | more | kept if value else others | more
    if isinstance(value, str):
        return others | st.builds(_mistyped, st.just(value), st.integers(0, len(value)), st.sampled_from(UGLY))
    if isinstance(value, list):
        return others | others.map(lambda item: [*value, item])
    return others | st.integers()


def _mistyped(value: str, at: int, character: str) -> str:
    return value[:at] + character + value[at + len(value) % 2 :]


PATTERNS = [(path, node["pattern"]) for path, node in nodes(SPEC) if "pattern" in node and "format" not in node]


def near(pattern: str) -> Iterator[str]:
    """The pattern, and the same with one of its bounded repetitions once too many or once too few."""
    yield pattern
    for found in re.finditer(r"\{([0-9]+)(?:,([0-9]+))?\}", pattern):
        fewest, most = int(found[1]), int(found[2] or found[1])
        for number in {max(fewest - 1, 0), most + 1}:
            yield f"{pattern[: found.start()]}{{{number}}}{pattern[found.end() :]}"


@pytest.mark.parametrize(("path", "pattern"), PATTERNS, ids=str)
@given(data=st.data())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_pattern(path: KeyPath, pattern: str, data: st.DataObject) -> None:
    """Strings that a pattern of the schema takes, or nearly: the decoder takes the same ones."""
    for each in near(pattern):
        string = data.draw(st.from_regex(each, fullmatch=True))
        mistyped = _mistyped(string, data.draw(st.integers(0, 20)), data.draw(st.sampled_from(UGLY)))
        for text in (string, mistyped):
            value = put(FULL, path, text)
            assert schema_takes(value) == (not shape_of(value)), shape_of(value)


EXAMPLES = sorted(FIXTURES.glob("schema/*/*.toml"))
# What a linter reads differently from TOML: JSON has no integers, so taplo takes `80.0` for one.
UNSEEN = {("taplo", "port-float.toml")}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_example(example: Path) -> None:
    value = tomli.loads(example.read_text("utf-8"))
    good = example.parent.name == "valid"
    assert schema_takes(value) == good
    assert (shape_of(value) == set()) == good


@pytest.mark.parametrize("linter", ["taplo", "tombi"])
def test_examples_in_an_editor(linter: str, tmp_path: Path) -> None:
    """The linters that editors run, with the schema's file and no network, judge the examples as the decoder does."""
    program = shutil.which(linter, path=sysconfig.get_path("scripts")) or shutil.which(linter)
    if program is None:
        pytest.skip(f"{linter} is not installed: it is part of the test extra")
    schema = tmp_path / "spec.v1.json"
    schema.write_bytes(find_schema_file("spec").read_bytes())
    (tmp_path / "tombi.toml").write_text('[[schemas]]\npath = "spec.v1.json"\ninclude = ["*.toml"]\n', "utf-8")
    options = ["--no-auto-config", "--schema", schema.as_uri()] if linter == "taplo" else ["--offline"]
    for example in EXAMPLES:
        shutil.copyfile(example, tmp_path / example.name)
        argv = [program, "lint", *options, example.name]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
        good = example.parent.name == "valid" or (linter, example.name) in UNSEEN
        assert (done.returncode == 0) == good, (example.name, done.stdout, done.stderr)


def lock_takes(value: dict[str, Any]) -> bool:
    try:
        decode_lock(value, "envcompile.lock", "", is_intact=True)
    except InvalidInputError:
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_lock(name: str) -> None:
    value = tomli.loads(case(name)[1])
    assert _LOCK.is_valid(value), list(_LOCK.iter_errors(value))
    assert lock_takes(value)


def _sdist(package: PipPackage) -> dict[str, Any]:
    """A package as an sdist, built with itself as a wheel."""
    package = dataclasses.replace(
        package,
        requires_python="<3.14,>=3.10",
        depends=("numpy", "urllib3[socks] >=2"),
        build_env=(("A", "1"),),
        unpacked=12345,
    )
    sdist = dataclasses.replace(package, kind="sdist", file=f"{package.name}.tar.gz")
    return {"pip": (sdist,), "pip_build": (SdistBuild(package.name, (package,)),)}


PYTHON = PythonInterpreter(
    *("3.13.5", "/opt/python/a/bin/python3", "standalone", "cp313t"),
    PythonBuild("cpython-3.13.5.tar.gz", "https://github.example.invalid/cpython-3.13.5.tar.gz", 64 * "e", 12345),
)
DECIDED = BaseImageDecision(
    *(
        "2026-11-22 sha256:0123456789ab",
        "12.8.2",
        "525.60.13",
        "570.26",
        ("8.0",),
        (("CUDA_HOME", "/usr/local/cuda"),),
        (("TORCH_CUDA_ARCH_LIST", "8.0;9.0"),),
        ("gcc",),
        ("g++",),
    ),
    wheels=("nvidia-cuda-runtime-cu12 ==12.6.*",),
    saving=SizeSaving("9.9", "nvidia/cuda:12.8-devel"),
    warnings=(Diagnostic("cuda-old-image", "it is old", hint="take a newer one"),),
    explanation=(
        Step(1, "bundled", ("torch==2.8.0",), "CUDA 12.8", (RejectedImage("nvidia/cuda:12.8-base", "large"),), "facts"),
    ),
)


def everything() -> dict[str, Any]:
    """A lock with every key of the format."""
    _, lock = parsed("everything")
    conda = CondaPackage(
        *("ffmpeg", "7.1.1", "gpl_h127656b_106", "corp", "linux-64", "ffmpeg-7.1.1-gpl_h127656b_106.conda", 64 * "a"),
        *(32 * "b", 1234, ("libgcc >=13", "python_abi 3.12.* *_cp312"), ("ffmpeg-python",)),
        env=(
            ActivationVariable("FFMPEG_DATA", "/env/share/ffmpeg", "etc/conda/activate.d/ffmpeg.sh", is_default=True),
        ),
        activate=("etc/conda/activate.d/other.sh",),
    )
    apt = (AptPackage("git", "1:2.39.5-0+deb12u3", "amd64", 64 * "c", 7264380, ("perl",), 46 << 20),)
    platforms = tuple(
        dataclasses.replace(
            each,
            python=PYTHON,
            conda=(conda,),
            conda_installer=_sdist(each.pip[-1])["pip_build"][0].packages,
            **_sdist(each.pip[-1]),
            apt=apt,
            apt_build=apt,
            base_decision=DECIDED,
        )
        for each in lock.platforms
    )
    platforms = tuple(dataclasses.replace(each, conda_installer=each.pip_build[0].packages) for each in platforms)
    channels = (Channel("corp", "https://channels.example.com/corp"),)
    whole = dataclasses.replace(lock, platforms=platforms, channels=channels, private_indexes=("corp",))
    files = tuple(GeneratedFile(name, f"sha256:{64 * 'd'}") for name in sorted((DOCKERFILE_NAME, *EXPORT_FILES)))
    return tomli.loads(format_lock(dataclasses.replace(whole, snapshot="2026-11-01T00:00:00Z", files=files)))


def test_a_lock_with_a_mistake() -> None:
    """Every field is one that the schema and the decoder look at, and judge alike.

    Not said by the schema: that the counts are those of the packages, that packages are sorted, what the digest is.
    """
    value = everything()
    assert _LOCK.is_valid(value), list(_LOCK.iter_errors(value))
    assert lock_takes(value)
    platforms = {path[2:] for path, _ in nodes(LOCK["definitions"]["platform"], ("platforms", "linux-64"))}
    asked = {path for path, _ in paths(value)}
    assert platforms <= {path[2:] for path in asked if path[0] == "platforms"}
    assert {path for path, _ in nodes(LOCK)} - asked == {(), ("platforms", "linux-aarch64")}
    for path, right in paths(value):
        if path[0] in ("format", "digest", "counts", "catalogue"):
            continue  # read from the text, or compared with what is there
        for wrong in wrongs(right):
            changed = without(value, path) if wrong is None else put(value, path, wrong)
            valid, takes = _LOCK.is_valid(changed), lock_takes(changed)
            # No rows at all are a question of the counts.
            assert valid == takes or (valid and wrong in (None, [])), (path, wrong)


def wrongs(right: Any) -> list[Any]:
    """Values in the place of one in a lock; None for nothing at all."""
    near = [right + "\n", right + " ", "", right.upper() + "\x00"] if isinstance(right, str) else []
    more = [{**right, "x": 1}] if isinstance(right, dict) else [-1, 1.0] if isinstance(right, int) else []
    others = [each for each in TYPES.values() if type(each) is not type(right) and not isinstance(each, date)]
    return [None, *near, *more, *others]
