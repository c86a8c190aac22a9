"""The files that are kept beside a spec and made from its lock, as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from envcompile.cli.near import dockerfiles_of, exports_of
from envcompile.errors import Unusable
from envcompile.files import shown
from envcompile.spec.exports import EXPORTS, OURS, otherwise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envcompile.lock.model import Lock
    from envcompile.spec.model import Spec

    # From an earlier text of an export to the addresses of pip's files.
    Places = Callable[[str], Mapping[str, str]]


class Kept(NamedTuple):
    """One file: what it should hold, what is said when it does not, and the words after `envcompile` that mend it.

    `whole` is False where nobody could say all that it should hold: then it is not current, whatever it holds.
    """

    path: Path
    text: str
    otherwise: str
    command: str
    whole: bool = True

    def current(self) -> bool:
        """Whether the file holds that."""
        return self.whole and self.path.is_file() and self.path.read_bytes() == self.text.encode()


def kept(spec: Spec, lock: Lock, path: Path) -> Iterator[Kept]:
    """The Dockerfiles beside the spec at `path` that say they are ours, and the exports that the spec asks for.

    Raises `Unusable` where none can be made.
    """
    for each in map(Path, dockerfiles_of(str(path))):
        from envcompile.pipeline import compile_dockerfile  # noqa: PLC0415 - brings the template engine

        name = shown(each)
        yield Kept(each, compile_dockerfile(spec, lock), otherwise(name, "Dockerfile"), f"dockerfile -o {name}")
    if spec.exports:
        from envcompile.lock.exports.places import known  # noqa: PLC0415 - where there are exports

        # Nobody is asked: an address that the file does not have yet is one that it lacks.
        yield from exports(spec, lock, path, known)


def exports(spec: Spec, lock: Lock, path: Path, places: Places) -> Iterator[Kept]:
    """The exports that the spec at `path` asks for. Raises `Unusable` for one that cannot be made, or is not ours."""
    from envcompile.lock.exports import FORMATS, Given, export, narrowed  # noqa: PLC0415 - where there are exports
    from envcompile.lock.exports.places import missing  # noqa: PLC0415

    for name, file in zip(spec.exports, exports_of(str(path), spec.exports), strict=True):
        format_, platform = EXPORTS[name]
        where, said = Path(file), f"`{shown(Path(file))}`"
        text = where.read_text("utf-8", "replace") if where.is_file() else ""
        if not text.startswith(OURS) and (text or (where.exists() and not where.is_file())):
            raise Unusable(
                f"{said} is to be kept by `[lock] exports`, and what stands there is not ours",
                "move it away, or take its name out of `exports`",
            )
        found = places(text) if FORMATS[format_].places else {}
        unknown = {each.sha256: "" for each in missing(lock, found)} if FORMATS[format_].places else {}
        made = export(format_, Given(spec, narrowed(lock, platform or None), {**unknown, **found}))
        message = f"{said} is not the `{format_}` export of this lock" if text else f"{said} is not there"
        yield Kept(where, made, message, "lock", whole=not unknown)
