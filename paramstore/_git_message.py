"""Journal entries in words, for git: the message of a commit, and what a diff shows of a journal. Pure.

Reasons and authors are what somebody wrote: they are put on one line each, without control characters, and indented, so
that none can pass for a trailer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from paramstore import _records
from paramstore._model import ABSENT, Change, Entry
from paramstore._values import thaw

LONGEST_SUBJECT = 72
MOST_ENTRIES, MOST_CHANGES = 50, 20
LONGEST_LINE = 300


def message(entries: Sequence[Entry]) -> str:
    """Return subject, one paragraph an entry, and trailers: the revisions, and each author."""
    if not entries:
        return "params: files without a journal entry\n"
    blocks = ["\n".join(_told(entry)) for entry in entries[:MOST_ENTRIES]]
    if len(entries) > MOST_ENTRIES:
        blocks.append(f"and {len(entries) - MOST_ENTRIES} more entries, to revision {entries[-1].revision}")
    first, last = entries[0].revision, entries[-1].revision
    trailers = [f"Paramstore-Revision: {first if first == last else f'{first}-{last}'}"]
    trailers += [
        f"Paramstore-Author: {_plain(author)}" for author in dict.fromkeys(e.author for e in entries)
    ]
    return "\n\n".join([_subject(entries), *blocks, "\n".join(trailers)]) + "\n"


def _subject(entries: Sequence[Entry]) -> str:
    authors = list(dict.fromkeys(_plain(entry.author) for entry in entries))
    first = [change for entry in entries if _is_first(entry) for change in entry.changed]
    changes = [change for entry in entries if not _is_first(entry) for change in entry.changed]
    if first:
        since = f", and {len({change.key for change in changes})} changed since" if changes else ""
        said = f"{len(first)} values as first recorded{since}"
    elif len(changes) == 1:
        said = _change(changes[0])
    elif changes:
        keys = list(dict.fromkeys(change.key for change in changes))
        said = f"{len(keys)} values" if len(keys) > 1 else f"{keys[0]}, {len(changes)} times"
    else:
        said = ", ".join(dict.fromkeys(_plain(entry.kind) for entry in entries))
    by = authors[0] if len(authors) == 1 else f"{len(authors)} authors"
    subject = f"params: {said} ({by})"
    return subject if len(subject) <= LONGEST_SUBJECT else f"{subject[: LONGEST_SUBJECT - 3]}..."


def _is_first(entry: Entry) -> bool:
    """Tell whether an entry says what stood before any commit, and not what somebody changed."""
    return (
        entry.revision == 0 and bool(entry.changed) and all(change.old is ABSENT for change in entry.changed)
    )


def journal_in_words(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each line of a journal segment with what it says in words, and its id; itself where it is no entry."""
    stands: int | None = None
    before = ""
    for line in raw.splitlines(keepends=True):
        record = _records.parse(line)
        if record is None:
            yield line, line
            continue
        stands, before = _records.number(record, stands, before), record["id"]
        first, *values = _told(_records.entry(record))
        words = [f"{first} [{record['id']}]", *values]
        yield line, "".join(f"{each}\n" for each in words).encode("utf-8", "replace")


def _told(entry: Entry) -> list[str]:
    """Return who did what and why on one line, and below it a line for each value."""
    why = f": {_plain(entry.reason)}" if entry.reason else ""
    lines = [f"r{entry.revision} {entry.time[:19]}Z {_plain(entry.kind)} by {_plain(entry.author)}{why}"]
    if len(entry.changed) > MOST_CHANGES and all(change.old is ABSENT for change in entry.changed):
        return [*lines, f"  {len(entry.changed)} values, as first recorded"]
    lines += [f"  {_change(change)}" for change in entry.changed[:MOST_CHANGES]]
    if len(entry.changed) > MOST_CHANGES:
        lines.append(f"  and {len(entry.changed) - MOST_CHANGES} more values")
    return lines


def _change(change: Change) -> str:
    at = (
        " @" + ", ".join(f"{name}={value}" for name, value in change.context.items())
        if change.context
        else ""
    )
    old, new = ("none" if v is ABSENT else repr(thaw(v)) for v in (change.old, change.new))
    return _plain(f"{change.key}{at} {old} -> {new}")


def _plain(text: str) -> str:
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 3]}..."


def identity_of(entries: Sequence[Entry], by_author: bool) -> Mapping[str, str]:
    """Return git's environment for who and when: the time of the last entry, and with ``by_author`` its author's name."""
    if not entries:
        return {}
    time = entries[-1].time[:19]
    found = {"GIT_AUTHOR_DATE": f"{time}Z"} if "1970" <= time[:4] < "2100" else {}  # git knows no others
    name = "".join(c for c in _plain(entries[-1].author) if c not in "<>").strip(
        " .,:;'\"\\"
    )  # git refuses a name of these alone
    if by_author and name:
        found["GIT_AUTHOR_NAME"] = name
    return found
