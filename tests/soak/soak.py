"""Learners, readers and a person at work on one store in a git repository, for as long as you like.

    python tests/soak/soak.py [SECONDS [--seed SEED] [--folder FOLDER]]
    python tests/soak/soak.py --read FOLDER       # what a run has come to so far, or came to

SIGTERM ends a run early, with all checks.

Memory, descriptors, threads, mappings and files are sampled all the time and must stay flat (``samples.py`` states the rule); each
acknowledged commit must be in the journal with its values, and the files must hold what the journal's replay says.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import killing
import plainstore as ps
from git_store import GitStore
from people import COUNT, LEARNERS, NAMES, OPERATIONS, OVER, SAVES, Person, Placed, learn, read, teller
from processes import Child, Shared, running
from samples import Sample, of_process, of_store, rising, spare_files, table

READERS = ("get", "section", "snapshot", "threads")
Values = dict[tuple[str, tuple[tuple[str, str], ...]], Any]


def make_repository(root: Path) -> GitStore:
    """Make a store with four files in a git repository, set up as docs/git.md says."""
    ps.make_store(root, names=NAMES, count=0)
    (root / ".gitignore").write_text(".paramstore/\n*~\n")
    repo = GitStore(root)
    repo.git("init", "--quiet", "--initial-branch=main")
    repo.identify()
    repo.git("config", "gc.auto", "0")
    repo.say("git", "install")
    for number in (1, 2, 3):
        repo.set({"alpha.count": number}, author="begin")
        repo.git("add", "--all")
        repo.git("commit", "--quiet", "--message", f"begin {number}")
    return repo


def work(root: Path, folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Have all at work for ``seconds``, sampling; return counts."""
    shared = Shared()
    shared[COUNT] = 3
    parent = os.getpid()
    long = seconds > 60

    def learner(name: str) -> Callable[[], None]:
        return lambda: learn(root, shared, teller(folder, f"learner {name}"), name, seed)

    def reader(way: str) -> Callable[[], None]:
        return lambda: read(root, shared, teller(folder, f"reader {way}"), way)

    works = {f"learner {name}": learner(name) for name in LEARNERS}
    works |= {f"reader {way}": reader(way) for way in READERS}
    person = teller(folder, "person")
    works["person"] = lambda: Person(root, shared, person, seed).run(6.0 if long else 0.2)
    alone = [partial(_with_parent, parent, does) for does in works.values()]
    with running(*alone) as children, (folder / "samples.jsonl").open("w") as log:
        signal.signal(
            signal.SIGTERM, lambda *_: shared.__setitem__(OVER, 1)
        )  # ends it early, with all checks
        begun = time.monotonic()
        named = dict(zip(works, children, strict=True))
        while (now := time.monotonic() - begun) < seconds and _all_live(named) and not shared[OVER]:
            for sample in _sample(named, root, now):
                log.write(json.dumps(sample) + "\n")
            log.flush()
            time.sleep(3.0 if long else 0.1)
        shared[OVER] = 1
        for child in children:
            child.result()
    return {"git operations": shared[OPERATIONS], "saves by rename": shared[SAVES], "seconds": round(now)}


