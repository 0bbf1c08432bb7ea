"""The page itself: one static shell, its stylesheets and its modules, read once from the package.

The modules name each other by bare names (``lit-html``, ``app/overview``), which one import map in the shell turns into
addresses. So the same files serve here and, as ``data:`` addresses, in a report that is one file.

``respond`` says what to answer; it knows no framework.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
VENDOR = {"lit-html.js": "lit-html", "uPlot.esm.js": "uplot"}  # file -> the name that modules import
PREFIX = "/assets/"
MAP = '<script type="importmap"></script>'


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page. ``module`` is the bare name by which modules import it, if it is one."""

    name: str
    body: bytes
    type: str
    etag: str
    module: str | None = None

    @property
    def address(self) -> str:
        """Where the server answers with it."""
        return PREFIX + self.name


@cache
def assets() -> dict[str, Asset]:
    """Return every script and stylesheet by its file name, which is unique."""
    folder = files("paramstore.web") / "static"
    found = [
        _asset(file.name, file.read_bytes(), file.name in VENDOR)
        for place in (folder, folder / "vendor")
        for file in sorted(place.iterdir(), key=lambda file: file.name)
        if file.name.endswith((".js", ".css"))
    ]
    return {asset.name: asset for asset in found}


def _asset(name: str, body: bytes, vendor: bool) -> Asset:
    stem, _, ending = name.rpartition(".")
    module = (VENDOR[name] if vendor else f"app/{stem}") if ending == "js" else None
    return Asset(name, body, TYPES[f".{ending}"], f'"{hashlib.sha256(body).hexdigest()[:32]}"', module)


def asset(name: str) -> Asset | None:
    """Return the file of this name, or ``None``; nothing but the names of ``assets`` is ever looked up."""
    return assets().get(name)


def import_map(addresses: dict[str, str]) -> str:
    """Write an import map, in a form that is safe inside a ``script`` element."""
    return json.dumps({"imports": addresses}, separators=(",", ":"), sort_keys=True).replace("<", "\\u003c")


@cache
def _map() -> str:
    return import_map({asset.module: asset.address for asset in assets().values() if asset.module})


@cache
def shell() -> Asset:
    """Return the one HTML document, with the import map in its place."""
    text = source()
    if MAP not in text:
        raise ValueError(f"static/index.html has no {MAP}")
    body = text.replace(MAP, f'<script type="importmap">{_map()}</script>').encode()
    return Asset("index.html", body, "text/html; charset=utf-8", f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def source() -> str:
    """Return the text of ``index.html`` as it is written, before anything is put into it."""
    return (files("paramstore.web") / "static" / "index.html").read_text(encoding="utf-8")


@cache
def map_hash() -> str:
    """Return the source expression that lets the inline import map through a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(_map().encode()).digest()).decode()}'"


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer to a GET or HEAD request; the body of a HEAD is left out by whoever sends it."""

    status: int
    headers: dict[str, str]
    body: bytes


def respond(path: str, if_none_match: str = "") -> Response | None:
    """Answer ``/`` and ``/assets/NAME``, or return ``None`` for any other path.

    Everything is asked again each time (``no-cache``) and answered with 304 while it is the same, so that a page never
    runs with modules of two versions.
    """
    found = shell() if path == "/" else asset(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
    if found is None:
        return None
    headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
    if found.etag in (tag.strip().removeprefix("W/") for tag in if_none_match.split(",")):
        return Response(304, headers, b"")
    return Response(
        200, {**headers, "Content-Type": found.type, "Content-Length": str(len(found.body))}, found.body
    )
