"""Entry point: `perftrack record`, the cron line, goes straight to recording; everything else to typer."""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress

from perftrack.errors import ClosedPipeError, PerftrackError
from perftrack.text import printable


def main() -> None:
    """Run the command line and exit; an error is one line on stderr."""
    exit_code = 0
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # some service managers start programs without
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no valid text
    try:
        if sys.argv[1:2] == ["record"]:
            gc.disable()  # a tick leaves few cycles behind, and looking for them is a twentieth of its cost
            from perftrack.cli import cron_line

            options = cron_line.parse(sys.argv[2:])
            if options is not None:
                cron_line.record(**options)
                sys.stdout.flush()
                # Everything is written and closed. Taking the interpreter apart would cost a tenth of the tick more.
                os._exit(0)

        gc.enable()
        from perftrack.cli.app import run  # typer alone would cost several times what the tick does

        exit_code = run()
        sys.stdout.flush()
    except PerftrackError as error:
        exit_code = _failed(error)
    except (ClosedPipeError, BrokenPipeError):  # the reader has seen enough
        _forget_stdout()
    except OSError as error:
        exit_code = _failed(PerftrackError(f"{error.filename or 'cannot write the output'}: {error.strerror}"))
    except KeyboardInterrupt:
        exit_code = 130
    except Exception as error:
        if "PERFTRACK_DEBUG" in os.environ:
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        exit_code = _failed(PerftrackError(f"unexpected {what}; PERFTRACK_DEBUG=1 shows where it happened"))
    gc.freeze()  # the interpreter need not look for cycles in what ends with it
    sys.exit(exit_code)


def _failed(error: PerftrackError) -> int:
    """Print the line of *error*, under cron not every minute, and return the exit code."""
    is_news = True
    if sys.argv[1:2] == ["record"]:
        from perftrack.storage import failures

        is_news = failures.note_error(error, on_a_terminal=sys.stderr.isatty())
    if is_news:
        with suppress(OSError):  # the exit code says it too
            sys.stderr.write(f"perftrack: {printable(str(error))}\n")
    return error.exit_code


def _forget_stdout() -> None:
    """Keep the interpreter from flushing into the closed pipe once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
