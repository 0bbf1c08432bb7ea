"""Is learning alive? Each finding, its healthy twin, a thousand schedules, and the command."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import rhythms
from click.testing import CliRunner, Result
from local_store import age, group, number, schema, write_store

from paramstore import ParamStore, _records
from paramstore._clock import span_text, utc_text
from paramstore._doctor import Learner, Report, Thresholds, examine
from paramstore._doctor_report import Level
from paramstore._doctor_rhythm import usual_interval
from paramstore._model import ABSENT, Change, Entry, Spec
from paramstore._sources import files, named_in
from paramstore.cli import cli

SOURCE = Path(__file__).resolve().parents[1]
NOW = 1_780_000_000.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KEY = "gate.edge"
SPEC = Spec(KEY, "number", "schemas/gate.schema.json", minimum=0.0, maximum=10.0, learnable=True)
EVIDENCE = {"samples": 100}
LEVELS: tuple[Level, ...] = ("finding", "information")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("PARAM") or name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.chdir(tmp_path)


# --- small journals -------------------------------------------------------------------------------


def entry(ago_s: float, kind: Any = "commit", author: str = "learner", **more: Any) -> Entry:
    """Return an entry that many seconds before ``NOW``; a learner's has evidence."""
    evidence = more.pop("evidence", EVIDENCE if author == "learner" and kind in ("commit", "refusal") else {})
    return Entry(1, f"{ago_s}", utc_text(NOW - ago_s), kind, author, evidence=evidence, **more)


def moved(ago_s: float, old: Any, new: Any, bound_by: str | None = None, **more: Any) -> Entry:
    """Return an entry that moved ``KEY``."""
    context = more.pop("context", {})
    change = Change(KEY, old, new, context, new if bound_by is None else 99.0, bound_by)
    return entry(ago_s, changes=(change,), **more)


def first(value: Any, ago_s: float = 30 * DAY) -> Entry:
    """Return revision 0: the values before the first commit."""
    return moved(ago_s, ABSENT, value, kind="external", author="external")


def refused(ago_s: float, *rules: str, key: str = KEY) -> Entry:
    violations = [{"key": key, "rule": rule, "text": "x", "requested": 1} for rule in rules]
    return entry(ago_s, "refusal", details={"violations": violations})


def path(*values: float, every_s: float = HOUR, bound_by: str | None = None) -> list[Entry]:
    """Return the first value, then one commit for each further one; the last is one interval old."""
    steps = list(pairwise(values))
    moves = [moved(every_s * (len(steps) - i), old, new, bound_by) for i, (old, new) in enumerate(steps)]
    return [first(values[0]), *moves]


def look(entries: Sequence[Entry], spec: Spec = SPEC, value: Any = None, **more: Any) -> Report:
    """Examine a journal about one parameter; its value is what the journal says last."""
    last = [c.new for e in entries for c in e.changes if not c.context and c.new is not ABSENT]
    value = value if value is not None else last[-1] if last else 1.0
    words: dict[str, Any] = {"now": NOW, "thresholds": Thresholds(), **more}
    return examine(entries, {KEY: spec}, words.pop("values", {(KEY, ()): value}), **words)


def rules(report: Report, level: Any = "finding") -> set[str]:
    return {note.rule for _, note in report.notes(level)}


def text(report: Report, rule: str) -> str:
    """Return what is said under the one note of this rule."""
    (found,) = [note.text for level in LEVELS for _, note in report.notes(level) if note.rule == rule]
    return found


def spec(**more: Any) -> Spec:
    words = {"minimum": 0.0, "maximum": 10.0, "learnable": True, **more}
    return Spec(KEY, "number", "schemas/gate.schema.json", **words)


def hourly(count: int = 10, last_ago_s: float = HOUR / 2, **more: Any) -> list[Entry]:
    return [entry(last_ago_s + HOUR * (count - 1 - index), **more) for index in range(count)]


def learner(report: Report, name: str = "learner") -> Learner:
    return next(found for found in report.learners if found.author == name)


# --- learners -------------------------------------------------------------------------------------


