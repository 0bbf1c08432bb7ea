"""What stood in a cluster after each of its last entries, so that each learner's commit becomes a git commit of its own.

The texts of then are not kept anywhere. They are made again, by the journal's changes to the text before, and count only where
they come to the bytes whose hash the entry has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from paramstore import _files, _records, _yaml
from paramstore._backends._splice import splice
from paramstore._etcd_place import Head
from paramstore._git_agreed import Agreed
from paramstore._git_cluster import ClusterSide, Standing, Texts
from paramstore._records import VALUELESS
from paramstore._state import namespace_of

MOST_STEPS = 100  # in one round; a learner that is faster gets fewer and larger commits

Record = dict[str, Any]


def steps(
    side: ClusterSide, last: Agreed, now: Standing, records: Sequence[Record]
) -> Iterator[tuple[Sequence[Record], Standing]]:
    """Yield entries of ``records`` (all those since ``last``, each run ending in one that changed values) with what stood after
    them, as far as that can be told; all that is left, and ``now``, at the end."""
    begun = 0
    texts = last.texts
    whole = len(records) > MOST_STEPS or _schemas(last.texts) != _schemas(now.texts)
    for index, record in enumerate([] if whole else records[:-1]):
        try:
            texts = _after(texts, record)
        except Exception:  # noqa: BLE001 - a person's edit: the text with its comments is that of the end
            break  # or what somebody made up, and then it may be anything
        if record["kind"] not in VALUELESS:
            seq = last.seq + 1 + index
            head = Head(seq, record["revision"], record["id"])
            yield records[begun : index + 1], Standing(head, texts, side.journal_up_to(now, seq))
            begun = index + 1
    yield records[begun:], now


def _schemas(texts: Texts) -> Texts:
    return {file: raw for file, raw in texts.items() if file.startswith("schemas/")}


def _after(texts: Texts, record: Record) -> Texts:
    """Return the texts after an entry. Raises ``LookupError`` where they do not come to what the entry says, and what an edit
    of a text raises."""
    entry, found = _records.entry(record), dict(texts)
    for file, sums in entry.files.items():
        changes = [change for change in entry.changed if change.key.partition(".")[0] == namespace_of(file)]
        found[file] = splice(_yaml.parse(texts[file], file), changes).raw
        if _files.digest(found[file]) != sums.after:
            raise LookupError(file)
    return found
