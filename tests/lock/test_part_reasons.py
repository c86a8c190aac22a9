"""Why base images, tools, CUDA, the Python and the snapshot changed, as far as two locks show it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envcompile.lock.diff import LockRequest, compare_locks
from envcompile.lock.model import Lock, RecordedInput, Step
from tests.kit.project import parsed

SPEC, LOCK = parsed("apt")
(PLATFORM,) = LOCK.platforms
OTHER = "sha256:" + "e" * 64


def change(lock: Lock = LOCK, *, inputs: dict[str, str] | None = None, **fields: object) -> Lock:
    """The lock with other fields of its platform, and with other keys of the spec; an empty value removes a key."""
    rows = {each.key: each.values for each in lock.recorded_inputs or ()}
    rows |= {key: (value,) for key, value in (inputs or {}).items()}
    recorded = tuple(RecordedInput(key, rows[key]) for key in sorted(rows) if rows[key] != ("",))
    return replace(lock, platforms=(replace(lock.platforms[0], **fields),), recorded_inputs=recorded)  # type: ignore[arg-type]


def why(before: Lock, after: Lock, kind: str, request: LockRequest | None = None) -> tuple[str, ...]:
    (found,) = (each for each in compare_locks(before, after, request) if each.kind == kind)
    return found.reasons


MOVED = replace(PLATFORM.run, image=f"{PLATFORM.run.image.partition('@')[0]}@{OTHER}")


def test_a_moved_tag_is_told_from_another_image() -> None:
    tag = MOVED.image.partition("@")[0]
    moved = change(inputs={"image.base": ""}, run=MOVED)
    before = change(inputs={"image.base": ""})
    assert why(before, moved, "image") == (f"the tag `{tag}` was moved to another digest",)
    named = change(inputs={"image.base": "debian:trixie"}, run=replace(MOVED, image=f"debian:trixie@{OTHER}"))
    assert why(before, named, "image")[0] == "the spec names `debian:trixie`"
    assert why(named, before, "image")[0] == "the spec names no base image any more"
    # An old lock does not show its spec, so nothing is claimed about it.
    unknown = replace(named, recorded_inputs=None)
    assert why(before, unknown, "image") == ()


def test_the_python_of_an_image_is_why_the_image_moves() -> None:
    before, after = change(inputs={"image.base": ""}), change(inputs={"image.base": ""}, run=MOVED)
    request = LockRequest(SPEC, frozenset(), frozenset({"python"}))
    assert why(before, after, "image", request)[1:] == ("it contains the Python, which `-P python` upgrades",)
    assert len(why(before, after, "image", request._replace(parts=frozenset({"python", "base"})))) == 1


def test_other_packages_and_another_catalogue_are_why_the_choice_changes() -> None:
    step = Step(7, "image.run", ("tensorflow==2.21.0",), "run: nvidia/cuda:12.6.3-runtime-ubuntu24.04: it fits")
    _, lock = parsed("cuda")
    (platform,) = lock.platforms
    old = platform.base_decision
    assert old
    new = replace(old, cuda="13.0.1", catalogue="2027-02-01 sha256:0123456789ab", explanation=(*old.explanation, step))
    run = replace(platform.run, image=f"nvidia/cuda:13.0.1-runtime-ubuntu24.04@{OTHER}")
    assert why(change(lock), change(lock, run=run, base_decision=new), "image") == (
        f"the locked packages use CUDA 13.0.1, and CUDA {old.cuda} before",
        f"{step.decision} (tensorflow==2.21.0)",
        f"the catalogue of 2027-02-01 decided, and that of {old.catalogue[:10]} before",
    )
    without = change(lock, run=run, base_decision=replace(old, cuda=None))
    assert why(change(lock), without, "image")[0] == "no locked package uses CUDA any more"
    asked = change(lock, inputs={"cuda.version": "13"}, base_decision=replace(old, cuda="13.0.1"))
    assert why(change(lock, inputs={"cuda.version": ""}), asked, "cuda")[0] == "the spec requests CUDA 13"


def test_a_tool_moves_with_the_spec_its_tag_or_the_release() -> None:
    _, lock = parsed("several")
    (tool,) = lock.platforms[0].tools
    moved = (replace(tool, image=f"{tool.image.partition('@')[0]}@{OTHER}"),)
    key = f"tools.{tool.name}"
    named = change(lock, inputs={key: "uv:1"}, tools=moved)
    assert why(change(lock), change(lock, tools=moved), "tool") == (
        "it is the default image of another release of envcompile",
    )
    assert why(change(lock), named, "tool") == ("the spec names `uv:1`",)
    assert why(named, change(lock), "tool") == (f"the spec names no image of `{tool.name}` any more",)
    assert why(named, change(named, tools=lock.platforms[0].tools), "tool") == (
        f"the tag `{tool.image.partition('@')[0]}` was moved to another digest",
    )


@pytest.mark.parametrize(
    ("before", "after", "inputs", "parts", "expected"),
    [
        ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", {}, None, "were upgraded, with `-P apt` or `-U`"),
        ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", {}, {"apt"}, ""),
        ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", {}, {"python"}, "the Python is a Debian package"),
        ("2026-02-01T00:00:00Z", "2026-03-01T01:02:03Z", {}, {"base"}, "a base image is newer"),
        (
            *("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            *({"apt.snapshot": "2026-03-01T00:00:00Z"}, None, "the spec sets `snapshot` in `[apt]` to 2026-03-01T0"),
        ),
        (
            *("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            *({"exclude-newer": "2026-03-01T00:00:00Z"}, None, "the spec sets `exclude-newer` to 2026-03-01T00:00"),
        ),
    ],
)
def test_a_snapshot_moves_with_the_request_the_spec_or_a_base_image(
    before: str, after: str, inputs: dict[str, str], parts: set[str] | None, expected: str
) -> None:
    old = replace(change(inputs={"apt.snapshot": "", "exclude-newer": ""}), snapshot=before)
    new = replace(change(old, inputs=inputs), snapshot=after)
    if "base" in (parts or ()):
        new = change(new, run=MOVED)
    request = None if parts is None else LockRequest(SPEC, frozenset(), frozenset(parts))
    found = why(old, new, "snapshot", request)
    assert expected in "".join(found)
    assert bool(found) == bool(expected)
