"""The liveness probe: import the rewritten modules, have another process commit, look whether the read moves.

This is the one step that runs the user's code, so it is asked for (``verify --run``). Each file is imported
in a process of its own, and each key is probed in a fork of that. The store is a copy in a temporary
directory with its bounds and constraints taken off, so that any one value can be flipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from paramstore import ParamStore
from paramstore.migrate._store import JOURNAL, settings

TIMEOUT_S = 120.0
OWNER = "probe"


def probe(
    record: Mapping[str, Any],
    plan_sites: Sequence[Mapping[str, Any]],
    root: str,
    store: str,
    told: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return one finding for each read: ``file``, ``key``, ``live`` (what was seen), ``planned`` (what the plan
    says) and ``problem``, empty when the two agree."""
    planned = {(site["file"], site["key"]): site["liveness"] for site in plan_sites if site["accept"]}
    by_key = {site["key"]: site["liveness"] for site in plan_sites if site["accept"]}
    found = []
    with _copy_of(store) as copy:
        for file, layers in sorted(record["files"].items()):
            told(file)
            wanted = [each for layer in layers for each in _wanted(file, layer, plan_sites)]
            for result in _run_file(root, file, wanted, copy):
                said = planned.get((file, result["key"])) or by_key.get(result["key"], "")
                found.append({"file": file, "planned": said, **result, "problem": _problem(result, said)})
    return found


def _problem(result: Mapping[str, Any], planned: str) -> str:
    if result.get(
        "error"
    ):  # what is not live may well be something else than its number by now: an Enum member
        return str(result["error"]) if planned in ("", "live") or result.get("broken") else ""
    if not result["live"] and planned in ("", "live"):
        return "a committed change is not seen, and the plan says that it is live"
    return ""


