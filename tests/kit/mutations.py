"""Changes of a spec and its lock that each must be noticed, and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Change = Callable[[str, str], tuple[str, str]]


class Mutation(NamedTuple):
    """A change of the texts of spec and lock; `names` is what must be said, None where nothing is wrong."""

    name: str
    change: Change
    names: str | None


def in_spec(name: str, old: str, new: str, names: str | None) -> Mutation:
    def change(spec: str, lock: str) -> tuple[str, str]:
        assert old in spec
        return spec.replace(old, new, 1), lock

    return Mutation(name, change, names)


def in_lock(name: str, change: Callable[[str], str], names: str) -> Mutation:
    return Mutation(name, lambda spec, lock: (spec, change(lock)), names)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(lock: str) -> str:
        assert old in lock
        return lock.replace(old, new, 1)

    return change


# Of `fixtures/compile/conda`.
MUTATIONS = (
    in_spec("none", "", "", None),
    in_spec(
        "tightened", "numpy >=2", "numpy >=3", "the spec requires `numpy >=3` from conda, but the lock has numpy 2."
    ),
    in_spec("loosened", "numpy >=2", "numpy", None),
    in_spec("removed", '"pytorch", ', "", "no requirement needs conda's `pytorch` any more"),
    in_spec("added", '"pip"', '"pip", "scipy"', "the spec requires `scipy` from conda, but the lock has no `scipy`"),
    in_spec("pip tightened", '"accelerate"', '"accelerate <1"', "the spec requires `accelerate <1` from pip"),
    in_spec(
        "python", '"3.12"', '"3.13"', "the spec requires `python 3.13.*` from conda, but the lock has python 3.12."
    ),
    in_spec("platform", '"3.12"\n', '"3.12"\nplatforms = ["linux-64", "linux-aarch64"]\n', "platform `linux-aarch64`"),
    in_spec("channel", "/conda-forge", "/other", "the lock was made with `conda.channels` as `https://conda.exa"),
    in_spec("cuda", "[image]", '[cuda]\nversion = "12"\n[image]', "the lock was made without `cuda.version`"),
    in_spec("base", "debian:bookworm-slim@", "debian:trixie-slim@", "the lock was made with `image.base` as `debian"),
    in_spec("unreadable", "[image]", "[image", "error[toml-syntax]"),
    in_lock("pin", replaced('version = "2.', 'version = "3.'), "was edited by hand"),
    in_lock("hash", replaced('sha256 = "', 'sha256 = "0'), "was edited by hand"),
    in_lock("digest", replaced('digest = "sha256:', 'digest = "sha256:0'), "its header is missing"),
    in_lock("line", lambda lock: "".join([*lock.splitlines(keepends=True)[:-3], "]\n"]), "is truncated"),
    in_lock("cut", lambda lock: lock[: len(lock) // 2], "is truncated"),
    in_lock("empty", lambda _: "", "is not a lock of envcompile"),
    in_lock("newer", replaced("format = 2", "format = 3"), "has format 3, and this release reads formats up to 2"),
)
