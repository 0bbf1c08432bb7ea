"""Many files: which to read, what each holds, and what they read of each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from paramstore.migrate._analyse import Analysed, analyse
from paramstore.migrate._liveness import decide, decide_attribute, leaks
from paramstore.migrate._names import namespace_of
from paramstore.migrate._reads import Read
from paramstore.migrate._sites import DEAD, LEAF, LIVE, NAME, SECTION, Site
from paramstore.migrate._source import Source, Unreadable, read
from paramstore.migrate._ties import doubts, joined, late

SKIPPED_FOLDERS = frozenset(
    {
        "node_modules",
        "site-packages",
        "__pycache__",
        "venv",
        "env",
        "build",
        "dist",
        "tests",
        "test",
        "migrations",
    }
)


@dataclass
class Scan:
    """``files`` by path relative to the root, sorted; ``skipped`` maps what could not be read to the reason."""

    files: dict[str, Analysed] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def sites(self) -> list[Site]:
        return [site for file in sorted(self.files) for site in self.files[file].sites]


def python_files(
    paths: Sequence[str], every: bool, skipped: dict[str, str], tests: bool = True
) -> Iterator[str]:
    """Yield the Python files named or below directories named, sorted, each once; links are not followed.

    Hidden directories, environments and tests are left out unless ``every``; tests that are named are not,
    unless ``tests`` is false.
    """
    seen: set[str] = set()
    for path in paths:
        if not os.path.isdir(path):
            if path not in seen and (tests or not _is_test(path)):
                seen.add(path)
                yield path
            continue
        for folder, names, files in os.walk(path, onerror=lambda error: _note(skipped, error)):
            names[:] = sorted(
                name for name in names if every or not (name.startswith(".") or name in SKIPPED_FOLDERS)
            )
            names[:] = [
                name for name in names if not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
            ]
            for name in sorted(files):
                file = os.path.normpath(os.path.join(folder, name))
                if name.endswith(".py") and file not in seen and (every or not _is_test(name)):
                    seen.add(file)
                    yield file


def _note(skipped: dict[str, str], error: OSError) -> None:
    skipped[str(error.filename)] = f"cannot be read: {error.strerror}"


def _is_test(path: str) -> bool:
    *folders, name = path.replace(os.sep, "/").split("/")
    return (
        bool({"tests", "test"} & set(folders))
        or name.startswith("test_")
        or name.endswith("_test.py")
        or name == "conftest.py"
    )


def scan(
    paths: Sequence[str],
    root: str,
    tiers: tuple[str, ...] = ("yes", "review"),
    every: bool = False,
    namespaces: dict[str, str] | None = None,
    told: Callable[[str], None] = lambda _: None,
    tests: bool = True,
) -> Scan:
    """Scan files and directories. Nothing is imported or run; what cannot be parsed is in ``skipped``.

    ``namespaces`` maps namespaces already given to files; ``told`` is called with each file's name; ``tests``
    tells whether to scan tests that ``paths`` names.
    """
    found = Scan()
    taken = dict(namespaces or {})
    own = {file: name for name, file in taken.items()}
    for path in sorted(python_files(paths, every, found.skipped, tests), key=lambda p: relative(p, root)):
        file = relative(path, root)
        told(file)
        if any("\ud800" <= char <= "\udfff" for char in file):
            found.skipped[ascii(file)] = "has a name that is no text"
            continue
        if os.path.islink(path):
            found.skipped[file] = "is a link; what it names is scanned where it stands"
            continue
        try:
            source = named(read(path), file)
            namespace = own.get(file) or namespace_of(file, taken)
            found.files[file] = analyse(source, file, namespace, tiers)
        except Unreadable as why:
            found.skipped[file] = str(why)
        except Exception as error:  # noqa: BLE001 - one file must not cost the others their scan
            found.skipped[file] = f"could not be analysed ({type(error).__name__}: {error}); please report it"
    _join(found, root)
    return found


def relative(path: str, root: str) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def named(source: Source, file: str) -> Source:
    return replace(source, path=file)


# -- what files read of each other -----------------------------------------------------------------


Named = tuple[str, str]  # a file, and a module-level name in it or `Class.attribute`


def _join(found: Scan, root: str) -> None:
    """Add the uses of each name in other files, and judge its liveness again with them."""
    names: dict[Named, list[Site]] = {}
    for file, analysed in found.files.items():
        for site in analysed.sites:
            if site.name:
                owner = "" if site.shape.startswith("module") else f"{site.scope}."
                names.setdefault((file, owner + site.name), []).append(site)
    if not names:
        return
    outside: dict[Named, list[Read]] = {}
    modules = _Modules(found.files, root)
    for key, reads in _elsewhere(found, names, modules):
        outside.setdefault(key, []).extend(reads)
    for key, reads in outside.items():
        for site in names[key]:
            _add(site, reads)
            site.through = sorted(modules.through.get(key, ()))


def frozen(found: Scan, root: str) -> list[tuple[Read, str, str]]:
    """Return the reads in functions of a name that took its value from the store at import, with the name and
    its key: they see the value as it was then."""
    kept = {
        (file, name): key for file, each in found.files.items() for name, (key, _) in each.ties.kept.items()
    }
    own = [
        (read, name, key)
        for each in found.files.values()
        for name, (key, reads) in each.ties.kept.items()
        for read in reads
    ]
    others = [
        (read, named[1], kept[named])
        for named, reads in (_elsewhere(found, kept, _Modules(found.files, root)) if kept else ())
        for read in late(reads)
    ]
    told = [each for each in own + others if each[0].line not in found.files[each[0].file].ties.ignored]
    return sorted(told, key=lambda each: (each[0].file, each[0].line))


def _elsewhere(
    found: Scan, names: Collection[Named], modules: _Modules
) -> Iterator[tuple[Named, list[Read]]]:
    """Yield each name with its uses in a file that is not its own."""
    by_last: dict[str, list[Named]] = {}
    for key in names:
        by_last.setdefault(key[1].rpartition(".")[2], []).append(key)
    renamed = {
        local
        for each in found.files.values()
        for local, ways in each.ties.imported.items()
        if any(original != local for _, original, _ in ways)
    }
    for file, analysed in found.files.items():
        uses = [(module, name, reads) for (module, name), reads in analysed.ties.taken.items()]
        uses += [
            (module, name, reads) for module, of in analysed.ties.stars.items() for name, reads in of.items()
        ]
        for module, name, reads in uses:
            if name in by_last or name in renamed:
                meant, sure = modules.meant(module, name, file, names)
                for key in meant:
                    if key[0] != file:
                        yield key, reads if sure and len(meant) == 1 else doubts(reads)
        for name, writes in analysed.ties.touched.items():
            for key in by_last.get(name, ()):
                yield key, writes if "." in key[1] else [read for read in writes if read.kind == "store"]


def _add(site: Site, reads: list[Read]) -> None:
    if site.keep == NAME:
        site.reads = [*site.reads, *[read for read in reads if read.kind not in ("store", "doubt")]]
    elif site.keep == LEAF and site.shape.startswith("module"):
        site.reads = [*site.reads, *[r for r in reads if r.path == site.group_path and r.kind == "load"]]
    elif site.keep == SECTION:
        leaks(site, reads)
    if site.liveness in (LIVE, DEAD):
        (decide if site.shape.startswith("module") else decide_attribute)(site, [*site.uses, *reads])
    site.accept = site.tier == "yes" and site.liveness == LIVE


class _Modules:
    """Finds the file that an import statement means, as Python would from the root, the importer's directory or
    the directory above its package. What is on disk but was not scanned is no file of ours."""

    def __init__(self, files: dict[str, Analysed], root: str) -> None:
        self._files = files
        self._root = root
        self._known: dict[tuple[str, str], tuple[list[str], bool]] = {}
        self._by_end: dict[str, list[str]] = {}
        for file in files:
            self._by_end.setdefault(_module_parts(file)[-1], []).append(file)
        self.through: dict[Named, set[str]] = {}  # the files that hand a name on

    def files_of(self, module: str, importer: str) -> tuple[list[str], bool]:
        """Return the files that ``import module`` may mean, and whether that is sure."""
        place = module, importer.rpartition("/")[0]
        if place not in self._known:
            self._known[place] = self._files_of(module, importer)
        return self._known[place]

    def _files_of(self, module: str, importer: str) -> tuple[list[str], bool]:
        level = len(module) - len(module.lstrip("."))
        folder = importer.split("/")[:-1]
        names = module[level:].split(".") if module[level:] else []
        if level:
            parts = [*folder[: len(folder) - (level - 1)], *names]
            return (self._at(parts), True) if level - 1 <= len(folder) else ([], True)
        above = list(folder)
        while above and os.path.isfile(os.path.join(self._root, *above, "__init__.py")):
            above.pop()
        bases = list(dict.fromkeys([(), tuple(folder), tuple(above)]))
        hits = [base for base in bases if self._is_there([*base, names[0]], names[1:])]
        if not hits:  # from a directory that the program puts on its path, perhaps
            tail = [
                file
                for file in self._by_end.get(names[-1], ())
                if _module_parts(file)[-len(names) :] == names
            ]
            return tail, False
        found = [file for base in hits for file in self._at([*base, *names])]
        return found, len(hits) == 1

    def meant(
        self, module: str, name: str, importer: str, names: Collection[Named]
    ) -> tuple[set[Named], bool]:
        """Return which of ``names`` an import may mean, through re-exports, and whether that is sure."""
        found: set[Named] = set()
        seen: set[tuple[str, str, str]] = set()
        sure = self._follow(module, name, importer, names, found, seen)
        for key in found:
            self.through.setdefault(key, set()).update(file for _, _, file in seen if file != importer)
        return found, sure

    def _follow(
        self,
        module: str,
        name: str,
        importer: str,
        names: Collection[Named],
        found: set[Named],
        seen: set[tuple[str, str, str]],
    ) -> bool:
        if (module, name, importer) in seen:
            return True
        seen.add((module, name, importer))
        files, sure = self.files_of(module, importer)
        above, dot, owner = module.rpartition(".")
        if not files and owner and (dot or above):  # a class of a module, perhaps
            files, sure = self.files_of(above or ".", importer)
            name = f"{owner}.{name}"
        for file in files:
            if (file, name) in names:
                found.add((file, name))
                continue
            ties = self._files[file].ties
            head, dot, rest = name.partition(".")
            for there, original, alone in ties.imported.get(head, ()):
                way = (joined(there, original), rest) if dot else (there, original)
                sure &= self._follow(*way, file, names, found, seen) and alone
            if head not in ties.imported:
                for star in ties.stars:
                    sure &= self._follow(star, name, file, names, found, seen) and len(ties.stars) == 1
                    sure &= not any(self._files[inner].ties.closed for inner in self.files_of(star, file)[0])
        return sure

    def _is_there(self, parts: list[str], inner: list[str]) -> bool:
        """Tell whether a directory of the path gives a module or package; one without ``__init__.py`` only if it
        holds the next part of the name."""
        path = os.path.join(self._root, *parts)
        if os.path.isfile(path + ".py") or os.path.isfile(os.path.join(path, "__init__.py")):
            return True
        below = os.path.join(path, inner[0]) if inner else ""
        return bool(below) and (os.path.isfile(below + ".py") or os.path.isdir(below))

    def _at(self, parts: list[str]) -> list[str]:
        """Return the file of a module: a package before a module of the same name, as Python does."""
        path = "/".join(parts)
        if os.path.isfile(os.path.join(self._root, path, "__init__.py")):
            path += "/__init__"
        return [file for file in (f"{path}.py",) if file in self._files]


def _module_parts(file: str) -> list[str]:
    return file.removesuffix(".py").removesuffix("/__init__").split("/")
