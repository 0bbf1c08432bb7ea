"""How a mirror takes over what is new: once, in the order of the cluster, whole wherever it is cut off, whoever else writes."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from etcd_servers import Shop

from paramstore import ParamStore, _journal, _records
from paramstore._backends._mirror import Followed, Mirror, News, Text
from paramstore._backends.etcd import EtcdBackend
from paramstore._etcd_client import KeyValue, Range
from paramstore._journal import START, Journal
from paramstore._model import Entry
from paramstore.testing import SCHEMAS, VALUES

FILE = "params/gate.yaml"


@pytest.fixture
def filled(shop: Shop) -> Shop:
    shop.fill(SCHEMAS, VALUES)
    return shop


def store(shop: Shop, machine: str = "one") -> tuple[ParamStore, EtcdBackend]:
    backend = shop.backend(machine)
    return ParamStore(backend=backend, environ={}), backend


def step(made: ParamStore, value: int) -> None:
    with made.transaction(author="learner") as tx:
        tx["gate.trades"] = value


def still(shop: Shop, machine: str) -> EtcdBackend:
    """A mirror that has what stands now, and that nobody keeps in step."""
    backend = shop.backend(machine)
    backend.follower.catch_up(5.0)
    return backend


def last_change(shop: Shop) -> tuple[int, list[KeyValue]]:
    """What a watch tells of the last commit."""
    place, client = shop.place, shop.cluster.client()
    asked = [Range(place.head), Range(place.values("gate")), Range(*place.below("journal"))]
    _, answers = client.read(asked, 5.0)
    client.close()
    revision = answers[0].found[0].modified
    return revision, [kv for answer in answers for kv in answer.found if kv.modified == revision]


# --- once ------------------------------------------------------------------------------------------


def test_a_line_is_parsed_once_until_readers_are_told(filled: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, _ = store(filled, "one")
    step(writer, 40)
    far = still(filled, "two")
    step(writer, 41)
    revision, changes = last_change(filled)
    parsed, parse = [], _records.parse

    def counted(line: bytes) -> dict[str, Any] | None:
        parsed.append(line)
        return parse(line)

    monkeypatch.setattr(_records, "parse", counted)
    far.follower._take(revision, changes)
    assert parsed == [changes[2].value]
    monkeypatch.undo()
    assert known_of(far).head.seq == 2
    assert ParamStore(root=far.root, environ={}).get("gate.trades") == 41


def test_what_a_commit_here_took_over_is_not_taken_again_from_the_watch(filled: Shop) -> None:
    writer, backend = store(filled)
    step(writer, 40)
    backend.follower.stop()
    seen, known = backend.signs.seen(), backend.mirror.followed()
    assert known is not None
    backend.follower._take(*last_change(filled))
    assert backend.signs.seen() == seen and backend.mirror.followed() == known


def test_where_nothing_is_new_nothing_is_written_but_the_revision_is_told(filled: Shop) -> None:
    backend = still(filled, "one")
    before = backend.signs.seen()
    client = filled.cluster.client()
    _, revision, _ = client.write([], [(b"/elsewhere", b"x")], [], [], 5.0)
    client.close()
    assert backend.follower.catch_up(5.0).revision >= revision
    assert backend.signs.seen() == before


# --- in the order of the cluster ---------------------------------------------------------------------


def test_what_was_removed_before_it_came_anew_stays(filled: Shop) -> None:
    """Another process of the machine may have taken over more than what is told only now."""
    backend = still(filled, "one")
    mirror = backend.mirror
    known = mirror.followed()
    assert known is not None
    raw, revision = Path(backend.path(FILE)).read_bytes(), known.files[FILE][0]
    with mirror.locked():
        late = News(revision - 1, known.head, known.head_modified, gone=frozenset({FILE}))
        assert FILE in mirror.take(known, late).files
    gone = KeyValue(filled.place.values("gate"), b"", 0)
    assert backend.remote.told(known, revision - 1, [gone]) is None
    news = backend.remote.told(known, revision + 1, [gone])
    assert news is not None and news.gone == {FILE}
    with mirror.locked():
        now = mirror.take(known, news)
        assert FILE not in now.files and not os.path.exists(backend.path(FILE))
        mirror.take(now, replace(news, texts={FILE: Text(raw, revision + 2)}, gone=frozenset()))
    assert Path(backend.path(FILE)).read_bytes() == raw


def test_what_another_process_wrote_is_seen_though_the_record_is_kept_in_memory(filled: Shop) -> None:
    writer, here = store(filled)
    step(writer, 40)
    here.follower.stop()
    there = Mirror(filled.backend("one"))
    before = there.followed()
    assert before is not None and before == here.mirror.followed()
    step(writer, 41)
    now = there.followed()
    assert now is not None and now.head.seq == before.head.seq + 1 and now == here.mirror.followed()
    Path(here.signs.mark).touch()
    assert there.followed() is None, "one died in the middle"
    Path(here.signs.mark).unlink()
    Path(here.signs.record).write_bytes(b"{")
    assert there.followed() is None


# --- whole, wherever it is cut off ---------------------------------------------------------------------

TAKING = """
import os, pickle, sys
from paramstore._backends._mirror import Mirror
from paramstore._backends.etcd import EtcdBackend
from paramstore._etcd_place import Credentials
from paramstore._options import Options
place, root, news, last = pickle.load(sys.stdin.buffer)
mirror = Mirror(EtcdBackend(place, Credentials(place.endpoints), root, Options()))
def dying(call, steps=[0]):
    def called(*words, **more):
        steps[0] += 1
        if steps[0] == last:
            os._exit(9)
        return call(*words, **more)
    return called
