"""A journal entry and its line: JSON in ASCII with a checksum at the end, one entry a line.

Format version 1. ``{"v":1,"revision":…,"id":…,"time":…,"kind":…,"author":…,"reason":…,"evidence":…,
"changes":[{"key":…,"context":…,"old":…,"new":…,"requested":…,"bound_by":…}],"files":{path:{"before":…,
"after":…}},"crc":"8 hex digits"}``. A change without ``old`` created the value, one without ``new``
removed it. ``overrode`` in a change, ``details`` and ``uptime`` stand only where there are any. The checksum is the CRC-32 of all bytes of the line before ``,"crc"``.
"""

from __future__ import annotations

import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from paramstore._model import Change, Entry, Violation

MOST_OF_ID = 64  # characters; ours are 16 hexadecimal digits
VERSION = 1
VALUELESS = frozenset({"freeze", "unfreeze", "approve", "refusal", "merge"})  # have no revision of their own
SAID = "_said"  # in a record that joined this journal later: the revision that its line names
MOST_LEVELS = 200  # of lists and mappings within each other: what readers can walk through in any thread
MOST_REVISION = 2**62  # what is counted on from it has 64 bits
LONGEST_TEXT = 2_000
LONGEST_REQUEST = 20_000  # characters of a refused value: what is refused must not fill the disk
_MARK = b',"crc":"'
_TAIL = len(_MARK) + 8 + len('"}')
_CONTAINERS = (dict, list, tuple)
_decoders: list[Callable[[str], Any]] = []  # one, made at the first line: a plain import needs none


def change_data(change: Change) -> dict[str, Any]:
    """Return a change as the journal has it: without ``old`` it created the value, without ``new`` it removed it."""
    from paramstore._model import ABSENT
    from paramstore._values import thaw

    item: dict[str, Any] = {"key": change.key}
    if change.context:
        item["context"] = dict(change.context)
    if change.old is not ABSENT:
        item["old"] = thaw(change.old)
    if change.new is not ABSENT:
        item["new"] = thaw(change.new)
    if change.bound_by is not None:
        item["requested"] = thaw(change.requested)
        item["bound_by"] = change.bound_by
    if change.overrode:
        item["overrode"] = list(change.overrode)
    return item


def violation_data(violation: Violation) -> dict[str, Any]:
    """Return a broken rule as the journal has it; what is no plain finite data is kept as Python writes it."""
    from paramstore._exact import is_finite, show
    from paramstore._values import thaw

    asked = violation.requested
    plain = is_finite(asked) and len(repr(asked)) <= LONGEST_REQUEST
    item: dict[str, Any] = {"key": violation.key, "rule": violation.rule}
    item["requested"] = thaw(asked) if plain else show(asked)
    if violation.context:
        item["context"] = dict(violation.context)
    if violation.allowed is not None:
        item["allowed"] = list(violation.allowed)
    else:  # else key, rule and numbers say it all, in a tenth of the bytes
        item["text"] = _shortened(violation.text)
    return item


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def encode(entry: Entry) -> tuple[dict[str, Any], bytes]:
    """Return the plain data of ``entry`` and its line with the newline. Raises ``ValueError`` for NaN or infinity,
    ``TypeError`` for evidence that is no plain data, and ``ValidationError`` for what is nested too deep to be read."""
    import json

    body: dict[str, Any] = {
        "v": VERSION,
        "revision": entry.revision,
        "id": entry.id,
        "time": entry.time,
        "kind": entry.kind,
        "author": entry.author,
        "reason": entry.reason,
        "evidence": dict(entry.evidence),
        "changes": [change_data(change) for change in entry.changes],
        "files": {path: {"before": f.before, "after": f.after} for path, f in entry.files.items()},
    }
    if entry.details:
        body["details"] = dict(entry.details)
    if entry.uptime is not None:
        body["uptime"] = [entry.uptime[0], round(entry.uptime[1], 6)]
    text = json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    if _is_too_deep(text, body):
        from paramstore.errors import ValidationError

        raise ValidationError(
            [f"evidence is nested deeper than {MOST_LEVELS} levels."], "Nothing was written."
        )
    return body, text[:-1] + _MARK + b'%08x"}\n' % zlib.crc32(text[:-1])


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the plain data of a line (with or without newline), or ``None`` if it is no whole entry."""
    line = line.rstrip(b"\r\n")
    if not is_sound(line):
        return None
    try:
        record = plain_data(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("v") != VERSION or not _is_shaped(record):
        return None
    return None if _is_too_deep(line, record) else record


def is_sound(line: bytes) -> bool:
    """Tell whether a line's checksum is right, to the letter: then no crash tore it, whatever else is wrong with it."""
    line = line.rstrip(b"\r\n")
    mark = len(line) - _TAIL
    return mark > 0 and line[mark:] == _MARK + b'%08x"}' % zlib.crc32(line[:mark])