def test_a_learner_that_keeps_coming_is_alive() -> None:
    found = learner(look([first(1.0), *hourly()]))
    assert (found.learns, found.commits, found.refusals, found.silent) == (True, 10, 0, False)
    assert found.interval_s == pytest.approx(HOUR) and not found.notes
    assert found.last_commit == found.last_attempt == pytest.approx(NOW - HOUR / 2)


def test_a_learner_that_comes_and_has_nothing_to_change_is_alive() -> None:
    entries = [first(1.0), *hourly(last_ago_s=2.01 * HOUR)]
    report = look(entries, visits={"learner": NOW - HOUR, "another": NOW})
    assert not learner(report).silent and learner(report).last_attempt == NOW - HOUR
    assert learner(look(entries, visits={"another": NOW})).silent
    owned = spec(owner="owner")
    assert "never_committed" in rules(look([first(1.0)], owned))
    assert "never_committed" not in rules(look([first(1.0)], owned, visits={"owner": NOW - HOUR}))


def test_a_learner_that_stopped_is_silent() -> None:
    report = look([first(1.0), *hourly(last_ago_s=2.01 * HOUR)])
    assert learner(report).silent and "silent" in rules(report) and not report.ok
    assert text(report, "silent") == "silent for 2 h; it usually comes every 1 h"
    assert not learner(look([first(1.0), *hourly(last_ago_s=1.99 * HOUR)])).silent
    patient = Thresholds(silent_intervals=3)
    assert not learner(look([first(1.0), *hourly(last_ago_s=2.01 * HOUR)], thresholds=patient)).silent


def test_a_refused_learner_is_alive() -> None:
    report = look([*hourly(last_ago_s=2 * HOUR), refused(HOUR, "max_step"), refused(60, "owner", "max_step")])
    found = learner(report)
    assert (found.silent, found.refusals) == (False, 2)
    assert dict(found.refused_by) == {"max_step": 2, "owner": 1}
    assert "silent" not in rules(report)


def test_an_owner_that_never_came_is_a_finding_at_once() -> None:
    report = look([], spec(owner="learner"))
    assert rules(report) == {"never_committed"} and KEY in text(report, "never_committed")
    assert "never_committed" not in rules(look([entry(60)], spec(owner="learner")))
    assert "never_committed" not in rules(look([refused(60, "owner")], spec(owner="learner")))


def test_people_are_listed_and_not_judged() -> None:
    hand = [entry(DAY * (10 - day), author="ann") for day in range(5)]
    report = look(
        [*hand, entry(1, "rollback", "ann"), entry(2, "freeze", "bob", details={"pattern": "other.*"})]
    )
    assert [(found.author, found.learns, found.silent) for found in report.learners] == [
        ("ann", False, None), ("bob", False, None),
    ]  # fmt: skip
    assert not report.learners[0].notes


@pytest.mark.parametrize(
    ("one", "learns"),
    [
        (entry(1, author="x", evidence=EVIDENCE), True),
        (entry(1, "refusal", "x", evidence=EVIDENCE), True),
        (entry(1, author="x"), False),
        (entry(1, author="x", evidence=EVIDENCE, details={"forced": True}), False),
        (entry(1, "rollback", "x", evidence=EVIDENCE), False),
    ],
)
def test_who_is_a_learner(one: Entry, learns: bool) -> None:
    assert learner(look([one]), "x").learns is learns
    assert learner(look([one], spec(owner="x")), "x").learns


def test_a_learner_that_acts_as_a_person_is_a_finding() -> None:
    healthy = hourly()
    forced = entry(5, details={"forced": True})
    overrode = moved(4, 1.0, 2.0)
    overrode = Entry(**{**{name: getattr(overrode, name) for name in overrode.__slots__},
                        "changes": (Change(KEY, 1.0, 2.0, overrode=("max_step",)),)})  # fmt: skip
    report = look([*healthy, forced, overrode, entry(1, "rollback")])
    assert text(report, "acts_as_person") == "acts as a person: forced 2 times and rolled back once"
    assert "acts_as_person" not in rules(look(healthy))


