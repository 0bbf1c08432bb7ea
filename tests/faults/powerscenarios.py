"""More runs for the power to fail in than those that a kill needs: several commits in a row, recoveries after which a learner
goes on, bytes that are set aside, and the join of a journal."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import killing
import plainstore as ps
from killing import Act, Scenario, set_count
from powercheck import Bytes, PowerScenario
from powerloss import mark

from paramstore import ParamStore
from paramstore._clock import SYSTEM
from paramstore._git_lost import Lost, put_back

NO_EXCHANGE = {"renameat2": errno.EINVAL}
ALIEN = b"# what somebody wrote, nobody knows when\n"
SEGMENT = "params/journal/00000001.jsonl"


def state(alpha: int, beta: int, theirs: int = 0) -> Bytes:
    return ps.text_of("alpha", alpha, theirs), ps.text_of("beta", beta)


def all_scenarios(folder: Path) -> dict[str, Scenario]:
    """Build those of ``killing`` in which nobody else saves without a sync, and those of this module."""
    known = [s for s in killing.scenarios(folder) if not s.name.startswith("someone saves")]
    (torn,) = (scenario for scenario in known if scenario.name == "torn journal line")
    found = [*known, *_in_a_row(folder), *_by_hand(folder), *_after_a_crash(folder, known), *_set_aside(folder, torn.base), joined_back(folder)]  # fmt: skip
    return {scenario.name: scenario for scenario in found}


def _made(
    name: str,
    base: Path,
    act: Act,
    *states: Bytes,
    steps: tuple[Bytes, ...] = (),
    warm: Act | None = None,
    always: dict[str, int] | None = None,
    edited: bool = False,
    keeps: tuple[bytes, ...] = (),
) -> PowerScenario:
    fair = {*states, *steps, killing.watched(base)}
    made = PowerScenario(name, base, act, warm, always or {}, edited, steps=steps, keeps=keeps, fair=fair)
    made.old = killing.watched(base)
    return made


# -- commits in a row, and commits of other kinds ---------------------------------------------------


def three_commits(root: Path) -> None:
    store = ParamStore(root)
    for number, (alpha, beta) in enumerate(((12, 11), (13, 13), (13, 14)), 1):
        with store.transaction(author="learner") as tx:
            tx["alpha.count"], tx["beta.count"] = alpha, beta
        if number < 3:  # the end of the run tells of the last
            mark(root, number)


def freeze_and_thaw(root: Path) -> None:
    store = ParamStore(root)
    store.freeze("alpha", author="person", reason="hold")
    mark(root, 1)
    store.unfreeze("alpha", author="person")


def override(root: Path) -> None:
    with ParamStore(root).transaction(author="learner") as tx:
        tx.set("alpha.pace", 0.25, symbol="BTC")


def _in_a_row(folder: Path) -> list[Scenario]:
    blank, used = folder / "blank", folder / "used"
    steps = state(11, 11), state(12, 11), state(13, 13), state(13, 14)
    back = ps.copy(used, folder / "rollback")
    killing.in_child(lambda: set_count(back, 12, "alpha", "beta"))
    with_override = ps.copy(used, folder / "override")
    killing.in_child(lambda: override(with_override))
    both = {"first": "alpha", "second": "beta"}.values()
    return [
        _made("three commits", used, three_commits, steps=steps),
        _made("three commits, no exchange", used, three_commits, steps=steps, always=NO_EXCHANGE),
        _made("three commits, new segments", used, three_commits, steps=steps, warm=killing._small_segments),
        _made("freeze and thaw", used, freeze_and_thaw, steps=(state(11, 11),) * 3),
        _made("override added", used, override, killing.watched(with_override)),
        _made("first commit of two files", blank, lambda root: set_count(root, 11, *both), state(11, 11)),
        _made("two files, new segment", used, lambda root: set_count(root, 12, *both), state(12, 12), warm=killing._small_segments),
        _made("rollback of two files", back, lambda root: void(ParamStore(root).rollback(1, author="learner")), state(11, 11)),
    ]  # fmt: skip


def void(_: object) -> None:
    """Nothing."""


# -- edits by hand ----------------------------------------------------------------------------------


def _by_hand(folder: Path) -> list[Scenario]:
    used = folder / "used"
    edited = ps.copy(used, folder / "edited")
    (edited / "params" / "alpha.yaml").write_bytes(ps.text_of("alpha", 11, theirs=5))
    save = partial(killing.commit_with_a_save, synced=True)
    saves = state(11, 11, 7), state(12, 12, 7), state(12, 11), state(12, 12)
    return [
        _made("edited by hand, noted", edited, killing.recover, edited=True),
        _made("edited by hand, then a commit", edited, lambda root: set_count(root, 13, "alpha"), state(13, 11, 5), edited=True),
        _made("a synced save in between", used, save, *saves, edited=True),
        _made("a synced save in between, no exchange", used, save, *saves, edited=True, always=NO_EXCHANGE),
    ]  # fmt: skip


# -- recoveries, and what is set aside --------------------------------------------------------------


def _after_a_crash(folder: Path, known: list[Scenario]) -> list[Scenario]:
    """From each state that a crash left: recover, commit, and be acknowledged."""
    make = killing._Maker(folder, folder / "used")
    fair = state(11, 11), state(12, 12), state(13, 11), state(13, 12)
    crashed = {
        scenario.name: scenario.base for scenario in known if scenario.recovers and not scenario.edited
    }
    linked = make._crash("between link and rename", lambda root: set_count(root, 12, "alpha", "beta"), "rename", "beta", 1, NO_EXCHANGE)  # fmt: skip
    crashed["between link and rename"] = linked
    found: list[Scenario] = [
        _made(f"{name}, then a commit", base, lambda root: set_count(root, 13, "alpha"), *fair)
        for name, base in crashed.items()
    ]
    return [
        *found,
        _made("between link and rename, then a commit, no exchange", linked, lambda root: set_count(root, 13, "alpha"), *fair, always=NO_EXCHANGE)
    ]  # fmt: skip


def _set_aside(folder: Path, torn: Path) -> list[Scenario]:
    raw = (torn / SEGMENT).read_bytes()
    tail = raw[raw.rindex(b"\n") + 1 :]
    cut = ps.copy(folder / "used", folder / "cut")
    (cut / SEGMENT).write_bytes((cut / SEGMENT).read_bytes()[:-1])
    strange = ps.copy(folder / "used", folder / "strange")
    (strange / "params" / ".alpha.yaml.0123456789abcdef.tmp").write_bytes(ALIEN)
    return [
        _made("the last line gets its end", cut, killing.recover),
        _made("the last line without its end", cut, lambda root: set_count(root, 13, "alpha"), state(13, 11)),
        _made("torn line cut off", torn, killing.recover),
        _made("torn line set aside", torn, lambda root: set_count(root, 13, "alpha"), state(13, 11), keeps=(tail,)),
        _made("strange file set aside", strange, lambda root: set_count(root, 13, "alpha"), state(13, 11), keeps=(ALIEN,)),
    ]  # fmt: skip


# -- the join of a journal --------------------------------------------------------------------------


def joined_back(folder: Path) -> Scenario:
    """``paramstore commit`` joins entries that git has and the journal lacks with it; no line of either may be lost."""
    base = ps.copy(folder / "used", folder / "joined")
    killing.in_child(lambda: set_count(base, 12, "alpha"))
    path = base / SEGMENT
    committed = path.read_bytes()
    lines = committed.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    (base / "params" / "alpha.yaml").write_bytes(ps.text_of("alpha", 11))
    killing.in_child(lambda: set_count(base, 14, "beta"))
    ours = path.read_bytes().splitlines(keepends=True)

    def act(root: Path) -> None:
        put_back(Lost((), ((str(root / SEGMENT), committed),), ()), SYSTEM)

    made = _made("journal joined back", base, act, edited=True, keeps=tuple(ours))  # git still has the others
    made.joined = True
    return made


def keeps_order(scenario: Scenario) -> bool:
    """Tell whether to assume that names of one directory reach the disk in order, as file systems with a log have it.

    Where names cannot be exchanged, a file changes place in three steps instead of one, and that they arrive in order is
    what several files rest on (docs/design.md). Nothing else rests on it.
    """
    return "renameat2" in scenario.always
