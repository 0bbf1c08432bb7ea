"""The web page: ``serve``."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from paramstore import ParamStore
from paramstore.cli._output import legible, say
from paramstore.cli._shared import json_option, needs_web
from paramstore.errors import ParamstoreError

if TYPE_CHECKING:
    from paramstore.web._admission import Settings

PORT = 8417
INTERRUPTED = 130
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
WILDCARDS = ("0.0.0.0", "::")
existing = click.Path(exists=True, dir_okay=False)


@click.command(
    short_help="Serve the page on which people see what learners do.",
    epilog="Example: paramstore serve --allow-writes",
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, metavar="N", help="0 picks one."
)
@click.option(
    "--allow-writes",
    "writes",
    is_flag=True,
    help="Let who has the token change values, roll back and freeze.",
)
@click.option("--private", is_flag=True, help="Ask for the token to read, too.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME[:PORT]",
              help="Answer under this name as well; may be repeated.")  # fmt: skip
@click.option(
    "--token-file",
    metavar="FILE",
    help="The file with the token, made if missing. Default: .paramstore/web-token.",
)
@click.option("--tls-cert", type=existing, metavar="FILE", help="Serve https, with this certificate (PEM).")
@click.option("--tls-key", type=existing, metavar="FILE", help="The certificate's key (PEM).")
@click.option(
    "--without-tls",
    is_flag=True,
    help="Listen to other machines though anyone between can read and change all.",
)
@click.option(
    "--outcomes", type=existing, metavar="FILE", help="Trades for the scorecard; see `paramstore scorecard`."
)
@click.option("--metric", metavar="FIELD", help="The number in OUTCOMES to judge by.")
@click.option("--access-log", is_flag=True, help="Tell each request: method, path and status.")
@click.option("--open", "show", is_flag=True, help="Open the page in a browser.")
@json_option
@click.pass_obj
def serve(store: ParamStore, /, *, as_json: bool, **given: Any) -> None:
    """Serve a page on which people see what learners do, and the HTTP API under it, until Ctrl-C.

    Only this machine can reach it, and nothing can be changed by it, unless you say so. The token that changes need stands in a file
    that only you can read; the page asks for it. --json: one line with the address, once it is there.
    """
    with needs_web("serve"):
        from paramstore.web import _server
        from paramstore.web._app import make_app
    _check(given)
    beyond = not _server.is_loopback(given["host"])
    tls = _server.tls_context(given["tls_cert"], given["tls_key"]) if given["tls_cert"] else None
    if beyond and not (tls or given["without_tls"]):
        raise click.UsageError(
            f"--host {given['host']} lets other machines reach this page: give --tls-cert and --tls-key, or, where the network is safe "
            "otherwise, --without-tls. Reading needs the token then, too"
        )
    store.snapshot()  # what is wrong with the store is told before anything listens
    made = _server.listen(given["host"], given["port"])
    with made:
        settings, token_file = _settings(store, given, made.getsockname()[1], beyond)
        _log_to_stderr(settings.token, given["access_log"])
        address = _address(settings, given, made.getsockname()[1])

        def ready() -> None:
            _tell(settings, address, token_file, given, beyond, as_json)

        stopped_by = _server.serve(make_app(store, settings), made, tls, ready)
    if stopped_by == signal.SIGINT:
        raise click.exceptions.Exit(INTERRUPTED)


# --- what was asked for ---------------------------------------------------------------------------


def _check(given: dict[str, Any]) -> None:
    for one, other in (("tls_cert", "tls_key"), ("outcomes", "metric")):
        if bool(given[one]) != bool(given[other]):
            raise click.UsageError(f"give --{one.replace('_', '-')} and --{other.replace('_', '-')} together")
    if given["without_tls"] and given["tls_cert"]:
        raise click.UsageError("--without-tls and --tls-cert exclude each other")
    from paramstore.web._admission import split_host

    for name in given["names"]:
        try:
            split_host(name)
        except ValueError as error:
            raise click.UsageError(f"--allow-host {error}") from None


def _settings(
    store: ParamStore, given: dict[str, Any], port: int, beyond: bool
) -> tuple[Settings, str | None]:
    """Return the settings, and the token's file where one is needed."""
    from paramstore.web._admission import Settings, hosts_for
    from paramstore.web._token import token_at, token_in

    scheme = "https" if given["tls_cert"] else "http"
    private = given["private"] or beyond
    token, file = None, None
    if given["writes"] or private:
        if given["token_file"]:
            file = os.path.abspath(given["token_file"])
            token = token_at(file)
        elif store.root is not None:
            token, file = token_in(os.path.join(store.root, ".paramstore"))
        else:
            raise ParamstoreError("The store is not in files: name a file for the token with --token-file.")
    named = [] if given["host"] in WILDCARDS else [_bracketed(given["host"])]
    settings = Settings(
        hosts=hosts_for([*LOOPBACK, *named, *given["names"]], port, scheme),
        scheme=scheme,
        writes=given["writes"],
        private=private,
        token=token,
        author=_author(store),
        outcomes=given["outcomes"],
        metric=given["metric"],
    )
    return settings, file