def plain_data(line: bytes) -> Any:
    """Return what JSON says. Raises ``ValueError`` also for what Python takes for JSON, but no other reader, and what no
    writer can write again: ``NaN`` and ``Infinity``, and numbers beyond the largest."""
    if not _decoders:
        from json import JSONDecoder

        _decoders.append(JSONDecoder(parse_float=_finite, parse_constant=_finite).decode)
    return _decoders[0](line.decode("utf-8", "surrogatepass"))


def _finite(text: str) -> float:
    number = float(text)
    if number - number == 0:  # which neither is of infinity nor of NaN
        return number
    raise ValueError(text)


def _is_too_deep(line: bytes, record: dict[str, Any]) -> bool:
    """Tell whether a record is nested too deep. Cheap: few lines have as many brackets at all, but for those of changes
    and contexts, of which none stands within another."""
    brackets = line.count(b"{") + line.count(b"[")
    if brackets <= MOST_LEVELS:
        return False
    if brackets - sum([2 if "context" in item else 1 for item in record["changes"]]) <= MOST_LEVELS - 2:
        return False
    level: list[Any] = [record]
    levels = 0
    while level and levels <= MOST_LEVELS:
        levels += 1
        inside = [node.values() if isinstance(node, dict) else node for node in level]
        level = [item for items in inside for item in items if isinstance(item, _CONTAINERS)]
    return levels > MOST_LEVELS


def number(record: dict[str, Any], stands: int | None, before: str | None = None) -> int:
    """Give ``record`` its revision in this journal, and return the one that stands after it.

    ``stands`` is the revision before it, ``None`` where the journal begins; ``before`` is the id of the line before it,
    which an abort must be asked of: where both sides of a join took the same entry back, the second gives back nothing,
    for a number was given back already. Unknown (``None``) it passes for the entry that is taken back. A revision counts the entries up to it, so
    it is what the line says, until two histories are joined: entries of the other one go on from where this one was.
    """
    said: int = record["revision"]
    kind: str = record["kind"]
    if stands is None:
        return said - 1 if kind == "abort" else said
    if kind == "abort":
        revision, after = stands, stands - (before is None or before == record["evidence"].get("aborts"))
    else:
        revision = after = max(said, stands + (kind not in VALUELESS))
    if revision != said:
        record["revision"], record[SAID] = revision, said
    return after


def _is_shaped(record: dict[str, Any]) -> bool:
    """Tell whether a record has what each reader of it relies on: a right checksum says only that it is unharmed."""
    details, uptime = record.get("details", {}), record.get("uptime", ["", 0.0])
    if not isinstance(details, dict) or not _is_uptime(uptime):
        return False
    kinds = {"revision": int, "id": str, "time": str, "kind": str, "author": str, "reason": str, "evidence": dict,
             "changes": list, "files": dict}  # fmt: skip
    typed = all(type(record.get(name)) is kind for name, kind in kinds.items())
    if not typed or not _has_sound_parts(record) or not 0 <= record["revision"] <= MOST_REVISION:
        return False
    if not all(map(is_item, record["changes"])):  # of each kind: whoever replays a journal asks none for it
        return False
    needs = {"freeze": "pattern", "unfreeze": "pattern", "approve": "baselines", "refusal": "violations",
             "merge": "joined"}  # fmt: skip
    need = needs.get(record["kind"])
    if not _is_time(record["time"]) or ("until" in details and not _is_time(details["until"])):
        return False
    if need in ("pattern", "joined"):
        ids = details.get("ends", []) if need == "pattern" else details.get(need)
        return _are_texts(ids) and (need == "joined" or type(details.get(need)) is str)
    return need is None or (type(details.get(need)) is list and all(map(is_item, details[need])))


