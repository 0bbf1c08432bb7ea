"""The doors through which a store reads what others wrote, each as one call on bytes in this process.

A target takes bytes and returns whether they were accepted. Anything that comes out of it but ``ParamstoreError`` is a
violation, and so is what its own checks find. All of them work in one folder that ``Place`` makes.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fuzz_store import ENTRIES, OTHER_TEXT, SCHEMA, TEXT, journal_of

from paramstore import _attempts, _generation, _git_show, _join, _memory, _records, _settings, _sidecar, _yaml
from paramstore._backends._loader import _from_sidecar
from paramstore._clock import SYSTEM
from paramstore._journal import START, Journal
from paramstore._ledger import Ledger
from paramstore._merge_rules import rules_of
from paramstore._merge_text import merge_files
from paramstore._outline import keys_of, replayed
from paramstore._scan import scan
from paramstore._schema import load_schema
from paramstore.errors import ParamstoreError
from paramstore.migrate import _apply, _plan
from paramstore.migrate._import_json import plan_import, read_specs

FOLDER = Path()  # where targets that need a file put it; set by `work_in`
RULES = rules_of(load_schema("risk", SCHEMA, "schemas/risk.schema.json", ""))
COMPILED = load_schema("risk", SCHEMA, "schemas/risk.schema.json", "")


class Violation(AssertionError):  # noqa: N818 - the word of this suite
    """Something that must not be."""


def work_in(folder: Path) -> None:
    """Set the folder for targets that need a file."""
    globals()["FOLDER"] = folder


def _file(name: str, raw: bytes) -> str:
    path = FOLDER / name
    path.write_bytes(raw)
    return str(path)


def values(raw: bytes) -> bool:
    """A values file, to its last rule; what is read can be edited, and the edit is one value."""
    text = _yaml.parse(raw, "params/risk.yaml")
    if text.edited({("schema",): 7}).data != {**text.data, "schema": 7} if "schema" in text.data else False:
        raise Violation("an edit of one value changed another")
    COMPILED.document(text.data, "params/risk.yaml", "")
    return True


def schema(raw: bytes) -> bool:
    load_schema("risk", raw, "schemas/risk.schema.json", "")
    return True


def journal(raw: bytes) -> bool:
    """A journal segment: the two readers of it must agree on what stands, and every question can be answered."""
    book = Journal(_file("j.jsonl", raw))
    book.tail()
    book.recent()
    try:
        lines = scan(book)
        for line in lines:
            with suppress(ParamstoreError):
                keys_of(line)
        with suppress(ParamstoreError):
            replayed(lines)
        outline = [(line.id, line.revision, line.kind, line.record["author"]) for line in lines]
    except ParamstoreError:
        outline = None
    records, _ = book.read(START)
    if (
        outline is not None
        and not _says_twice(raw)
        and outline != [(r["id"], r["revision"], r["kind"], r["author"]) for r in records]
    ):
        seen = [(r["id"], r["revision"], r["kind"], r["author"]) for r in records]
        raise Violation(
            f"two readers of one journal differ: {[pair for pair in zip(outline, seen, strict=False) if pair[0] != pair[1]]}, {len(outline)}, {len(seen)}"
        )
    ledger = Ledger()
    for record in records:
        ledger.absorb(record)
        _records.entry(record)
    memory = _memory.recall(str(FOLDER / "no such file"), book)
    if len(records) and memory.last != records[-1]:
        raise Violation("the cache of the journal has another last entry")
    return bool(records)


def _says_twice(raw: bytes) -> bool:
    """Tell whether a line has one name twice: no writer makes that, and readers may take the one or the other."""
    found: list[bool] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found.append(len(dict(pairs)) < len(pairs))
        return dict(pairs)

    for line in raw.splitlines():
        with suppress(ValueError, RecursionError):
            json.loads(line, object_pairs_hook=note)
    return any(found)


def _sealed(line: bytes) -> bytes:
    """Give a line the checksum that belongs to it: harm that no disk did."""
    body = line.rstrip(b"\n").rpartition(b',"crc":"')[0] or line.rstrip(b"\n}")
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def sealed_journal(raw: bytes) -> bool:
    """The same with right checksums: what another version, or somebody's script, may have written."""
    return journal(b"".join(map(_sealed, raw.splitlines(keepends=True))))


def sidecar(raw: bytes) -> bool:
    _from_sidecar(_sidecar.load(_file("cache", raw)))
    return True


