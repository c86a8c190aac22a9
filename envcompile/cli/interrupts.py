"""Ends the process when a signal interrupts it: Ctrl-C, SIGTERM, or a closed terminal.

Before a command runs, the process only imports modules. Python would turn an interrupt there into a traceback, or lose
it in a callback of the interpreter, so the handler ends the process itself. While a command runs, the handler raises
`InterruptedBySignal`: child processes are ended, and temporary files are removed.

`cli.entry` imports this module before anything else, and so does `verify`. The module `signal` imports `enum`, which
takes half the time of `verify`; the built-in module below it takes none.
"""

from __future__ import annotations

import os
import sys

from envcompile.diagnostics.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

TYPE_CHECKING = False  # the constant of `typing`, whose import takes as long as the start of Python
if TYPE_CHECKING:
    import signal as _signal
    from types import FrameType
else:
    import _signal

_WORDS = {EXIT_INTERRUPTED: "interrupted", EXIT_TERMINATED: "terminated"}
# Windows has no SIGHUP, and TerminateProcess instead of SIGTERM.
_SIGNALS = tuple(getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(_signal, name))

_received: list[int] = []


class InterruptedBySignal(KeyboardInterrupt):
    """A signal has interrupted the command."""


def end_on_signals() -> None:
    """Let Ctrl-C end the process at once, with a word. Other signals end it without one, as usual."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # a background job of a shell ignores it
        _signal.signal(_signal.SIGINT, _end_process)


def raise_on_signals() -> None:
    """Let the signals raise `InterruptedBySignal` in the main thread, unless the process ignores them."""
    for number in _SIGNALS:
        if _signal.getsignal(number) in (_signal.default_int_handler, _signal.SIG_DFL, _end_process):
            _signal.signal(number, _raise_interrupt)
    sys.unraisablehook = _repeat_lost_interrupt


def was_interrupted() -> bool:
    """Whether a signal has interrupted the command, even if another exception has replaced `InterruptedBySignal`."""
    return bool(_received)


def finish_interrupted() -> int:
    """Say that the process was interrupted. Returns the exit code, that of a shell for a process with this signal."""
    for number in _SIGNALS:
        _signal.signal(number, _signal.SIG_IGN)
    is_terminated = bool(_received) and _received[0] != _signal.SIGINT
    code = EXIT_TERMINATED if is_terminated else EXIT_INTERRUPTED
    sys.stderr.write(f"\n{_WORDS[code]}\n")
    return code


def _end_process(_number: int, _frame: FrameType | None) -> None:
    try:
        # The stream may be in the middle of another write.
        os.write(2, f"\n{_WORDS[EXIT_INTERRUPTED]}\n".encode())
    finally:
        os._exit(EXIT_INTERRUPTED)


def _raise_interrupt(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    raise InterruptedBySignal


def _repeat_lost_interrupt(lost: sys.UnraisableHookArgs) -> None:
    """Raise an interrupt again that came in a callback of the interpreter, such as a finalizer, which drops it."""
    if isinstance(lost.exc_value, InterruptedBySignal):
        import _thread  # noqa: PLC0415 - hardly ever needed

        _thread.interrupt_main()
    else:
        sys.__unraisablehook__(lost)