def test_refused_in_a_row_says_because_of_what() -> None:
    five = [refused(60 * n, "max_drift", *["cooldown_s"] * (n == 1)) for n in (5, 4, 3, 2, 1)]
    report = look([*hourly(last_ago_s=HOUR), *five])
    assert text(report, "refused") == "refused 5 times in a row, because of max_drift (5), cooldown_s (1)"
    assert "refused" not in rules(look([*hourly(last_ago_s=HOUR), *five, entry(1)]))
    assert "refused" not in rules(look([*hourly(last_ago_s=HOUR), *five[1:]]))
    assert "refused" in rules(look([*hourly(last_ago_s=HOUR), *five[1:]], thresholds=Thresholds(refused=4)))


def test_what_somebody_froze_is_nobodys_fault() -> None:
    freeze = entry(20 * DAY, "freeze", "ann", details={"pattern": "gate.*"})
    journal = [first(1.0), *hourly(last_ago_s=10 * DAY), *[refused(9 * DAY - n, "freeze") for n in range(5)]]
    owned = spec(owner="learner")
    report = look([*journal, freeze], owned)
    assert report.ok and {"frozen", "silent", "refused", "never_changed"} <= rules(report, "information")
    assert text(report, "frozen") == "frozen by ann"
    assert rules(look([freeze], owned)) == set()
    over = [
        entry(1, "unfreeze", "ann", details={"pattern": "gate.*"}),
        entry(1, "freeze", "ann", details={"pattern": "gate.*", "until": utc_text(NOW - 1)}),
        entry(1, "freeze", "ann", details={"pattern": "other.*"}),
    ]
    for ended in ([freeze, over[0]], [over[1]]):
        assert {"silent", "never_changed"} <= rules(look([*journal, *ended], owned))
    assert look([*journal, freeze, over[1]], owned).ok  # side by side, each to its own end
    assert "silent" in rules(look([*journal, over[2]], owned))
    holds = entry(1, "freeze", "ann", details={"pattern": "gate.*", "until": utc_text(NOW + 1)})
    assert look([*journal, holds], owned).ok


def test_what_an_abort_takes_back_did_not_happen() -> None:
    gone = entry(60)
    abort = entry(59, "abort", evidence={"aborts": gone.id})
    assert learner(look([*hourly(3, last_ago_s=HOUR), gone, abort])).commits == 3


# --- the usual interval ---------------------------------------------------------------------------


def beats(
    count: int, period_s: float, burst: int = 1, apart_s: float = 1.0, start: float = NOW
) -> list[float]:
    return [start + run * period_s + index * apart_s for run in range(count) for index in range(burst)]


@pytest.mark.parametrize(
    ("times", "usual"),
    [
        (beats(2, HOUR), None),
        (beats(3, HOUR), HOUR),
        (beats(3, MINUTE), MINUTE),
        (beats(1, HOUR, burst=60), None),  # a first run, one commit for each symbol
        (beats(2, HOUR, burst=60), None),
        (beats(3, HOUR, burst=60), HOUR),
        (beats(20, HOUR, burst=60), HOUR),
        (beats(20, DAY, burst=8, apart_s=180.0), DAY),  # slow runs
        (beats(300, 5.0), 5.0),  # a schedule of seconds
        ([*beats(30, HOUR), *beats(30, HOUR, start=NOW + 60 * DAY)], HOUR),  # a pause of weeks
        (
            [
                *beats(40, HOUR),
                *beats(40, HOUR, start=NOW + 30 * DAY),
                *beats(40, HOUR, start=NOW + 60 * DAY),
            ],
            HOUR,
        ),
        (
            [*beats(100, DAY), *beats(60, HOUR, start=NOW + 100 * DAY)],
            HOUR,
        ),  # a new schedule, once it is usual
        ([NOW] * 5, None),
        ([], None),
    ],
)
def test_the_usual_interval(times: list[float], usual: float | None) -> None:
    shuffled = random.Random(1).sample(times, len(times))  # a clock that was set back
    assert usual_interval(shuffled) == (usual if usual is None else pytest.approx(usual))


