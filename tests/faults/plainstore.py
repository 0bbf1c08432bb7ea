"""A small store in a directory, and a check of it that shares no code with the library.

The check reads plain JSON lines and bytes: it must not believe what it is there to prove.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

BIG = 10**9
NAMES = ("alpha", "beta")
VALUELESS = ("freeze", "unfreeze", "approve", "refusal")  # entries that have no revision of their own
TEXT = """\
# yaml-language-server: $schema=../schemas/{name}.schema.json
schema: 1
values:
  count: {count}   # how many
  theirs: 0
  pace: 0.50
"""


def schema_of(name: str) -> dict[str, Any]:
    count = {
        "type": "integer",
        "minimum": 0,
        "maximum": BIG,
        "default": 0,
        "description": "A count.",
        "x-param": {"learnable": True},
    }
    pace = {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.5,
        "description": "A pace.",
        "x-param": {"learnable": True},
    }
    values = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"count": count, "theirs": count, "pace": pace},
    }
    at = {"type": "object", "additionalProperties": False, "properties": {"symbol": {"type": "string"}}}
    override = {
        "type": "object",
        "required": ["at", "values"],
        "additionalProperties": False,
        "properties": {"at": {**at, "minProperties": 1}, "values": {"$ref": "#/properties/values"}},
    }
    overrides = {"type": "array", "items": override}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name.capitalize(),
        "type": "object",
        "required": ["schema", "values"],
        "additionalProperties": False,
        "properties": {"schema": {"const": 1}, "values": values, "overrides": overrides},
    }


def text_of(name: str, count: int, theirs: int = 0) -> bytes:
    text = TEXT.format(name=name, count=count)
    return text.replace("theirs: 0", f"theirs: {theirs}").encode()


def make_store(root: Path, names: tuple[str, ...] = NAMES, count: int = 10) -> Path:
    """Write a store that no process has opened yet."""
    (root / "params").mkdir(parents=True)
    (root / "schemas").mkdir()
    for name in names:
        (root / "schemas" / f"{name}.schema.json").write_text(json.dumps(schema_of(name)) + "\n")
        (root / "params" / f"{name}.yaml").write_bytes(text_of(name, count))
    return root


def fast_folder(prefix: str = "paramstore-") -> Path:
    """Return a new directory in memory where there is such a file system: what is proved by killing
    processes does not need a disk."""
    shm = "/dev/shm"
    return Path(tempfile.mkdtemp(prefix=prefix, dir=shm if os.access(shm, os.W_OK) else None))


def tracked(root: Path) -> dict[str, bytes]:
    """Return every file of the store but the run-time ones."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name != ".paramstore"]
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found


def values_in(raw: bytes) -> dict[str, int | float]:
    """Return the values of a file that ``text_of`` wrote, by a plain pattern."""
    found = re.findall(r"^  (\w+): ([0-9.]+)", raw.decode(), re.MULTILINE)
    return {key: float(value) if "." in value else int(value) for key, value in found}


def lines_of(files: dict[str, bytes], journal: str = "params/journal") -> list[dict[str, Any]]:
    """Return every journal line. Raises ``AssertionError`` for one that is torn or has a wrong checksum."""
    records = []
    for name in sorted(name for name in files if name.startswith(journal) and name.endswith(".jsonl")):
        raw = files[name]
        assert raw == b"" or raw.endswith(b"\n"), f"{name} ends in a torn line"
        for line in raw.split(b"\n")[:-1]:
            mark = line.rindex(b',"crc":"')
            assert int(line[mark + 8 : mark + 16], 16) == zlib.crc32(line[:mark]), f"{name}: wrong checksum"
            records.append(json.loads(line))
    return records


def standing(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the aborted entries and their aborts."""
    aborted = {record["evidence"]["aborts"] for record in records if record["kind"] == "abort"}
    return [r for r in records if r["kind"] != "abort" and r["id"] not in aborted]


def problems_of(files: dict[str, bytes], edited: bool = False) -> list[str]:
    """Return everything that must not be after a recovery; ``edited`` allows entries for edits by hand."""
    try:
        records = lines_of(files)
    except (AssertionError, ValueError) as error:
        return [str(error)]
    entries = standing(records)
    found = []
    if len({record["id"] for record in records}) != len(records):
        found.append("two journal lines have one id")
    revisions = [entry["revision"] for entry in entries if entry["kind"] not in VALUELESS]
    if revisions != list(range(len(revisions))):
        found.append(f"the standing revisions are {revisions}")
    if not edited and any(entry["kind"] == "external" for entry in entries[1:]):
        found.append("a change that nobody made by hand is recorded as an edit by hand")
    found += _chain_problems(entries, files)
    for name in files:
        folder, base = os.path.split(name)
        known = base.endswith((".yaml", ".yaml~", ".conflict")) and not base.startswith(".")
        if folder == "params" and not known:
            found.append(f"{base} was left behind")
    return found


def _chain_problems(entries: list[dict[str, Any]], files: dict[str, bytes]) -> list[str]:
    found = []
    after: dict[str, str] = {}
    values: dict[str, Any] = {}
    for entry in entries:
        for file, sums in entry["files"].items():
            if file in after and sums["before"] != after[file]:
                found.append(f"entry {entry['revision']} does not build on the one before in {file}")
            after[file] = sums["after"]
        plain = [change for change in entry["changes"] if not change.get("context")]
        values.update((change["key"], change.get("new")) for change in plain)
    for file, sum_ in after.items():
        raw = files.get(file, b"")
        if hashlib.sha256(raw).hexdigest() != sum_:
            found.append(f"{file} holds bytes that no standing entry explains (unaudited or phantom)")
        name = os.path.basename(file).partition(".")[0]
        for key, value in values_in(raw).items():
            if values.get(f"{name}.{key}") != value:
                found.append(f"{name}.{key} is {value}, the journal says {values.get(f'{name}.{key}')}")
    return found


def copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
