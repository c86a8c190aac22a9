"""The digest of what a spec asks of the resolvers.

Only what the lock answers counts: a new `CMD` needs no new lock. Order and spelling of what is unordered do not count.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envcompile.spec.model import Spec


def spec_digest(spec: Spec) -> str:
    """`sha256:` and the digest of the canonical JSON of the spec's question."""
    from envcompile.spec.requirement import canonical, name  # noqa: PLC0415 - brings `packaging`

    base = spec.image.base
    question = {
        "python": spec.python,
        "platforms": sorted(spec.platforms),
        "exclude-newer": spec.exclude_newer,
        "pip": {
            "packages": sorted(canonical(text) for text in spec.pip.packages),
            "exclude": sorted(name(text) for text in spec.pip.exclude),
        },
        "base": [base.image, base.os, base.glibc, base.python, base.python_path] if base else None,
        "tools": dict(spec.tools),
    }
    text = json.dumps(question, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def text_digest(text: str) -> str:
    """`sha256:` and the digest of a spec's text with LF line ends: what spares a second look at a known file."""
    return "sha256:" + hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()