@pytest.mark.parametrize(("kind", "most"), [("uniform", 2), ("tail", 5), ("long tail", 12)])
def test_of_a_thousand_schedules_the_stopped_are_named_and_the_healthy_are_not(kind: str, most: int) -> None:
    got = rhythms.figures(kind, seed=11)
    assert (got.missed, got.early) == (0, 0)
    assert got.false_alarms <= most
    assert got.unknown <= 20


def test_the_published_figures_are_those() -> None:
    published = (SOURCE / "docs/doctor.md").read_text()
    for row in rhythms.table():
        assert row in published, row


# --- parameters -----------------------------------------------------------------------------------


def test_a_parameter_that_moves_now_and_then_says_nothing() -> None:
    report = look(path(1.0, 1.5, 1.2, 1.7, 2.0))
    (found,) = report.parameters
    assert report.ok and not found.notes
    assert found.changes == 4 and found.last_change == pytest.approx(NOW - HOUR)


def test_never_changed_is_a_finding_once_it_is_old() -> None:
    assert rules(look([first(1.0, 8 * DAY)])) == {"never_changed"}
    young = look([first(1.0, 6 * DAY)])
    assert young.ok and rules(young, "information") == {"never_changed"}
    kept = moved(DAY, 1.0, 1.0, "cooldown_s")  # a rule kept it as it was: no change
    assert "never_changed" in rules(look([first(1.0, 8 * DAY), kept]))
    assert look([]).ok and "does not know it" in text(look([]), "never_changed")


def test_stale_is_when_the_last_change_is_old() -> None:
    assert rules(look([first(1.0), moved(8 * DAY, 1.0, 2.0)])) == {"stale"}
    assert look([first(1.0), moved(6 * DAY, 1.0, 2.0)]).ok
    assert "stale" in rules(
        look([first(1.0), moved(6 * DAY, 1.0, 2.0)], thresholds=Thresholds(stale_s=5 * DAY))
    )
    assert "stale" in rules(look([first(1.0), moved(8 * DAY, 1.0, 2.0), moved(DAY, 2.0, 2.0, "freeze")]))
    assert look([first(1.0), moved(8 * DAY, 1.0, 2.0)], spec(learnable=False)).ok


@pytest.mark.parametrize(("bound", "side"), [(0.0, "minimum"), (10.0, "maximum")])
def test_pinned_at_a_bound(bound: float, side: str) -> None:
    there = [first(5.0), moved(HOUR, 5.0, bound)]
    assert text(look(there), "at_bound") == f"pinned at its {side} {bound:g}"
    began_there = [first(bound, DAY)]
    assert look(began_there).ok
    assert rules(look([*began_there, refused(HOUR, side)])) == {"at_bound"}
    assert rules(look([*began_there, moved(HOUR, bound, bound, side)])) == {"at_bound"}
    assert look([*began_there, refused(HOUR, "owner")]).ok
    assert look([first(5.0), moved(HOUR, 5.0, 9.99), refused(60, side)]).ok
    assert "at_bound" not in rules(look([*there, moved(60, bound, 5.0)]))


def test_pinned_at_a_step_limit() -> None:
    steps = path(1.0, 1.1, 1.2, 1.3, bound_by="max_step")
    assert text(look(steps), "at_step_limit").endswith("the last 3 changes went up as far as they may")
    assert look(path(1.0, 1.1, 1.2, 1.3)).ok
    assert look(path(1.0, 1.1, 1.2, bound_by="max_step")).ok
    assert look(path(1.0, 1.1, 1.2, 1.1, bound_by="max_step")).ok  # not in one direction
    assert look([*steps, moved(60, 1.3, 1.35)]).ok
    mixed = [*path(2.0, 1.9, 1.8, bound_by="max_step")[:3], moved(60, 1.8, 1.7, "max_step_relative")]
    assert "went down" in text(look(mixed), "at_step_limit")
    assert look(steps, thresholds=Thresholds(pinned=4)).ok


def test_flipping_back_and_forth() -> None:
    assert rules(look(path(1.0, 1.2, 1.0, 1.2, 1.0))) == {"flipping"}
    assert look(path(1.0, 1.2, 1.0, 1.2)).ok
    assert look(path(1.0, 1.2, 1.0, 1.2, 1.3)).ok
    assert look(path(1.0, 1.2, 1.0, 1.2, 1.0), thresholds=Thresholds(flips=5)).ok


