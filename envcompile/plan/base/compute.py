"""Which GPU architectures a toolkit and torch's wheels have code for (step 4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envcompile.plan.base.model import Said
from envcompile.plan.base.versions import major, minor, number, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.plan.base.case import Case
    from envcompile.plan.base.catalogue import Catalogue, Compute

_COMPUTE = re.compile(r"(?:sm_|compute_)?([0-9]{1,2})\.?([0-9])[a-z]?", re.IGNORECASE)


def compute_name(text: str) -> str:
    """`sm_90`, `90`, `9.0` and `9.0a` are `9.0`."""
    found = _COMPUTE.fullmatch(text.removesuffix("+PTX").strip())
    return f"{found[1]}.{found[2]}" if found else text


def toolkit_knows(compute: str, release: str, catalogue: Catalogue) -> bool:
    """Whether the toolkit X.Y compiles for the GPU architecture."""
    row = catalogue.compute.get(compute)
    return bool(row and number(row.first) <= number(release) and (not row.last or major(release) <= major(row.last)))


def _wheel_knows(compute: str, case: Case, release: str) -> bool:
    """Whether torch's wheel has code that runs: of the same major and no newer minor, or PTX of an older one."""
    torch = case.found.torch
    if torch is None or torch.kind != "wheel":
        return True
    word = "cu" + release.replace(".", "")
    rows = [row for row in case.catalogue.torch if row.cuda == word and within(torch.version, row.low, row.below)]
    wanted = number(compute)
    return not rows or any(
        (number(each)[0] == wanted[0] and number(each) <= wanted) or (row.ptx and number(each) <= wanted)
        for row in rows
        for each in row.compute
    )


def compute_fits(case: Case, compute: str, release: str) -> str | None:
    """Why a GPU architecture is not served by CUDA X.Y and what is locked; None where it is."""
    if not toolkit_knows(compute, release, case.catalogue):
        return f"CUDA {release} does not compile for it"
    if case.found.toolkit and minor(case.found.toolkit) == release and not _wheel_knows(compute, case, release):
        torch = case.found.torch
        return f"the wheel of {torch} for CUDA {release} has no code for it"
    floor = next(((name, bound) for name, bound in case.needs.compute if number(compute) < number(bound)), None)
    return f"{floor[0]} needs {floor[1]} or newer" if floor else None


def architectures(case: Case, release: str) -> tuple[str, ...]:
    """The GPU architectures that CUDA X.Y and what is locked have in common."""
    found = (each for each in case.catalogue.compute if compute_fits(case, each, release) is None)
    return tuple(sorted(found, key=number))


def _nearest(row: Compute, case: Case) -> str:
    """Which CUDA serves the architecture, and of torch which builds of the locked release."""
    known = [each for each in case.catalogue.minors if toolkit_knows(row.compute, each, case.catalogue)]
    hint = f"CUDA {known[0]} to {known[-1]} serves it" if known else "no CUDA that is known serves it"
    torch, wanted = case.found.torch, number(row.compute)
    builds = [
        each
        for each in case.catalogue.torch
        if torch and within(torch.version, each.low, each.below)
        for one in each.compute
        if number(one)[0] == wanted[0] and number(one) <= wanted
    ]
    if torch and builds:
        newest = max((each.cuda for each in builds), key=lambda word: number(word.removeprefix("cu")))
        hint += f": torch's newest builds with code for it are `{newest}`, of an index in `extra-indexes`"
    return hint


def compute(case: Case) -> Iterator[Said]:
    """GPU architectures of the spec that what the lock brings has no code for, or that the driver has left (step 4)."""
    toolkit = case.found.toolkit
    for each in case.question.compute:
        name = compute_name(each)
        row = case.catalogue.compute.get(name)
        if row is None:
            message = f"`{each}` is no GPU architecture that is known ({case.catalogue.date})"
            yield Said("E_SM_UNSUPPORTED", message, "write it like `8.0`")
        elif toolkit and (why := compute_fits(case, name, minor(toolkit))):
            yield Said("E_SM_UNSUPPORTED", f"GPU architecture {name} is not served: {why}", _nearest(row, case))
        elif row.driver and major(case.question.driver or "") > int(row.driver):
            message = f"GPU architecture {name} had its last driver with R{row.driver}, before {case.question.driver}"
            yield Said("E_SM_UNSUPPORTED", message, f'say `driver = "{row.driver}"`, or leave the architecture out')
