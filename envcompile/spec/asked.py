"""What a spec asks of conda, all of it: the packages it names, and the Python at its top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envcompile.spec.match_spec import match_spec

if TYPE_CHECKING:
    from envcompile.spec.model import Spec


def asked_of_conda(spec: Spec) -> tuple[str, ...]:
    """The conda requirements, and with them the Python that the spec asks for at its top."""
    asked = {match_spec(text).name for text in spec.conda.packages}
    if spec.python is None or "python" in asked:
        return spec.conda.packages
    exact = spec.python.count(".") > 1
    return (*spec.conda.packages, f"python =={spec.python}" if exact else f"python {spec.python}.*")