def test_drifting_counts_from_what_a_person_stood_for() -> None:
    limited = spec(max_drift=1.0)
    assert text(look(path(1.0, 1.5, 1.3, 1.85), limited), "drifting") == (
        "drifting: 0.85 away from 1, its max_drift is 1"
    )
    assert look(path(1.0, 1.5, 1.3, 1.79), limited).ok
    drifted = path(1.0, 1.5, 1.3, 1.85)
    approved = entry(
        30, "approve", "ann", details={"pattern": "*", "baselines": [{"key": KEY, "value": 1.85}]}
    )
    by_hand = moved(30, 1.85, 1.9, kind="external", author="external")
    forced = moved(30, 1.85, 1.9, author="ann", details={"forced": True})
    for person in (approved, by_hand, forced):
        assert look([*drifted, person], limited).ok
    assert "drifting" in rules(look([*drifted, moved(30, 1.85, 1.9, author="ann")], limited))


def test_drifting_without_a_limit_is_eight_changes_one_way() -> None:
    values = [1 + n / 10 for n in range(9)]
    assert text(look(path(*values)), "drifting") == "drifting: the last 8 changes all went up"
    assert look(path(*values[:-1])).ok
    assert look(path(*values, 1.75)).ok


def test_a_context_is_a_place_of_its_own() -> None:
    btc = {"symbol": "BTC"}
    limited = spec(max_drift=1.0, dimensions=("symbol",))
    journal = [
        *path(1.0, 1.2, 1.1),
        moved(9 * DAY, ABSENT, 1.5, context=btc),
        moved(8 * DAY, 1.5, 1.9, context=btc),
    ]
    values = {(KEY, ()): 1.1, (KEY, (("symbol", "BTC"),)): 1.9}
    base, override = look(journal, limited, values=values).parameters
    assert not base.notes
    assert {note.rule for note in override.notes} == {
        "stale",
        "drifting",
    }  # from the base, which a person wrote
    gone = [*journal, moved(DAY, 1.9, ABSENT, context=btc), moved(HOUR, ABSENT, 1.2, context=btc)]
    _, again = look(gone, limited, values={**values, (KEY, (("symbol", "BTC"),)): 1.2}).parameters
    assert [(note.rule, note.level) for note in again.notes] == [("never_changed", "information")]
    assert again.changes == 0


def test_values_that_are_no_numbers_only_grow_stale() -> None:
    kind = Spec(KEY, "string", "x", learnable=True)
    journal = [first("a"), *[moved(10 - n, *pair) for n, pair in enumerate([("a", "b"), ("b", "a")] * 4)]]
    assert look(journal, kind).ok
    flag = Spec(KEY, "boolean", "x", learnable=True)
    assert look([first(False), *[moved(9 - n, bool(n % 2), not n % 2) for n in range(8)]], flag).ok


def test_never_read_needs_counts_and_time() -> None:
    healthy, fixed = path(1.0, 1.1), spec(learnable=False)
    for one in (SPEC, fixed):
        assert rules(look(healthy, one, reads={})) == {"never_read"}
        assert rules(look(healthy, one, reads={KEY: 0}, read_since=NOW - 8 * DAY)) == {"never_read"}
        assert look(healthy, one, reads={KEY: 1}).ok
        assert look(healthy, one).ok
    new = look(healthy, reads={}, read_since=NOW - HOUR)
    assert new.ok and text(new, "never_read") == "never read in 1 h of counting"


def test_not_in_code_needs_source() -> None:
    for one in (SPEC, spec(learnable=False)):
        assert rules(look(path(1.0, 1.1), one, named_in_code=set())) == {"not_in_code"}
        assert look(path(1.0, 1.1), one, named_in_code={KEY}).ok


