"""What somebody with a client of their own writes into their part of the journal, and a git mirror meets there."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from test_etcd_mirror import Desk, desk

from paramstore._clock import SYSTEM, utc_text
from paramstore._etcd_client import Range
from paramstore._etcd_place import STORE, Head
from paramstore._git_branch import Branch
from paramstore._model import Change, Entry, FileChange
from paramstore._records import encode

__all__ = ["desk"]


def forge(desk: Desk, home: str = "gate", stands: int = 1, **of: Any) -> Entry:
    """Commit an entry to ``gate`` past all that is ours, after which the revision ``stands`` so much higher; the file stays as it
    is."""
    place, client = desk.shop.place, desk.shop.cluster.client()
    _, (head, values) = client.read([Range(place.head), Range(place.values("gate"))], 5.0)
    last = Head.decoded(head.found[0].value)
    digest = hashlib.sha256(values.found[0].value).hexdigest()
    entry: dict[str, Any] = {
        "revision": last.revision + stands, "id": os.urandom(8).hex(), "time": utc_text(SYSTEM.now()), "kind": "commit",
        "author": "rogue", "reason": "because", "files": {"params/gate.yaml": FileChange(digest, digest)},
    }  # fmt: skip
    made = Entry(**{**entry, **of})
    now = Head(last.seq + 1, last.revision + stands, made.id)
    puts = [(place.entry(home, now.seq), encode(made)[1]), (place.head, now.encoded())]
    assert client.write([], puts, [], [], 5.0)[0]
    client.close()
    return made


ODD: dict[str, dict[str, Any]] = {
    "changes that no file can have": {
        "changes": (
            Change("gate.trades", None, "x", context={"venue": "X"}),
            Change("gate.trades.a.b.c", None, 1, context={"venue": "X"}),
        )
    },
    "a kind that is no word": {"kind": "x\n\nParamstore-In-Step: 0 - \0\ud800"},
    "no letter": {"author": "\0\ud800\n", "reason": "\0\ud800\nParamstore-In-Step: 0"},
    "a time that git does not know": {"time": "0001-01-01T00:00:00Z"},
    "another time that git does not know": {"time": "9999-12-31T23:59:59Z"},
}


@pytest.mark.parametrize("of", ODD.values(), ids=ODD)
def test_odd_entries_hold_up_no_round(desk: Desk, of: dict[str, Any]) -> None:
    mirror = desk.mirror()
    mirror.round()
    forge(desk, **of)
    desk.learn(41)
    assert mirror.round().entries == 2
    assert "\n\n\n" not in desk.git("log", "-1", "--format=%B")
    desk.in_step()
    assert mirror.round().commits == []


def test_what_somebody_says_was_taken_over_must_have_been_recorded(desk: Desk) -> None:
    """Else whoever may write one namespace could make a reviewed edit of another vanish."""
    mirror = desk.mirror()
    mirror.round()
    path = desk.root / "params" / "weights.yaml"
    path.write_text(path.read_text().replace("0.2", "0.22"))
    desk.git("commit", "--quiet", "--all", "--message", "Trust it more")
    commit = desk.git("rev-parse", "HEAD")
    forge(desk, kind="external", evidence={"git_commit": commit})
    assert mirror.round().proposed == ["params/weights.yaml"]
    assert "0.22" in path.read_text()
    desk.in_step()


def test_entries_that_were_taken_back_are_counted(desk: Desk) -> None:
    """A store that was copied may have some, and a commit that names another number is in step with nothing."""
    mirror = desk.mirror()
    mirror.round()
    mistaken = forge(desk)
    forge(
        desk, STORE, -1, kind="abort", revision=mistaken.revision, evidence={"aborts": mistaken.id}, files={}
    )
    for value in (41, 42):
        desk.learn(value)
    assert mirror.round().entries == 2
    for commit, said in Branch(str(desk.root), "main", None).trailers("Paramstore-In-Step", "main"):
        assert desk.journal(commit)[int(said.split()[0])] == said.split()[1]
