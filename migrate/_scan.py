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
from paramstore.migrate._ties import late

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
    return sorted(own + others, key=lambda each: (each[0].file, each[0].line))


def _elsewhere(
    found: Scan, names: Collection[Named], modules: _Modules
) -> Iterator[tuple[Named, list[Read]]]:
    """Yield each name with its uses in a file that is not its own."""
    by_last: dict[str, list[Named]] = {}
    for key in names:
        by_last.setdefault(key[1].rpartition(".")[2], []).append(key)
    for file, analysed in found.files.items():
        for (module, name), reads in analysed.ties.taken.items():
            meant = modules.origin(module, name, file, names)
            if meant is not None and meant[0] != file:
                yield meant, reads
        for module, uses in analysed.ties.stars.items():
            for name, reads in uses.items():
                if name in by_last and (meant := modules.origin(module, name, file, names)) is not None:
                    yield meant, reads
        for name, writes in analysed.ties.touched.items():
            for key in by_last.get(name, ()):
                yield key, writes if "." in key[1] else [read for read in writes if read.kind == "store"]


def _add(site: Site, reads: list[Read]) -> None:
    inside = site.reads if site.keep != SECTION else []
    if site.keep == NAME:
        site.reads = [*site.reads, *[read for read in reads if read.kind != "store"]]
    elif site.keep == LEAF and site.shape.startswith("module"):
        site.reads = [*site.reads, *[r for r in reads if r.path == site.group_path and r.kind == "load"]]
    elif site.keep == SECTION:
        leaks(site, reads)
    if site.liveness in (LIVE, DEAD):
        (decide if site.shape.startswith("module") else decide_attribute)(site, [*inside, *reads])
    site.accept = site.tier == "yes" and site.liveness == LIVE


class _Modules:
    """Finds the file that an import statement means: as Python would from the root, else from the importer's
    own directory. What is on disk but was not scanned is no file of ours."""

    def __init__(self, files: dict[str, Analysed], root: str) -> None:
        self._files = files
        self._root = root
        self.through: dict[Named, set[str]] = {}  # the files that hand a name on

    def file(self, module: str, importer: str) -> str | None:
        level = len(module) - len(module.lstrip("."))
        folder = importer.split("/")[:-1]
        names = module[level:].split(".") if module[level:] else []
        if level:
            if level - 1 > len(folder):
                return None
            return self._at([*folder[: len(folder) - (level - 1)], *names])
        for base in ([], folder):
            if self._is_there([*base, names[0]]):
                return self._at([*base, *names])
        return None

    def origin(
        self, module: str, name: str, importer: str, names: Collection[Named], depth: int = 8
    ) -> Named | None:
        """Return which of ``names`` an import means, through re-exports; ``None`` if it is another's."""
        file = self.file(module, importer)
        if file is None:  # a class of a module, perhaps
            above, dot, owner = module.rpartition(".")
            base = self.file(above or ".", importer) if dot else None
            if base is None:
                return None
            file, name = base, f"{owner}.{name}"
        if (file, name) in names:
            return file, name
        ties = self._files[file].ties
        head, dot, rest = name.partition(".")
        ways = [(star, name) for star in ties.stars]
        if head in ties.imported:
            there, original = ties.imported[head]
            ways = [(f"{there}.{original}", rest) if dot else (there, original)]
        for way in ways if depth else ():
            if (key := self.origin(*way, file, names, depth - 1)) is not None:
                self.through.setdefault(key, set()).add(file)
                return key
        return None

    def _is_there(self, parts: list[str]) -> bool:
        path = os.path.join(self._root, *parts)
        return os.path.isfile(path + ".py") or os.path.isdir(path)

    def _at(self, parts: list[str]) -> str | None:
        path = "/".join(parts)
        return next((file for file in (f"{path}.py", f"{path}/__init__.py") if file in self._files), None)
