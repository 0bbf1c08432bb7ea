"""What several commands take: contexts, patterns, and who is asking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from paramstore import ParamStore
from paramstore._environment import parse
from paramstore._layers import check_context, matching_pattern
from paramstore.errors import ContextError

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
at_option = click.option(
    "--at", "at", multiple=True, metavar="DIM=VALUE", help="A context dimension; may be repeated."
)
author_option = click.option(
    "--author", metavar="NAME", help="Who commits. Default: PARAMSTORE_AUTHOR, else the login name."
)
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the journal.")
force_option = click.option(
    "--force", is_flag=True, help="As a person: pass freezes and learners' limits. Needs --reason."
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Judge and show, but write nothing.")
timeout_option = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0), metavar="S", help="Seconds to wait for the lock."
)


def context_of(store: ParamStore, pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return the context that ``--at`` options name, values typed as their dimensions say.

    Raises ``ContextError`` for what no schema declares.
    """
    dimensions = store.snapshot().state.dimensions()
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not (name and sign):
            raise click.UsageError(f"--at {pair}: write it as dimension=value")
        if name in found:
            raise click.UsageError(f"--at names `{name}` twice")
        found[name] = parse(text, dimensions[name].type) if name in dimensions else text
    try:
        return check_context(found, dimensions)
    except ContextError as error:  # its hint on the Python call says nothing here
        raise ContextError(str(error).partition(" `get` takes")[0]) from None


def pattern_of(store: ParamStore, text: str) -> str:
    """Return ``text`` as a pattern of keys; a namespace or group stands for everything in it.

    Raises ``UnknownParamError`` when it can match nothing.
    """
    return matching_pattern(text, store.keys())


def author_of(store: ParamStore, given: str | None) -> str:
    """Return who commits: as given, else the setting, else the login name."""
    name = given if given is not None else store.options.author
    if name is not None:
        return name
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without an account, as in some containers
        raise click.UsageError("who commits? Give --author, or set PARAMSTORE_AUTHOR") from None


def root_in_files(store: ParamStore, what: str) -> str:
    """Return the root of a store whose values live in files; refuse ``what`` for one whose files are a mirror only."""
    if store.options.backend is not None:
        raise click.UsageError(
            f"the values live in {store.options.backend}, and {what} has no part in that: name a store in files with --root, or unset "
            "PARAMSTORE_BACKEND"
        )
    assert store.root is not None
    return store.root


WEB = ("fastapi", "starlette", "uvicorn", "h11", "prometheus_client", "pydantic", "anyio")


@contextmanager
def needs_web(command: str) -> Iterator[None]:
    """Say how to install what the page is made with, where importing it in the block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in WEB:
            raise
        raise click.ClickException(
            f"{command} needs what is not installed here ({error.name}): run `pip install 'paramstore[web]'`"
        ) from None