def memory(raw: bytes) -> bool:
    """Whatever is in the cache: what the journal comes to is what it comes to without it."""
    book = Journal(_file("j.jsonl", ENTRIES))
    found = _memory.recall(_file("memory", raw), book, saved_after=10**9)
    plain = _memory.recall(str(FOLDER / "no such file"), book, saved_after=10**9)
    if (found.written, found.after, found.last) != (plain.written, plain.after, plain.last):
        raise Violation("a damaged cache of the journal was believed")
    return True


def generation(raw: bytes) -> bool:
    """A generation file of the size that is mapped, and of any other; then a publication over it."""
    path = FOLDER / "generation"
    path.unlink(missing_ok=True)  # never write into a mapped file
    path.write_bytes(raw)
    try:
        mapped = _generation.Generation(str(path))
        said = mapped.published()
        mapped.flag(said.index if said is not None else 0)
        accepted = said is not None
    except OSError:
        accepted = False
    _generation.publish(str(path), 7, 1, 100)
    said = _generation.Generation(str(path)).published()
    if said is None or (said.revision, said.segment, said.offset) != (7, 1, 100):
        raise Violation("a publication over a damaged generation file is not seen")
    return accepted


def attempts(raw: bytes) -> bool:
    (FOLDER / _attempts.FILE).write_bytes(raw)
    _attempts.note(str(FOLDER), "learner", 1.0)
    if _attempts.load(str(FOLDER))["learner"] != 1.0:
        raise Violation("a visit is not remembered")
    return True


def settings(raw: bytes) -> bool:
    _file("paramstore.toml", raw)
    _settings.load(str(FOLDER), {})
    return True


def plan(raw: bytes) -> bool:
    _plan.read(_file("plan.yaml", raw))
    return True


def applied(raw: bytes) -> bool:
    """The record of what ``apply`` did."""
    _file("plan.yaml" + _apply.RECORD, raw)
    _apply.sections_in(_apply.read_record(str(FOLDER / "plan.yaml"), str(FOLDER)))
    return True


def imported(raw: bytes) -> bool:
    plan_import(raw, "weights.json", ["* = risk.*", "history[].* = risk.*"][:1])
    return True


def import_map(raw: bytes) -> bool:
    specs = read_specs(["@" + _file("map.txt", raw)])
    plan_import(b'{"fraction": 0.2, "tiers": {"high": 0.5}}', "weights.json", specs)
    return True


def shown(raw: bytes) -> bool:
    """What ``git log -p`` shows: any bytes, and the notes taken away are the file."""
    said = _git_show.annotated(raw, "risk", _git_show.plain_schema(SCHEMA))
    _git_show.described("params/risk.yaml", raw, TEXT, _git_show.plain_schema(raw))
    if (
        said != raw
        and b"".join(line.partition(b"    | ")[0] + _end(line) for line in said.splitlines(True)) != raw
    ) and b"    | " not in raw:
        raise Violation("what git shows of a file is not the file")
    return said != raw


def _end(line: bytes) -> bytes:
    if b"    | " not in line:
        return b""
    return b"\r\n" if line.endswith(b"\r\n") else b"\n" if line.endswith(b"\n") else b""


def merge(raw: bytes) -> bool:
    """A merge of values: whatever one side is, the result is marked, or keeps the rules that both sides keep."""
    theirs = TEXT.replace(b"trades: 30", b"trades: 31")
    for versions in ((TEXT, raw, theirs), (raw, TEXT, theirs), (TEXT, theirs, raw)):
        outcome = merge_files(*versions, "params/risk.yaml", RULES, lambda *_: None)
        if not outcome.reasons:
            data = _yaml.parse(outcome.raw, "params/risk.yaml").data
            COMPILED.document(data, "params/risk.yaml", "")
    return not outcome.reasons


def join(raw: bytes) -> bool:
    """Two journals become one that holds every line of both, or none."""
    joined = _join.join(ENTRIES, raw, _join.saying("of another branch joined", SYSTEM))
    if joined is None:
        _join.why_not(ENTRIES, raw)
        return False
    if not joined.startswith(ENTRIES) or any(line not in joined for line in raw.splitlines()):
        raise Violation("a line is lost where two journals were joined")
    return True


Target = Callable[[bytes], bool]


