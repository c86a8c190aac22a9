"""Compile a TOML spec of conda, pip and apt packages to a lock file, a reproducible Dockerfile and its tag.

The functions of this package do what the commands do; docs/api.md describes them. A module is imported when one of its
names is first used: `import envcompile` alone imports nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # the constant of `typing`, whose import takes as long as the start of Python
if TYPE_CHECKING:
    from envcompile.api import (
        BuildResult,
        Dockerfile,
        Finding,
        LockResult,
        OutdatedResult,
        ReproducibilityResult,
        VerifyResult,
        build,
        check_reproducibility,
        diff,
        dockerfile,
        estimate_push,
        export,
        load,
        lock,
        outdated,
        size,
        tag,
        verify,
    )
    from envcompile.diagnostics.diagnostic import BuildLog, DiagnosticsError, Event, Notice, StepStarted, WarningIssued
    from envcompile.diagnostics.errors import CheckFailedError, EnvcompileError, InvalidInputError, UnavailableError
    from envcompile.engine.image import ImageFile
    from envcompile.loading import Project, ProjectLock

__version__ = "0.1.0"
__all__ = [
    "BuildLog",
    "BuildResult",
    "CheckFailedError",
    "DiagnosticsError",
    "Dockerfile",
    "EnvcompileError",
    "Event",
    "Finding",
    "ImageFile",
    "InvalidInputError",
    "LockResult",
    "Notice",
    "OutdatedResult",
    "Project",
    "ProjectLock",
    "ReproducibilityResult",
    "StepStarted",
    "UnavailableError",
    "VerifyResult",
    "WarningIssued",
    "__version__",
    "build",
    "check_reproducibility",
    "diff",
    "dockerfile",
    "estimate_push",
    "export",
    "load",
    "lock",
    "outdated",
    "size",
    "tag",
    "verify",
]

# The modules of the names that `envcompile.api` does not define.
_MODULES = {
    "diagnostics.diagnostic": ("BuildLog", "DiagnosticsError", "Event", "Notice", "StepStarted", "WarningIssued"),
    "diagnostics.errors": ("CheckFailedError", "EnvcompileError", "InvalidInputError", "UnavailableError"),
    "engine.image": ("ImageFile",),
    "loading": ("Project", "ProjectLock"),
}


if not TYPE_CHECKING:  # with a visible `__getattr__`, type checkers would accept every name

    def __getattr__(name: str) -> object:
        """Import the module that defines a public name, and return the value of the name."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
        from importlib import import_module  # noqa: PLC0415 - not with `import envcompile`

        module = next((module for module, names in _MODULES.items() if name in names), "api")
        value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(type(sys)):  # type: ignore[misc] # the class of modules, without the import of `types`
    """A package whose functions `lock` and `export` hide the packages `envcompile.lock` and `envcompile.export`.

    The import of a submodule usually sets an attribute of its package. Here, it does not replace a public name. The
    submodules remain importable, in every form but `import envcompile.lock as NAME`.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name not in __all__ or not isinstance(value, type(sys)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
