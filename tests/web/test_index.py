"""What the page knows of a journal is what the store's own history says, however the journal came to be."""

from __future__ import annotations

import json
import random
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from git_store import GitStore
from local_store import number, schema, write, write_store

from paramstore import ParamStore
from paramstore._as_json import entry_json
from paramstore._backends.local import LocalBackend
from paramstore._clock import SYSTEM
from paramstore._model import Change, Entry, FileChange
from paramstore._records import encode
from paramstore.errors import JournalError, ParamstoreError, UnknownRevisionError
from paramstore.testing import ManualClock, memory_store
from paramstore.web._index import POINTS, BuildingError, Index, Spark

DIMENSIONS = {"regime": {"enum": ["trend", "chop"]}, "symbol": {"type": "string"}}
KEYS = ["ns.a", "ns.b", "ns.group.c", "other.d"]
SCHEMAS = {
    "ns": schema(
        {
            "a": number(1.0),
            "b": number(2.0, **{"x-param": {"max_step": 1.0}}),
            "group": {"type": "object", "additionalProperties": False, "properties": {"c": number(3.0)}},
            "word": {"type": "string", "default": "x"},
        },
        DIMENSIONS,
    ),
    "other": schema({"d": number(4.0), "flag": {"type": "boolean", "default": False}}),
}
VALUES: dict[str, Any] = {
    "ns": {"schema": 1, "values": {"a": 1.0, "b": 2.0, "group": {"c": 3.0}, "word": "x"}},
    "other": {"schema": 1, "values": {"d": 4.0, "flag": False}},
}
ASKED: list[str | None] = [*KEYS, "ns.word", "ns.*", "*", "ns.[ab]", "*.d", "nothing.*", None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", SCHEMAS, VALUES)


@pytest.fixture
def opened() -> Iterator[Callable[..., ParamStore]]:
    stores: list[ParamStore] = []

    def open_one(root: Path, clock: ManualClock | None = None) -> ParamStore:
        store = ParamStore(root, environ={}, clock=clock or SYSTEM)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.reset()


def is_history(index: Index, store: ParamStore, pages: random.Random | None = None) -> None:
    """Hold every answer of ``index`` to what ``store`` says."""
    for key in ASKED:
        for refused in (False, True):
            said = [entry_json(entry) for entry in store.history(key, refused=refused)]
            assert index.history(key, refused=refused) == (said, False), key
            if pages is not None and said:
                size = pages.randint(1, len(said))
                found = index.history(key, size, None, refused)
                assert found == (said[-size:], size < len(said))
                if found.more:
                    before = found.entries[0]["id"]
                    assert index.history(key, size, before, refused).entries == said[-2 * size : -size]
    everything = [entry_json(entry) for entry in store.history(refused=True)]
    for revision in {entry["revision"] for entry in everything} | {-1, 10**6}:
        assert index.entries_of(revision) == [e for e in everything if e["revision"] == revision]


def step(store: ParamStore, clock: ManualClock, dice: random.Random) -> None:
    """Do one thing, as a learner or a person would; what is refused is recorded."""
    clock.advance(dice.choice([1.0, 700.0, 90_000.0]))
    author, key = dice.choice(["learner", "other learner", 'a "person"\n<b>']), dice.choice(KEYS)
    with suppress(ParamstoreError):
        match dice.randrange(9):
            case 0 | 1 | 2:
                with store.transaction(author=author, reason="a test", evidence={"key": "ns.a"}) as tx:
                    tx[key] = round(dice.uniform(0.5, 4.0), 3)
                    if dice.random() < 0.3:
                        tx.set("ns.a", round(dice.uniform(0.5, 4.0), 3), symbol="BTC")
            case 3:
                with store.transaction(author=author, reason="out of bounds") as tx:
                    tx[key] = 99.0
            case 4:
                with store.transaction(author=author, reason="words", force=True) as tx:
                    tx["ns.word"] = dice.choice(["x", "é", 'say "key":'])
                    tx["other.flag"] = dice.random() < 0.5
            case 5:
                store.freeze(dice.choice([key, "ns.*", "*"]), author=author, reason="stop", until=600.0)
            case 6:
                store.approve(dice.choice([key, "*"]), author=author, reason="fine")
            case 7:
                store.rollback(max(0, store.revision - 2), author=author, reason="back", force=True)
            case _:
                with store.transaction(author=author, reason="clamped") as tx:
                    tx.propose(key.rpartition(".")[0], {key.rpartition(".")[2]: 9.0}, on_violation="clamp")


def by_hand(root: Path, dice: random.Random) -> None:
    path = root / "params" / "other.yaml"
    old = path.read_text()
    write(path, re.sub(r"\bd: [0-9.]+", f"d: {dice.randint(1000, 9000) / 1000 + 0.0005}", old))
    assert path.read_text() != old


@pytest.mark.parametrize("seed", range(4))
def test_a_journal_of_files_is_known_as_its_history_says(
    seed: int, root: Path, opened: Callable[..., ParamStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken in bit by bit while it grows, over many segments, and all at once."""
    monkeypatch.setattr("paramstore._journal.SEGMENT_BYTES", 4_000)
    monkeypatch.setattr("paramstore.web._lines.PART_BYTES", 900)
    dice, clock = random.Random(seed), ManualClock()
    writer, reader = opened(root, clock), opened(root, clock)
    index = Index(reader)
    for _ in range(60):
        step(writer, clock, dice)
        if dice.random() < 0.1:
            by_hand(root, dice)
        if dice.random() < 0.4:
            index.sync()
    is_history(index, writer, dice)
    assert index.stands[0] == 0  # nothing of it was ever read anew
    is_history(Index(reader), writer)
    kinds = {entry.kind for entry in writer.history(refused=True)}
    assert sum(entry.kind == "external" for entry in writer.history()) > 1
    assert kinds >= {"commit", "external", "rollback", "freeze", "approve", "refusal"}
    assert len(list((root / "params" / "journal").iterdir())) > 3


def test_a_store_in_memory_is_known_as_its_history_says() -> None:
    dice, clock = random.Random(9), ManualClock()
    store = memory_store(SCHEMAS, VALUES, clock)
    index = Index(store)
    for _ in range(40):
        step(store, clock, dice)
        if dice.random() < 0.5:
            index.sync()
    is_history(index, store, dice)
    assert index.newest == (index.count, store.history(refused=True)[-1].id, store.revision)


def begun(store: ParamStore, value: float, **more: Any) -> tuple[bytes, bytes, bytes]:
    """Append the line of a commit whose files are not in place yet, as its writer does; return it, and the file before
    and after."""
    backend = store._open()
    assert isinstance(backend, LocalBackend)
    path = Path(backend.path("params/other.yaml"))
    old = path.read_bytes()
    new = old.replace(b"d: 4.0", b"d: %.1f" % value)
    assert new != old
    from paramstore._files import digest

    change = Change("other.d", 4.0, value, {}, value)
    end = backend.journal.tail()[0]
    entry = Entry(
        end.revision + 1, more.get("id", "cafe" * 4), "2026-01-02T03:04:05.000000Z", "commit", "learner", "cut off",
        {}, (change,), {"params/other.yaml": FileChange(digest(old), digest(new))},
    )  # fmt: skip
    line = encode(entry)[1]
    backend.journal.append(line, end, entry.revision)
    return line, old, new


def test_a_commit_is_known_only_once_a_reader_sees_it(root: Path, opened: Callable[..., ParamStore]) -> None:
    writer, reader = opened(root), opened(root)
    with writer.transaction(author="learner", reason="one") as tx:
        tx["ns.a"] = 1.5
    index = Index(reader)
    assert index.history().entries[-1]["reason"] == "one"
    assert not index.waits
    _, _, new = begun(writer, 4.5)
    assert index.history().entries[-1]["reason"] == "one"
    assert reader.get("other.d") == 4.0
    assert index.waits
    write(root / "params" / "other.yaml", new)  # the writer died right after that
    reader.refresh()
    assert reader.get("other.d") == 4.5
    assert index.history().entries[-1]["reason"] == "cut off"
    assert not index.waits


def test_a_commit_that_was_taken_back_is_never_known(root: Path, opened: Callable[..., ParamStore]) -> None:
    writer, reader = opened(root), opened(root)
    with writer.transaction(author="learner", reason="one") as tx:
        tx["ns.a"] = 1.5
    index = Index(reader)
    index.sync()
    begun(writer, 4.5)
    index.sync()
    other = opened(root)
    with other.transaction(author="learner", reason="two") as tx:  # takes back what it finds cut off
        tx["ns.a"] = 1.6
    assert [entry["reason"] for entry in index.history(None, 2).entries] == ["one", "two"]
    assert index.stands[0] == 0
    is_history(index, writer)


def test_an_entry_that_is_taken_back_after_it_was_known_is_forgotten(
    root: Path, opened: Callable[..., ParamStore]
) -> None:
    """Git can bring an abort of what stood here."""
    writer, reader = opened(root), opened(root)
    for value in (1.5, 1.6):
        with writer.transaction(author="learner", reason=str(value)) as tx:
            tx["ns.a"] = value
    index = Index(reader)
    known = index.history().entries
    backend = writer._open()
    assert isinstance(backend, LocalBackend)
    end = backend.journal.tail()[0]
    abort = Entry(
        end.revision,
        "f" * 16,
        "2026-01-02T03:04:05.000000Z",
        "abort",
        "paramstore",
        "",
        {"aborts": known[-1]["id"]},
    )
    backend.journal.append(encode(abort)[1], end, end.revision)
    assert index.history().entries == known[:-1]
    assert index.stands[0] == 1
    is_history(index, writer)


def test_another_journal_in_its_place_is_taken_in_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., ParamStore]
) -> None:
    """Two branches that learned apart: one after the other, and joined, over several segments."""
    monkeypatch.setattr("paramstore._journal.SEGMENT_BYTES", 1_500)
    repo = GitStore.made(tmp_path / "bot")
    repo.git("checkout", "--quiet", "-b", "topic")
    for value in (0.41, 0.42, 0.43):
        repo.set({"win_rate.floor": value})
    repo.git("add", "--all")
    repo.commit_all("theirs")
    reader = opened(repo.root)
    index = Index(reader)
    theirs = index.history("win_rate.floor").entries
    assert len(theirs) == 4
    repo.git("checkout", "--quiet", "main")
    assert index.history("win_rate.floor").entries == theirs[:1]
    assert index.stands[0] == 1
    repo.params().freeze("win_rate.*", author="person", reason="a test", until=3600.0)
    with suppress(ParamstoreError), repo.params().transaction(author="learner", reason="refused") as tx:
        tx["win_rate.low"] = 0.46
    repo.set({"conviction_gate.min_trades": 33})
    index.sync()
    assert index.stands[0] == 1
    repo.git("add", "--all")
    repo.commit_all("ours")
    before = [entry["id"] for entry in index.history(refused=True).entries]
    repo.git("merge", "--quiet", "topic")
    store = repo.params()
    for key in ("win_rate.floor", "win_rate.*", None):
        for refused in (False, True):
            said = [entry_json(entry) for entry in store.history(key, refused=refused)]
            assert index.history(key, refused=refused).entries == said
    after = [entry.id for entry in store.history(refused=True)]
    epoch = 1 if after[: len(before)] == before else 2
    assert index.stands[0] == epoch
    repo.set({"win_rate.floor": 0.44})
    assert index.history("win_rate.floor", 1).entries[0]["revision"] == repo.params().revision
    assert index.stands[0] == epoch


def test_the_same_journal_in_other_files_is_no_other(root: Path, opened: Callable[..., ParamStore]) -> None:
    writer, reader = opened(root), opened(root)
    with writer.transaction(author="learner", reason="one") as tx:
        tx["ns.a"] = 1.5
    index = Index(reader)
    before = index.history()
    folder = root / "params" / "journal"
    shutil.copytree(folder, root / "copy")
    shutil.rmtree(folder)
    (root / "copy").rename(folder)
    assert index.history() == before
    assert index.stands[0] == 0


def test_a_line_that_is_no_longer_where_it_was_is_found_again(
    root: Path, opened: Callable[..., ParamStore]
) -> None:
    """A person shortens a reason in an earlier line and keeps the checksum right: the places after it have moved."""
    writer, reader = opened(root), opened(root)
    for value in (1.5, 1.6, 1.7):
        with writer.transaction(author="learner", reason=f"because of {value}") as tx:
            tx["ns.a"] = value
    index = Index(reader)
    index.sync()
    path = next((root / "params" / "journal").iterdir())
    lines = path.read_bytes().splitlines(keepends=True)
    from zlib import crc32

    body = lines[1].replace(b"because of 1.5", b"why" + b" " * 11).rpartition(b',"crc":"')[0]
    lines[1] = body + b',"crc":"%08x"}\n' % crc32(body)
    spare, body = lines[2], lines[2].replace(b"because of 1.6", b"1.6").rpartition(b',"crc":"')[0]
    lines[2] = body + b',"crc":"%08x"}\n' % crc32(body)
    assert len(lines[2]) < len(spare)
    path.write_bytes(b"".join(lines))
    assert [entry["reason"].strip() for entry in index.history("ns.a", 3).entries] == [
        "why",
        "1.6",
        "because of 1.7",
    ]


def three(root: Path, opened: Callable[..., ParamStore]) -> tuple[ParamStore, Index, Path]:
    """A journal of three commits that was taken in, and its last file."""
    writer = opened(root)
    for value in (1.5, 1.75, 1.625):
        with writer.transaction(author="learner", reason=f"because of {value}") as tx:
            tx["ns.a"] = value
    index = Index(opened(root))
    index.sync()
    return writer, index, max((root / "params" / "journal").iterdir())


def test_lines_that_changed_place_before_the_last_are_found(
    root: Path, opened: Callable[..., ParamStore]
) -> None:
    writer, index, path = three(root, opened)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines[1]) != len(lines[2])
    path.write_bytes(
        b"".join([lines[0], lines[2], lines[1], lines[3]])
    )  # in the same file, as long, with the same end
    assert index.history("ns.a", 3).entries == [entry_json(e) for e in writer.history("ns.a")][-3:]


def test_another_journal_in_the_same_file_is_noticed(root: Path, opened: Callable[..., ParamStore]) -> None:
    writer, index, path = three(root, opened)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[3], lines[2], lines[1], lines[2]]))
    index.sync()
    assert index.stands[0] == 1  # though nothing of it was read again yet
    assert index.history().entries == [entry_json(e) for e in writer.history()]
    assert index.stands[0] == 1


def test_a_line_that_git_put_into_an_older_segment_is_noticed(
    root: Path, opened: Callable[..., ParamStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paramstore._journal.SEGMENT_BYTES", 1)
    writer, index, _ = three(root, opened)
    older = sorted((root / "params" / "journal").iterdir())[1]
    joined = Entry(
        1, "d" * 16, "2026-01-02T03:04:05.000000Z", "freeze", "person", "there", details={"pattern": "ns.*"}
    )
    with older.open("ab") as file:
        file.write(encode(joined)[1])
    assert index.history("ns.a").entries == [entry_json(e) for e in writer.history("ns.a")]
    assert "d" * 16 in [entry["id"] for entry in index.history().entries]


def test_a_commit_stands_though_its_file_was_edited_right_after(
    root: Path, opened: Callable[..., ParamStore]
) -> None:
    writer, reader = opened(root), opened(root)
    with writer.transaction(author="learner", reason="one") as tx:
        tx["other.d"] = 4.5
    by_hand(root, random.Random(1))
    assert Index(reader).history().entries[-1]["reason"] == "one"


def test_damage_is_said_and_once_mended_forgotten(root: Path, opened: Callable[..., ParamStore]) -> None:
    writer, reader = opened(root), opened(root)
    for value in (1.5, 1.6):
        with writer.transaction(author="learner", reason="one") as tx:
            tx["ns.a"] = value
    path = next((root / "params" / "journal").iterdir())
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    path.write_bytes(lines[0] + b"<<<<<<< HEAD\n" + b"".join(lines[1:]))
    index = Index(reader)
    for _ in range(2):
        with pytest.raises(JournalError, match="is not a journal entry"):
            index.history()
    path.write_bytes(good)
    assert len(index.history().entries) == 3


def test_a_sound_line_that_is_no_entry_is_damage(root: Path, opened: Callable[..., ParamStore]) -> None:
    writer, reader = opened(root), opened(root)
    with writer.transaction(author="learner", reason="one") as tx:
        tx["ns.a"] = 1.5
    backend = writer._open()
    assert isinstance(backend, LocalBackend)
    index = Index(reader)
    index.sync()
    end = backend.journal.tail()[0]
    change = Change("ns.a", 1.5, 1.6, {}, 1.6)
    line = encode(
        Entry(
            end.revision + 1, "e" * 16, "2026-13-41T03:04:05.000000Z", "commit", "learner", "", {}, (change,)
        )
    )[1]
    backend.journal.append(line, end, end.revision + 1)
    with pytest.raises(JournalError):
        writer.history("ns.a")
    with pytest.raises(JournalError):
        index.history("ns.a")


def test_an_entry_that_is_not_there_is_said(root: Path, opened: Callable[..., ParamStore]) -> None:
    index = Index(opened(root))
    assert index.history() == ([], False)
    with pytest.raises(UnknownRevisionError, match="no entry 'nobody'"):
        index.history("ns.a", 10, "nobody")


# --- sparklines and counts ---------------------------------------------------------------------------


def test_sparklines_are_the_newest_points_of_what_changed(
    root: Path, opened: Callable[..., ParamStore]
) -> None:
    clock = ManualClock(1_000_000.0)
    store = opened(root, clock)
    for turn in range(POINTS + 5):
        clock.advance(60.0)
        with store.transaction(author="learner", reason="one") as tx:
            tx["ns.a"] = 1.0 + turn / 100 + 0.01
    with store.transaction(author="person", reason="in a context", force=True) as tx:
        tx.set("ns.b", 2.5, symbol="BTC")
    clock.advance(60.0)
    with store.transaction(author="person", reason="and out again", force=True) as tx:
        tx.remove("ns.b", symbol="BTC")
        tx["ns.word"] = "y"
    found = {(p["key"], json.dumps(p["context"])): p for p in Index(store).sparklines()}
    assert set(found) == {("ns.a", "{}"), ("ns.b", '{"symbol": "BTC"}'), ("ns.word", "{}")}
    moved = found["ns.a", "{}"]
    assert moved["values"] == [1.0 + turn / 100 + 0.01 for turn in range(5, POINTS + 5)]
    assert moved["times"] == [1_000_000.0 + 60.0 * (turn + 1) for turn in range(5, POINTS + 5)]
    assert found["ns.b", '{"symbol": "BTC"}']["values"] == [2.5, None]
    assert found["ns.word", "{}"]["values"] == ["x", "y"]


def test_what_one_author_did_is_found_in_the_whole_journal(
    root: Path, opened: Callable[..., ParamStore]
) -> None:
    dice, clock = random.Random(7), ManualClock()
    store = opened(root, clock)
    for _ in range(80):
        step(store, clock, dice)
    index, everything = Index(store), store.history(refused=True)
    authors, kinds = {entry.author for entry in everything}, sorted({entry.kind for entry in everything})
    assert len(authors) > 1
    assert len(kinds) > 3
    assert index.authors() == [
        {
            "author": name,
            "kinds": dict(sorted(Counter(e.kind for e in everything if e.author == name).items())),
        }
        for name in sorted(authors)
    ]
    for author in (None, *authors, "nobody"):
        for chosen in ((), *((kind,) for kind in kinds), ("commit", "refusal")):
            for key in (None, "ns.a", "ns.*"):
                for refused in (False, True):
                    said = [
                        entry_json(entry)
                        for entry in store.history(key, refused=refused or "refusal" in chosen)
                        if author in (None, entry.author) and (entry.kind in chosen if chosen else True)
                    ]
                    assert index.history(key, None, None, refused, author, chosen).entries == said
                    found = index.history(key, 2, None, refused, author, chosen)
                    assert found == (said[-2:], len(said) > 2)


def test_a_sparkline_begins_with_what_stood_before() -> None:
    spark = Spark()
    spark.add(7.0, {"old": 1.0, "new": 2.0})
    assert (list(spark.times), list(spark.values)) == ([7.0, 7.0], [1.0, 2.0])


def test_counts_are_those_of_the_journal(root: Path, opened: Callable[..., ParamStore]) -> None:
    dice, clock = random.Random(5), ManualClock()
    store = opened(root, clock)
    for _ in range(60):
        step(store, clock, dice)
    index = Index(store)
    index.sync()
    found, entries = index.counts(), store.history(refused=True)
    assert found.entries == len(entries)
    changing = [e for e in entries if e.kind in ("commit", "external", "rollback")]
    for author in {e.author for e in entries}:
        for kind in ("commit", "external", "rollback"):
            assert found.commits.get((author, kind), 0) == sum(
                e.author == author and e.kind == kind for e in changing
            )
        refused = [e for e in entries if e.author == author and e.kind == "refusal"]
        for rule in ("maximum", "freeze", "max_step"):
            count = sum(any(v["rule"] == rule for v in e.details["violations"]) for e in refused)
            assert found.refusals.get((author, rule), 0) == count
    assert sum(found.refusals.values()) > 0


# --- cost --------------------------------------------------------------------------------------------


def read_bytes() -> int:
    """What this process has read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def test_an_answer_reads_no_more_of_a_longer_journal(root: Path, opened: Callable[..., ParamStore]) -> None:
    store = opened(root)
    index = Index(store)
    with store.transaction(author="learner", reason="begin") as tx:
        tx["ns.a"] = 1.5
    backend = store._open()
    assert isinstance(backend, LocalBackend)

    def lengthen(first: int, count: int) -> None:
        end, lines = backend.journal.tail()[0], []
        for turn in range(first, first + count):
            change = Change("ns.a", 1.5, 1.5 + turn % 7, {}, 1.5 + turn % 7)
            entry = Entry(
                end.revision + 1 + turn - first,
                f"{turn:016x}",
                "2026-01-02T03:04:05.000000Z",
                "commit",
                "learner",
                "",
                {},
                (change,),
            )
            lines.append(encode(entry)[1])
        path = backend.journal.file(end.segment)
        with Path(path).open("ab") as file:
            file.write(b"".join(lines))

    def cost() -> int:
        index.sync()
        before = read_bytes()
        for key in ("ns.a", "ns.*", None):
            assert len(index.history(key, 20).entries) == 20
        index.history("ns.a", 20, before=f"{100:016x}")
        index.entries_of(50)
        index.sparklines()
        return read_bytes() - before

    lengthen(0, 300)
    short = cost()
    lengthen(300, 15_000)
    assert cost() < 1.5 * short
    assert index.count == 15_302


def test_answers_wait_for_what_is_being_read_and_say_so(
    root: Path, opened: Callable[..., ParamStore]
) -> None:
    store = opened(root)
    with store.transaction(author="learner", reason="begin") as tx:
        tx["ns.a"] = 1.5
    index = Index(store)
    with index._turn:  # as whoever reads a long journal holds it
        with pytest.raises(BuildingError, match="Ask again"):
            index.sync(wait_s=0.01)
        found: list[Any] = []
        asking = threading.Thread(target=lambda: found.append(index.history("ns.a")))
        asking.start()
        asking.join(0.05)
        assert asking.is_alive()
    asking.join(5.0)
    assert [entry["reason"] for entry in found[0].entries] == ["values before the first commit", "begin"]


def test_it_is_built_in_a_thread_of_its_own(root: Path, opened: Callable[..., ParamStore]) -> None:
    store = opened(root)
    index = Index(store)
    index.start().join(5.0)
    assert index.count == 0
    with store.transaction(author="learner", reason="begin") as tx:
        tx["ns.a"] = 1.5
    index.sync()
    assert index.count == 2


def test_many_ask_while_it_grows(root: Path, opened: Callable[..., ParamStore]) -> None:
    """What a thread is told is always a whole beginning of the journal, never less than it was told before."""
    writer, reader = opened(root), opened(root)
    index, done = Index(reader), threading.Event()
    wrong: list[Any] = []

    def ask() -> None:
        known: list[str] = []
        while not done.is_set():
            ids = [entry["id"] for entry in index.history("ns.a").entries]
            if ids[: len(known)] != known:
                wrong.append((known, ids))
            known = ids
            index.sparklines()

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    for turn in range(60):
        with writer.transaction(author="learner", reason="one") as tx:
            tx["ns.a"] = 1.0 + turn / 100 + 0.01
    done.set()
    for thread in asking:
        thread.join()
    assert not wrong
    is_history(index, writer)
