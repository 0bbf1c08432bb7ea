"""Write a store: the shipped set, an empty one, or the frame of one namespace. Never over a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from paramstore import _files
from paramstore._yaml_edit import document_text
from paramstore.errors import StoreNotFoundError, ValidationError

FOLDERS = {"schemas": ".schema.json", "params": ".yaml"}  # schemas first: values are judged by them
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")  # no `__`, which separates the parts of PARAM__ variables
IGNORED = ".paramstore/"


@dataclass(frozen=True, slots=True)
class Written:
    """What ``write`` did under ``root``. Files were ``written``, or ``kept`` as they were; ``differing``
    are those kept whose content is not what would have been written."""

    root: str
    written: tuple[str, ...]
    kept: tuple[str, ...]
    differing: tuple[str, ...]


def shipped_root() -> str:
    """Return the directory that holds the shipped ``schemas/`` and ``params/``: inside an installed
    package, or beside it in a source checkout. Raises ``StoreNotFoundError``."""
    package = os.path.dirname(os.path.abspath(__file__))
    for folder in (os.path.join(package, "_shipped"), os.path.dirname(package)):
        if all(os.path.isdir(os.path.join(folder, name)) for name in FOLDERS):
            return folder
    raise StoreNotFoundError(
        "This installation has lost its shipped parameters. Reinstall paramstore, or begin with "
        "`paramstore init --empty`."
    )


def shipped() -> dict[str, bytes]:
    """Return the shipped files by relative name: schemas and values only, whatever lies beside them."""
    root = shipped_root()
    files = {}
    for folder, suffix in FOLDERS.items():
        for name in _files.names(os.path.join(root, folder), suffix):
            files[f"{folder}/{name}"] = _files.read_whole(os.path.join(root, folder, name)).raw
    return files


def frame(name: str) -> dict[str, bytes]:
    """Return schema and values of a new namespace with one example parameter.

    Raises ``ValidationError`` for a name that cannot be one.
    """
    if not NAME.fullmatch(name):
        raise ValidationError(
            [f"{name!r} cannot name a namespace: use lower-case words joined by `_`, such as `exit_rules`."],
            "Nothing was written.",
        )
    return {
        f"schemas/{name}.schema.json": SCHEMA_FRAME.replace("NAME", name).encode(),
        f"params/{name}.yaml": VALUES_FRAME.replace("NAME", name).encode(),
    }


def write(root: str, files: Mapping[str, bytes]) -> Written:
    """Make ``root`` a store with these files; what exists is kept. Raises ``OSError``."""
    for folder in FOLDERS:
        os.makedirs(os.path.join(root, folder), exist_ok=True)
    written, kept, differing = [], [], []
    for name, raw in files.items():
        path = os.path.join(root, name)
        if create(path, raw):
            written.append(name)
            continue
        kept.append(name)
        if _files.read_whole(path).raw != raw:
            differing.append(name)
    if _ignore_runtime(os.path.join(root, ".gitignore")):
        written.append(".gitignore")
    return Written(root, tuple(written), tuple(kept), tuple(differing))


def create(path: str, raw: bytes) -> bool:
    """Give ``path`` the content ``raw``, whole from its first moment, unless it exists; tell whether."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.new")
    _files.write_new(temporary, raw, None)
    try:
        os.link(temporary, path)  # fails if there is such a file, unlike a rename
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    _files.fsync_directory(folder)
    return True


def _ignore_runtime(path: str) -> bool:
    """Append the run-time directory to a ``.gitignore``, once; tell whether that was needed."""
    try:
        raw = _files.read_whole(path).raw
    except FileNotFoundError:
        return create(path, ignoring_runtime(None))
    line = ignoring_runtime(raw)[len(raw) :]
    if line:
        _files.append(path, line, len(raw))
    return bool(line)


def ignoring_runtime(raw: bytes | None) -> bytes:
    """Return the bytes of a ``.gitignore`` (``None``: there is none) with a line for the run-time directory."""
    lines = (raw or b"").splitlines()
    if any(line.strip() in (b".paramstore", b".paramstore/", b"/.paramstore/") for line in lines):
        return raw or b""
    gap = b"\n" if raw and not raw.endswith(b"\n") else b""
    return (raw or b"") + gap + f"{IGNORED}\n".encode()


def values_text(namespace: str, values: Mapping[str, object]) -> str:
    """Return a values file with these nested values, as ``init`` and ``check --fix`` write it."""
    head = f"# yaml-language-server: $schema=../schemas/{namespace}.schema.json"
    return f"{head}\n{document_text(values)}"


SCHEMA_FRAME = """\
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$comment": "Rename `example`, add parameters beside it, then run `paramstore check --fix`.",
  "title": "NAME",
  "description": "What these parameters are for.",
  "type": "object",
  "required": ["schema", "values"],
  "additionalProperties": false,
  "properties": {
    "schema": {"const": 1},
    "values": {
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "example": {
          "$comment": "Bounds are inclusive; `learnable` says whether learners may move it.",
          "type": "number", "minimum": 0, "maximum": 1, "default": 0.5,
          "description": "What this parameter does, and what a larger value means.",
          "x-param": {
            "unit": "fraction", "learnable": true, "decimals": 4,
            "max_step": 0.05, "cooldown_s": 1800, "min_samples": 50
          }
        }
      },
      "x-constraints": []
    },
    "overrides": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["at", "values"],
        "additionalProperties": false,
        "properties": {
          "at": {
            "$comment": "The dimensions that a value may differ by, least specific first.",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": false,
            "properties": {
              "mode": {"enum": ["paper", "live"]},
              "symbol": {"type": "string"}
            }
          },
          "values": {"$ref": "#/properties/values"}
        }
      }
    }
  }
}
"""

VALUES_FRAME = """\
# yaml-language-server: $schema=../schemas/NAME.schema.json
schema: 1
values:
  # Rename it here and in the schema, schemas/NAME.schema.json, which holds its bounds and its unit.
  # Code reads it as params.get("NAME.example"); comments survive every write.
  example: 0.5

# A value that differs in a context goes here:
# overrides:
#   - at: {symbol: BTCUSDT}
#     values:
#       example: 0.4
"""
