"""Each check of the faults reports the bugs it is there for, planted one at a time in a copy of the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import tracer
from mutants import Mutant, planted, run_on, sample

pytestmark = pytest.mark.skipif(not tracer.AVAILABLE, reason="traces system calls of Linux on x86-64")

FILES, COMMIT, RECOVERY = "_files.py", "_backends/_commit.py", "_backends/_recovery.py"
WRITE_ALL = "            view = view[os.write(fd, view) :]\n"
WAIT_IN_LINE = """\
        number = self._draw()
        if number is not None and self._queue is not None:
            with suppress(OSError):  # a deadlock that the kernel suspects among several stores
                fcntl.lockf(self._queue, fcntl.LOCK_EX, 1, number - 1)
        fcntl.flock(self._inner, fcntl.LOCK_EX)
"""

# a planted bug, and the check with its scenario that must report it
CAUGHT = [
    (
        Mutant(
            "the new file is not synced",
            FILES,
            f"    {WRITE_ALL[4:]}        os.fsync(fd)\n",
            f"    {WRITE_ALL[4:]}",
        ),
        "power",
        "one file, second commit",
    ),
    (
        Mutant("acknowledged before the line is synced", FILES, "            os.fdatasync(fd)\n", ""),
        "power",
        "one file, second commit",
    ),
    (
        Mutant(
            "acknowledged before the names are synced",
            COMMIT,
            "            sync_folders(plan.target for plan in plans)\n        except OSError as error:\n            unknown",
            "            pass\n        except OSError as error:\n            unknown",
        ),
        "power",
        "one file, second commit",
    ),
    (
        Mutant(
            "the journal line after the exchange",
            COMMIT,
            "            writer.append(entry)\n            try:\n                self._swap(plans)\n",
            "            try:\n                self._swap(plans)\n                writer.append(entry)\n",
        ),
        "kills",
        "one file",
    ),
    (
        Mutant(
            "recovery ignores a torn tail",
            COMMIT,
            "        backend.journal.repair(self._read_on())\n",
            "        self._read_on()\n",
        ),
        "kills",
        "torn journal line",
    ),
    (
        Mutant(
            "written in place",
            FILES,
            "    expected = os.stat(new).st_ino\n    try:\n        exchange_names(new, target)\n",
            '    expected = os.stat(new).st_ino\n    if holds(target, base):\n        with open(new, "rb") as a, open(target, "wb") as b:\n'
            "            b.write(a.read())\n        return True\n    try:\n        exchange_names(new, target)\n",
        ),
        "kills",
        "one file",
    ),
    (
        Mutant(
            "recovery leaves a file out",
            RECOVERY,
            "    for file in to_exchange(files := _files_of(writer, record)):",
            "    for file in to_exchange(files := _files_of(writer, record))[1:]:",
        ),
        "kills",
        "between two exchanges",
    ),
    (
        Mutant(
            "a save in between is overwritten",
            FILES,
            "    if holds(new, base):\n        return True\n",
            "    return True\n",
        ),
        "kills",
        "someone saves in between",
    ),
    (
        Mutant(
            "half a journal line passes",
            FILES,
            "                view = view[os.write(fd, view) :]\n            os.fdatasync(fd)\n",
            "                os.write(fd, view)\n                break\n            os.fdatasync(fd)\n",
        ),
        "refusals",
        "one file, second commit: half",
    ),
    (
        Mutant(
            "half a new file passes",
            FILES,
            f"    {WRITE_ALL[4:]}        os.fsync(fd)\n",
            "            os.write(fd, view)\n            break\n        os.fsync(fd)\n",
        ),
        "refusals",
        "one file, second commit: half",
    ),
    (
        Mutant(
            "an interrupted sync is not tried again",
            FILES,
            f"    {WRITE_ALL[4:]}        os.fsync(fd)\n",
            f"    {WRITE_ALL[4:]}        if _libc().fsync(fd) != 0:\n            raise OSError(errno.EIO, path)\n",
        ),
        "refusals",
        "one file, second commit: EINTR at",
    ),
    (
        Mutant(
            "a refused sync is passed over", COMMIT, "            unknown = error\n", "            pass\n"
        ),
        "refusals",
        "one file, second commit: EIO at",
    ),
    (
        Mutant(
            "the lock is not held",
            "_lock.py",
            '            if not self._in_process.gate.enter(deadline - time.monotonic()):\n                raise self._timed_out("another '
            'process")\n            self._lock_file(deadline)\n',
            "            self._file = keep(self._open_file())\n",
        ),
        "random",
        "60",
    ),
    (
        Mutant(
            "nobody finishes what a dead writer began",
            COMMIT,
            "        if self.last is not None and not published and not recover(self, self.last):\n",
            "        if False:\n",
        ),
        "kills",
        "between two exchanges",
    ),
    (
        Mutant(
            "one reader is not told after a dead publisher",
            "_generation.py",
            'b"\\1" * (last.index + 1), _HEADER)',
            'b"\\1", _HEADER + last.index)',
        ),
        "telling",
        "",
    ),
    (
        Mutant(
            "a line never gets its end",
            "_backends/_commit.py",
            "        backend.journal.end_last_line()  # first: it may be an abort, which takes back what would be known by then\n",
            "",
        ),
        "power",
        "the last line without its end",
    ),
    (
        Mutant(
            "a line without its end is set aside",
            "_journal.py",
            "            if _records.is_sound(raw.rpartition",
            "            if False and (raw.rpartition",
        ),
        "power",
        "the last line without its end",
    ),
    (
        Mutant(
            "a first step is never done again",
            FILES,
            "    if os.path.exists(backup):  # its",
            "    if False:  # its",
        ),
        "power",
        "between link and rename, then a commit, no exchange",
    ),
    (
        Mutant(
            "a reader takes half of a commit",
            "_backends/_unfinished.py",
            "        return False, done\n",
            "        return False, []\n",
        ),
        "amid",
        "",
    ),
    (
        Mutant(
            "a save makes a reader forget commits",
            "_backends/_loader.py",
            "                found[name] = forward(self._believed[name], self._seen)\n",
            "                found[name] = self.last.documents[name]\n",
        ),
        "amid",
        "",
    ),
    (
        Mutant(
            "who waits asks again later and later instead of standing in line",
            "_gate.py",
            WAIT_IN_LINE,
            "        pause_s = 0.001\n        while True:\n            try:\n"
            "                fcntl.flock(self._inner, fcntl.LOCK_EX | fcntl.LOCK_NB)\n                break\n"
            "            except BlockingIOError:\n                time.sleep(pause_s)\n                pause_s = min(2 * pause_s, 0.5)\n",
        ),
        "fair",
        "",
    ),
]


@pytest.mark.parametrize(
    ("bug", "check", "name"), sample(CAUGHT), ids=[bug.name.replace(" ", "-") for bug, *_ in sample(CAUGHT)]
)
def test_a_planted_bug_is_caught(bug: Mutant, check: str, name: str, tmp_path: Path) -> None:
    probe = str(Path(__file__).with_name("probe.py"))
    done = run_on(planted(tmp_path, bug), probe, check, name)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("violation: "), done.stdout + done.stderr