def test_odd_journals_are_no_reason_to_fail() -> None:
    odd = [
        entry(5, "refusal", details={}),
        entry(4, "refusal", details={"violations": ["x", {"rule": 3}, {"context": 1}]}),
        entry(-HOUR),  # from a clock that was ahead
        moved(3, ABSENT, None),
        moved(2, None, [1, 2]),
    ]
    assert look(odd, value=1.0).parameters[0].changes == 1
    assert examine([], {}, {("gone.key", ()): 1}, NOW, Thresholds()).parameters == ()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.04 s"), (1, "1 s"), (59.6, "60 s"), (60, "1 min"), (5400, "1.5 h"), (36 * 3600, "1.5 d"), (40 * DAY, "40 d")],
)  # fmt: skip
def test_spans_of_time(seconds: float, said: str) -> None:
    assert span_text(seconds) == said


# --- the source -----------------------------------------------------------------------------------

KEYS = ["gate.edge", "gate.tiers.high", "gate.tiers.low", "weights.funding", "weights.oi"]


def names(folder: Path, code: str | bytes, file: str = "a.py") -> set[str]:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(code.encode() if isinstance(code, str) else code)
    return named_in(files([str(folder)]), KEYS, lambda: None).keys


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('params.get("gate.edge")', {"gate.edge"}),
        ('params.section("weights")', {"weights.funding", "weights.oi"}),
        ('params.section("gate.tiers")["high"]', {"gate.tiers.high", "gate.tiers.low"}),
        ('params.get(f"weights.{name}")', {"weights.funding", "weights.oi"}),
        ('params.get(f"weights.fun{name}")', set()),
        ('params.get(f"{space}.edge")', set()),
        ('params.get("gate.tiers." + name)', {"gate.tiers.high", "gate.tiers.low"}),
        ('params.get("gate" + "." + "tiers" + "." + name)', set(KEYS[:3])),
        ('params.get("gate.ed" + "ge")', {"gate.edge"}),
        ('params.get("weights.%s" % name)', {"weights.funding", "weights.oi"}),
        ('params.get("weights.{}".format(name))', {"weights.funding", "weights.oi"}),
        ('params.keys("gate.*gh")', {"gate.tiers.high"}),
        ('glob("*")', set()),
        ('"""See gate.edge for more."""  # weights.oi', set()),
        ('print "gate.edge"', {"gate.edge"}),  # does not parse: its text counts
        (b'\xff = "gate.edge"', {"gate.edge"}),
        (b'x = "gate.edge"\0', {"gate.edge"}),
        ("x = " + "-" * 200_000 + '1 # weights.oi"', {"weights.oi"}),
        ("x = " + "(" * 50_000 + ' # weights.oi"', {"weights.oi"}),
        ("x = " + "a+" * 50_000 + '"weights.oi"', {"weights.oi"}),
        ("import os; os._exit(3)", set()),
        ("", set()),
    ],
    ids=range(22),
)
def test_what_a_program_names(tmp_path: Path, code: str | bytes, found: set[str]) -> None:
    assert names(tmp_path, code) == found


