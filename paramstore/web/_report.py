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
LISTS = {"violations", "baselines"}  # of what an entry tells besides its changes, each about a key

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
    answers = dict(_answers(store, pattern, most, outcomes, tell))
    return _document(answers if pattern == "*" else _Within(store, pattern).all(answers))


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
    keys = [key for key in store.keys() if fnmatchcase(key, pattern)]  # noqa: SIM118 - no mapping
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
        at = [f"{dimension}={_word(value)}" for dimension, value in context.items()]
        yield _named(name, at), reads.explained(key, at).body
        if not at:
            yield f"{name}/history", reads.key_history(key, OF_A_KEY, None, True).body
            tell()
    for revision in sorted({entry["revision"] for entry in json.loads(past.body)["entries"]}):
        yield f"revisions/{revision}", reads.revision(revision).body
        tell()


def _named(name: str, at: Iterable[str]) -> str:
    return name + "".join(f"{'&' if place else '?'}at={word}" for place, word in enumerate(sorted(at)))


def _word(value: Any) -> str:
    """Write a value of a dimension as the addresses of the page do, where 1.0 is a 1."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


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


class _Within:
    """Leaves out of answers what is not about the keys of a pattern: who is sent those need not be shown the others, which the
    same commits changed."""

    def __init__(self, store: ParamStore, pattern: str) -> None:
        every = store.keys()
        self._keys = {key for key in every if fnmatchcase(key, pattern)}
        left = {key.partition(".")[0] for key in every if key not in self._keys}
        self._whole = {key.partition(".")[0] for key in self._keys} - left  # namespaces, with their rules

    def all(self, answers: Answers) -> Answers:
        return {name: dumps(self._answer(name, json.loads(body))) for name, body in answers.items()}

    def _answer(self, name: str, data: Any) -> Any:
        if name == "freezes":
            return [freeze for freeze in data if self._meets(freeze["pattern"])]
        if name == "doctor":
            owns = ([key for key in one["owns"] if key in self._keys] for one in data["learners"])
            return {
                **data,
                "learners": [{**one, "owns": own} for one, own in zip(data["learners"], owns, strict=True)],
            }
        if name == "scorecard":
            changes = [self._entry(one) for one in data["changes"]]
            return {**data, "changes": [one for one in changes if one["changes"]]}
        return {**data, **self._of_past(name, data)} if isinstance(data, dict) else data

    def _of_past(self, name: str, data: Mapping[str, Any]) -> dict[str, Any]:
        if name.startswith("revisions/"):
            return {"entries": self._entries(data), "comparison": self._comparison(data["comparison"])}
        if name == "history" or name.endswith("/history"):
            return {"entries": self._entries(data)}
        if name.startswith("parameters/") and data["last_change"]:
            return {"last_change": self._entry(data["last_change"])}
        return {}

    def _entries(self, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [entry for entry in map(self._entry, data["entries"]) if self._says(entry)]

    def _entry(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        details = dict(entry.get("details", {}))
        for name in LISTS & details.keys():
            details[name] = self._items(details[name])
        more = {"details": details} if "details" in entry else {}
        return {**entry, "changes": self._items(entry["changes"]), **more}

    def _says(self, entry: Mapping[str, Any]) -> bool:
        details = entry["details"]
        pattern = details.get("pattern")
        return bool(
            entry["changes"]
            or any(details.get(name) for name in LISTS)
            or (isinstance(pattern, str) and self._meets(pattern))
        )

    def _comparison(self, data: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if data is None:
            return None
        rules = [rule for rule in data["rules"] if rule["key"] in self._keys | self._whole]
        namespaces = {
            side: [name for name in names if name in self._whole]
            for side, names in data["namespaces"].items()
        }
        return {**data, "changes": self._items(data["changes"]), "rules": rules, "namespaces": namespaces}

    def _items(self, items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [item for item in items if item["key"] in self._keys]

    def _meets(self, pattern: str) -> bool:
        return any(fnmatchcase(key, pattern) for key in self._keys)


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
    text = text.replace(
        "<head>", f'<head>\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1
    )
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
