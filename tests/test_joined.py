"""Two histories joined: whose the values are that a merge leaves, which freezes hold, how revisions are counted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from git_store import GitStore
from test_history import Scribe

from paramstore import _records
from paramstore._backends.local import LocalBackend
from paramstore._history import replay
from paramstore._join import join
from paramstore._journal import START, Journal
from paramstore._ledger import Ledger
from paramstore._memory import Memory, recall
from paramstore._merge import Leaves, leaves
from paramstore._merge_text import Outcome, Rules, merge_files
from paramstore._model import Entry
from paramstore._outline import replayed
from paramstore._scan import scan

TRADES = "conviction_gate.min_trades"
FLOOR, LOW = "win_rate.floor", "win_rate.low"
VALUES, JOURNAL = "params/win_rate.yaml", "params/journal/00000001.jsonl"


@pytest.fixture
def repo(tmp_path: Path) -> GitStore:
    return GitStore.made(tmp_path / "bot")


def branches(repo: GitStore, theirs: Callable[[], Any], ours: Callable[[], Any]) -> None:
    """Do and commit ``theirs`` on a branch `topic` and ``ours`` on main, from the same commit."""
    repo.git("checkout", "--quiet", "-b", "topic")
    theirs()
    repo.commit_all("theirs")
    repo.git("checkout", "--quiet", "main")
    ours()
    repo.commit_all("ours")


def learn(repo: GitStore, key: str, value: float) -> None:
    with repo.params().transaction(author="learner", reason="a test", evidence={"samples": 1000}) as tx:
        tx[key] = value


def told(repo: GitStore) -> Ledger:
    """Return what guards know of the past, from the journal as it stands now."""
    backend = LocalBackend(str(repo.root), repo.params().options)
    with backend.session(5.0, None) as session:
        return session.ledger


# --- baselines --------------------------------------------------------------------------------------


def resolved(repo: GitStore, floor: str) -> None:
    """Merge `topic`, and decide the only conflict, that of the floor, by hand."""
    repo.git("merge", "topic", status=1)
    text = repo.read(VALUES)
    first, _, rest = text.partition("<<<<<<<")
    between, _, end = rest.partition(">>>>>>>")
    block = between.partition("\n")[2].partition("=======")[0].partition("|||||||")[0]
    assert block.count("floor:") == 1
    line = next(line for line in block.splitlines() if "floor:" in line)
    value = line.split("floor:")[1].split("#")[0].strip()
    mended = first + block.replace(value, floor, 1) + end.partition("\n")[2]
    (repo.root / VALUES).write_bytes(mended.encode())
    repo.commit_all("merged")


def test_values_that_a_merge_leaves_are_no_persons(repo: GitStore) -> None:
    branches(repo, lambda: learn(repo, FLOOR, 0.42), lambda: learn(repo, FLOOR, 0.41))
    baseline = told(repo).baselines[FLOOR, ()]
    resolved(repo, "0.41")
    learn(repo, LOW, 0.46)  # notes the files after the merge
    repo.in_order()
    noted = [entry for entry in repo.params().history(FLOOR) if entry.kind == "external"][-1]
    assert (noted.reason, noted.details) == ("the files after a merge", {"merged": True})
    assert [(change.old, change.new) for change in noted.changes] == [(0.42, 0.41)]
    assert told(repo).baselines[FLOOR, ()] == baseline not in (0.41, 0.42)
    assert not [note for note in doctor(repo)["parameters"] if "a merge" in str(note)]


def test_what_lines_of_both_sides_leave_is_noted_where_one_sides_file_was_taken(tmp_path: Path) -> None:
    repo = GitStore.made(tmp_path / "bot", installed=False)
    (repo.root / ".gitattributes").write_text("params/journal/*.jsonl merge=union\n")
    repo.git("add", "--all")
    repo.commit_all("keep lines of both")

    def ours() -> None:
        learn(repo, FLOOR, 0.41)
        learn(repo, LOW, 0.46)

    branches(repo, lambda: learn(repo, FLOOR, 0.42), ours)
    repo.git("merge", "topic", status=1)
    repo.git("checkout", "--theirs", VALUES)
    repo.commit_all("merged")
    assert "a merge decided: `win_rate.low` is 0.45; the journal has 0.46" in repo.say("check")
    repo.set({TRADES: 32})
    params = repo.params()
    then = params.as_of(params.revision)
    assert [(then.get(key), params.get(key)) for key in (FLOOR, LOW)] == [(0.42, 0.42), (0.45, 0.45)]
    repo.in_order()


def test_a_merge_that_kept_our_file_is_in_order_before_the_next_commit(repo: GitStore) -> None:
    branches(repo, lambda: learn(repo, FLOOR, 0.42), lambda: learn(repo, FLOOR, 0.41))
    repo.git("merge", "topic", status=1)
    repo.git("checkout", "--ours", VALUES)
    repo.commit_all("merged")
    assert "a merge decided: `win_rate.floor` is 0.41; the journal has 0.42" in repo.say("check")


def test_what_a_person_writes_after_that_is(repo: GitStore) -> None:
    branches(repo, lambda: learn(repo, FLOOR, 0.42), lambda: learn(repo, FLOOR, 0.41))
    resolved(repo, "0.41")
    learn(repo, LOW, 0.46)
    repo.edit(VALUES, "floor: 0.41", "floor: 0.43")
    repo.set({LOW: 0.47})
    noted = repo.params().history(FLOOR)[-1]
    assert (noted.kind, noted.reason, noted.details) == ("external", "edited outside a transaction", {})
    assert told(repo).baselines[FLOOR, ()] == 0.43
    repo.in_order()


def test_an_edit_by_hand_on_the_other_side_still_is_a_persons(repo: GitStore) -> None:
    def edit() -> None:
        repo.edit(VALUES, "floor: 0.40", "floor: 0.44")
        learn(repo, LOW, 0.46)

    branches(repo, edit, lambda: repo.set({TRADES: 32}))
    repo.git("merge", "--quiet", "topic")
    repo.set({LOW: 0.47})
    assert told(repo).baselines[FLOOR, ()] == 0.44


def test_a_namespace_that_a_merge_first_shows_has_a_baseline() -> None:
    item = {"key": "w.a", "new": 0.5}
    entry = {"revision": 3, "id": "x", "time": "2026-01-31T12:00:00Z", "kind": "external", "author": "external",
             "reason": "", "evidence": {}, "changes": [item], "files": {}, "details": {"merged": True}}  # fmt: skip
    later = entry | {"revision": 4, "changes": [{"key": "w.a", "old": 0.5, "new": 0.6}]}
    assert Ledger([entry, later]).baselines == {("w.a", ()): 0.5}


def doctor(repo: GitStore) -> Any:
    words = repo.say("doctor", "--json", status=json_status(repo))
    return json.loads(words)


def json_status(repo: GitStore) -> int:
    from click.testing import CliRunner

    from paramstore.cli import cli

    return CliRunner().invoke(cli, ["--root", str(repo.root), "doctor"]).exit_code


def test_the_author_of_merges_is_no_learner(repo: GitStore) -> None:
    branches(repo, lambda: learn(repo, FLOOR, 0.42), lambda: learn(repo, LOW, 0.46))
    repo.git("merge", "--quiet", "topic")
    assert "merge" in {entry.kind for entry in repo.params().history()}
    assert {"learner", "paramstore"} & {found["learner"] for found in doctor(repo)["learners"]} == {"learner"}


# --- freezes ----------------------------------------------------------------------------------------


def patterns(repo: GitStore) -> list[tuple[str, str]]:
    return [(freeze.pattern, freeze.author) for freeze in repo.params().freezes()]


def test_an_unfreeze_ends_only_the_freezes_that_it_knew(repo: GitStore) -> None:
    def theirs() -> None:
        repo.params().freeze("win_rate.*", author="bob", reason="a look")
        repo.params().unfreeze("win_rate.*", author="bob", reason="fine")

    branches(repo, theirs, lambda: repo.params().freeze("win_rate.*", author="ann", reason="danger"))
    repo.git("merge", "--quiet", "topic")
    assert patterns(repo) == [("win_rate.*", "ann")]
    assert "frozen by ann" in str(doctor(repo)["parameters"])
    with pytest.raises(Exception, match="frozen"):
        learn(repo, FLOOR, 0.41)
    repo.params().unfreeze("win_rate.*", author="ann", reason="over")
    assert patterns(repo) == []
    learn(repo, FLOOR, 0.41)
    repo.git("checkout", "--quiet", "--", ".")


def test_an_unfreeze_ends_a_freeze_that_both_sides_know(repo: GitStore) -> None:
    repo.params().freeze("win_rate.*", author="ann", reason="danger")
    repo.commit_all()
    branches(
        repo,
        lambda: repo.params().unfreeze("win_rate.*", author="bob", reason="fine"),
        lambda: repo.set({TRADES: 32}),
    )
    repo.git("merge", "--quiet", "topic")
    assert patterns(repo) == [] and repo.params().history()[-2].kind == "unfreeze"


def _record(kind: str, name: str, **details: Any) -> dict[str, Any]:
    return {"revision": 1, "id": name, "time": "2026-01-31T12:00:00Z", "kind": kind, "author": "ann", "reason": "",
            "evidence": {}, "changes": [], "files": {}, "details": details}  # fmt: skip


def test_an_unfreeze_of_before_ends_all_of_its_pattern() -> None:
    freezes = [_record("freeze", name, pattern=pattern) for name, pattern in (("1", "a.*"), ("2", "a.*"), ("3", "b.*"))]  # fmt: skip
    assert [f.pattern for f in Ledger([*freezes, _record("unfreeze", "4", pattern="a.*")]).freezes(0)] == [
        "b.*"
    ]
    ends = Ledger([*freezes, _record("unfreeze", "4", pattern="a.*", ends=["2", "none"])])
    assert ends.freezes_of("a.*") == ["1"] and len(ends.freezes(0)) == 2
    assert Ledger.of_plain(ends.plain()).plain() == ends.plain()


@pytest.mark.parametrize("ends", [None, 3, "1", [1], {"1": 1}])
def test_an_unfreeze_that_names_no_ids_is_no_entry(ends: Any) -> None:
    record = _record("unfreeze", "4", pattern="a.*") | {"v": 1}
    entry = _records.entry(record)
    assert _records.parse(_records.encode(entry)[1]) is not None
    broken = _records.entry(record | {"details": {"pattern": "a.*", "ends": ends}})
    assert _records.parse(_records.encode(broken)[1]) is None


# --- how revisions are counted ----------------------------------------------------------------------


def _line(revision: int, name: str, aborts: str = "") -> bytes:
    kind: Any = "abort" if aborts else "commit"
    evidence = {"aborts": aborts} if aborts else {}
    return _records.encode(Entry(revision, name, "2026-01-31T12:00:00.000000Z", kind, "a", "r", evidence))[1]


def _say(stands: int, joined: list[str]) -> Entry:
    return Entry(
        stands, "m", "2026-01-31T12:00:00.000000Z", "merge", "paramstore", "", details={"joined": joined}
    )


def test_an_entry_that_both_sides_took_back_gives_its_number_back_once(tmp_path: Path) -> None:
    begin = _line(0, "e") + _line(1, "x")
    ours = begin + _line(1, "y1", "x") + _line(1, "o")
    joined = join(ours, begin + _line(1, "y2", "x") + _line(1, "t"), _say)
    assert joined is not None
    (tmp_path / "j.jsonl").write_bytes(joined)
    journal = Journal(str(tmp_path / "j.jsonl"))
    expected = [("e", 0), ("o", 1), ("t", 2), ("m", 2)]
    assert [(r["id"], r["revision"]) for r in journal.read(START)[0]] == expected
    assert [(line.id, line.revision) for line in scan(journal)] == expected
    (tmp_path / "j.jsonl").write_bytes(ours)
    _, position = journal.read(START)
    (tmp_path / "j.jsonl").write_bytes(joined)
    assert [(r["id"], r["revision"]) for r in journal.read(position)[0]] == expected[2:]


def test_aborts_of_both_sides_join_in_git(repo: GitStore) -> None:
    with open(repo.root / JOURNAL, "ab") as file:
        file.write(_line(2, "x"))  # a writer died before the values were in place
    repo.git("commit", "--quiet", "--all", "--message", "cut off")

    def recovered(author: str) -> Callable[[], None]:
        def goes_on() -> None:
            with open(repo.root / JOURNAL, "ab") as file:
                file.write(_line(2, author, "x"))
            repo.set({LOW: 0.46} if author == "b" else {TRADES: 32})

        return goes_on

    branches(repo, recovered("b"), recovered("a"))
    repo.git("merge", "--quiet", "topic")
    learn(repo, FLOOR, 0.41)
    repo.in_order()


def test_what_theirs_took_back_and_ours_kept_is_for_a_person(repo: GitStore) -> None:
    kept = repo.params().history()[-1].id

    def take_back() -> None:
        with open(repo.root / JOURNAL, "ab") as file:
            file.write(_line(1, "y", kept))

    branches(repo, take_back, lambda: learn(repo, LOW, 0.46))
    said = repo.git("merge", "topic", status=1)
    assert "theirs takes back an entry that stands in ours" in said and "no journal entry" not in said


class Doubling(Scribe):
    """A scribe whose histories take entries back that were taken back already, at any place."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.taken: list[tuple[int, str]] = []

    def lines(self, count: int) -> list[bytes]:
        found = [self.line("external", 0)]
        while len(found) < count:
            new = list(self.joined() if self.draw.random() < 0.05 else self.step())
            found += new
            for raw in new:
                record = json.loads(raw)
                if record["kind"] == "abort":
                    self.taken.append((record["revision"], record["evidence"]["aborts"]))
            if self.taken and self.draw.random() < 0.3:
                revision, name = self.draw.choice(self.taken)
                found.append(self.line("abort", revision, evidence={"aborts": name}))
        return found