def test_what_python_would_warn_of_is_parsed_in_silence(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('x = "\\d" is "gate.edge"')
    found = named_in(files([str(tmp_path)]), KEYS, lambda: None)
    assert (found.keys, found.unparsed) == ({"gate.edge"}, [])


def test_only_source_is_looked_at(tmp_path: Path) -> None:
    for file in (
        ".git/a.py",
        "venv/a.py",
        "x/site-packages/a.py",
        "node_modules/a.py",
        "env/lib/a.py",
        "a.txt",
    ):
        (tmp_path / "env").mkdir(exist_ok=True)
        (tmp_path / "env/pyvenv.cfg").touch()
        assert names(tmp_path, 'x = "gate.edge"', file) == set(), file
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(tmp_path, 'x = "gate.edge"', "deep/down/a.py") == {"gate.edge"}


def test_what_does_not_parse_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names(tmp_path, "def", "bad.py")
    names(tmp_path, 'x = "gate.edge"  # ' + "x" * 100, "long.py")
    monkeypatch.setattr("paramstore._sources.MOST_BYTES", 50)
    found = named_in([*files([str(tmp_path)]), str(tmp_path / "gone.py")], KEYS, lambda: None)
    assert [(Path(file).name, why) for file, why in found.unparsed] == [
        ("bad.py", "it does not parse: invalid syntax"),
        ("long.py", "it is longer than 50 bytes"),
        ("gone.py", "No such file or directory"),
    ]
    assert found.keys == {"gate.edge"}


# --- the command ----------------------------------------------------------------------------------

LEARNED = {"x-param": {"learnable": True, "owner": "learner"}}
FIXED = {"x-param": {"learnable": False}}
GATE = schema({"edge": number(1, **LEARNED), "tiers": group({"high": number(3, **FIXED)})})
VALUES = {"schema": 1, "values": {"edge": 1.0, "tiers": {"high": 3.0}}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", {"gate": GATE}, {"gate": VALUES})


def call(root: Path, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--root", str(root), "doctor", *args])
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


def recorded(root: Path, entries: Sequence[Entry]) -> Path:
    """Write a journal, dated relative to the real now."""
    shift = time.time() - NOW
    lines = []
    for number_, one in enumerate(entries):
        then = utc_text(datetime.fromisoformat(one.time).timestamp() + shift)
        words = {name: getattr(one, name) for name in Entry.__slots__}
        words |= {"time": then, "id": f"{number_:016x}", "revision": number_}
        lines.append(_records.encode(Entry(**words))[1])
    file = root / "params/journal/00000000.jsonl"
    file.parent.mkdir()
    file.write_bytes(b"".join(lines))
    age(file)
    return root


def test_a_new_store_whose_owner_never_came(root: Path) -> None:
    said = call(root, code=1).stdout.splitlines()
    assert said[0].split() == [
        "learner",
        "last",
        "commit",
        "commits",
        "refused",
        "because",
        "of",
        "usual",
        "interval",
        "state",
    ]
    assert re.fullmatch(r"learner +never +0 +0 +never committed", said[1])
    assert said[-2:] == ["learner: owns gate.edge and has never tried to change anything", "1 finding"]
    assert "gate.edge" in call(root, "--all", code=1).stdout.split("\n\n")[1]


def test_a_healthy_store_exits_0(root: Path) -> None:
    recorded(root, [first(1.0), *[e for e in path(1.0, 1.1, 1.3, 1.2) if e.kind == "commit"]])
    said = call(root).stdout
    assert said.endswith("no findings\n") and "alive" in said


def test_findings_in_words_and_as_json(root: Path) -> None:
    journal = [
        first(1.0),
        *[moved(n * DAY, n, n - 1.0, author="ann\x1b[31m\nX") for n in (30, 20, 10)],
        *hourly(last_ago_s=3 * DAY),
    ]
    recorded(root, journal)
    said = call(root, code=1).stdout
    assert "learner: silent for 3 d; it usually comes every 1 h\n" in said
    assert "gate.edge: stale: last changed 10 d ago\n" in said and said.endswith("2 findings\n")
    assert "\x1b" not in said and r"ann\x1b[31m\nX" in said
    data = json.loads(call(root, "--json", code=1).stdout)
    assert data["ok"] is False
    assert [(f.get("learner") or f["key"], f["rule"]) for f in data["findings"]] == [
        ("learner", "silent"), ("gate.edge", "stale"),
    ]  # fmt: skip
    one = next(found for found in data["learners"] if found["learner"] == "learner")
    assert one["silent"] is True and one["usual_interval_s"] == pytest.approx(HOUR) and one["commits"] == 10
    assert [p["key"] for p in data["parameters"]] == ["gate.edge", "gate.tiers.high"]


def test_refusals_in_the_journal_are_told(root: Path) -> None:
    recorded(root, [first(1.0, HOUR), *[refused(60.0 * n, "max_step") for n in (5, 4, 3, 2, 1)]])
    said = call(root, code=1).stdout
    assert "learner: refused 5 times in a row, because of max_step (5)\n1 finding\n" in said
    assert re.search(r"^learner +never +0 +5 +max_step \(5\) ", said, re.MULTILINE)


def test_one_learner_only(root: Path) -> None:
    recorded(
        root,
        [
            first(1.0, HOUR),
            *hourly(last_ago_s=3 * DAY),
            *[entry(n * HOUR, author="other", evidence=EVIDENCE) for n in (3, 2, 1)],
        ],
    )
    assert call(root, "--learner", "other").stdout.endswith("no findings\n")
    assert "other" not in call(root, "--learner", "learner", code=1).stdout
    assert "did you mean learner?" in call(root, "--learner", "learnr", code=2).stderr


def test_source_folders(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(root, path(1.0, 1.1, 1.3, 1.2))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/bot.py").write_text('params.get("gate.edge")')
    said = call(root, "--source", "src", code=1).stdout
    assert "gate.tiers.high: in the schema, but not named in the source\n1 finding\n" in said
    assert "src2, which is no directory" in call(root, "--source", "src2", code=2).stderr
    (root / "paramstore.toml").write_text('doctor_sources = ["../src"]\n')
    assert call(root, code=1).stdout == said
    monkeypatch.setenv("PARAMSTORE_DOCTOR_SOURCES", f"{tmp_path / 'src'}{os.pathsep}{root}")
    assert call(root, code=1).stdout == said
    (tmp_path / "src/bad.py").write_text("def \x1b[2J gate.tiers.high")
    said = call(root).stdout
    assert "information: " in said and "bad.py: it does not parse" in said and "\x1b" not in said


def test_thresholds_are_settings(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(root, [*path(1.0, 1.2, 1.0, 1.2, 1.0), *hourly(2, last_ago_s=10.0)])
    assert "flipping" in call(root, code=1).stdout
    monkeypatch.setenv("PARAMSTORE_DOCTOR_FLIPS", "5")
    call(root)
    monkeypatch.delenv("PARAMSTORE_DOCTOR_FLIPS")
    (root / "paramstore.toml").write_text("doctor_flips = 5\n")
    call(root)
    monkeypatch.setenv("PARAMSTORE_DOCTOR_STALE_S", "5")
    assert "stale" in call(root, code=1).stdout
    monkeypatch.setenv("PARAMSTORE_DOCTOR_STALE_S", "-5")
    assert "doctor_stale_s" in call(root, code=2).stderr


def test_read_counts_are_looked_at_where_there_are_any(root: Path) -> None:
    recorded(root, path(1.0, 1.1, 1.3, 1.2))
    (root / ".paramstore").mkdir(exist_ok=True)
    counts = {"v": 1, "since": 0, "reads": {"gate.edge": 7}}
    (root / ".paramstore/reads.json").write_text(json.dumps(counts))
    assert "gate.tiers.high: never read in" in call(root, code=1).stdout
    store = ParamStore(root, environ={"PARAMSTORE_READ_COUNTS": "1"})
    assert store.read_counts() == {"gate.edge": 7}  # the look itself was no read
    store.reset()


def test_at_a_terminal_and_as_a_program(root: Path) -> None:
    recorded(root, [first(1.0), *hourly(last_ago_s=3 * DAY, author="évil\x1b[2J\rname", evidence=EVIDENCE)])
    words = [sys.executable, "-m", "paramstore", "--root", str(root), "doctor"]
    plain = subprocess.run(words, capture_output=True, text=True, check=False)
    assert plain.returncode == 1 and plain.stderr == ""
    main, other = pty.openpty()
    environ = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(words, stdout=other, env=environ) as process:
        os.close(other)
        raw = b""
        try:
            while chunk := os.read(main, 65536):
                raw += chunk
        except OSError:
            pass
    os.close(main)
    assert process.returncode == 1
    assert b"\x1b[2J" not in raw and b"silent for 3 d" in raw


# --- the worked example ---------------------------------------------------------------------------


def test_the_worked_example_is_what_happens(tmp_path: Path) -> None:
    page = (SOURCE / "docs/doctor.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (console,) = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for command in ("init", code):
        words = ["-c", code] if command == code else ["-m", "paramstore", "init"]
        subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
    command, _, expected = console.removeprefix("$ paramstore ").partition("\n")
    done = subprocess.run(
        [sys.executable, "-m", "paramstore", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == expected.splitlines() and done.returncode == 1
