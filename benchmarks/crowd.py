"""From one process to eight: commits and reads per second of all together, on the machine's processors."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.changing import DISKCACHE, LMDB, SQLITE
from benchmarks.contenders import PARAMSTORE, Contender
from benchmarks.figures import Series, series
from benchmarks.plan import Plan
from benchmarks.stores import KEY, SIZES, VALUE, workspace

COUNT = SIZES[0]
COMMITS = "Commits per second, from 1 to 8 processes"
READS = "Reads per second, from 1 to 8 processes"
DICTIONARY = Contender(
    name="a dictionary in a function, of the process's own",
    modules=(),
    imports=f"d = {{{KEY!r}: {VALUE}}}",
    load="def get(k): return d[k]",
    reads={"get": f"get({KEY!r})"},
    lacks="never fresh",
)
# Those that two processes can write to: a file that is rewritten without a lock loses changes, not time.
LOCKED = (PARAMSTORE, SQLITE, LMDB, DISKCACHE)
READ = (PARAMSTORE, SQLITE, LMDB, DICTIONARY)
READS_IN_A_ROW = 200

# Each within a step of any other, and seldom the same: what changes nothing is no commit.
_VALUE = "value = round(random.uniform(0.48, 0.53), 4)\n"
_COMMIT = "done += 1\n" + _VALUE
_READ = "for _ in range({count}):\n    {read}\ndone += {count}"
_WORKER = """
import random, sys, time
{code}
{warming}
print("ready", flush=True)
sys.stdin.readline()
began = time.monotonic()
end, done, longest = began + {seconds}, 0, 0.0
while began < end:
{work}
    ended = time.monotonic()
    began, longest = ended, max(longest, ended - began)
print(done, longest, flush=True)
"""


def rows(plan: Plan) -> list[Series]:
    """Commits of all that have a lock, then reads."""
    commits = [_series(COMMITS, contender, plan) for contender in LOCKED]
    return commits + [_series(READS, contender, plan) for contender in READ]


def _series(section: str, contender: Contender, plan: Plan) -> Series:
    if missing := contender.absence:
        return Series(section, contender.name, {}, missing=missing)
    try:
        with workspace(plan.directory) as parent, contender.laid(parent / "files", COUNT) as root:
            code = _commits(contender, root) if section == COMMITS else _reads(contender, root)
            rates: dict[int, list[float]] = {count: [] for count in plan.processes}
            longest = 0.0
            for _ in range(plan.crowd):
                for count in plan.processes:
                    done, waited = _together(code.replace("SECONDS", str(plan.crowd_s)), count)
                    rates[count].append(done / plan.crowd_s)
                    longest = max(longest, waited)
    except Exception as error:  # noqa: BLE001 - one that changed its API must not cost the others
        words = f"failed: {type(error).__name__}: {error}"[:160]
        return Series(section, contender.name, {}, missing=words, failed=True)
    found = series(section, contender.name, rates, "/s", contender.lacks)
    if section == READS:
        return found
    waits = f"the longest commit took {1000 * longest:.0f} ms"
    return replace(found, note=f"{contender.lacks}; {waits}".removeprefix("; "))


def _commits(contender: Contender, root: Path) -> str:
    return _worker(contender.opened(root), _VALUE + contender.change, _COMMIT + contender.change)


def _reads(contender: Contender, root: Path) -> str:
    work = _READ.format(count=READS_IN_A_ROW, read=contender.first_read)
    return _worker(contender.loaded(root), contender.first_read, work)


def _worker(code: str, warming: str, work: str) -> str:
    work = textwrap.indent(work, "    ")
    return _WORKER.format(code=code, warming=warming, work=work, seconds="SECONDS")


def _together(code: str, count: int) -> tuple[int, float]:
    """What ``count`` processes did in all, begun together, and the longest that one of them took for one turn."""
    command = [sys.executable, "-c", code]
    with ExitStack() as open_ones:
        children = [
            open_ones.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(count)
        ]
        pipes = [(child.stdin, child.stdout) for child in children if child.stdin and child.stdout]
        if any(out.readline() != "ready\n" for _, out in pipes):
            raise RuntimeError("a process did not begin")
        for into, _ in pipes:
            into.write("go\n")
            into.flush()
        said = [out.readline().split() for _, out in pipes]
    return sum(int(done) for done, _ in said), max(float(waited) for _, waited in said)
