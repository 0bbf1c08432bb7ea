"""A person saves a file over and over while a learner commits to it: no save is ever lost.

The editor counts its saves in a value of its own, always based on the bytes that it read. A save is lost
when that value goes back without the editor's doing. What the editor overwrites because it read before a
commit and saved after it is the editor's own doing (it takes no lock): counted and published, not judged.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import plainstore as ps
import pytest
from figures import figure
from processes import Shared, running

from paramstore import ParamStore
from paramstore.errors import ConflictError

SAVES = int(os.environ.get("EDITOR_SAVES") or (100_000 if os.environ.get("FAULT_SWEEP") == "full" else 2_000))
PAUSE_S, REST_S = 0.003, 0.03  # a learner needs some milliseconds to note a save and to write on top of it
STOP, COMMITS, CONFLICTS, MOMENTS = 0, 1, 2, 3
Save = Callable[[Path, bytes], None]


@pytest.fixture
def root() -> Iterator[Path]:
    folder = ps.fast_folder()
    yield ps.make_store(folder / "store", count=0)
    shutil.rmtree(folder)


def by_rename(path: Path, raw: bytes) -> None:
    temporary = path.with_suffix(".swp")
    temporary.write_bytes(raw)
    os.replace(temporary, path)


def in_place(path: Path, raw: bytes) -> None:
    with open(path, "r+b") as file:
        file.truncate()
        file.write(raw)


def learn(root: Path, shared: Shared) -> None:
    """Increment until told to stop; nothing but a conflict may come up."""
    store = ParamStore(root)
    while not shared[STOP]:
        try:
            with store.transaction(author="learner", timeout_s=30) as tx:
                tx["alpha.count"] += 1
            shared[COMMITS] += 1
        except ConflictError:
            shared[CONFLICTS] += 1


def edit(root: Path, shared: Shared, save: Save, saves: int) -> int:
    """Save ``saves`` times; return by how much the own value ever went back, and did not come again.

    An exchange that displaced a save puts it back at once. Whoever reads the file in between looks again.
    """
    path = root / "params" / "alpha.yaml"
    mine = lost = 0
    looked_again = False
    while not shared[COMMITS]:
        time.sleep(0.001)
    while mine < saves:
        raw = path.read_bytes()
        found = re.search(rb"theirs: (\d+)", raw)
        if found is None:
            continue  # half of a save of our own, in place
        now = int(found.group(1))
        if now < mine and not looked_again:
            looked_again = True
            shared[MOMENTS] += 1
            time.sleep(0.05)
            continue
        looked_again = False
        if now < mine:
            lost += mine - now
        mine = max(mine, now) + 1
        new = raw.replace(found.group(0), b"theirs: %d" % mine)
        save(path, new)
        time.sleep(PAUSE_S if mine % 25 else REST_S)
    shared[STOP] = 1
    return lost


def settle(root: Path) -> dict[str, int | float]:
    with ParamStore(root).transaction(author="check"):
        pass
    return ps.values_in((root / "params" / "alpha.yaml").read_bytes())


@pytest.mark.parametrize("save", [by_rename])
def test_no_save_by_rename_is_lost(root: Path, save: Save) -> None:
    shared = Shared()
    with running(lambda: learn(root, shared), lambda: edit(root, shared, save, SAVES)) as (learner, editor):
        lost = editor.result()
        learner.result()
    values = settle(root)
    saves_kept_aside = [name for name in ps.tracked(root) if name.endswith(".conflict")]
    entries = ps.standing(ps.lines_of(ps.tracked(root)))
    undone = commits_overwritten(entries)
    figure("editor by rename: saves", SAVES)
    figure("editor by rename: saves that their editor did not see for a moment", shared[MOMENTS])
    figure("editor by rename: saves lost", lost + SAVES - int(values["theirs"]))
    figure("editor by rename: commits meanwhile", shared[COMMITS])
    figure("editor by rename: conflicts told to the learner", shared[CONFLICTS])
    figure("editor by rename: commits that the editor overwrote with older bytes", undone)
    assert lost == 0
    assert values["theirs"] == SAVES
    assert shared[COMMITS] > 20
    assert saves_kept_aside == []
    assert values["count"] == shared[COMMITS] - undone
    assert ps.problems_of(ps.tracked(root), edited=True) == []


BARE = """
import sys
import time
from paramstore import params

print(params.get("alpha.count"), "threading" in sys.modules, flush=True)
end = time.time() + 3
while time.time() < end and params.get("alpha.count") == 0:
    time.sleep(0.01)
print(params.get("alpha.count"), flush=True)
"""


@pytest.mark.parametrize("text", ["7", "seven"])
def test_a_program_that_imports_no_threading_sees_an_edit_and_ends(root: Path, text: str) -> None:
    """The first thread to import ``threading`` is taken for the main one, and waited for at the end."""
    ParamStore(root, environ={}).get("alpha.count")  # so that the program finds the cache and imports little
    with subprocess.Popen(
        [sys.executable, "-c", BARE], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "0 False\n"
        path = root / "params" / "alpha.yaml"
        by_rename(path, path.read_bytes().replace(b"count: 0", b"count: %s" % text.encode()))
        try:
            seen, errors = child.communicate(timeout=20)
        finally:
            child.kill()
    assert (child.returncode, seen) == (0, "7\n" if text == "7" else "0\n"), errors
    assert ("'seven' is a string" in errors) == (text == "seven")


def commits_overwritten(entries: list[dict[str, object]]) -> int:
    """Add up by how much edits by hand set the learner's number back."""
    total = 0
    for entry in entries[1:]:
        if entry["kind"] == "external":
            for change in entry["changes"]:  # type: ignore[attr-defined]
                if change["key"] == "alpha.count":
                    total += change["old"] - change["new"]
    return total


def test_saves_in_place_may_be_lost_only_within_microseconds(root: Path) -> None:
    """An editor that opened the old file before an exchange writes into bytes that have lost their name.
    No program can see that coming; how rare it is, is published."""
    shared = Shared()
    saves = SAVES // 4
    with running(lambda: learn(root, shared), lambda: edit(root, shared, in_place, saves)) as (
        learner,
        editor,
    ):
        lost = editor.result()
        learner.result()
    values = settle(root)
    lost += saves - int(values["theirs"])
    kept = [name for name in ps.tracked(root) if name.endswith(".conflict")]
    figure("editor in place: saves", saves)
    figure("editor in place: saves lost (residual)", lost)
    figure("editor in place: saves kept as .conflict", len(kept))
    figure("editor in place: commits meanwhile", shared[COMMITS])
    assert shared[COMMITS] > 20
    assert lost <= saves // 20
    assert ps.problems_of(ps.tracked(root), edited=True) == []