def _is_uptime(uptime: Any) -> bool:
    return type(uptime) is list and list(map(type, uptime)) in ([str, int], [str, float])


def _are_texts(items: Any) -> bool:
    return type(items) is list and all(type(item) is str for item in items)


def _has_sound_parts(record: dict[str, Any]) -> bool:
    """Tell whether each file of a record has its hashes, and an abort names an entry by its id."""
    if record["kind"] == "abort" and type(record["evidence"].get("aborts", "")) is not str:
        return False  # of any other kind, evidence is the author's own
    name, files = record["id"], record["files"]  # both become names of files
    if not name.isascii() or not name.isprintable() or len(name) > MOST_OF_ID or "/" in name:
        return False
    return all(map(_is_values_file, files)) and all(map(_are_sums, files.values()))


def _is_values_file(file: str) -> bool:
    name = file.removeprefix("params/").removesuffix(".yaml")
    plain = name.isascii() and f"_{name.replace('-', '_')}".isidentifier() and name[:1] not in ("", "-")
    return plain and file == f"params/{name}.yaml"


def _are_sums(sums: Any) -> bool:
    """Tell whether ``sums`` can be a file's hashes, each of which is ``None`` where there was no file."""
    return (
        type(sums) is dict
        and sums.keys() == {"before", "after"}
        and all(type(h) in (str, type(None)) for h in sums.values())
    )


def _is_time(text: Any) -> bool:
    """Tell whether ``text`` is a time that ``datetime`` reads, which costs more to import than all of this."""
    if not isinstance(text, str) or len(text) < 20 or text[4:20:3] not in ("--T::Z", "--T::.", "--T::+"):
        return False
    parts = (text[:4], text[5:7], text[8:10], text[11:13], text[14:16], text[17:19])
    if not all(part.isdigit() and part.isascii() for part in parts):
        return False
    year, month, day, hour, minute, second = map(int, parts)
    plain = year and 0 < month < 13 and 0 < day < 29 and hour < 24 and minute < 60 and second < 60
    if plain and (text[19:] == "Z" or (text[-1] == "Z" and text[20:-1].isdigit() and len(text) == 27)):
        return True
    from datetime import datetime

    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def is_item(item: Any) -> bool:
    """Tell whether ``item`` can be a change."""
    if not isinstance(item, dict) or type(item.get("key")) is not str:
        return False
    if "context" in item:
        if type(item["context"]) is not dict:
            return False
        for value in item["context"].values():
            if isinstance(value, _CONTAINERS):  # it is looked up by its values
                return False
    if "bound_by" in item and type(item["bound_by"]) is not str:
        return False
    return "overrode" not in item or type(item["overrode"]) is list


def entry(record: dict[str, Any]) -> Entry:
    """Return the frozen ``Entry`` of a parsed line."""
    from paramstore._model import ABSENT, Change, Entry, FileChange

    changes = tuple(
        Change(
            key=item["key"],
            context=item.get("context", {}),
            old=item.get("old", ABSENT),
            new=item.get("new", ABSENT),
            requested=item.get("requested", item.get("new", ABSENT)),
            bound_by=item.get("bound_by"),
            overrode=tuple(item.get("overrode", ())),
        )
        for item in record["changes"]
    )
    return Entry(
        revision=record["revision"],
        id=record["id"],
        time=record["time"],
        kind=record["kind"],
        author=record["author"],
        reason=record["reason"],
        evidence=record["evidence"],
        changes=changes,
        files={path: FileChange(**sums) for path, sums in record["files"].items()},
        details=record.get("details", {}),
        uptime=tuple(record["uptime"]) if "uptime" in record else None,
    )
