"""How every command line of the package starts, and how it ends when something is wrong.

``run(command)`` is the one place where an exception becomes an exit status:

====================================  ===============================================  ======
what happened                         what the person sees                             status
====================================  ===============================================  ======
success, ``--help``                   the command's own output                         0
a mistake (``UserError``, click)      one line on stderr, ``error: ...``               2
disk full, file or folder refused     one line on stderr naming the file               2
out of memory                         one line on stderr naming the option to lower    2
Ctrl-C                                what the command itself said                     130
the reader of a pipe went away        nothing                                          1
anything else is a bug of ours        the traceback, to be pasted into a report        1
====================================  ===============================================  ======
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from stylegan_fast.errors import UserError
from stylegan_fast.memory import keep_freed_memory

INTERRUPTED = 130  # 128 + SIGINT, what shells report for a program ended by Ctrl-C
MISTAKE = 2

# Threads of torch's OpenMP pool spin before they sleep, by default for milliseconds. On a machine that others use too,
# two of them then spend most of their time waiting for each other: in one measurement 170 images/s became 3. Read by
# the pool when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_MEMORY_OPTIONS = ("--batch-gpu", "--batch", "--resolution", "--channel-base")
_DISK_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def run(command: click.Command, arguments: Sequence[str] | None = None, keep_memory: bool = True) -> NoReturn:
    """Execute a click command on ``arguments`` (default: ``sys.argv[1:]``) and leave the process with its status.

    Unless told otherwise the process keeps the memory it frees, see `keep_freed_memory`.
    """
    if keep_memory:
        keep_freed_memory()
    status = exit_status(command, arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more while closing; with nothing behind the descriptor that would print a trace.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = status or 1
    sys.exit(status)


def exit_status(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """The status with which ``run`` would leave the process. The line about a mistake is written to stderr.

    A command may return an ``int`` as its own status; any other value counts as success.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = command.main(args=arguments, standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as mistake:
        return _report(mistake.format_message())
    except UserError as mistake:
        return _report(str(mistake))
    except SystemExit as left:  # click's own way out when the reader of a pipe went away
        return left.code if isinstance(left.code, int) else 1
    except OSError as failure:
        return _report(_describe_os_error(failure))
    except (MemoryError, RuntimeError) as failure:
        if not is_out_of_memory(failure):
            raise
        return _report(_describe_out_of_memory(_the_command_run(command, arguments), failure))
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def is_out_of_memory(failure: BaseException) -> bool:
    """Whether Python, torch's CPU allocator or a device allocator ran out of memory (torch need not be imported)."""
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
        return True
    text = str(failure)
    return isinstance(failure, RuntimeError) and ("can't allocate memory" in text or "out of memory" in text)


def _report(message: str) -> int:
    click.echo("error: " + " ".join(message.split()), err=True)
    return MISTAKE


def _describe_os_error(failure: OSError) -> str:
    where = f" {os.fspath(failure.filename)!r}" if isinstance(failure.filename, (str, os.PathLike)) else ""
    if failure.errno in _DISK_FULL:
        return f"the disk is full: could not write{where or ' a file'}; free some space or write to another folder"
    if failure.errno == errno.EROFS:
        return f"the disk is read-only: could not write{where or ' a file'}; write to another folder"
    reason = failure.strerror or str(failure) or type(failure).__name__
    return f"{reason}:{where}" if where else reason


def _the_command_run(command: click.Command, arguments: Sequence[str]) -> click.Command:
    if isinstance(command, click.Group) and arguments:
        return command.get_command(click.Context(command), arguments[0]) or command
    return command


def _describe_out_of_memory(command: click.Command, failure: BaseException) -> str:
    present = {name for parameter in command.params for name in parameter.opts}
    options = [name for name in _MEMORY_OPTIONS if name in present]
    advice = f"; lower {options[0]}" if options else "; use smaller images"
    if len(options) > 1:
        advice += f" (or {', '.join(options[1:])})"
    detail = " ".join(str(failure).split())[:160]
    return f"out of memory{advice}" + (f" [{detail}]" if detail else "")
