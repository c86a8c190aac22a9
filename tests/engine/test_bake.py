"""Bake files: what buildx reads out of them is what was put in, and what it builds is what `build` builds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcompile.engine.build import BuildRequest, format_bake_file, format_exporter
from tests.engine.test_dockerfile import HOSTILE, SPEC
from tests.kit.effort import count_examples
from tests.kit.engine import CA_BUNDLE, Engine, docker, envcompile
from tests.kit.project import FIXTURES

SIGNS = ["$", "%", "{", "}", '"', "\\", "~", "a", " ", "\n", "${", "%{", "$${", "%%{", "${a}", "%{ if a }", '${"$"}{']


def printed(text: str) -> dict[str, dict[str, object]]:
    """What buildx makes of a bake file; it asks no daemon."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bake.json")
        path.write_text(text, "utf-8")
        command = ["docker", "buildx", "bake", "--file", str(path), "--print"]
        done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8", cwd=folder)
    assert done.returncode == 0, done.stderr
    targets: dict[str, dict[str, object]] = json.loads(done.stdout)["target"]
    return targets


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envcompile", "bake", *arguments]
    return subprocess.run(command, capture_output=True, check=False, encoding="utf-8")


@pytest.mark.engine
@settings(max_examples=count_examples(60))
@given(st.lists(st.lists(st.sampled_from(SIGNS), max_size=8).map("".join), min_size=1, max_size=20))
def test_every_string_arrives_as_written(engine: Engine, texts: list[str]) -> None:
    """Promise 10: nothing injects. A sign less or more would be another Dockerfile under the same tag."""
    del engine
    builds = {
        f"t{number}": (BuildRequest((), "type=docker"), text) for number, text in enumerate([*texts, *HOSTILE], 1)
    }
    found = printed(format_bake_file(builds, "zstd"))
    # An empty one is left out of what buildx prints.
    assert {name: target.get("dockerfile-inline", "") for name, target in found.items()} == {
        name: text for name, (_, text) in builds.items()
    }


def test_signs_of_templates_are_quoted() -> None:
    text = format_bake_file({"a": (BuildRequest((), "type=docker"), "$a ${b} $${c} %{d}")}, "zstd")
    assert json.loads(text)["target"]["a"]["dockerfile-inline"] == '$a ${"$"}{b} ${"$$"}{c} ${"%"}{d}'


def test_shards_are_the_whole() -> None:
    specs = [str(FIXTURES / "compile" / name / "envcompile.toml") for name in ("ml", "several", "conda", "everything")]
    whole = json.loads(run(*specs).stdout)["target"]
    assert len(whole) == len(specs)
    for parts in (1, 3, 5):
        found = [json.loads(run(*specs, "--shard", f"{part}/{parts}").stdout) for part in range(1, parts + 1)]
        assert {name: row for each in found for name, row in each["target"].items()} == whole
        assert sum(len(each["target"]) for each in found) == len(whole)
        assert all(each["group"]["default"]["targets"] == list(each["target"]) for each in found)


def test_what_cannot_be_meant() -> None:
    spec = str(FIXTURES / "compile" / "ml" / "envcompile.toml")
    for words, said in (
        ([spec, "--shard", "0/2"], "is not `I/N` with I from 1 to N"),
        ([spec, "--shard", "3/2"], "is not `I/N` with I from 1 to N"),
        ([spec, "--shard", "one"], "is not `I/N` with I from 1 to N"),
        ([spec, spec], "two specs have the target `ml`"),
        ([spec, "--push"], "the spec `ml` has none"),
        (["nowhere.toml"], "`nowhere.toml` does not exist"),
    ):
        done = run(*words)
        assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True), done.stderr


@pytest.mark.engine
@pytest.mark.index
def test_baked_and_built_are_one_image(engine: Engine, tmp_path: Path) -> None:
    """Promise 6, for both ways; with a registry's cache, from which the second builder builds nothing."""
    cache = f"{os.environ['ENVCOMPILE_TEST_REGISTRY']}/envcompile-test/cache"
    names = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        spec = engine.stand_ins(SPEC).replace('"small"', f'"envcompile-test-bake-{name}"')
        (tmp_path / name / "envcompile.toml").write_text(spec.replace("six", ["six", "idna"][name == "two"]), "utf-8")
        envcompile("lock", "-q", folder=tmp_path / name)
        names.append(envcompile("tag", folder=tmp_path / name).strip())
    words = ("one/envcompile.toml", "two/envcompile.toml", "--cache", cache, "--secret", f"id=ca,src={CA_BUNDLE}")
    envcompile("bake", *words, "-o", "bake.json", folder=tmp_path)
    # No bridge in this engine, and buildx 0.13 takes that from a compose file alone: bake merges the two.
    own = {f"envcompile-test-bake-{name}": {"build": {"context": ".", "network": "host"}} for name in ("one", "two")}
    (tmp_path / "compose.yaml").write_text(json.dumps({"services": own}), "utf-8")
    files = [word for name in ("bake.json", "compose.yaml") for word in ("--file", str(tmp_path / name))]
    digests = []
    for _ in range(2):
        engine.forget()
        docker("image", "rm", "--force", *names, check=False)
        said = docker("buildx", "bake", *files, "--progress", "plain")
        digests.append(docker("image", "inspect", "--format", "{{.Id}}", *names).split())
    assert "install-wheels" in said
    assert said.count("CACHED") >= 2
    assert digests[0] == digests[1]
    engine.forget()
    docker("image", "rm", "--force", *names)
    envcompile("build", "-q", "--secret", f"id=ca,src={CA_BUNDLE}", "--", "--network=host", folder=tmp_path / "one")
    assert docker("image", "inspect", "--format", "{{.Id}}", names[0]).split() == digests[0][:1]
    docker("image", "rm", "--force", *names, check=False)


def test_output_of_the_command(tmp_path: Path) -> None:
    spec = str(FIXTURES / "compile" / "several" / "envcompile.toml")
    text = run(spec, "--cache", "registry.example.com/cache", "--secret", "id=ca,src=/ca").stdout
    target = json.loads(text)["target"]["several"]
    assert target["platforms"] == ["linux/amd64", "linux/arm64"]
    assert target["output"] == [format_exporter("docker", "zstd")]
    assert target["secret"] == ["id=ca,src=/ca"]
    assert target["cache-from"] == ["type=registry,ref=registry.example.com/cache:several"]
    done = run(
        spec, "--cache", "registry.example.com/cache", "--secret", "id=ca,src=/ca", "-o", str(tmp_path / "b.json")
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "b.json").read_text("utf-8") == text
