"""Moving a store from files into a cluster and back: everything, with its past, proved by one digest.

A copy to a cluster goes in parts, and the part that makes it a store goes last; begun again after an interruption it goes on.
Until it is whole, nobody reads it: the key ``copying`` says so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from paramstore import _files, _records
from paramstore._backends._entries import entry_puts
from paramstore._backends._mirror import Followed
from paramstore._backends._remote import Remote
from paramstore._backends.etcd import named
from paramstore._backends.local import LocalBackend
from paramstore._etcd_client import MOST_BYTES, Client, DeniedError, Guard, Range
from paramstore._etcd_place import SCHEME, Head, Place, homes
from paramstore._journal import START
from paramstore._opening import options_of
from paramstore._options import Options, check_root
from paramstore._state import namespace_of
from paramstore.errors import ConflictError, WriteError

PART = 100  # operations of one transaction of etcd
PART_BYTES = 1 << 20
ANSWER_S = 10.0


@dataclass(frozen=True)
class Image:
    """All of a store at one moment: files by their name relative to the root, the journal's lines, and how it ends."""

    files: dict[str, bytes]
    lines: list[bytes]
    revision: int
    last_id: str

    @property
    def digest(self) -> str:
        """The sha256 of everything, by which two copies are known to be the same."""
        total = hashlib.sha256()
        for name, raw in [
            *sorted(self.files.items()),
            *((str(seq), line) for seq, line in enumerate(self.lines)),
        ]:
            total.update(f"{name}\0{len(raw)}\0".encode() + raw)
        return total.hexdigest()


@dataclass(frozen=True)
class Copied:
    """What a copy did, or would do: ``there`` tells how many entries an earlier try had put there."""

    namespaces: int
    entries: int
    revision: int
    digest: str
    there: int = 0
    dry_run: bool = False


# --- reading --------------------------------------------------------------------------------------


def read_files(backend: LocalBackend, timeout_s: float) -> Image:
    """Return all of a store in files, under its lock, with edits by hand recorded. Raises what a transaction does."""
    with backend.session(timeout_s, None):
        return _image(backend)


def _image(backend: LocalBackend) -> Image:
    """Return what the files hold as they stand."""
    files = [
        file
        for name in backend.namespaces()
        for file in (backend.values_file(name), backend.schema_file(name))
        if os.path.exists(backend.path(file))
    ]
    texts = {file: _files.read_whole(backend.path(file)).raw for file in files}
    lines: list[bytes] = []
    for segment in backend.journal.segments():
        lines += _files.read_whole(backend.journal.file(segment)).raw.splitlines(keepends=True)
    records, end = backend.journal.lines(START)
    assert len(records) == len(lines), "whoever holds the lock has set aside what a crash tore"
    return Image(texts, lines, end.revision, records[-1]["id"] if records else "")


def read_cluster(remote: Remote) -> Image:
    """Return all of a store in a cluster, at one revision of it. Raises ``UnreachableError`` and ``StoreNotFoundError``."""
    news = remote.news(Followed(), ANSWER_S)
    lines = [news.lines[seq] for seq in range(news.head.seq + 1)]
    return Image(
        {file: text.raw for file, text in news.texts.items()}, lines, news.head.revision, news.head.id
    )


# --- writing --------------------------------------------------------------------------------------


def write_files(image: Image, root: str) -> None:
    """Make a store in files in a new or empty directory, on disk."""
    backend = LocalBackend(root, Options())
    for file, raw in image.files.items():
        path = backend.path(file)
        _files.make_folder(os.path.dirname(path))
        with open(path, "xb") as stream:
            stream.write(raw)
            os.fsync(stream.fileno())
    backend.journal.extend(image.lines, START)
    for folder in filter(
        lambda name: os.path.isdir(backend.path(name)), ("params", "schemas", "params/journal")
    ):
        for name in os.listdir(backend.path(folder)):
            if name.endswith(".jsonl"):
                with open(f"{backend.path(folder)}/{name}", "rb") as stream:
                    os.fsync(stream.fileno())
        _files.fsync_directory(backend.path(folder))


def write_cluster(image: Image, client: Client, place: Place, step: Callable[[], None]) -> int:
    """Put a store into a cluster where there is none; return how many entries were there from an earlier try.

    ``step`` is called after each part. Raises ``ConflictError`` where a store stands, or another copy is under way.
    """
    mark, label = place.copying, image.digest.encode()
    if refuse_store(client, place, label):
        start, end = place.below()
        done, _, _ = client.write([Guard(start, 1, end)], [(mark, label)], [], [], ANSWER_S)
        if not done:
            raise ConflictError(f"Another copy to {place.url} has just begun. Nothing was written.")
    there = _entries(client, place)
    for part in _parts(image, place, there):
        client.write([Guard(mark, exists=True)], part, [], [], ANSWER_S)
        step()
    head = Head(len(image.lines) - 1, image.revision, image.last_id)
    done, _, _ = client.write(
        [Guard(mark, exists=True), Guard(place.head)], [(place.head, head.encoded())], [mark], [], ANSWER_S
    )
    if not done:
        raise ConflictError(f"{place.url} was written to by someone else meanwhile. Run the copy again.")
    return len(there)


