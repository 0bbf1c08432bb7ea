"""A model of what a disk may hold after the power fails, made from the system calls of a real commit.

Nothing is on disk until a sync says so. ``fsync`` of a file puts its bytes there, but not its name; ``fsync``
of a directory puts the names there that changed in it before. Of everything else, any part may have
arrived: of the names any subset, of each write all, none, half, all but the last byte, or zeros of the right length; at a larger size also any
other beginning of it, alone or with zeros up to its length, and zeros up to any byte and the rest.
The run-time files, which are never synced, are as they last were or are gone.

The idea is that of ALICE (Pillai and others, OSDI 2014): states of the disk are made from the calls of one real run, so
that none of them needs a disk. What a small number of moments and unsynced effects can come to is taken whole; of more, a
seeded sample.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracer import Call

Names = dict[str, int]
Tree = tuple[
    tuple[str, bytes | None], ...
]  # sorted (path relative to the root, bytes or None for a directory)
FOLDER = -1
_EXCHANGE = 2


@dataclass
class Write:
    """Bytes at an offset that were not synced yet; ``size`` cuts the file instead."""

    offset: int
    data: bytes = b""
    size: int | None = None

    def variants(self, dice: random.Random, cuts: int) -> list[Write | None]:
        """Return what may have arrived of it; ``cuts`` bytes are drawn at which it is torn in three ways each."""
        if self.size is not None:
            return [None, self]
        whole = len(self.data)
        found = [None, self._cut(whole // 2), self._cut(whole - 1), Write(self.offset, bytes(whole)), self]
        for at in dice.sample(range(whole), min(cuts, whole)):
            begin = self.data[:at]
            found += [self._cut(at), Write(self.offset, begin.ljust(whole, b"\0"))]
            found.append(Write(self.offset, bytes(at) + self.data[at:]))
        return found

    def _cut(self, at: int) -> Write:
        return Write(self.offset, self.data[:at])

    def on(self, content: bytes) -> bytes:
        if self.size is not None:
            return content[: self.size].ljust(self.size, b"\0")
        content = content.ljust(self.offset, b"\0")
        return content[: self.offset] + self.data + content[self.offset + len(self.data) :]


@dataclass
class Rename:
    """Names in one directory that change in one step."""

    folder: str
    names: dict[str, int | None]


@dataclass(frozen=True)
class World:
    """One state of the disk after a crash, and what had been acknowledged by then: how many times, and which entries
    the journal had."""

    tree: Tree
    acknowledged: int
    after: str
    entries: frozenset[str] = frozenset()

    def materialise(self, root: Path) -> Path:
        root.mkdir(parents=True)
        for name, raw in self.tree:
            path = root / name
            if raw is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(raw)
                os.utime(path, (1e9, 1e9))  # the machine was off for a while
        return root


@dataclass
class Size:
    """How much is tried: of one moment at most ``most`` worlds (twice that, with and without run-time files), and ``cuts``
    bytes at which each unsynced write is torn."""

    most: int = 5_000
    cuts: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(1))


@dataclass
class Disk:
    """Replays system calls; knows what is on disk for sure and what may be."""

    root: str
    size: Size = field(default_factory=Size)
    ordered: bool = False  # names of one directory reach the disk in order, as file systems with a log do
    seen: Names = field(default_factory=dict)  # what programs see
    sure: Names = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)  # on disk
    volatile: dict[int, bytes] = field(default_factory=dict)  # seen
    names: list[Rename] = field(default_factory=list)
    writes: dict[int, list[Write]] = field(default_factory=dict)
    files: dict[int, tuple[int, bool]] = field(default_factory=dict)  # descriptor -> inode, appends
    folders: dict[int, str] = field(default_factory=dict)  # descriptor -> directory
    offsets: dict[int, int] = field(default_factory=dict)
    runtime: set[int] = field(default_factory=set)  # inodes that are never synced, and need not be

    def load(self, base: Path) -> None:
        """Begin with the files under ``base``, all on disk."""
        for folder, folders, files in os.walk(base):
            where = self.root + folder[len(str(base)) :]
            self.sure[where] = FOLDER
            for name in folders:
                self.sure[f"{where}/{name}"] = FOLDER
            for name in files:
                inode = len(self.content) + 1
                self.content[inode] = Path(folder, name).read_bytes()
                self.sure[f"{where}/{name}"] = inode
                if self._is_runtime(f"{where}/{name}"):
                    self.runtime.add(inode)
        self.seen = dict(self.sure)
        self.volatile = dict(self.content)

    def run(self, call: Call, sync: bool = True) -> None:
        """Take one call into account; ``sync`` false makes an ``fsync`` do nothing."""
        if call.failed:
            return
        step = getattr(self, f"_{call.name}", None)
        if call.name in ("fsync", "fdatasync"):
            if sync:
                self._sync(call.args[0])
        elif step is not None:
            step(call)

    # -- calls ------------------------------------------------------------------------------------

    def _openat(self, call: Call) -> None:
        (path,), fd = call.paths, call.result
        inode = self.seen.get(path)
        if inode is None:
            inode = len(self.volatile) + 1
            self.volatile[inode] = self.content[inode] = b""
            self._name({path: inode})
            if self._is_runtime(path):
                self.runtime.add(inode)
        if inode == FOLDER:
            self.folders[fd] = path
            self.files.pop(fd, None)
            return
        self.folders.pop(fd, None)
        self.files[fd] = inode, bool(call.flags & os.O_APPEND)
        self.offsets[fd] = 0

    def _write(self, call: Call) -> None:
        fd = call.args[0]
        inode, appends = self.files[fd]
        offset = len(self.volatile[inode]) if appends else self.offsets[fd]
        self._put(inode, Write(offset, call.data))
        self.offsets[fd] = offset + len(call.data)

    def _pwrite64(self, call: Call) -> None:
        self._put(self.files[call.args[0]][0], Write(call.args[3], call.data))

    def _ftruncate(self, call: Call) -> None:
        self._put(self.files[call.args[0]][0], Write(0, size=call.args[1]))

    def _mkdir(self, call: Call) -> None:
        self._name({call.paths[0]: FOLDER})

    def _link(self, call: Call) -> None:
        self._name({call.paths[1]: self.seen[call.paths[0]]})

    def _unlink(self, call: Call) -> None:
        self._name({call.paths[0]: None})

    def _rename(self, call: Call) -> None:
        old, new = call.paths
        self._name({new: self.seen[old], old: None})

    def _renameat2(self, call: Call) -> None:
        old, new = call.paths
        assert call.args[4] == _EXCHANGE
        self._name({new: self.seen[old], old: self.seen[new]})

    def _name(self, names: dict[str, int | None]) -> None:
        _assign(self.seen, names)
        (folder,) = {os.path.dirname(path) for path in names}
        self.names.append(Rename(folder, names))

    def _put(self, inode: int, write: Write) -> None:
        self.volatile[inode] = write.on(self.volatile[inode])
        self.writes.setdefault(inode, []).append(write)

    def _sync(self, fd: int) -> None:
        if fd in self.folders:
            folder = self.folders[fd]
            for change in self.names:
                if change.folder == folder:
                    _assign(self.sure, change.names)
            self.names = [change for change in self.names if change.folder != folder]
        else:
            inode = self.files[fd][0]
            self.content[inode] = self.volatile[inode]
            self.writes.pop(inode, None)

    # -- worlds -----------------------------------------------------------------------------------

    def worlds(self, acknowledged: int, after: str, entries: frozenset[str]) -> Iterator[World]:
        """Yield the states that the disk may be in if the power fails now: every one, or as many as ``size`` says."""
        pending = [change for change in self.names if not self._is_runtime(change.folder)]
        for chosen, variants in self._drawn(pending):
            names = dict(self.sure)
            for change in chosen:
                _assign(names, change.names)
            known = {**self.content, **variants}
            for runtime in (False, True):
                yield World(self._tree(names, known, runtime), acknowledged, after, entries)

    def _drawn(self, pending: list[Rename]) -> Iterator[tuple[tuple[Rename, ...], dict[int, bytes]]]:
        """Yield names that arrived and contents that unsynced files came to."""
        named = {*self.sure.values(), *(inode for change in pending for inode in change.names.values())}
        parts = {
            inode: [write.variants(self.size.dice, self.size.cuts) for write in writes]
            for inode, writes in self.writes.items()
            if inode in named and inode not in self.runtime
        }
        subsets = list(self._subsets(pending))
        count = len(subsets) * math.prod(len(options) for part in parts.values() for options in part)
        if count <= self.size.most:
            every: Iterable[tuple[Any, ...]] = itertools.product(
                subsets, *(itertools.product(*part) for part in parts.values())
            )
        else:
            every = (self._at_random(subsets, parts) for _ in range(self.size.most))
        for chosen, *arrived in every:
            yield (
                chosen,
                {inode: self._content(inode, variant) for inode, variant in zip(parts, arrived, strict=True)},
            )

    def _at_random(
        self, subsets: list[tuple[Rename, ...]], parts: dict[int, list[list[Write | None]]]
    ) -> tuple[Any, ...]:
        dice = self.size.dice
        return dice.choice(subsets), *(
            tuple(dice.choice(options) for options in part) for part in parts.values()
        )

    def _subsets(self, pending: list[Rename]) -> Iterable[tuple[Rename, ...]]:
        if not self.ordered:
            return itertools.chain.from_iterable(
                itertools.combinations(pending, size) for size in range(len(pending) + 1)
            )
        folders = sorted({change.folder for change in pending})
        prefixes = []
        for folder in folders:
            mine = [change for change in pending if change.folder == folder]
            prefixes.append([mine[:size] for size in range(len(mine) + 1)])
        return (tuple(itertools.chain.from_iterable(parts)) for parts in itertools.product(*prefixes))

    def _content(self, inode: int, variant: Iterable[Write | None]) -> bytes:
        content = self.content[inode]
        for write in variant:
            content = write.on(content) if write is not None else content
        return content

    def entries(self) -> frozenset[str]:
        """Return the ids of all entries that programs see in the journal."""
        raws = [self.volatile[inode] for path, inode in self.seen.items() if path.endswith(".jsonl")]
        return frozenset(json.loads(line)["id"] for raw in raws for line in raw.splitlines())

    def _tree(self, names: Names, contents: dict[int, bytes], runtime: bool) -> Tree:
        found: dict[str, bytes | None] = {}
        for path, inode in sorted(names.items()):
            if path != self.root and not self._is_runtime(path) and self._reachable(names, path):
                found[path[len(self.root) + 1 :]] = None if inode == FOLDER else contents[inode]
        if runtime:
            for path, inode in sorted(self.seen.items()):
                if self._is_runtime(path):
                    found[path[len(self.root) + 1 :]] = None if inode == FOLDER else self.volatile[inode]
        return tuple(sorted(found.items()))

    def _reachable(self, names: Names, path: str) -> bool:
        parent = os.path.dirname(path)
        return parent == self.root or (names.get(parent) == FOLDER and self._reachable(names, parent))

    def _is_runtime(self, path: str) -> bool:
        return path.startswith(self.root + "/.paramstore")


def _assign(names: Names, changes: dict[str, int | None]) -> None:
    for path, inode in changes.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def mark(root: Path, number: int) -> None:
    """Tell the model, in a traced process, that ``number`` commits have been acknowledged by now."""
    os.access(f"{root}/{_MARK}{number}", os.F_OK)


_MARK = "acknowledged-"


def all_worlds(
    base: Path,
    root: str,
    calls: list[Call],
    without: int | None = None,
    ordered: bool = False,
    size: Size | None = None,
) -> list[World]:
    """Return every distinct world of a run: at each of its calls, and after the last, when all is acknowledged.

    ``without`` leaves out the sync that is call number ``without``. Those of which most was acknowledged come first.
    """
    disk = Disk(root, size or Size(), ordered)
    disk.load(base)
    found: dict[Tree, World] = {}
    acknowledged, entries, last = 0, frozenset[str](), 1
    for index, call in enumerate(calls):
        disk.run(call, sync=index != without)
        marked = call.name == "access" and os.path.basename(call.paths[0]).startswith(_MARK)
        if marked:
            acknowledged, entries = int(call.paths[0].rpartition("-")[2]), disk.entries()
            last = acknowledged + 1
        if call.changes or marked:
            for world in disk.worlds(acknowledged, str(call), entries):
                found[world.tree] = _more(found.get(world.tree), world)
    for world in disk.worlds(last, "the acknowledgement", disk.entries()):
        found[world.tree] = world
    return sorted(found.values(), key=lambda world: -world.acknowledged)


def _more(one: World | None, other: World) -> World:
    """Return of two worlds with one tree that of which more was acknowledged."""
    return one if one is not None and one.acknowledged >= other.acknowledged else other


def syncs(calls: list[Call]) -> list[int]:
    """Return the positions of all syncs."""
    return [index for index, call in enumerate(calls) if call.name in ("fsync", "fdatasync")]
