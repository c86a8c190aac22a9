"""The console script: runs one command in this process, and handles everything that can end it."""

from __future__ import annotations

import gc
import os
import sys

from envcompile.cli.interrupts import end_on_signals, finish_interrupted, raise_on_signals, was_interrupted
from envcompile.diagnostics.errors import EXIT_BUG, EXIT_FAILED, EXIT_OK


def run_command_line() -> None:
    """Run the command line of this process, and exit.

    The process skips garbage collection and the finalization of the interpreter. Together they take a fifth of the time
    of a short command (measured on `dockerfile` with 200 packages).
    """
    end_on_signals()
    gc.disable()
    try:
        code = _run_to_exit_code()
    except KeyboardInterrupt:  # another one, while the first was handled
        code = finish_interrupted()
    try:  # noqa: SIM105 - the import of contextlib takes a tenth of the time of `verify`
        sys.stdout.flush()
    except OSError:
        pass  # a closed pipe, or an error that has been shown
    sys.stderr.flush()
    os._exit(code)


def _run_to_exit_code() -> int:  # noqa: PLR0911 - one for each way to end
    try:
        if sys.argv[1:2] in (["verify"], ["lock"]):
            from envcompile.cli import fast_path  # noqa: PLC0415 - before anything else is imported

            is_done = fast_path.are_all_fresh if sys.argv[1] == "verify" else fast_path.is_nothing_to_lock
            if is_done(sys.argv[2:]):
                return EXIT_OK
        from envcompile.cli.main import main  # noqa: PLC0415 - without garbage collection

        code = main(sys.argv[1:], raise_on_signals)
        code = _flush_output() or code
    except KeyboardInterrupt:
        return finish_interrupted()
    except BrokenPipeError:
        # The reader of the output has ended, as in `envcompile dockerfile | head`. That is not an error.
        return EXIT_OK
    except SystemExit as end:  # raised by argparse after `--help` and usage errors
        return end.code if isinstance(end.code, int) else EXIT_OK
    except Exception:  # noqa: BLE001 - any other exception is a bug
        if was_interrupted():
            return finish_interrupted()
        import traceback  # noqa: PLC0415

        from envcompile.diagnostics.diagnostic import clean_message  # noqa: PLC0415

        sys.stderr.write(clean_message(traceback.format_exc()))
        sys.stderr.write("error: this is a bug in envcompile; please report it with the lines above\n")
        return EXIT_BUG
    return code


def _flush_output() -> int:
    """Write the rest of the standard output. Returns the exit code if that fails, otherwise 0."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        sys.stderr.write(f"error: standard output cannot be written: {problem.strerror}\n")
        return EXIT_FAILED
    return EXIT_OK