def refuse_store(client: Client, place: Place, label: bytes) -> bool:
    """Return whether nothing is there yet; ``False``: an earlier try of this copy. Raises ``ConflictError`` for anything else."""
    _, (marks, anything) = client.read([Range(place.copying), Range(*place.below(), limit=1)], ANSWER_S)
    if marks.found and marks.found[0].value == label:
        return False
    if marks.found:
        raise ConflictError(
            f"Another copy to {place.url} was not finished, of a store that was not as this one is now. Finish that one, or "
            f"empty the prefix (`etcdctl del --prefix {place.prefix}`). Nothing was written."
        )
    if _first_key(client, place):
        raise ConflictError(f"{place.url} holds a store already. Nothing was written; choose another prefix.")
    if anything.found:
        raise ConflictError(
            f"Within {place.url} stands {_text(anything.found[0].key)}, of another store or of something else, and one would read "
            "the other's keys. Nothing was written; choose another prefix, or empty this one."
        )
    _refuse_around(client, place)
    return True


def _refuse_around(client: Client, place: Place) -> None:
    """Raise ``ConflictError`` where ``place`` lies within another store, as far as this user may look there."""
    for outer in place.around:
        with suppress(DeniedError):
            if key := _first_key(client, outer):
                raise ConflictError(
                    f"{place.url} lies within the store at {outer.url} ({_text(key)} stands there), and one would read the other's "
                    "keys. Nothing was written; choose another prefix."
                )


def _first_key(client: Client, place: Place) -> bytes:
    """Return a key of the store that stands at ``place``, or nothing."""
    _, answers = client.read([Range(start, end, limit=1) for start, end in place.own], ANSWER_S)
    return next((answer.found[0].key for answer in answers if answer.found), b"")


def _text(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _entries(client: Client, place: Place) -> set[bytes]:
    """Return the keys of the entries that an earlier try put there."""
    start, end = place.below("journal")
    found: set[bytes] = set()
    while True:
        _, (answer,) = client.read([Range(start, end, limit=1000)], ANSWER_S)
        found |= {kv.key for kv in answer.found}
        if not answer.more:
            return found
        start = answer.found[-1].key + b"\0"


def _parts(image: Image, place: Place, there: set[bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield what is to be put, cut into transactions: the journal, then the files."""
    part: list[tuple[bytes, bytes]] = []
    size = 0
    for key, raw in _puts(image, place):
        if key in there:
            continue
        if part and (len(part) == PART or size + len(raw) > PART_BYTES):
            yield part
            part, size = [], 0
        part.append((key, raw))
        size += len(key) + len(raw)
    if part:
        yield part


def _puts(image: Image, place: Place) -> Iterator[tuple[bytes, bytes]]:
    known = {namespace_of(file) for file in image.files}
    for seq, line in enumerate(image.lines):
        record = _records.parse(line)
        assert record is not None, "the journal was read as a whole"
        yield from entry_puts(place, seq, line, homes(record, known))
    for file, raw in sorted(image.files.items()):
        if len(raw) > MOST_BYTES:
            raise WriteError(
                f"{file} has {len(raw):,} bytes, and etcd takes at most {MOST_BYTES:,} at once: split it first."
            )
        yield place.file(file), raw


# --- both -----------------------------------------------------------------------------------------


def copy(
    source: str, target: str, environ: Mapping[str, str], dry_run: bool = False, step: Callable[[], None] = lambda: None
) -> Copied:  # fmt: skip
    """Copy a store between a directory and a cluster (``etcd://…``), read it back, and compare.

    Raises ``WriteError`` (and ``ConflictError``) where there is a store already, ``StoreNotFoundError`` where there is none.
    What was written until then stays where it is: begun again, a copy to a cluster goes on.
    """
    if source.startswith(SCHEME) == target.startswith(SCHEME):
        raise WriteError(
            "One of the two is a directory and the other etcd://…: a directory is copied with `cp -a`, and from one cluster to "
            "another by way of a directory. Nothing was written."
        )
    if target.startswith(SCHEME):
        return _to_cluster(source, target, environ, dry_run, step)
    return _to_files(source, target, environ, dry_run)


def _to_cluster(
    source: str, target: str, environ: Mapping[str, str], dry_run: bool, step: Callable[[], None]
) -> Copied:
    root = check_root(source, "SOURCE")
    options = options_of(root, environ)
    image = read_files(LocalBackend(root, options), options.timeout_s)
    remote = _remote(target, environ)
    if dry_run:
        refuse_store(remote.client, remote.place, image.digest.encode())
        return _copied(image, 0, True)
    there = write_cluster(image, remote.client, remote.place, step)
    _compare(image, read_cluster(remote), target)
    return _copied(image, there, False)


def _to_files(source: str, target: str, environ: Mapping[str, str], dry_run: bool) -> Copied:
    image = read_cluster(_remote(source, environ))
    root = os.path.abspath(os.path.expanduser(target))
    if os.path.isdir(root) and os.listdir(root):
        raise WriteError(f"{root} is not empty. Nothing was written; name a new directory.")
    if not dry_run:
        write_files(image, root)
        _compare(image, _image(LocalBackend(root, Options())), target)
    return _copied(image, 0, dry_run)


def _remote(url: str, environ: Mapping[str, str]) -> Remote:
    options = options_of(None, environ)
    options.backend = url
    place, credentials = named(options)
    return Remote(place, credentials)


def _compare(image: Image, copied: Image, target: str) -> None:
    if image.digest != copied.digest:
        raise ConflictError(
            f"What was read back from {target} is not what was copied (sha256 {copied.digest}, not {image.digest}): somebody "
            "wrote to it meanwhile, or it was damaged. SOURCE is as it was; empty the target and copy again."
        )


def _copied(image: Image, there: int, dry_run: bool) -> Copied:
    return Copied(len(image.files) // 2, len(image.lines), image.revision, image.digest, there, dry_run)
