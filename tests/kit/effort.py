"""How much work a test does, and measures of work that do not depend on the load of the machine.

Those measures are calls of functions, and processor time.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


def is_long() -> bool:
    """Whether pytest runs with `--long`."""
    return bool(os.environ.get("ENVCOMPILE_TEST_LONG"))


def count_examples(count: int) -> int:
    """The number of examples for a property: `count` if pytest runs with `--long`, otherwise a fifth of it."""
    return count if is_long() else max(count // 5, 20)


def count_calls(function: Callable[[], object]) -> int:
    """Count the functions, of Python and of C, that a call of `function` calls."""
    count = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    earlier = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(earlier)
    return count


@contextmanager
def limit_processor_time(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the body once this process has used so much processor time, so that no test hangs.

    Regular expressions and TOML are parsed in C, where no calls can be counted. A limit is at least ten times what the
    body needs: only an algorithm that is not linear reaches it.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        message = f"more than {seconds:g} seconds of processor time"
        raise TimeoutError(message)

    earlier = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, earlier)