@pytest.mark.parametrize("seed", range(60))
def test_all_readers_count_alike_wherever_they_begin(seed: int, tmp_path: Path) -> None:
    lines = Doubling(seed).lines(20 + seed)
    (tmp_path / "j.jsonl").write_bytes(b"".join(lines))
    journal = Journal(str(tmp_path / "j.jsonl"))
    records, end = journal.read(START)
    assert [line.record for line in scan(journal)] == records
    assert repr(replayed(scan(journal))) == repr(replay(records))
    valued = [record["revision"] for record in records if record["kind"] not in _records.VALUELESS]
    assert valued == sorted(set(valued)), "no number was given twice"
    all_lines, _ = journal.lines(START)
    cut = random.Random(seed).randrange(1, len(lines))
    (tmp_path / "j.jsonl").write_bytes(b"".join(lines[:cut]))
    _, position = journal.read(START)
    memory = recall(str(tmp_path / "memory"), journal, 1)
    (tmp_path / "j.jsonl").write_bytes(b"".join(lines))
    rest, again = journal.lines(position)
    assert rest == all_lines[cut:] and again.plain() == end.plain()
    afresh = Memory()
    afresh.read_on(journal)
    found = recall(str(tmp_path / "memory"), journal, 1)
    assert memory is not found and found.plain(journal) == afresh.plain(journal)


# --- values -----------------------------------------------------------------------------------------


def test_contexts_of_a_number_and_a_truth_value_are_two() -> None:
    base = b"schema: 1\nvalues:\n  a: 1\n"

    def at(word: str, value: int) -> bytes:
        return base + f"overrides:\n  - at: {{n: {word}}}\n    values:\n      a: {value}\n".encode()

    def merged(ours: bytes, theirs: bytes) -> Outcome:
        return merge_files(base, ours, theirs, "x.yaml", Rules(), lambda *texts: None)

    for value in (2, 3):  # the same value on both sides, and another
        outcome = merged(at("1", 2), at("true", value))
        assert not outcome.reasons
        assert of(outcome.raw) == of(at("1", 2)) | of(at("true", value)) and len(of(outcome.raw)) == 4
    assert merged(at("true", 2), at("true", 3)).reasons == (
        "both sides changed a at n=True: ours 2, theirs 3",
    )


def of(raw: bytes) -> Leaves:
    from paramstore._yaml import parse

    return leaves(parse(raw, "x.yaml").data)
