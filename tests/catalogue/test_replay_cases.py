"""The cases of fixtures/base: ours, those that were given, and whole locks as a resolver made them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalogue.replay import RULE_CODES, replay_cases
from envcompile.base_image.catalogue import load_default_catalogue
from envcompile.base_image.decide import decide_base_images
from envcompile.base_image.model import BaseImageRequest, PackageSummary
from envcompile.diagnostics.rules import RULES
from envcompile.versions import is_in_range

FOLDER = Path(__file__).parents[2] / "fixtures/base"
CASES: list[dict[str, Any]] = json.loads((FOLDER / "cases.json").read_text("utf-8"))["vectors"]
LOCKS: list[dict[str, Any]] = json.loads((FOLDER / "resolved.json").read_text("utf-8"))["locks"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_case(case: dict[str, Any]) -> None:
    (one,) = replay_cases(json.dumps({"vectors": [case]}), load_default_catalogue())
    assert (one.differences, one.unread_keys) == ((), ())


def test_the_cases_given_are_all_there() -> None:
    given = [case["id"] for case in CASES if not case.get("own")]
    assert given == [f"V{number:02}" for number in range(1, 70, 2)]


def test_every_code_has_a_case() -> None:
    expected = {case["expect"]["error"] for case in CASES if "error" in case["expect"]}
    expected |= {code for case in CASES for code in case["expect"].get("warnings", [])}
    assert expected == set(RULE_CODES.values())


def test_codes_are_those_of_rules_about_base_images() -> None:
    """The other rules are about what can be locked, which no case says."""
    rules = {slug for slug, rule in RULES.items() if rule.key}
    assert rules - {"base-python", "cuda-unpinned", "gpu-unused"} >= RULE_CODES.keys()


def test_every_row_of_needs_has_a_case() -> None:
    used = [
        (each["name"], "conda" if world == "conda" else each["kind"], each["version"])
        for case in CASES
        for world in ("pip", "conda")
        for each in case["input"].get(world, [])
    ]
    rows = {need for needs in load_default_catalogue().package_needs.values() for need in needs}
    without = [
        need
        for need in rows
        if not any(
            name in need.names and (not need.kinds or kind in need.kinds) and is_in_range(version, need.low, need.below)
            for name, kind, version in used
        )
    ]
    assert without == []


@pytest.mark.parametrize("lock", [pytest.param(lock, id=f"{lock['asked']} {lock['platform']}") for lock in LOCKS])
def test_whole_lock(lock: dict[str, Any]) -> None:
    packages = [PackageSummary(name, version, "wheel") for name, version in lock["packages"].items()]
    decision = decide_base_images(
        BaseImageRequest(lock["python"], platforms=(lock["platform"],)), packages, load_default_catalogue()
    )
    assert (decision.errors, decision.run and decision.run.image) == ((), lock["run"])
    assert decision.cuda == lock["cuda"]
