"""The past of long journals: the same answers as reading everything, line blame, rollback of one author, bisection."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from local_store import age, number, schema, write_store

from paramstore import ParamStore, _journal, _records, _sidecar
from paramstore._bisect import Trial, search
from paramstore._clock import utc_text
from paramstore._history import replay
from paramstore._journal import START, Journal, Position
from paramstore._ledger import Ledger
from paramstore._memory import Memory, recall
from paramstore._model import ABSENT, Change, Entry, FileChange
from paramstore._outline import Line, replayed
from paramstore._past import history, revision_of
from paramstore._scan import scan
from paramstore.errors import (
    JournalError,
    ParamstoreError,
    UnknownParamError,
    UnknownRevisionError,
    ValidationError,
)
from paramstore.testing import ManualClock

BEGAN = 1_780_000_000.0
KEYS = ["w.a", "w.b", "w.deep.c", 'w.odd"name', "w.größe", "v.a"]
TEXTS = ["plain", '"changes":[{"key":"w.a","new":9}]', '],"files":{', '{"key":"w.a"', "back\\slash", "ü→\n"]
SECRET = {"changes": [{"key": "w.a", "old": 1, "new": 99}], "files": {"x": {"after": None}}}


# --- journals of every kind ---------------------------------------------------------------------


class Scribe:
    """Writes random journals: what commits, failures, people and merges leave behind."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.time = BEGAN
        self.stands = 0

    def value(self) -> Any:
        return self.draw.choice(
            [0.1, 0.25, 1, True, None, "x", [1, 2.5], [], self.draw.choice(TEXTS), {"a": 1}, {"a": [1], "new": 2}, {"x": [1], "files": {}}, SECRET]
        )  # fmt: skip

    def change(self) -> dict[str, Any]:
        item: dict[str, Any] = {"key": self.draw.choice(KEYS)}
        if self.draw.random() < 0.4:
            item["context"] = self.draw.choice(
                [{"symbol": "BTC"}, {"symbol": "B}C", "n": 1}, {"n": 1, "symbol": "B}C"}, {"symbol": "{"}]
            )
        if self.draw.random() < 0.8:
            item["old"] = self.value()
        if self.draw.random() < 0.8:
            item["new"] = self.value()
        return dict(reversed(item.items())) if self.draw.random() < 0.05 else item

    def line(self, kind: str, revision: int, **more: Any) -> bytes:
        self.time += self.draw.choice([60, 60, 60, 0, -3600])  # a clock may be set back
        few = self.draw.choice([1, 1, 1, 2, 5])
        body = {
            "v": 1, "revision": revision, "id": f"{self.draw.getrandbits(64):016x}", "time": self.moment(),
            "kind": kind, "author": self.draw.choice(["ann", "bob", 'o"neil', "größe"]), "reason": self.draw.choice(TEXTS),
            "evidence": self.draw.choice([{}, {"samples": 3}, {"note": SECRET}, {"text": TEXTS[1]}]),
            "changes": [] if kind in (*_records.VALUELESS, "abort") else [self.change() for _ in range(few)],
            "files": {"params/w.yaml": {"before": "0", "after": f"{self.draw.getrandbits(32):x}"}},
        }  # fmt: skip
        if kind in (*_records.VALUELESS, "abort"):
            body["files"] = {}
        return sealed(
            {**body, **more}, foreign=self.draw.choice(["", "", "", "", "spaced", "utf-8", "escaped"])
        )

    def moment(self) -> str:
        if self.draw.random() < 0.1:  # written by another program
            return datetime.fromtimestamp(self.time, UTC).isoformat(timespec="seconds")
        return utc_text(self.time)

    def step(self) -> Iterator[bytes]:
        kind = self.draw.choice(
            ["commit"] * 8 + ["external", "rollback", "abort", "freeze", "approve", "refusal"]
        )
        if kind == "abort":
            line = self.line("commit", self.stands + 1)
            yield line
            yield self.line("abort", self.stands + 1, evidence={"aborts": json.loads(line)["id"]})
            return
        details = {
            "freeze": {"pattern": "w.*"},
            "approve": {"pattern": "*", "baselines": [{"key": "w.a", "value": 1}]},
            "refusal": {"violations": [{"key": self.draw.choice(KEYS), "rule": "minimum", "requested": 9}]},
        }.get(kind)
        self.stands += kind not in _records.VALUELESS
        yield self.line(kind, self.stands, **({"details": details} if details else {}))

    def joined(self) -> Iterator[bytes]:
        """Yield lines of another history, which begins where this one once was, and the merge."""
        begins, first = max(0, self.stands - self.draw.randint(0, 5)), self.stands
        self.stands = begins
        theirs = [line for _ in range(self.draw.randint(1, 8)) for line in self.step()]
        yield from theirs
        self.stands = first + sum(1 for _ in theirs)  # at most; the next line says what it will
        yield self.line("merge", self.stands, details={"joined": [json.loads(theirs[0])["id"]]})

    def lines(self, count: int) -> list[bytes]:
        found = [self.line("external", 0)]
        while len(found) < count:
            found += self.joined() if self.draw.random() < 0.03 else self.step()
        return found


