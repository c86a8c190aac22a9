"""environment.yml says what the spec says, and conda reads it as we do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from envcompile.export.environment_yml import format_match_spec
from tests.kit.effort import count_examples
from tests.spec.test_conda_properties import parsed, specs

if TYPE_CHECKING:
    from tests.export.conftest import CondaLock


@settings(max_examples=count_examples(300))
@given(specs(), st.sampled_from(["", "[subdir=noarch]", f"[md5={'0' * 32}]", f"[sha256={'a' * 64},subdir=linux-64]"]))
@example("x 1.26.*|>=2,<3 py*", f"[md5={'0' * 32}]")
@example("conda-forge/noarch::x * py*", "")
def test_a_requirement_is_spelled_so_that_conda_and_we_read_it_alike(
    conda_lock: CondaLock, text: str, brackets: str
) -> None:
    asked = parsed(text if "[" in text else text + brackets)
    assume(asked)
    assert asked
    assert parsed(format_match_spec(asked)) == asked
    (theirs,) = conda_lock.ask("parts", [format_match_spec(asked)])
    version = asked.version if asked.build else asked.version and asked.version.removeprefix("==")
    assert theirs == {**asked._asdict(), "version": version or ("*" if asked.build else None)}