def _plan_text() -> bytes:
    site: dict[str, Any] = {
        "file": "bot.py", "line": 3, "column": 0, "literal": "0.30", "key": "bot.min_score", "shape": "constant", "tier": "yes",
        "liveness": "live", "accept": True, "keep": "", "type": "number", "minimum": 0.0, "maximum": 1.0, "unit": "", "description": "d",
        "scope": "", "name": "MIN_SCORE", "tier_why": "w", "liveness_why": "w", "bounds_why": "w", "note": "", "span": [0, 4],
        "reads": {"here": 1, "in": []}, "sha256": "0" * 64, "proposed": "min_score",
    }  # fmt: skip
    made = _plan.Plan(
        ".", [site, {**site, "line": 9, "key": "bot.other", "proposed": "other"}], {"x.py": "no"}, "plan.yaml"
    )
    made.shared = [{"key": "bot.same", "of": ["bot.min_score", "bot.other"], "accept": False}]
    return _plan.text_of(made, "plan.yaml").encode()


def _of_another_branch() -> bytes:
    lines = journal_of(3).splitlines(keepends=True)
    return b"".join(_sealed(line.replace(b'"id":"id00', b'"id":"xx00')) for line in lines)


def _cache() -> bytes:
    path = FOLDER / "a cache"
    _sidecar.save(str(path), {"journal": START.plain(), "documents": {}})
    return path.read_bytes()


def _memory_file() -> bytes:
    path = FOLDER / "a memory"
    _memory.recall(str(path), Journal(_file("j.jsonl", ENTRIES)), saved_after=1, unsettled=1)
    return path.read_bytes()


def _record() -> bytes:
    layer = {"before": "0" * 64, "after": "1" * 64, "alias": "params", "sites": [[3, 0, "bot.min_score"]],
             "edits": [[0, 4, "0.30", "read", "bot.min_score", "x", ""]]}  # fmt: skip
    return json.dumps({"applied": 1, "store": ".", "files": {"bot.py": [layer]}}, indent=1).encode()


SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "values": lambda: [TEXT, TEXT.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + TEXT, OTHER_TEXT],
    "schema": lambda: [SCHEMA, json.dumps(json.loads(SCHEMA), indent=2).encode()],
    "journal": lambda: [ENTRIES, journal_of(3)],
    "sealed_journal": lambda: [ENTRIES, journal_of(3)],
    "sidecar": lambda: [_cache()],
    "memory": lambda: [_memory_file()],
    "generation": lambda: [_generation.Published(5, 9, 1, 400).pack().ljust(16384, b"\0")],
    "attempts": lambda: [b'{"learner": 1764240000.5, "other": 3}'],
    "settings": lambda: [b'journal = "logs/audit.jsonl"\ntimeout_s = 2.5\nread_counts = true\ndoctor_sources = ["src"]\n'],
    "plan": lambda: [_plan_text()],
    "applied": lambda: [_record()],
    "imported": lambda: [
        b'{"fraction": 0.2, "trades": 3, "updated_at": "2025-12-01T00:00:00Z", "tiers": {"high": 0.5}}',
        b'[{"time": 1, "fraction": 0.2}, {"time": 2, "fraction": 0.3}]',
        b'{"time": 1, "fraction": 0.2}\n{"time": 2, "fraction": 0.3}\n',
    ],
    "import_map": lambda: [b"# a map\nfraction = risk.fraction\ntiers.* = risk.tiers.*\n", b'"a b".{symbol:BTC|ETH} = risk.x\n'],
    "shown": lambda: [TEXT, TEXT.replace(b"\n", b"\r\n"), OTHER_TEXT],
    "merge": lambda: [TEXT, TEXT.replace(b"fraction: 0.1", b"fraction: 0.12")],
    "join": lambda: [ENTRIES, ENTRIES + journal_of(2), _of_another_branch(), ENTRIES + _of_another_branch()],
}  # fmt: skip
TARGETS: dict[str, Target] = {name: globals()[name] for name in SEEDS}
# Cheap ones are run more often: they cost microseconds, a parse of YAML costs a millisecond.
WEIGHTS = {
    "values": 6,
    "schema": 2,
    "merge": 1,
    "shown": 2,
    "journal": 6,
    "sealed_journal": 6,
    "plan": 3,
    "generation": 2,
}


def weights() -> list[int]:
    """How often each target is drawn, in the order of ``TARGETS``."""
    return [WEIGHTS.get(name, 4) for name in TARGETS]


def remove_files() -> None:
    """Take away what targets wrote."""
    for name in os.listdir(FOLDER):
        (FOLDER / name).unlink()