def _with_parent(parent: int, does: Callable[[], None]) -> None:
    """Do it, but do not outlive the parent."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() == parent:
        does()


def _all_live(named: dict[str, Child]) -> bool:
    return all(
        os.waitid(os.P_PID, c.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for c in named.values()
    )


def _sample(named: dict[str, Child], root: Path, now: float) -> list[Sample]:
    found: list[Sample] = []
    for name, child in named.items():
        try:
            found.append({"t": round(now, 2), "process": name, **of_process(child.pid)})
        except (OSError, KeyError):  # it died, which ends the run
            continue
    try:
        found.append({"t": round(now, 2), "process": "store", **of_store(root)})
    except OSError:  # git has a folder away just now
        pass
    return found


def told(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob("*.told")) for line in file.open()]


def problems_at_the_end(repo: GitStore, facts: list[dict[str, Any]]) -> list[str]:
    """Hold what was told, the journal and the files against each other."""
    killing.in_child(
        lambda: killing.recover(repo.root)
    )  # an edit by hand is recorded by the next transaction
    files = ps.tracked(repo.root)
    try:
        records = ps.lines_of(files)
    except AssertionError as error:
        return [str(error)]
    entries = ps.standing(records)
    twice = [name for name, times in Counter(record["id"] for record in records).items() if times > 1]
    found = [f"{len(twice)} journal lines have an id twice"] if twice else []
    by_id = {entry["id"]: entry for entry in entries}
    for fact in (fact for fact in facts if "id" in fact):
        entry = by_id.get(fact["id"])
        if entry is None:
            found.append(f"acknowledged commit {fact['id']} is not in the journal: {fact['placed']}")
        elif not holds(entry, fact["placed"]):
            found.append(f"the journal has {entry['changes']} where {fact['placed']} was acknowledged")
    found += _differences(replayed(entries), in_files(repo.root))
    try:
        repo.say("check")
    except AssertionError as audit:
        found.append(f"paramstore check: {audit}")
    left = spare_files(repo.root)
    found += [f"left behind: {left}"] if left else []
    return found + [fact["problem"] for fact in facts if "problem" in fact]


def holds(entry: dict[str, Any], placed: Placed) -> bool:
    """Tell whether an entry changes what was acknowledged with it, all of it and no more."""
    changes = {(c["key"], *c.get("context", {}).items()): c["new"] for c in entry["changes"]}
    return changes == {(key, *context.items()): value for key, context, value in placed}


def replayed(entries: list[dict[str, Any]]) -> Values:
    """Return what the journal comes to."""
    values: Values = {}
    for change in (change for entry in entries for change in entry["changes"]):
        place = change["key"], tuple(sorted(change.get("context", {}).items()))
        if "new" in change:
            values[place] = change["new"]
        else:
            values.pop(place, None)
    return values


def in_files(root: Path) -> Values:
    """Return what the files hold, by a parser that is not the library's own reading of them."""
    from ruamel.yaml import YAML

    values: Values = {}
    for name in NAMES:
        document = YAML(typ="safe", pure=True).load((root / "params" / f"{name}.yaml").read_text())
        parts: list[tuple[dict[str, str], dict[str, Any]]] = [({}, document["values"])]
        parts += [(part["at"], part["values"]) for part in document.get("overrides") or []]
        for at, own in parts:
            values |= {(f"{name}.{key}", tuple(sorted(at.items()))): value for key, value in own.items()}
    return values


def _differences(journal: Values, files: Values) -> list[str]:
    return [
        f"{place} is {files.get(place)} in the files, {journal.get(place)} in the journal"
        for place in sorted({*journal, *files})
        if files.get(place) != journal.get(place)
    ]


def report(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Return what rose, and figures, from the logs of a run, finished or not."""
    samples = [json.loads(line) for line in (folder / "samples.jsonl").open() if line.endswith("}\n")]
    facts = told(folder)
    acknowledged = sum("id" in fact for fact in facts)
    figures = {
        "acknowledged": acknowledged,
        "refused": sum("refused" in fact for fact in facts),
        "samples": len(samples),
        "seconds": round(samples[-1]["t"]) if samples else 0,
    }
    sys.stdout.write("\n".join(table(samples)) + "\n")
    return rising(samples, acknowledged), figures


def soak(folder: Path, seconds: float, seed: int) -> tuple[list[str], dict[str, Any]]:
    """Run, and return what was wrong and figures. Logs go to ``folder``."""
    place = ps.fast_folder("paramsoak-")
    try:
        repo = make_repository(place / "store")
        counts = work(repo.root, folder, seconds, seed)
        rose, figures = report(folder)
        problems = problems_at_the_end(repo, told(folder))
        figures |= counts | {"conflict files": len(list((repo.root / "params").glob("*.conflict")))}
        return [*problems, *rose], {**figures, "seed": seed}
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seconds", type=float, nargs="?", default=3600)
    parser.add_argument("--seed", type=int, default=1)
    logs = Path(tempfile.gettempdir()) / f"paramsoak-{os.getpid()}"
    parser.add_argument("--folder", type=Path, default=logs, help=f"of the logs ({logs})")
    parser.add_argument("--read", type=Path, metavar="FOLDER", help="only say what a run came to so far")
    asked = parser.parse_args(words)
    if asked.read is not None:
        problems, figures = report(asked.read)
        problems += [fact["problem"] for fact in told(asked.read) if "problem" in fact]
    else:
        shutil.rmtree(asked.folder, ignore_errors=True)
        asked.folder.mkdir(parents=True)
        sys.stdout.write(f"samples and what was told: {asked.folder}\n")
        sys.stdout.flush()
        problems, figures = soak(asked.folder, asked.seconds, asked.seed)
    for problem in problems[:20]:
        sys.stdout.write(f"violation: {problem} (seed {asked.seed})\n")
    sys.stdout.write(json.dumps({**figures, "violations": len(problems)}) + "\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
