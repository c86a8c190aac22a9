"""The console script: one command in a process of its own, and an answer to everything that can end it."""

from __future__ import annotations

import gc
import os
import sys

from envcompile.diagnostics.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_OK


def run_command_line() -> None:
    """Run the command line of this process, and exit.

    A command lives for a tenth of a second and makes nothing that outlives it: collecting garbage and taking the
    interpreter apart would be a fifth of its time (measured on `dockerfile` with 200 packages).
    """
    gc.disable()
    code = _run_to_exit_code()
    try:  # noqa: SIM105 - contextlib is a tenth of the time of `verify`
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    sys.stderr.flush()
    os._exit(code)


def _run_to_exit_code() -> int:
    try:
        if sys.argv[1:2] == ["verify"]:
            from envcompile.cli.fast_verify import are_all_fresh  # noqa: PLC0415 - the short way, before anything is imported

            if are_all_fresh(sys.argv[2:]):
                return EXIT_OK
        from envcompile.cli.main import main  # noqa: PLC0415 - after the collector is off

        code = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has gone, as in `envcompile dockerfile | head`: not an error, and nobody to tell.
        return EXIT_OK
    except SystemExit as end:  # argparse: help and usage
        return end.code if isinstance(end.code, int) else EXIT_OK
    except Exception:  # noqa: BLE001 - the last resort: a bug is told as one, with what is needed to mend it
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        sys.stderr.write("error: this is a bug of envcompile; please report it with the lines above\n")
        return EXIT_BUG
    return code
