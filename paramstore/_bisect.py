"""Which revision made a command fail: a binary search over the revisions that changed values.

Each is tried in a temporary store with the schemas of today and the values of that revision; the real
one is only read. A parameter that did not exist then has today's value, one that exists no more is left out.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from paramstore import _files, _yaml
from paramstore._backends._splice import splice
from paramstore._backends.base import Backend
from paramstore._backends.local import LocalBackend
from paramstore._history import Written, changes_between, flatten
from paramstore._ledger import real_changes
from paramstore._model import ABSENT, Change, Entry
from paramstore._outline import Line
from paramstore._past import When, revision_of, written_at
from paramstore._records import VALUELESS, entry
from paramstore._state import State
from paramstore.errors import DocumentError, ParamstoreError, UnknownRevisionError

Verdict = Literal["good", "bad", "skip"]
SKIP, LAST_BAD = 125, 127  # exit statuses, as `git bisect run` takes them
RESTED_S = 10.0  # how old the files are made, so that no reader waits for a save to end
OURS = (
    "PARAMSTORE_BACKEND",
    "PARAMSTORE_JOURNAL",
    "PARAMSTORE_READ_COUNTS",
)  # would lead the command into the real store's files


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: ``why`` it was skipped, if it was; how many revisions may be the first bad one after it."""

    revision: int
    verdict: Verdict
    why: str = ""
    left: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """``first_bad`` is the entry that made the command fail. Where skipped revisions stand before it, it may as well have
    been one of ``suspects``."""

    first_bad: Entry
    suspects: tuple[Entry, ...]
    trials: tuple[Trial, ...]


def bisect(
    backend: Backend,
    now: State,
    ends: tuple[When, When],
    command: Sequence[str],
    tell: Callable[[Trial], None] = lambda trial: None,
) -> Found:
    """Run ``command`` on revisions between the good and the bad end until the first bad one is known.

    Raises ``ParamstoreError`` when an end is not what it should be, or when the command ends with a status above 127 or
    by a signal; ``OSError`` when it cannot be run at all.
    """
    if not isinstance(backend, LocalBackend):
        raise ParamstoreError("This store is not in files: a command cannot be given a copy of it.")
    lines = backend.lines()
    good, bad = (revision_of(lines, end) for end in ends)
    if good >= bad:
        raise UnknownRevisionError(
            f"GOOD is revision {good} and BAD {bad}: the good one must come before the bad one."
        )
    changing = [line for line in lines if good < line.revision <= bad and _changes_values(line)]
    if not changing:
        raise ParamstoreError(
            f"No value changed between revisions {good} and {bad}: there is nothing to find."
        )
    trials: list[Trial] = []

    def attempt(revision: int, left: Mapping[Verdict, int]) -> Trial:
        then = written_at(backend, lines, revision)
        verdict, why = _attempt(backend, now, then, command)
        trials.append(Trial(revision, verdict, why, left[verdict]))
        tell(trials[-1])
        return trials[-1]

    everything: dict[Verdict, int] = dict.fromkeys(("good", "bad", "skip"), len(changing))
    _expect(attempt(good, everything), "good")
    _expect(attempt(bad, everything), "bad")
    suspects = search(changing, lambda line, left: attempt(line.revision, left).verdict)
    entries = tuple(entry(line.record) for line in suspects)
    return Found(entries[-1], entries[:-1], tuple(trials))


def search(
    candidates: Sequence[Line], attempt: Callable[[Line, Mapping[Verdict, int]], Verdict]
) -> list[Line]:
    """Return the candidates that may be the first bad one, the last of which is known to be bad: one, unless some had to
    be skipped. Before the first candidate all is good. ``attempt`` hears how many remain after each verdict."""
    low, high = -1, len(candidates) - 1  # known good, known bad
    skipped: set[int] = set()
    while True:
        middle = (low + high) / 2
        open_ones = [index for index in range(low + 1, high) if index not in skipped]
        if not open_ones:
            return list(candidates[low + 1 : high + 1])
        index = min(open_ones, key=lambda at: abs(at - middle))
        verdict = attempt(candidates[index], {"good": high - index, "bad": index - low, "skip": high - low})
        if verdict == "skip":
            skipped.add(index)
        elif verdict == "good":
            low = index
        else:
            high = index


def _changes_values(line: Line) -> bool:
    return line.kind not in VALUELESS and any(True for _ in real_changes(line.items))


def _expect(trial: Trial, verdict: Verdict) -> None:
    if trial.verdict == verdict:
        return
    why = f" ({trial.why})" if trial.why else ""
    raise ParamstoreError(
        f"Revision {trial.revision} was said to be {verdict}, but the command says {trial.verdict}{why}. Nothing was searched; "
        "correct the command, or give other revisions."
    )


def _attempt(backend: LocalBackend, now: State, then: Written, command: Sequence[str]) -> tuple[Verdict, str]:
    with tempfile.TemporaryDirectory(prefix="paramstore-bisect-") as root:
        try:
            _write_store(backend, now, then, root)
        except DocumentError as error:
            return "skip", f"its values break today's schema: {error}"
        environ = {name: value for name, value in os.environ.items() if name not in OURS}
        environ["PARAMSTORE_ROOT"] = root
        # the command's output goes where errors go: ours may be JSON
        done = subprocess.run(command, env=environ, stdout=2, check=False).returncode
    if done == 0:
        return "good", ""
    if done == SKIP:
        return "skip", f"the command ended with {SKIP}"
    if 0 < done <= LAST_BAD:
        return "bad", ""
    ended = f"by signal {-done}" if done < 0 else f"with status {done}"
    raise ParamstoreError(f"The command ended {ended}, which stops the search. The store was not touched.")


def _write_store(backend: LocalBackend, now: State, then: Written, root: str) -> None:
    """Write schemas of today and values of then. Raises ``DocumentError`` for values that break today's rules."""
    for folder in ("schemas", "params"):
        os.mkdir(f"{root}/{folder}")
    wanted = _changes(flatten(now.documents), then)
    for name, document in now.documents.items():
        schema_file, file = backend.schema_file(name), backend.values_file(name)
        text = _yaml.parse(_files.read_whole(backend.path(file)).raw, file)
        mine = [change for change in wanted if change.key.partition(".")[0] == name]
        edited = splice(text, mine)
        backend.schema(name, document.schema_digest).document(edited.data, file, "")
        _put(f"{root}/{file}", edited.raw)
        _put(f"{root}/{schema_file}", _files.read_whole(backend.path(schema_file)).raw)


def _changes(now: Written, then: Written) -> list[Change]:
    """Return what brings today's files to the values of then, as far as there are such parameters today."""
    known = {key for key, _ in now}
    return [
        change
        for change in changes_between(now, then)
        if change.key in known and not (change.new is ABSENT and not change.context)
    ]


def _put(path: str, raw: bytes) -> None:
    with open(path, "xb") as file:
        file.write(raw)
    stands = os.stat(path).st_mtime - RESTED_S
    os.utime(path, (stands, stands))
