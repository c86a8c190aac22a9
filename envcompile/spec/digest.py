"""The digest of what a spec asks of the resolvers.

Only what the lock answers counts: a new `CMD` needs no new lock. Order and spelling of what is unordered do not count.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.spec.model import Spec


def spec_digest(spec: Spec) -> str:
    """`sha256:` and the digest of the canonical JSON of the spec's question."""
    from envcompile.spec.indexes import normalized  # noqa: PLC0415 - with it
    from envcompile.spec.requirement import canonical, name  # noqa: PLC0415 - brings `packaging`

    question = asdict(spec)
    for answered_elsewhere in ("name", "exports"):
        del question[answered_elsewhere]
    question["image"] = question["image"]["base"]
    question["platforms"] = sorted(spec.platforms)
    question["tools"] = dict(spec.tools)
    for unordered in (question["conda"], question["apt"], question["cuda"]):
        unordered.update({key: sorted(each) for key, each in unordered.items() if isinstance(each, tuple)})
    question["conda"]["channels"] = list(spec.conda.channels)
    question["pip"]["packages"] = sorted(canonical(text) for text in spec.pip.packages)
    for names in ("exclude", "allow_sdist"):
        question["pip"][names] = sorted(name(text) for text in question["pip"][names])
    for index in question["pip"]["extra_indexes"]:
        index["packages"] = sorted(normalized(text) for text in index["packages"])
    # Which program solves, and with it no pin that is asked for, is the lock command's business.
    del question["pip"]["resolver"], question["conda"]["resolver"]
    text = json.dumps(question, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def text_digest(text: str) -> str:
    """`sha256:` and the digest of a spec's text with LF line ends: what spares a second look at a known file."""
    return "sha256:" + hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()