def sealed(body: Mapping[str, Any], foreign: str = "") -> bytes:
    """Return a line, maybe as another program would write it."""
    separators = (", ", ": ") if foreign == "spaced" else (",", ":")
    text = json.dumps(body, separators=separators, ensure_ascii=foreign != "utf-8").encode()[:-1]
    if foreign == "escaped":
        text = text.replace(b'"key":"w.', b'"key":"\\u0077.')
    return text + b',"crc":"%08x"}\n' % zlib.crc32(text)


def write_journal(folder: Path, seed: int, lines: list[bytes]) -> Journal:
    """Write lines as one file of the user's choice or as several segments, by the seed."""
    if seed % 3 == 0:
        (folder / "audit.jsonl").write_bytes(b"".join(lines))
        return Journal(str(folder / "audit.jsonl"))
    place = folder / "journal"
    place.mkdir()
    size = max(1, len(lines) // (1 + seed % 4))
    for index, begin in enumerate(range(0, len(lines), size)):
        (place / f"{index * 100 + 1:08d}.jsonl").write_bytes(b"".join(lines[begin : begin + size]))
    return Journal(str(place))


class Past:
    """As much of a backend as the questions about the past ask for."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def lines(self) -> list[Line]:
        return scan(self.journal)


def naive_history(records: list[dict[str, Any]], key: str | None, refused: bool) -> list[Entry]:
    found = []
    for record in records:
        made = _records.entry(record)
        if key is not None:
            made = replace(made, changes=tuple(c for c in made.changes if fnmatchcase(c.key, key)))
            pattern = made.details.get("pattern")
            about = pattern is not None and (fnmatchcase(key, pattern) or fnmatchcase(pattern, key))
            denied = any(fnmatchcase(v["key"], key) for v in made.details.get("violations", ()))
            if not (made.changes or about or denied):
                continue
        if refused or made.kind != "refusal":
            found.append(made)
    return found


def naive_revision(records: list[dict[str, Any]], moment: datetime) -> int | None:
    revision = None
    for record in records:
        if datetime.fromisoformat(record["time"]) > moment:
            break
        revision = record["revision"]
    return revision


@pytest.mark.parametrize("seed", range(0, 90, 2))
def test_the_answers_are_those_of_reading_everything(seed: int, tmp_path: Path) -> None:
    scribe = Scribe(seed)
    journal = write_journal(tmp_path, seed, scribe.lines(20 + seed * 3))
    records, lines = journal.read(START)[0], scan(journal)
    assert [line.record for line in lines] == records
    assert [(line.revision, line.kind, line.id, line.author, list(line.items)) for line in lines] == [
        (r["revision"], r["kind"], r["id"], r["author"], r["changes"]) for r in records
    ]
    revisions = sorted({record["revision"] for record in records})
    for until in (None, *scribe.draw.sample(revisions, min(8, len(revisions)))):
        found, expected = replayed(lines, until), replay(records, until)
        assert repr(found) == repr(expected)  # types and order as well
    past: Any = Past(journal)
    for key in (None, *KEYS, "w.*", "*.a", "w.gr?ße"):
        for refused in (False, True):
            expected_entries = naive_history(records, key, refused)
            assert history(past, key, refused) == expected_entries
            assert history(past, key, refused, 3) == expected_entries[-3:]
    for record in scribe.draw.sample(records, 8):
        moment = datetime.fromisoformat(record["time"])
        expected_revision = naive_revision(records, moment)
        if expected_revision is None:
            with pytest.raises(UnknownRevisionError):
                revision_of(lines, moment)
        else:
            assert revision_of(lines, moment) == expected_revision


def test_damage_is_told_and_a_torn_end_is_not(tmp_path: Path) -> None:
    lines = Scribe(1).lines(60)
    journal = write_journal(tmp_path, 1, lines)
    file = Path(journal.file(journal.segments()[0]))
    raw = file.read_bytes()
    whole = len(scan(journal))
    last = Path(journal.file(journal.segments()[-1]))
    last.write_bytes(last.read_bytes() + lines[3][:40])
    assert len(scan(journal)) == whole
    for at in range(0, len(raw) - 1000, 397):
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(JournalError) as plain:
            journal.read(START)
        with pytest.raises(JournalError) as found:
            scan(journal)
        assert str(found.value) == str(plain.value)


# --- a long journal is parsed a part at a time ---------------------------------------------------

PART = 3000  # bytes; about six lines of these journals


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_of_a_journal_are_its_lines(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "PART_BYTES", PART)
    scribe = Scribe(seed)
    journal = write_journal(tmp_path, seed, scribe.lines(60))
    whole, end = journal.lines(START)
    places, begun = [START], 0
    for lines, place in journal.parts(START):
        assert lines == whole[begun : begun + len(lines)]
        assert begun == 0 or not lines or lines[0]["kind"] != "abort", "torn from what it takes back"
        begun += len(lines)
        places.append(place)
    assert begun == len(whole) and places[-1].plain() == end.plain()
    assert len(places) > 3
    for first, last in ((first, last) for first in places for last in places):
        if first.plain()[:2] < last.plain()[:2]:
            found = list(journal.parts(first, last))
            assert [line for lines, _ in found for line in lines] == journal.lines(first, last)[0]
            assert found[-1][1].plain() == last.plain()


def test_a_reader_and_a_writer_that_slept_parse_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "PART_BYTES", PART)
    root = write_store(
        tmp_path,
        {"w": schema({"a": number(0.0), "b": number(0.0)})},
        {"w": "schema: 1\nvalues:\n  a: 0.0\n  b: 0.0\n"},
    )
    learner = ParamStore(root)

    def learn(n: int) -> None:
        with learner.transaction(author="learner") as tx:
            tx["w.a"] = n / 1000

    learn(1)
    published, woken, writer = ParamStore(root), ParamStore(root), ParamStore(root)
    for store in (published, woken, writer):
        assert store.get("w.a") == 0.001
    with writer.transaction(author="writer") as tx:
        tx["w.b"] = 0.5
    for n in range(2, 100):
        learn(n)
    most, lines = 0, Journal.lines

    def counted(journal: Journal, start: Position, end: Position | None = None) -> Any:
        nonlocal most
        found = lines(journal, start, end)
        most = max(most, len(found[0]))
        return found

    monkeypatch.setattr(Journal, "lines", counted)
    assert published.get("w.a") == 0.099
    file = root / "params" / "w.yaml"
    file.write_bytes(file.read_bytes().replace(b"b: 0.5", b"b: 0.25"))
    age(file)
    woken.refresh()
    assert (woken.get("w.a"), woken.get("w.b"), woken.revision) == (0.099, 0.25, 100)
    with writer.transaction(author="writer") as tx:
        assert (tx["w.a"], tx["w.b"]) == (0.099, 0.25)
        tx["w.b"] = 0.75
    assert woken.get("w.b") == published.get("w.b") == 0.75
    assert 0 < most < 20


def test_a_damaged_line_that_is_longer_than_a_part_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "PART_BYTES", PART)
    scribe = Scribe(4)
    lines = scribe.lines(30)
    long = scribe.line("commit", scribe.stands + 1, details={"text": "x" * 2 * PART}).replace(b"xx", b"xy", 1)
    journal = write_journal(tmp_path, 3, [*lines, long, *scribe.lines(30)])
    with pytest.raises(JournalError, match=f"line at byte {sum(map(len, lines))} "):
        list(journal.parts(START))


def test_no_whole_line_is_set_aside_as_torn(tmp_path: Path) -> None:
    lines = Scribe(4).lines(30)
    journal = write_journal(tmp_path, 3, lines)
    place = Position(0, sum(map(len, lines[:20])), 0)
    with pytest.raises(JournalError, match="entries came while it was read"):
        journal.repair(place)
    assert Path(journal.path).read_bytes() == b"".join(lines)


def test_a_place_is_none_any_more_once_a_line_ends_otherwise(tmp_path: Path) -> None:
    lines = Scribe(4).lines(3)
    journal = write_journal(tmp_path, 3, lines)
    _, place = journal.lines(START)
    assert journal.holds(place)
    Path(journal.path).write_bytes(b"".join(lines[:-1]) + lines[-1].replace(b"\n", b"\r\n"))
    assert not journal.holds(place)


def test_a_writer_reads_on_until_nothing_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_store(
        tmp_path / "a", {"w": schema({"a": number(0.0)})}, {"w": "schema: 1\nvalues:\n  a: 0.0\n"}
    )
    learner, writer = ParamStore(root), ParamStore(root)
    for store, value in ((learner, 1.0), (writer, 2.0)):
        with store.transaction(author="learner") as tx:
            tx["w.a"] = value
    for value in range(3, 9):
        with learner.transaction(author="learner") as tx:
            tx["w.a"] = float(value)
    file = next((root / "params" / "journal").iterdir())
    whole = file.read_bytes()
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:-3]))  # git takes three away
    parts = Journal.parts

    def then_back(journal: Journal, start: Position, end: Position | None = None) -> Any:
        yield from parts(journal, start, end)
        file.write_bytes(whole)  # and brings them back while the writer reads

    monkeypatch.setattr(Journal, "parts", then_back)
    with writer.transaction(author="learner") as tx:
        assert tx.revision == 8
        tx["w.a"] = 9.0
    assert file.read_bytes().startswith(whole) and writer.revision == 9


@pytest.mark.parametrize("hidden", ["v", "w"])
def test_a_reader_that_slept_follows_a_long_journal_where_files_cannot_be_believed(
    hidden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "PART_BYTES", PART)
    whole = schema({"a": number(0.0)})
    root = write_store(
        tmp_path, dict.fromkeys("uvw", whole), dict.fromkeys("uvw", "schema: 1\nvalues:\n  a: 0.0\n")
    )
    learner, reader = ParamStore(root), ParamStore(root)

    def learn(**values: float) -> None:
        with learner.transaction(author="learner") as tx:
            for name, value in values.items():
                tx[f"{name}.a"] = value

    def write(name: str, text: bytes) -> None:
        file = root / "params" / f"{name}.yaml"
        file.write_bytes(text)
        age(file)

    learn(u=0.5, v=0.5, w=0.5)
    assert reader.get("w.a") == 0.5
    write("u", b"schema: 1\nvalues:\n  a: 0.75\n")
    reader.refresh()  # sees an edit that nobody has recorded
    assert reader.get("u.a") == 0.75
    for n in range(1, 60):
        learn(v=n / 100, w=n / 1000)
    for name in ("u", hidden):
        write(name, b"broken: [")
    reader.refresh()
    assert [reader.get(f"{name}.a") for name in "uvw"] == [0.75, 0.59, 0.059]


# --- what is remembered between processes --------------------------------------------------------


def told(memory: Memory) -> Any:
    return (
        memory.written,
        memory.after,
        memory.last,
        memory.joined,
        memory.ledger.plain(),
        memory.position.plain(),
    )


def afresh(journal: Journal) -> Any:
    memory = Memory()
    records, memory.position = journal.read(START)
    for record in records:
        memory.absorb(record)
    return told(memory)


@pytest.mark.parametrize(("unsettled", "part"), [(0, 1 << 20), (900, 1 << 20), (0, PART), (900, PART)])
@pytest.mark.parametrize("seed", range(20))
def test_memory_is_what_the_journal_comes_to(
    seed: int, unsettled: int, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "PART_BYTES", part)
    scribe = Scribe(seed)
    journal = write_journal(tmp_path, seed, scribe.lines(40))
    cache = str(tmp_path / "runtime" / "memory")
    assert told(recall(cache, journal, 1, unsettled)) == afresh(journal)
    assert told(recall(cache, journal, 10_000)) == afresh(journal)
    with open(journal.file(journal.segments()[-1]), "ab") as file:
        file.write(b"".join(line for _ in range(10) for line in scribe.step()))
    assert told(recall(cache, journal, 10_000)) == afresh(journal)
    records, _ = journal.read(START)
    assert recall(cache, journal).ledger.plain() == Ledger(records).plain()


def test_memory_holds_where_git_puts_other_lines_before_the_newest(tmp_path: Path) -> None:
    scribe = Scribe(3)
    lines = [scribe.line("commit", scribe.stands + n) for n in range(1, 61)]
    journal, cache = write_journal(tmp_path, 3, lines), str(tmp_path / "memory")
    recall(cache, journal, 1, 2000)
    last = Path(journal.file(journal.segments()[-1]))
    *older, newest = last.read_bytes().splitlines(keepends=True)
    last.write_bytes(b"".join([*older, scribe.line("commit", scribe.stands + 61), newest]))
    kept = Memory.of_plain(_sidecar.load(cache), journal)
    assert kept is not None and kept.written, "what was kept reaches to before the lines that moved"
    assert told(recall(cache, journal)) == afresh(journal)


def test_memory_is_not_believed_once_the_journal_is_another(tmp_path: Path) -> None:
    scribe = Scribe(2)
    lines = scribe.lines(60)
    lines.append(scribe.line("commit", scribe.stands + 1))
    journal, cache = write_journal(tmp_path, 2, lines), str(tmp_path / "memory")
    before = told(recall(cache, journal, 1, 0))
    first, last = (Path(journal.file(journal.segments()[at])) for at in (0, -1))
    kept = {file: file.read_bytes() for file in (first, last)}

    last.write_bytes(kept[last] + scribe.line("abort", 1, evidence={"aborts": json.loads(lines[-1])["id"]}))
    assert told(recall(cache, journal)) == afresh(journal) != before  # the last entry was taken back
    last.write_bytes(kept[last])

    recall(cache, journal, 1, 0)
    first.write_bytes(kept[first] + lines[1])  # git brought another history into an older segment
    assert told(recall(cache, journal)) == afresh(journal) != before
    first.write_bytes(kept[first])

    recall(cache, journal, 1)
    last.write_bytes(b"".join(kept[last].splitlines(keepends=True)[:-2]))  # git went back
    assert told(recall(cache, journal)) == afresh(journal) != before
    last.write_bytes(kept[last])

    raw = bytearray(Path(cache).read_bytes())
    raw[-3] ^= 1
    Path(cache).write_bytes(raw)
    assert told(recall(cache, journal)) == before


def test_an_entry_that_two_histories_took_back_voids_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "PART_BYTES", PART)
    scribe = Scribe(5)
    taken = scribe.line("commit", 1)
    aborts = {"aborts": json.loads(taken)["id"]}
    lines = [scribe.line("external", 0), taken, scribe.line("abort", 1, evidence=aborts)]
    lines += [scribe.line("commit", n) for n in range(1, 60)]
    lines.insert(40, scribe.line("abort", 37, evidence=aborts))
    journal, cache = write_journal(tmp_path, 3, lines), str(tmp_path / "memory")
    assert told(recall(cache, journal, 1, 0)) == afresh(journal)
    assert _sidecar.load(cache) is not None
    lines += [scribe.line("commit", n) for n in range(60, 70)]
    lines.append(scribe.line("abort", 69, evidence=aborts))  # the cache is of before it
    Path(journal.path).write_bytes(b"".join(lines))
    known = Memory.of_plain(_sidecar.load(cache), journal)
    assert known is not None
    known.read_on(journal)
    assert not known.aborted and told(known) == afresh(journal)


def test_a_new_process_reads_on_from_where_others_came(store: ParamStore, tmp_path: Path) -> None:
    """Damage in what was read before shows whether it is read again."""
    lengthen(store, 1200)
    store.touches()  # remembers
    file = tmp_path / "params" / "journal" / "00000001.jsonl"
    raw = file.read_bytes()
    at = raw.index(b"step 3") + 5
    file.write_bytes(raw[:at] + b"X" + raw[at + 1 :])
    age(file)
    code = (
        "from paramstore import params\n"
        "with params.transaction(author='x', reason='y') as tx: tx['w.a'] = 0.9\n"
        "print(params.touches()[('w.a', ())].author, len(params.freezes()), params.pending())"
    )
    environ = {**os.environ, "PARAMSTORE_ROOT": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout == "x 0 ()\n", done.stderr
    with pytest.raises(JournalError, match="not a journal entry"):
        store.history("w.a")
    (tmp_path / ".paramstore" / "memory").unlink()
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert "JournalError" in done.stderr


def lengthen(store: ParamStore, count: int) -> None:
    """Let many commits of the past stand in the journal, the last of which leaves the file as it is."""
    with store.transaction(author="ann", reason="begin") as tx:
        tx["w.a"] = 0.2
    backend: Any = store._open()
    journal, position = backend.journal, backend.journal.tail()[0]
    digest = backend.load(None, True).documents["w"].digest
    before, value = digest, 0.2
    for step in range(count):
        after = digest if step == count - 1 else f"{step:064x}"
        new = 0.2 if step == count - 1 else round(0.1 + step % 50 / 100, 4)
        entry = Entry(
            position.revision + 1, f"{step:016x}", utc_text(BEGAN + step), "commit", "ann", f"step {step}", {},
            (Change("w.a", value, new, {}, new),), {"params/w.yaml": FileChange(before, after)},
        )  # fmt: skip
        position = journal.append(_records.encode(entry)[1], position, entry.revision)
        before, value = after, new


# --- a store ------------------------------------------------------------------------------------

LADDER = {"type": "array", "items": {"type": "number"}, "default": [0.5, 0.2]}
YAML = """\
# weights
schema: 1
values:
  a: 0.5   # first
  b: 0.3
  deep:
    c: 0.2
  ladder:
    - 0.5
    # between
    - 0.2
  flow: [1.0,
    2.0]
overrides:
  - at: {symbol: BTC}
    values: {a: 0.6, b: 0.4}
  - at: {symbol: ETH}
    values:
      a: 0.7
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(BEGAN)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> ParamStore:
    parts = schema(
        {
            "a": number(0.5),
            "b": number(0.3),
            "deep": {"type": "object", "additionalProperties": False, "properties": {"c": number(0.2)}},
            "ladder": LADDER,
            "flow": LADDER,
        },
        {"symbol": {"type": "string"}},
    )
    write_store(tmp_path, {"w": parts}, {"w": YAML})
    return ParamStore(tmp_path, environ={}, clock=clock)


def put(store: ParamStore, author: str, values: Mapping[str, Any], **context: Any) -> int:
    with store.transaction(author=author, reason=f"by {author}") as tx:
        for key, value in values.items():
            tx.set(key, value, **context)
    return tx.commit_result.revision


# --- what was known then -------------------------------------------------------------------------


def test_nothing_made_later_is_seen_at_a_time(store: ParamStore, clock: ManualClock) -> None:
    clock.set_back(clock.now() - BEGAN)
    put(store, "ann", {"w.a": 0.51})
    clock.set_back(clock.now() - (BEGAN + 100))
    put(store, "ann", {"w.a": 0.52})
    clock.set_back(clock.now() - (BEGAN + 50))  # set back
    put(store, "ann", {"w.a": 0.53})
    clock.set_back(clock.now() - (BEGAN + 200))
    put(store, "ann", {"w.a": 0.54})
    seen = {at: store.as_of(utc_text(BEGAN + at))["w.a"] for at in (0, 49, 60, 99, 100, 199, 200)}
    assert seen == {0: 0.51, 49: 0.51, 60: 0.51, 99: 0.51, 100: 0.53, 199: 0.53, 200: 0.54}
    assert store.as_of(datetime.fromtimestamp(BEGAN + 99, UTC)).revision == 1
    with pytest.raises(UnknownRevisionError, match="begins at"):
        store.as_of(utc_text(BEGAN - 1))


# --- blame --------------------------------------------------------------------------------------


def blamed(store: ParamStore, *what: str) -> dict[int, tuple[Any, ...]]:
    return {line.line: (line.revision, line.author, line.key) for line in store.blame(*what) if line.key}


def test_each_line_names_the_entry_of_its_value(store: ParamStore) -> None:
    assert [line.text for line in store.blame("w")] == YAML.splitlines()
    assert {line.revision for line in store.blame("w")} == {None}  # there is no journal yet
    put(store, "ann", {"w.a": 0.51})
    put(store, "bob", {"w.ladder": [0.6, 0.2], "w.deep.c": 0.25})
    put(store, "eve", {"w.a": 0.61}, symbol="BTC")
    assert blamed(store, "w") == {
        4: (1, "ann", "w.a"),
        5: (0, "external", "w.b"),
        7: (2, "bob", "w.deep.c"),
        **dict.fromkeys((8, 9, 10, 11), (2, "bob", "w.ladder")),
        12: (0, "external", "w.flow"),
        13: (0, "external", "w.flow"),
        16: (3, "eve", "w.a"),
        19: (0, "external", "w.a"),
    }
    contexts = {line.line: dict(line.context) for line in store.blame("w.a") if line.key}
    assert contexts == {4: {}, 16: {"symbol": "BTC"}, 19: {"symbol": "ETH"}}
    line = store.blame("w.a")[0]
    assert (line.reason, line.time, line.kind) == ("by ann", store.history()[1].time, "commit")


def test_an_edit_by_hand_says_so_until_it_is_recorded(store: ParamStore, tmp_path: Path) -> None:
    put(store, "ann", {"w.a": 0.51})
    file = tmp_path / "params" / "w.yaml"
    file.write_text(file.read_text().replace("b: 0.3\n", "b: 0.35\n"))
    age(file)
    assert [line.line for line in store.blame(str(file)) if line.by_hand] == [5]
    put(store, "ann", {"w.a": 0.52})
    assert blamed(store, "w.b")[5] == (2, "external", "w.b")


def test_blame_takes_files_namespaces_keys_and_patterns(store: ParamStore, tmp_path: Path) -> None:
    everything = store.blame("w")
    assert store.blame("params/w.yaml") == store.blame(str(tmp_path / "params/w.yaml")) == everything
    assert store.blame("w.b", "w") == everything
    assert [line.line for line in store.blame("w.b", "w.deep")] == [5, 7, 16]
    for unknown in ("w.bb", "nothing", "params/x.yaml", "elsewhere/w.yaml"):
        with pytest.raises(UnknownParamError):
            store.blame(unknown)


# --- rollback -----------------------------------------------------------------------------------


def test_rollback_of_one_author_leaves_what_others_did(store: ParamStore) -> None:
    put(store, "learner", {"w.a": 0.51})
    to = put(store, "ann", {"w.deep.c": 0.21})
    put(store, "learner", {"w.a": 0.52, "w.b": 0.31, "w.ladder": [0.9], "w.deep.c": 0.22})
    put(store, "learner", {"w.a": 0.65, "w.b": 0.41}, symbol="BTC")
    put(store, "learner", {"w.a": 0.9}, symbol="SOL")
    put(store, "ann", {"w.b": 0.32})
    put(store, "ann", {"w.ladder": [0.8]})
    put(store, "learner", {"w.ladder": [0.7]})
    shown = store.rollback(to, by="learner", author="ann", dry_run=True)
    assert (shown.dry_run, store.get("w.a")) == (True, 0.52)
    result = store.rollback(to, by="learner", author="ann")
    assert result.changes == shown.changes
    assert result.kept == shown.kept
    assert {(c.key, *c.context.values()): (c.old, c.new) for c in result.changes} == {
        ("w.a",): (0.52, 0.51),  # what stood then, though the learner gave it
        ("w.deep.c",): (0.22, 0.21),
        ("w.ladder",): ([0.7], [0.8]),  # what someone else wrote last
        ("w.a", "BTC"): (0.65, 0.6),
        ("w.b", "BTC"): (0.41, 0.4),
        ("w.a", "SOL"): (0.9, ABSENT),
    }
    assert [(k.key, dict(k.context), k.why) for k in result.kept] == [
        ("w.b", {}, "ann changed it since, in revision 6")
    ]
    assert (store.get("w.b"), store.get("w.a", symbol="SOL")) == (0.32, 0.51)
    entry = store.history()[-1]
    assert (entry.kind, entry.reason) == ("rollback", f"rollback to {to} of what learner did")


def test_rollback_of_one_author_within_keys(store: ParamStore) -> None:
    put(store, "learner", {"w.a": 0.52, "w.b": 0.31})
    put(store, "ann", {"w.b": 0.32})
    result = store.rollback(0, by="learner", author="ann", keys="w.a")
    assert ([c.key for c in result.changes], result.kept) == (["w.a"], ())
    assert store.rollback(0, by="ann", author="bob", keys="w.a").changes[0].new == 0.52  # its own rollback
    assert store.rollback(store.revision, by="ann", author="bob").changes == ()
    with pytest.raises(ValidationError, match="Did you mean 'learner'"):
        store.rollback(0, by="learners", author="ann")


def test_rollback_names_what_did_not_exist_then(store: ParamStore, tmp_path: Path) -> None:
    put(store, "ann", {"w.a": 0.51})
    schema_file, values = tmp_path / "schemas" / "w.schema.json", tmp_path / "params" / "w.yaml"
    content = json.loads(schema_file.read_text())
    content["properties"]["values"]["properties"]["new"] = number(1.0)
    schema_file.write_text(json.dumps(content))
    values.write_text(values.read_text().replace("  b: 0.3\n", "  b: 0.3\n  new: 1.0\n"))
    age(schema_file)
    age(values)
    fresh = ParamStore(tmp_path, environ={})
    put(fresh, "ann", {"w.b": 0.35})
    result = fresh.rollback(0, author="ann")
    assert [(k.key, k.why) for k in result.kept] == [("w.new", "did not exist then")]
    assert (fresh.get("w.new"), fresh.get("w.a"), fresh.get("w.b")) == (1.0, 0.5, 0.3)


# --- bisect -------------------------------------------------------------------------------------

JUDGE = (
    "import sys; from paramstore import params; a = params.get('w.a');"
    "sys.exit(125 if a == 0.55 else 200 if a == 0.99 else 3 if a > 0.6 else 0)"
)


def judging(code: str = JUDGE) -> list[str]:
    return [sys.executable, "-c", code]


def contents(root: Path) -> dict[str, bytes]:
    files = [
        path
        for folder in ("params", "schemas")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    ]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_the_revision_that_made_a_command_fail_is_found(store: ParamStore, tmp_path: Path) -> None:
    for step in range(1, 17):
        put(store, f"author {step}", {"w.a": 0.5 + step / 100} if step % 2 else {"w.b": 0.3 + step / 100})
    before = contents(tmp_path)
    heard: list[Trial] = []
    found = store.bisect(0, 16, judging(), tell=heard.append)
    assert (found.first_bad.revision, found.first_bad.author, found.suspects) == (11, "author 11", ())
    assert tuple(heard) == found.trials
    assert [trial.verdict for trial in found.trials][:2] == ["good", "bad"]
    assert len(found.trials) <= 2 + 5
    assert contents(tmp_path) == before


def test_what_cannot_be_tried_is_skipped_and_said(store: ParamStore, tmp_path: Path) -> None:
    put(store, "ann", {"w.a": 0.55})
    put(store, "ann", {"w.a": 0.7})
    found = store.bisect(0, 2, judging())
    assert [entry.revision for entry in (*found.suspects, found.first_bad)] == [1, 2]
    schema_file = tmp_path / "schemas" / "w.schema.json"
    put(store, "ann", {"w.a": 0.45})
    put(store, "ann", {"w.a": 0.75})
    content = json.loads(schema_file.read_text())
    content["properties"]["values"]["properties"]["a"]["minimum"] = 0.48
    schema_file.write_text(json.dumps(content))
    age(schema_file)
    fresh = ParamStore(tmp_path, environ={})
    found = fresh.bisect(
        0, 4, judging("import sys; from paramstore import params; sys.exit(params.get('w.a') > 0.72)")
    )
    assert found.suspects[0].revision == 3
    assert any("today's schema" in trial.why for trial in found.trials)


def test_a_search_ends_early_where_it_would_tell_nothing(store: ParamStore) -> None:
    put(store, "ann", {"w.a": 0.7})
    put(store, "ann", {"w.a": 0.99})
    for ends, code, says in (
        ((1, 2), JUDGE, "Revision 1 was said to be good, but the command says bad"),
        ((0, 1), "pass", "Revision 1 was said to be bad, but the command says good"),
        ((0, 2), JUDGE, "with status 200"),
        ((0, 1), "import os; os.kill(os.getpid(), 9)", "by signal 9"),
        ((1, 0), JUDGE, "must come before"),
    ):
        with pytest.raises(ParamstoreError, match=says):
            store.bisect(*ends, judging(code))


@pytest.mark.parametrize("seed", range(60))
def test_the_search_never_misses(seed: int) -> None:
    draw = random.Random(seed)
    count = draw.randint(1, 40)
    first = draw.randrange(count)
    odd = {index for index in range(count - 1) if draw.random() < 0.2}
    lines: Any = list(range(count))
    asked: list[int] = []

    def attempt(line: Any, left: Any) -> Any:
        asked.append(line)
        return "skip" if line in odd else "bad" if line >= first else "good"

    found: Any = search(lines, attempt)
    assert first in found
    assert set(found[:-1]) <= odd
    assert len(asked) == len(set(asked))
    if not odd:
        assert found == [first]
        assert len(asked) <= count.bit_length()


def test_a_command_cannot_reach_the_real_journal(
    store: ParamStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "ann", {"w.a": 0.7})
    monkeypatch.setenv("PARAMSTORE_JOURNAL", str(tmp_path / "params" / "journal"))
    before = contents(tmp_path)
    code = (
        "import sys; from paramstore import params; bad = params.get('w.a') > 0.6\n"
        "with params.transaction(author='x', reason='y') as tx: tx['w.b'] = 0.9\n"
        "sys.exit(bad)"
    )
    assert store.bisect(0, 1, judging(code)).first_bad.revision == 1
    assert contents(tmp_path) == before


# --- the command line ---------------------------------------------------------------------------


def paramstore(root: Path, *words: str, status: int = 0) -> Any:
    """Run a command in a process of its own; return its JSON, or its lines."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PARAM")}
    command = [sys.executable, "-m", "paramstore", "--root", str(root), *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if "--json" in words and status < 2:
        return json.loads(done.stdout)
    return (done.stdout + done.stderr).splitlines()


def test_the_commands_say_what_the_calls_return(store: ParamStore, tmp_path: Path) -> None:
    put(store, "learner", {"w.a": 0.7})
    put(store, "ann", {"w.b": 0.35})
    shown = paramstore(tmp_path, "blame", "w")
    assert "1 2026-05-28T20:26:40Z learner: by learner 4) a: 0.7 # first" in [
        " ".join(line.split()) for line in shown
    ]
    listed = paramstore(tmp_path, "blame", "w.b", "--json")
    assert [(line["line"], line["entry"]["author"], line["edited_by_hand"]) for line in listed] == [
        (5, "ann", False), (16, "external", False),
    ]  # fmt: skip
    assert "error: " in paramstore(tmp_path, "blame", "w.zz", status=1)[0]

    judge = [
        sys.executable,
        "-c",
        "import sys; from paramstore import params; sys.exit(params.get('w.a') > 0.6)",
    ]
    found = paramstore(tmp_path, "bisect", "--json", "0", "2", "--", *judge)
    assert (found["first_bad"]["revision"], found["first_bad"]["author"]) == (1, "learner")
    said = paramstore(tmp_path, "bisect", "0", "2", "--", *judge)
    assert said[0] == "revision 1 is the first bad one"
    assert "    w.a: 0.5 → 0.7" in said
    assert "correct the command" in paramstore(tmp_path, "bisect", "0", "2", "--", "true", status=1)[-1]
    assert "cannot be run" in paramstore(tmp_path, "bisect", "0", "2", "--", "./no-such", status=2)[-1]
    assert "Missing argument" in paramstore(tmp_path, "bisect", "0", "2", status=2)[-1]

    undone = paramstore(tmp_path, "rollback", "0", "--by", "learner", "--dry-run", "--json")
    assert [(c["key"], c["new"]) for c in undone["changes"]] == [("w.a", 0.5)]
    put(store, "ann", {"w.a": 0.65})
    assert paramstore(tmp_path, "rollback", "0", "--by", "learner") == [
        "nothing changed; revision 3 stands",
        "w.a stays as it is: ann changed it since, in revision 3",
        "To bring back what stood at 0 whoever changed it since: the same with --keys KEY in place of --by",
    ]
    assert "Did you mean" in paramstore(tmp_path, "rollback", "0", "--by", "lerner", status=1)[0]
    assert [line["last_change"]["author"] for line in paramstore(tmp_path, "list", "w.a", "--json")[:1]] == [
        "ann"
    ]
    assert paramstore(tmp_path, "explain", "w.a", "--json")["last_change"]["revision"] == 3
    newest = paramstore(tmp_path, "history", "--limit", "2", "--json")["entries"]
    assert [entry["revision"] for entry in newest] == [2, 3]
