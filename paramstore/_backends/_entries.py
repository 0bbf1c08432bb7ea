"""The journal of a cluster, judged: whoever may write to one namespace must not be able to speak for another.

A learner with a client of its own can write what it likes under its namespace, and the key ``head``. So an entry counts only
where it, or its proof, stands under every namespace that it touches, in its order; and ``head`` only where it names the last one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paramstore import _records
from paramstore._etcd_client import KeyValue
from paramstore._etcd_place import Head, Place, stands_under
from paramstore.errors import JournalError

Found = dict[int, dict[str, bytes]]  # lines by number, and by the namespace under which they stand
# What the first entry may have as revision: one at the end of all numbers would be the last for good.
MOST_FIRST = _records.MOST_REVISION // 2
_NUMBER = re.compile(r"[0-9a-f]{16}")


def collect(place: Place, changes: Iterable[KeyValue], found: Found) -> None:
    """Put the lines among ``changes`` into ``found``; keys that are none of ours say nothing."""
    for kv in changes:
        parts = place.told(kv.key)
        if kv.modified and len(parts) == 3 and parts[0] == "journal" and _NUMBER.fullmatch(parts[2]):
            found.setdefault(int(parts[2], 16), {})[parts[1]] = kv.value


def entry_puts(place: Place, seq: int, line: bytes, where: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Return what puts an entry under all that it touches: whole under the first, under the others what proves it."""
    rest = [(place.entry(home, seq), _proof(line)) for home in where[1:]]
    return [(place.entry(where[0], seq), line), *rest]


def judged(
    found: Found, known: Head, stands: int | None, head: Head
) -> tuple[dict[int, bytes], dict[int, dict[str, Any]]]:
    """Return the lines after ``known`` up to ``head`` by number, and what they say. ``stands`` is the revision before them.

    Raises ``JournalError`` for what no writer of ours wrote; then nothing of it counts.
    """
    lines: dict[int, bytes] = {}
    records: dict[int, dict[str, Any]] = {}
    before = known.id
    for seq in range(known.seq + 1, known.seq + 1 + len(found)):
        if seq not in found:
            raise _forged(seq, "it is missing, though later ones are there")
        line = _whole(found[seq])
        record = _parsed(line, seq)
        others = set(found[seq].values()) - {line}
        try:
            proved = stands_under(record, found[seq])
        except (LookupError, TypeError, AttributeError, ValueError):
            raise _forged(seq, "it is no entry of ours") from None
        if not proved or (others and others != {_proof(line)}):
            raise _forged(seq, "it does not stand under all that it touches")
        most = MOST_FIRST if stands is None else stands + (record["kind"] not in _records.VALUELESS)
        if record["revision"] > most:
            raise _forged(seq, f"its revision {record['revision']} does not follow {stands}")
        stands, before = _records.number(record, stands, before), record["id"]
        lines[seq], records[seq] = line, record
    if head.seq != known.seq + len(lines) or (head.id, head.revision) != (
        before,
        known.revision if stands is None else stands,
    ):
        raise JournalError(
            "etcd: head",
            f"it names entry {head.seq} ({head.id}, revision {head.revision}), which is not the journal's last; {_TAKEN}",
        )
    return lines, records


def is_entry(line: bytes, entry_id: str) -> bool:
    record = _records.parse(line)
    return record is not None and record["id"] == entry_id


def id_of(line: bytes) -> str:
    return str(_parsed(line, 0)["id"])


_TAKEN = "nothing after what is served is taken over. Somebody wrote there by other means: put it right (docs/etcd-access.md)"


def _forged(seq: int, why: str) -> JournalError:
    return JournalError(f"etcd: entry {seq} of the journal", f"{why}; {_TAKEN}")


def _parsed(line: bytes, seq: int) -> dict[str, Any]:
    record = _records.parse(line)
    # JSON may have line ends within; to who reads a journal, that is damage
    if record is None or not line.endswith(b"\n") or len(line.splitlines()) > 1:
        raise _forged(seq, "it is no entry of ours")
    return record


def _proof(line: bytes) -> bytes:
    return b"sha256 " + hashlib.sha256(line).hexdigest().encode()


def _whole(lines: Mapping[str, bytes]) -> bytes:
    """Return the line itself among what stands for an entry, empty if only proofs of it were found."""
    return next((line for line in lines.values() if not line.startswith(b"sha256 ")), b"")