def _wanted(file: str, item: Mapping[str, Any], sites: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what to look at: an expression for a read in a function, an attribute path for a name."""
    wanted: list[dict[str, Any]] = []
    named = {site["key"]: site for site in sites if site["file"] == file and site["accept"]}
    for _, _, new, kind, key, *_ in item["edits"]:
        if kind in ("import", "default"):
            continue
        if kind == "section":
            for each, site in named.items():
                if each.startswith(key + "."):
                    wanted.append(
                        {"key": each, "path": _attribute(site), "items": each[len(key) + 1 :].split(".")}
                    )
        elif kind == "body":
            alias = item["alias"]
            wanted += [{"key": each, "code": f'{alias}.get("{each}")'} for each in key.split()]
        elif kind == "value" and key in named and _is_name(named[key]):
            if "at every use" not in named[key]["keep"]:
                wanted.append({"key": key, "path": _attribute(named[key]), "items": []})
        else:
            wanted.append({"key": key, "code": new.strip()})
    return [json.loads(text) for text in dict.fromkeys(json.dumps(each, sort_keys=True) for each in wanted)]


def _is_name(site: Mapping[str, Any]) -> bool:
    return str(site["shape"]).startswith(("module ", "class ", "dataclass"))


def _attribute(site: Mapping[str, Any]) -> list[str]:
    return [*(part for part in str(site.get("scope", "")).split(".") if part), str(site["name"])]


# -- a copy of the store, without what would refuse a flip -------------------------------------------


@contextmanager
def _copy_of(store: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="paramstore-probe-") as folder:
        for name in ("schemas", "params"):
            os.mkdir(os.path.join(folder, name))
            for file in sorted(os.listdir(os.path.join(store, name))):
                source = os.path.join(store, name, file)
                if os.path.isfile(source) and not file.startswith("."):
                    shutil.copyfile(source, os.path.join(folder, name, file))
        for file in os.listdir(os.path.join(folder, "schemas")):
            _unbind(os.path.join(folder, "schemas", file))
        yield folder


def _unbind(path: str) -> None:
    with open(path, encoding="utf-8-sig") as stream:
        schema = json.load(stream)
    _strip(schema["properties"]["values"])
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(schema, stream)


def _strip(node: dict[str, Any]) -> None:
    for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "x-constraints"):
        node.pop(word, None)
    node.get("x-param", {}).pop("decimals", None)
    for inner in node.get("properties", {}).values():
        _strip(inner)


def flipped(value: Any) -> Any:
    """Return a value of the same kind that is another one."""
    if isinstance(value, (list, tuple)):
        items = list(value)
        for index, item in enumerate(items):
            if isinstance(item, (int, float, list, tuple)) and not isinstance(item, bool):
                items[index] = flipped(item)
                break
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, int):
        return value + 1
    return value * 1.5 + 0.125 if value != -0.25 else 0.25


# -- in processes of their own -----------------------------------------------------------------------


def _run_file(root: str, file: str, wanted: list[dict[str, Any]], store: str) -> list[dict[str, Any]]:
    if not wanted:
        return []
    environment = {**os.environ, "PARAMSTORE_ROOT": store, "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {name: text for name, text in environment.items() if not name.startswith("PARAM__")}
    environment.pop(JOURNAL, None)  # the copy keeps its own
    order = json.dumps({"root": os.path.abspath(root), "file": file, "wanted": wanted, "store": store})
    command = [sys.executable, "-m", "paramstore.migrate._probe"]
    own = os.path.dirname(os.path.dirname(importlib.import_module("paramstore").__file__ or ""))
    environment["PYTHONPATH"] = os.pathsep.join([own, *filter(None, [environment.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            command,
            input=order,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=root,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [
            {
                "key": each["key"],
                "live": False,
                "broken": True,
                "error": f"importing {file} took over {TIMEOUT_S:g} s",
            }
            for each in wanted
        ]
    lines = [line[len(MARK) :] for line in done.stdout.splitlines() if line.startswith(MARK)]
    found = [json.loads(line) for line in lines]
    missing = wanted[len(found) :]
    why = (done.stderr.strip().splitlines() or ["it ended early"])[-1][:300]
    return found + [
        {"key": each["key"], "live": False, "broken": True, "error": f"{file} could not be run: {why}"}
        for each in missing
    ]


MARK = "\0probe "


def _main() -> None:
    order = json.load(sys.stdin)
    sys.path[:0] = [order["root"], os.path.join(order["root"], os.path.dirname(order["file"]))]
    module = _import(order["root"], order["file"])
    for each in order["wanted"]:
        source, target = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                text = json.dumps(_look(module, each, order["store"]))
            except BaseException as error:  # noqa: BLE001 - told to the parent
                text = json.dumps(
                    {"key": each["key"], "live": False, "error": f"{type(error).__name__}: {error}"}
                )
            os.write(target, text.encode()[:60_000])
            os._exit(0)
        os.close(target)
        with open(source, "rb") as stream:
            sys.stdout.write(f"{MARK}{stream.read().decode()}\n")
            sys.stdout.flush()
        os.waitpid(child, 0)


def _import(root: str, file: str) -> Any:
    name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if all(part.isidentifier() for part in name.split(".")):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location("probed", os.path.join(root, file))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["probed"] = module
    spec.loader.exec_module(module)
    return module


def _look(module: Any, wanted: Mapping[str, Any], store: str) -> dict[str, Any]:
    before = _seen(module, wanted)
    new = flipped(_plain(before))
    if (child := os.fork()) == 0:  # another process commits
        code = 1
        try:
            with ParamStore(store, environ=settings()).transaction(author=OWNER, reason="probe") as tx:
                tx[wanted["key"]] = new
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        return {"key": wanted["key"], "live": False, "error": "the flipped value could not be committed"}
    after = _plain(_seen(module, wanted))
    return {
        "key": wanted["key"],
        "live": after == new,
        "before": repr(before)[:200],
        "after": repr(after)[:200],
    }


def _seen(module: Any, wanted: Mapping[str, Any]) -> Any:
    if "code" in wanted:
        return eval(wanted["code"], vars(module))  # the read as it stands in the user's file
    found = module
    for name in wanted["path"]:
        owner, found = found, getattr(found, name)
    if not wanted["items"] and not isinstance(found, (int, float, list, tuple)):
        found = getattr(owner(), wanted["path"][-1])  # a dataclass with slots: only an instance has the value
    for name in wanted["items"]:
        found = found[name]
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return [_plain(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    _main()
