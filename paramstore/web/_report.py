"""The page as one file to send to someone: shell, styles, modules, and the answers that it would ask a server for.

It runs the very code that ``serve`` runs. Its policy lets it reach nothing at all: no server, no other file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from paramstore._clock import utc_text
from paramstore.web import _page
from paramstore.web._admission import Settings
from paramstore.web._background import Background
from paramstore.web._index import Index
from paramstore.web._problems import dumps
from paramstore.web._reads import Reads

if TYPE_CHECKING:
    from paramstore._store import ParamStore

OF_A_KEY = 500  # entries of one parameter's history, as the page asks for
LINK = re.compile(r'\s*<link rel="stylesheet"[^>]*>')
SCRIPT = re.compile(r'<script type="module"[^>]*></script>')
START = 'import "app/app";'

Answers = dict[str, bytes]


def report(
    store: ParamStore,
    pattern: str,
    most: int,
    outcomes: tuple[str, str] | None = None,
    tell: Callable[[], object] = lambda: None,
) -> bytes:
    """Return the page about the keys that match ``pattern``, with the newest ``most`` entries, as one HTML document.

    ``outcomes`` are a file and a metric for the scorecard; ``tell`` is called after each part. Raises what reading the store raises,
    and ``ParamstoreError`` for outcomes that cannot be joined to its journal.
    """
    return _document(dict(_answers(store, pattern, most, outcomes, tell)))


# --- what it answers ------------------------------------------------------------------------------


def _answers(
    store: ParamStore,
    pattern: str,
    most: int,
    outcomes: tuple[str, str] | None,
    tell: Callable[[], object],
) -> Iterator[tuple[str, bytes]]:
    """Yield each question as the page names it (``app/api``, fromReport), and its answer."""
    index = Index(store)
    index.sync()
    aside = Background(store, *(outcomes or ()))
    reads = Reads(store, Settings(frozenset(), outcomes=outcomes and outcomes[0]), index, aside)
    keys = [key for key in store.keys() if fnmatchcase(key, pattern)]
    yield "health", _health(store, reads)
    yield "freezes", reads.freezes().body
    yield "parameters", reads.parameters(pattern).body
    sparks = index.sparklines()
    yield "sparklines", dumps({"revision": store.revision, "points": list(_of(keys, sparks))})
    yield "doctor", dumps({**_examined(aside.examine(), keys), "age_s": 0.0})
    if outcomes is not None:
        yield "scorecard", dumps({**aside.judge(), "age_s": 0.0})
    past = reads.history(None if pattern == "*" else pattern, most, None, True)
    yield "history", past.body
    tell()
    for key, context in _places(store, keys):
        name = f"parameters/{key}"
        at = [f"{dimension}={value}" for dimension, value in context.items()]
        yield _named(name, at), reads.explained(key, at).body
        if not at:
            yield f"{name}/history", reads.key_history(key, OF_A_KEY, None, True).body
            tell()
    for revision in sorted({entry["revision"] for entry in json.loads(past.body)["entries"]}):
        yield f"revisions/{revision}", reads.revision(revision).body
        tell()


def _named(name: str, at: Iterable[str]) -> str:
    return name + "".join(f"{'&' if place else '?'}at={word}" for place, word in enumerate(sorted(at)))


def _places(store: ParamStore, keys: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each key by itself and in every context in which it has a value of its own."""
    documents = store.snapshot().state.documents
    for key in keys:
        yield key, {}
        namespace, _, path = key.partition(".")
        for at, own in documents[namespace].overrides:
            if path in own:
                yield key, at


def _health(store: ParamStore, reads: Reads) -> bytes:
    """Return what the header shows: of the store's place only its own name, since this goes to others."""
    health = json.loads(reads.health().body)
    name = os.path.basename(store.root) if store.root else health["store"]
    return dumps({**health, "store": name, "author": "", "made": utc_text(store.clock.now())})


def _examined(found: Mapping[str, Any], keys: list[str]) -> dict[str, Any]:
    """Leave out of what the doctor says the keys that this is not about."""
    parameters = list(_of(keys, found["parameters"]))
    findings = [each for each in found["findings"] if "key" not in each or each["key"] in set(keys)]
    return {**found, "parameters": parameters, "findings": findings}


def _of(keys: list[str], items: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    known = set(keys)
    return (item for item in items if item["key"] in known)


# --- the document -----------------------------------------------------------------------------------


def _document(answers: Answers) -> bytes:
    assets = _page.assets().values()
    imports = _page.import_map({asset.module: _data(asset) for asset in assets if asset.module})
    styles = "\n".join(asset.body.decode() for asset in assets if asset.name.endswith(".css"))
    policy = (
        f"default-src 'none'; script-src {_hash(imports)} {_hash(START)} data:; style-src {_hash(styles)}; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types lit-html"
    )
    embedded = f'<script type="application/json" id="embedded">{_embedded(answers)}</script>'
    text = LINK.sub("", _page.source())
    text = text.replace("<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)
    text = text.replace(_page.MAP, f'<style>{styles}</style>\n<script type="importmap">{imports}</script>', 1)
    text = SCRIPT.sub("", text)
    start = f'{embedded}\n<script type="module">{START}</script>\n</body>'
    return text.replace("</body>", start, 1).encode()


def _data(asset: _page.Asset) -> str:
    return f"data:text/javascript;base64,{base64.b64encode(asset.body).decode()}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(answers: Answers) -> str:
    """Write all answers as one JSON object that no text in it can end: a ``<`` only ever stands inside strings."""
    parts = (f"{json.dumps(name)}:{body.decode()}" for name, body in answers.items())
    return ("{" + ",\n".join(parts) + "}").replace("<", "\\u003c")
