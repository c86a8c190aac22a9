"""Which lines of the spec a resolver's reason is about."""

from __future__ import annotations

import pytest

from envcompile.diagnostics.toml_source import TomlSource
from envcompile.resolve.environment import explain_unsolvable
from envcompile.resolve.model import UnsolvableError
from envcompile.spec.decode import parse_spec

PACKAGES = ["flash", "flash-attn >=2", "Zope.Interface", "torch", "torch-scatter"]


@pytest.mark.parametrize(
    ("reason", "blamed"),
    [
        ("all versions of flash-attn have no usable wheels and you require flash-attn, we can", [1]),
        ("because you require flash-attn>=2 and\nyou require torch==2", [1, 3]),
        ("you require flash_attn", [1]),
        ("you require flash", [0]),
        ("you require zope-interface", [2]),
        ("torch_scatter 2.0 depends on torch", [3, 4]),
    ],
)
def test_the_requirements_of_the_reason_are_pointed_at(reason: str, blamed: list[int]) -> None:
    """Promise 11: every mistake points at the text. The name in any of its spellings, and no longer one."""
    source = TomlSource("envcompile.toml", f'name = "x"\npython = "3.12"\n[pip]\npackages = {PACKAGES}\n')
    problems = explain_unsolvable(UnsolvableError("linux-64", reason), source, parse_spec(source), {})
    assert [each.path for each in problems.diagnostics] == [("pip", "packages", index) for index in blamed]
    assert reason.partition("\n")[0] in str(problems.diagnostics[-1].hint)
