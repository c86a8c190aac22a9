"""Which base images: `plain` before anything is resolved, `decide` from what is locked and what is known of CUDA."""

from __future__ import annotations

from envcompile.plan.base.plain import EXAMPLE, Facts, choose, needs_look, own_python, tools, wanted

__all__ = ["EXAMPLE", "Facts", "choose", "needs_look", "own_python", "tools", "wanted"]