with mirror.locked():
    known = mirror.checked()
    for name in ("open", "write", "pwrite", "replace", "unlink", "utime", "chmod", "link"):
        setattr(os, name, dying(getattr(os, name)))
    mirror.take(known, news)
    os._exit(0)
"""


def taking(backend: EtcdBackend, news: News, last: int) -> int:
    given = pickle.dumps((backend.place, backend.root, news, last))
    return subprocess.run([sys.executable, "-c", TAKING], input=given, check=False, timeout=60).returncode


def test_it_is_whole_wherever_it_was_cut_off(filled: Shop) -> None:
    """Its process is killed before each call that changes a file, in turn. Readers go on in order; the next one mends it."""
    writer, _ = store(filled, "far")
    step(writer, 40)
    backend = still(filled, "one")
    assert backend.follower.claim()  # so that the reader keeps nothing in step
    reader = store(filled, "one")[0]
    deaths = 0
    for last in count(1):
        value = 40 + last
        assert reader.get("gate.trades") == value - 1
        step(writer, value)
        news = backend.remote.news(known_of(backend))
        if not taking(backend, news, last):
            break
        deaths += 1
        assert reader.get("gate.trades") in (value - 1, value)
        seen = reader.get("gate.trades")
        known = backend.mirror.followed()
        assert seen < value or known is None or known.head == news.head, (
            "it would be cut back to before what was read"
        )
        mended = backend.follower.catch_up(5.0)
        assert reader.get("gate.trades") == value >= seen
        assert (mended, *whole(backend)) == (known_of(backend), *whole(still(filled, f"pure{last}")))
    assert deaths >= 12, "from the mark to its end"


def known_of(backend: EtcdBackend) -> Followed:
    with backend.mirror.locked():
        known = backend.mirror.checked()
    assert known is not None
    return known


def whole(backend: EtcdBackend) -> tuple[Any, ...]:
    known = known_of(backend)
    folder = Path(backend.root) / "params"
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return known.head, known.position, known.files, files


# --- the journal ---------------------------------------------------------------------------------------


def test_lines_are_appended_with_what_they_say_as_if_they_were_read_again(
    filled: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_journal, "SEGMENT_BYTES", 1200)
    writer, backend = store(filled)
    for value in range(40, 48):
        step(writer, value)
    given = [line for file in sorted(Path(backend.root, "params", "journal").iterdir()) for line in file.read_bytes().splitlines(True)]  # fmt: skip
    taken_back = record_of(given[-1])
    given += [
        made("abort", taken_back, aborts=taken_back["id"]) for _ in range(2)
    ]  # the second gives no number back
    given.append(made("commit", {**taken_back, "revision": 2}))  # it joined this journal from another one
    for cut in (0, 3, 9, 10, 11):
        for parsed in (False, True):
            journal = Journal(str(tmp_path / f"journal{cut}{parsed}"))
            at = journal.extend(given[:cut], START)
            end = journal.extend(
                given[cut:], at, [record_of(line) for line in given[cut:]] if parsed else None
            )
            lines, read = journal.lines(START)
            assert end.plain() == read.plain() and len(journal.segments()) > 1
            assert [line["id"] for line in lines] == [record_of(line)["id"] for line in given]
            assert end.revision == 8, (
                "eight commits, of which one was taken back once, and the one that joined"
            )


def record_of(line: bytes) -> dict[str, Any]:
    record = _records.parse(line)
    assert record is not None
    return record


def made(kind: Any, like: dict[str, Any], **evidence: str) -> bytes:
    return _records.encode(
        Entry(revision=like["revision"], id=os.urandom(8).hex(), time=like["time"], kind=kind, author="a", reason="r", evidence=evidence)
    )[1]  # fmt: skip


def test_a_mirror_that_is_spoilt_meanwhile_is_asked_for_anew_and_keeps_nobody_waiting(
    filled: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = store(filled)
    step(made, 40)
    backend = still(filled, "two")
    step(made, 41)
    plain, asked = backend.remote.news, []

    def news(known: Followed, *rest: Any) -> News:
        with open(os.path.join(backend.runtime, "mirror.lock"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # refused while somebody holds the mirror
        asked.append(known.head.seq)
        if len(asked) == 1:
            Path(backend.signs.mark).touch()  # somebody begins to write here, and dies
        return plain(known, *rest)

    monkeypatch.setattr(backend.remote, "news", news)
    backend.follower.catch_up(5.0)
    assert asked == [1, -1] and ParamStore(backend=backend, environ={}).get("gate.trades") == 41
    backend.close()
