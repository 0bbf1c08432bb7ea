"""The command line. The only part of paramstore that prints.

Exit status: 0 done; 1 refused, or ``check`` has findings; 2 usage or broken input; 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from paramstore import ParamStore, __version__
from paramstore.cli._agent import agent, copy, mirror
from paramstore.cli._bisect import bisect
from paramstore.cli._blame import blame
from paramstore.cli._diff import diff
from paramstore.cli._doctor import doctor
from paramstore.cli._etcd import etcd_
from paramstore.cli._git import commit, git_
from paramstore.cli._hold import approve, freeze, unfreeze
from paramstore.cli._migrate import migrate
from paramstore.cli._output import complain, put
from paramstore.cli._past import history
from paramstore.cli._report import report
from paramstore.cli._scorecard import scorecard_
from paramstore.cli._serve import serve
from paramstore.cli._show import explain, get, list_
from paramstore.cli._tend import check, demo, init
from paramstore.cli._types import schema, stubs
from paramstore.cli._write import rollback, set_
from paramstore.errors import InvalidFileError, ParamstoreError, SettingsError, StoreNotFoundError

REFUSED, BROKEN, INTERRUPTED = 1, 2, 130
READER_LEFT = 141  # what a shell says of a program that wrote into a closed pipe


class Door(click.Group):
    """The group of all commands: turns every error that bad input can cause into one message."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **_: Any
    ) -> NoReturn:
        name = prog_name or "paramstore"
        self._main_shell_completion({}, name)
        sys.exit(self._run(list(sys.argv[1:] if args is None else args), name))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of use, not of the alphabet

    def _run(self, args: list[str], name: str) -> int:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError):  # what cannot be encoded is shown escaped, not raised
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        try:
            with self.make_context(name, args) as ctx:
                self.invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where a full disk or a closed pipe can still be told
        except click.exceptions.Exit as end:
            return end.exit_code
        except (click.Abort, KeyboardInterrupt):
            complain("interrupted")
            return INTERRUPTED
        except click.ClickException as error:
            complain(_usage(error))
            return BROKEN
        except ParamstoreError as error:
            complain(str(error))
            broken = isinstance(error, StoreNotFoundError | SettingsError | InvalidFileError)
            return BROKEN if broken else REFUSED
        except OSError as error:
            return _system_refused(error)
        return 0


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" See `{context.command_path} --help`." if context is not None else ""
    return f"{error.format_message().rstrip('.')}.{hint}"


def _system_refused(error: OSError) -> int:
    with suppress(OSError, ValueError, AttributeError):  # or the interpreter would flush, and fail, again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return READER_LEFT
    where = f"{error.filename}: " if error.filename else ""
    complain(f"{where}{error.strerror or error}")
    return BROKEN


@click.group(
    "paramstore", cls=Door, invoke_without_command=True, epilog="Example: paramstore list signal_weights"
)
@click.option("--root", metavar="DIR", help="The directory with params/ and schemas/; see PARAMSTORE_ROOT.")
@click.version_option(__version__, message="paramstore %(version)s")
@click.pass_context
def cli(ctx: click.Context, root: str | None) -> None:
    """Typed, bounded, versioned parameters: live reads, locked writes, small diffs."""
    # What the library logs for long-running processes is, here, the error that is printed anyway.
    logging.getLogger("paramstore").addHandler(logging.NullHandler())
    ctx.obj = ParamStore(root)
    if ctx.invoked_subcommand is None:
        put(ctx.get_help())


COMMANDS = (
    get, set_, list_, explain, history, blame, diff, bisect, scorecard_, rollback, freeze, unfreeze, approve, commit, git_, agent, mirror, copy, etcd_, check, doctor, init,
    stubs, schema, serve, report, demo, migrate,
)  # fmt: skip
for command in COMMANDS:
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line on ``sys.argv`` and exit."""
    cli.main()