def _author(store: ParamStore) -> str:
    from paramstore.cli._shared import author_of

    try:
        return author_of(store, None)
    except click.UsageError:  # the page asks
        return ""


def _bracketed(host: str) -> str:
    host = host.partition("%")[0]  # a browser names no network card
    return f"[{host}]" if ":" in host else host


def _address(settings: Settings, given: dict[str, Any], port: int) -> str:
    """Return the address to open: by the first name that was given, where the one that is listened at is none."""
    from paramstore.web._admission import split_host

    name, own = _bracketed(given["host"]), None
    if given["host"] in WILDCARDS:
        name, own = split_host(given["names"][0]) if given["names"] else (LOOPBACK[0], None)
    return f"{settings.scheme}://{name}:{own or port}"


# --- what is said ---------------------------------------------------------------------------------


def _tell(
    settings: Settings,
    address: str,
    token_file: str | None,
    given: dict[str, Any],
    beyond: bool,
    as_json: bool,
) -> None:
    if as_json:
        data = {
            "address": address, "token_file": token_file, "writes": settings.writes, "private": settings.private
        }  # fmt: skip
        say(json.dumps(data))
    else:
        for line in _lines(settings, token_file, given, beyond):
            say(line)
        say(address)
        say("Ctrl-C stops it.")
    sys.stdout.flush()
    if given["show"]:
        import threading
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _lines(settings: Settings, token_file: str | None, given: dict[str, Any], beyond: bool) -> list[str]:
    said = [
        "Changes are on, for who has the token." if settings.writes else "Changes are off (--allow-writes lets them in).",
        "Reading needs the token, too." if settings.private else "Whoever can log in to this machine can read all of it (--private).",
    ]  # fmt: skip
    if token_file:
        said.append(f"The token is in {token_file}")
    if beyond and given["without_tls"]:
        said.append(
            "Without TLS: whoever is on the way sees the token and all that is sent, and can change it."
        )
    if given["host"] in WILDCARDS and not given["names"]:
        said.append("Other machines are answered only under names that --allow-host gives.")
    return said


class _Lines(logging.Formatter):
    """A log that can be shown: one event, its lines escaped, and never the token."""

    def __init__(self, token: str | None) -> None:
        super().__init__("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if self._token:
            text = text.replace(self._token, "[token]")
        return "\n".join(legible(line, sys.stderr) for line in text.split("\n"))


def _log_to_stderr(token: str | None, access: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(token))
    log = logging.getLogger("paramstore")
    log.addHandler(handler)
    log.propagate = False
    logging.getLogger("asyncio").addHandler(handler)
    if access:
        logging.getLogger("paramstore.web.access").setLevel(logging.INFO)
