"""The shape of the package, as CONTRIBUTING.md describes it: modules by feature, one name for one thing."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "envcompile"
SCRIPTS = PACKAGE / "emit" / "scripts"  # programs of the build, which no module imports
MODULES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8"))
    for path in PACKAGE.rglob("*.py")
    if SCRIPTS not in path.parents
}
ENTRANCES = ("__init__.py", "__main__.py")
SHORT = 60
# The command line and the API are named by the words that people type.
NAMED_BY_COMMANDS = ("api.py", "cli/")


def count_lines(module: str) -> int:
    return len((PACKAGE / module).read_text("utf-8").splitlines())


def test_a_short_module_has_a_reason_in_the_contributor_guide() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("### Modules under 60 lines")[2]
    listed = set(re.findall(r"^\| `([\w/.]+\.py)` \|", text.partition("\n## ")[0], re.MULTILINE))
    short = {module for module in MODULES if not module.endswith(ENTRANCES) and count_lines(module) < SHORT}
    assert short == listed
    assert len(short) <= 12


def test_modules_are_split_by_feature_and_not_by_size() -> None:
    assert len(MODULES) <= 165
    assert {module: count_lines(module) for module in MODULES if count_lines(module) > 600} == {}


def test_a_class_name_stands_for_one_class() -> None:
    places = defaultdict(list)
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_public_functions_are_named_by_a_verb_and_a_noun() -> None:
    names = [
        f"{module}:{node.name}"
        for module, tree in MODULES.items()
        if not module.startswith(NAMED_BY_COMMANDS)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    of_one_word = [name for name in names if "_" not in name.partition(":")[2]]
    assert len(of_one_word) <= 0.05 * len(names), of_one_word


def test_a_package_says_what_lives_in_it() -> None:
    silent = [
        module for module, tree in MODULES.items() if module.endswith("__init__.py") and not ast.get_docstring(tree)
    ]
    assert silent == []


def test_the_page_about_the_architecture_names_modules_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    section = text[text.index("## The packages") : text.index("## Pure packages")]
    named = set(re.findall(r"`([a-z_]+)/?`", section)) - {"asked", "packaging"}
    folders = [*(ROOT / "envcompile").rglob("*"), *ROOT.iterdir()]
    assert named <= {path.stem for path in folders}
