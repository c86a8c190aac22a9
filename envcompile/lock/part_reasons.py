"""The reasons of changes of base images, tools, CUDA, the Python and the snapshot, as far as two locks show them.

A lock records the keys of the spec that name an image or a time, the steps of the decision about base images, and the
catalogue that decided. The request for the later lock is known only while it is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.spec.values import remove_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envcompile.lock.model import BaseImage, Lock, PlatformLock

# A snapshot that was chosen without a time in the spec is a midnight, or the time of a newer base image.
_MIDNIGHT = "T00:00:00Z"


class PartExplainer(NamedTuple):
    """Finds the reasons of changes on one platform, from its rows in both locks and the inputs of the spec.

    `parts` are the parts that `-P` names, None if the request is unknown.
    """

    old_lock: Lock
    new_lock: Lock
    old: PlatformLock
    new: PlatformLock
    parts: frozenset[str] | None = None

    def find_reasons(self, kind: str, name: str) -> tuple[str, ...]:
        """Return the reasons of a change of this kind. Empty if the locks show none, or for another kind."""
        iterators = {
            "image": self._explain_image,
            "cuda": self._explain_cuda,
            "tool": self._explain_tool,
            "snapshot": self._explain_snapshot,
            "python": self._explain_python,
        }
        return tuple(dict.fromkeys(iterators[kind](name))) if kind in iterators else ()

    def _explain_image(self, stage: str) -> Iterator[str]:
        before, after = (_find_stage(each, stage) for each in (self.old, self.new))
        changed = self._find_changed_input("image.base")
        if changed is not None:
            yield f"the spec names `{changed}`" if changed else "the spec names no base image any more"
        if remove_digest(before.image) == remove_digest(after.image):
            if changed is None:
                yield from self._explain_moved_tag(after.image)
            return
        yield from self._explain_other_cuda()
        yield from self._iter_new_steps("image", {"build", "run"} - {stage})
        yield from self._explain_catalogue()

    def _explain_moved_tag(self, image: str) -> Iterator[str]:
        tag = remove_digest(image)
        yield f"the tag `{tag}` was moved to another digest"
        if self.parts and "base" not in self.parts and "python" in self.parts:
            yield "it contains the Python, which `-P python` upgrades"

    def _explain_other_cuda(self) -> Iterator[str]:
        before, after = (each.base_decision.cuda if each.base_decision else None for each in (self.old, self.new))
        if before != after:
            instead = f", and CUDA {before} before" if before and after else ""
            yield f"the locked packages use CUDA {after}{instead}" if after else "no locked package uses CUDA any more"

    def _explain_catalogue(self) -> Iterator[str]:
        before, after = (each.base_decision.catalogue if each.base_decision else "" for each in (self.old, self.new))
        if before and after and before != after:
            yield f"the catalogue of {after.partition(' ')[0]} decided, and that of {before.partition(' ')[0]} before"

    def _explain_cuda(self, _: str) -> Iterator[str]:
        changed = self._find_changed_input("cuda.version")
        if changed is not None:
            text = {"": "the spec requests no CUDA version any more", "false": "the spec excludes CUDA"}
            yield text.get(changed, f"the spec requests CUDA {changed}")
        yield from self._iter_new_steps("bundled", set())

    def _explain_tool(self, name: str) -> Iterator[str]:
        changed = self._find_changed_input(f"tools.{name}")
        before, after = (_find_tool(each, name) for each in (self.old, self.new))
        if changed is not None:
            yield f"the spec names `{changed}`" if changed else f"the spec names no image of `{name}` any more"
        elif before is None or after is None:
            return
        elif self._find_input(self.new_lock, f"tools.{name}"):
            yield from self._explain_moved_tag(after)
        else:
            yield "it is the default image of another release of envcompile"

    def _explain_snapshot(self, _: str) -> Iterator[str]:
        if self.old_lock.snapshot is None or self.new_lock.snapshot is None:
            return
        for key, name in (("apt.snapshot", "`snapshot` in `[apt]`"), ("exclude-newer", "`exclude-newer`")):
            changed = self._find_changed_input(key)
            if changed:
                yield f"the spec sets {name} to {changed}"
                return
        is_new_image = (self.old.run.image, self.old.build.image) != (self.new.run.image, self.new.build.image)
        if is_new_image and not self.new_lock.snapshot.endswith(_MIDNIGHT):
            yield "a base image is newer than the earlier snapshot"
        elif self.parts is None:
            yield "the Debian packages were upgraded, with `-P apt` or `-U`"
        elif self.parts and "apt" not in self.parts and "python" in self.parts:
            yield "the Python is a Debian package, which `-P python` upgrades"

    def _explain_python(self, _: str) -> Iterator[str]:
        before, after = self.old.python, self.new.python
        if before is None or after is None or before.version == after.version:
            return
        if after.source == "image" and self.old.build.image != self.new.build.image:
            yield f"`{remove_digest(self.new.build.image)}` has this version now"
        elif after.source == "apt" and self.old_lock.snapshot != self.new_lock.snapshot:
            yield "the Debian package has this version in the new snapshot"
        elif after.source == "standalone" and before.source != "standalone":
            yield f"`{remove_digest(self.new.run.image)}` has no Python of this version, so a standalone build is used"

    def _iter_new_steps(self, rule: str, other_stages: set[str]) -> Iterator[str]:
        """Yield the steps of this rule that the later decision has and the earlier one has not."""
        before, after = (each.base_decision.explanation if each.base_decision else () for each in (self.old, self.new))
        for step in after:
            family, _, stage = step.rule.partition(".")
            if family == rule and stage not in other_stages and step.decision and step not in before:
                yield f"{step.decision} ({', '.join(step.inputs)})" if step.inputs else step.decision

    def _find_changed_input(self, key: str) -> str | None:
        """Return the new value of a key of the spec, "" if it was removed, or None if it is unchanged or unknown."""
        if self.old_lock.recorded_inputs is None or self.new_lock.recorded_inputs is None:
            return None
        before, after = self._find_input(self.old_lock, key), self._find_input(self.new_lock, key)
        return None if before == after else after

    @staticmethod
    def _find_input(lock: Lock, key: str) -> str:
        return next((", ".join(each.values) for each in lock.recorded_inputs or () if each.key == key), "")


def _find_stage(platform: PlatformLock, stage: str) -> BaseImage:
    return platform.build if stage == "build" else platform.run


def _find_tool(platform: PlatformLock, name: str) -> str | None:
    return next((each.image for each in platform.tools if each.name == name), None)
