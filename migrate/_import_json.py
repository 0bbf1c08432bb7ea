"""Bring values that learners wrote to JSON files into the store, with their history where the file keeps one.

``plan_import`` reads the bytes of a file and needs no store; ``_import_run`` writes what it found.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Any, NamedTuple

from paramstore import errors

LARGEST, DEEPEST, MOST_LISTED, MOST_PROBLEMS = 64 << 20, 100, 20, 200
TIME_FIELDS = ("ts", "time", "timestamp", "updated_at")
PLAIN = r"""[^\s."'*{}=\[\]#\ud800-\udfff]+"""
QUOTED = r'"(?:[^"\\\ud800-\udfff]|\\.)*"'  # neither has half characters, which no file can hold
STEP = re.compile(rf"{QUOTED}|{PLAIN}|(\*)|\{{([^\W\d]\w*)(?::([^{{}}]+))?\}}")
LEFT = re.compile(rf"(?:{STEP.pattern})(?:\.(?:{STEP.pattern}))*")
RIGHT = re.compile(r"(?:\*|[\w-]+)(?:\.(?:\*|[\w-]+))*")
COMMENT = re.compile(rf'^((?:[^"#]|{QUOTED})*)#.*')
LITERAL = r"true|false|-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?"  # of a dimension that is not text
MAP_FORM = "Write 'path.in.json.* = namespace.path.*'; `*` and {dimension} stand for whole names."

Place = tuple[str, tuple[tuple[str, Any], ...]]
Words = Mapping[str, Any]
Rule = tuple[str, re.Pattern[str], str]  # as written, its left and its right side


class ImportFileError(errors.InvalidFileError):
    """A file cannot be imported; ``place`` is a JSON path. Nothing was written."""

    def __init__(self, file: str, problem: str, todo: str, line: int | None = None, place: str = "") -> None:
        super().__init__(file, f"{problem}. Nothing was written; {todo}.", line=line, place=place)


class ImportMapError(errors.ParamstoreError):
    """A map is malformed, matches nothing, or brings two values to one place. Nothing was written."""


class ImportStoppedError(errors.ParamstoreError):
    """It ended between two versions; the message says which are written, and how to take them back."""


@dataclass(frozen=True, slots=True)
class Imported:
    """One value and the JSON path where it stands. As a change it has an ``old`` value, ``None`` where the
    context had none of its own. In a plan, contexts are still text."""

    key: str
    context: Mapping[str, Any]
    new: Any
    where: str
    old: Any = None

    @property
    def place(self) -> Place:
        """What it sets: the key and the context."""
        return self.key, tuple(sorted(self.context.items()))


@dataclass(frozen=True, slots=True)
class Version:
    """What the file held at one moment. ``time`` is as the file has it, ``None`` where it has none.

    ``run_import`` adds the rest: with ``problems`` it is left out, with a ``revision`` it was written.
    """

    where: str
    time: str | float | None
    reason: str
    values: tuple[Imported, ...]
    changes: tuple[Imported, ...] = ()
    problems: tuple[str, ...] = ()
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """The versions of a file, oldest first; the first of ``unmatched_count`` paths that no map matched."""

    name: str
    sha256: str
    versions: tuple[Version, ...]
    unmatched: tuple[str, ...]
    unmatched_count: int


@dataclass(frozen=True, slots=True)
class ImportReport(ImportPlan):
    """What an import did, or with ``dry_run`` would do. ``revision`` is the one that stands now."""

    dry_run: bool
    revision: int


class _Source(NamedTuple):
    where: str
    head: str  # how its paths begin
    general: str  # how the paths of all versions begin
    leaves: dict[str, Any]  # values by path; a list is one value
    prefix: str = ""  # how paths begin that maps may match


def read_file(path: str) -> bytes:
    """Return the bytes of a file, though hardly more than can be imported. Raises ``ImportFileError``."""
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ImportFileError(path, problem, "name a file that can") from None


def read_specs(words: Iterable[str]) -> list[str]:
    """Return the maps that ``words`` give; ``@FILE`` stands for its lines, without ``#`` comments."""
    specs: list[str] = []
    for word in words:
        lines = _decoded(read_file(word[1:]), word[1:]).splitlines() if word[:1] == "@" else []
        specs += filter(None, (COMMENT.sub(r"\1", line).strip() for line in lines))
        specs += [word] if word[:1] != "@" else []
    return specs


def _decoded(raw: bytes, name: str) -> str:
    if len(raw) > LARGEST:
        todo = "split it, and import the oldest part first"
        raise ImportFileError(name, f"is larger than {LARGEST >> 20} MB", todo)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImportFileError(name, f"is not UTF-8 at byte {error.start}", "give a file in UTF-8") from None


def _rule(spec: str) -> Rule:
    left, sign, right = (part.strip() for part in spec.rpartition("="))  # a key never holds `=`
    steps = list(STEP.finditer(left))
    dims, stars = [step[2] for step in steps if step[2]], sum(step[1] is not None for step in steps)
    checks = {
        "it has no `=`": not sign,
        "a {dimension} stands on the left only, and becomes the context": "{" in right,
        f"{right!r} is no key": not RIGHT.fullmatch(right),
        f'{left!r} is no path: dots join names, and a name that is not plain is "quoted"': not LEFT.fullmatch(
            left
        ),
        "it names a dimension twice": len(dims) != len(set(dims)),
        f"it has {stars} `*` on the left and {right.count('*')} on the right": stars != right.count("*"),
    }
    for problem in (problem[:200] for problem, wrong in checks.items() if wrong):
        raise ImportMapError(f"The map {spec[:99]!r} is wrong: {problem}. Nothing was written. {MAP_FORM}")
    return (spec, re.compile(r"\.".join(map(_pattern, steps))), right)


def _pattern(step: re.Match[str]) -> str:
    """Return what a segment of a left side matches; a dimension in a group of its name."""
    if step[1] is None and step[2] is None:
        return re.escape(step[0])
    names = (
        "|".join(re.escape(_quoted(name)) for name in step[3].split("|")) if step[3] else f"{QUOTED}|{PLAIN}"
    )
    return f"(?P<{step[2]}>{names})" if step[2] else f"({names})"


def _quoted(name: str) -> str:
    return name if re.fullmatch(PLAIN, name) else json.dumps(name, ensure_ascii=False)


def _bare(text: str) -> str:
    return str(json.loads(text)) if text[:1] == '"' else text


def _nearest(word: str, paths: Iterable[str]) -> str:
    some = list(dict.fromkeys(islice(paths, 2000)))
    close = difflib.get_close_matches(word, some, 3, 0.3) or some[:3]
    return f" (nearest: {', '.join(close)})" if close else ""


TWICE = object()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = sorted(name for name, _ in pairs)
        found |= {one: TWICE for one, other in pairwise(names) if one == other}
    return found


def _parsed(text: str, name: str, line: int | None = None) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits, or endless brackets
        problem, line = f"is not JSON: {getattr(error, 'msg', error)}", line or getattr(error, "lineno", None)
        raise ImportFileError(name, problem, "give a JSON file, or one JSON object a line", line) from None


def _leaves(data: Any, name: str, where: str) -> dict[str, Any]:
    """Return every value of an object by its path, in order; a list is one value."""
    if not isinstance(data, dict):
        raise ImportFileError(name, "is no JSON object", "make every version an object", place=where)
    found: dict[str, Any] = {}
    stack: list[tuple[str, Any, int, bool]] = [("", data, 0, False)]
    while stack:
        path, node, depth, listed = stack.pop()
        if node is TWICE or depth > DEEPEST:
            problem = "the key stands there twice" if node is TWICE else f"goes deeper than {DEEPEST} levels"
            raise ImportFileError(name, problem, "correct the file", place=f"{where} {path[:200]}".strip())
        if isinstance(node, dict):
            items = [(f"{path}.{_quoted(step)}".removeprefix("."), node[step]) for step in node]
        else:
            items = [(f"{path}[{i}]", item) for i, item in enumerate(node)] if isinstance(node, list) else []
            found |= {} if listed else {path: node}
        stack += [(*item, depth + 1, listed or isinstance(node, list)) for item in reversed(items)]
    return found


def _sources(raw: bytes, name: str, history: str | None) -> list[_Source]:
    """Return the JSON objects that are versions, in the order of the file."""
    text = _decoded(raw, name)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) > 1 and _is_object(lines[0][1]):
        items = [(f"line {number}", ": ", _parsed(line, name, number)) for number, line in lines]
    else:
        data = _parsed(text, name)
        if not isinstance(data, list):
            leaves = _leaves(data, name, "")
            return _history(leaves, history, name) if history else [_Source("current values", "", "", leaves)]
        items = [(f"[{index}]", ".", item) for index, item in enumerate(data)]
    if history:
        raise ImportFileError(name, "is a list of versions itself", "leave out --history")
    return [_Source(where, where + sign, "", _leaves(item, name, where)) for where, sign, item in items]


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _history(leaves: dict[str, Any], history: str, name: str) -> list[_Source]:
    """Take the list that ``history`` names, as ``path`` or ``path[].prefix``, out of ``leaves``."""
    outer, _, inner = history.partition("[]")
    versions = leaves.pop(outer, None)
    if not isinstance(versions, list):
        lists = (path for path, value in leaves.items() if isinstance(value, list))
        todo = f"name the list of versions{_nearest(outer, lists)}"
        raise ImportFileError(name, "there is no list, but --history names it", todo, place=outer)
    prefix = inner.strip(".") and inner.strip(".") + "."
    places = [(f"{outer}[{index}]", item) for index, item in enumerate(versions)]
    found = [_Source(at, f"{at}.", f"{outer}[].", _leaves(item, name, at), prefix) for at, item in places]
    return [*found, _Source("current values", "", "", leaves)]


def plan_import(
    text: bytes,
    name: str,
    specs: Sequence[str],
    *,
    history: str | None = None,
    time_field: str | None = None,
    reason_field: str = "reason",
) -> ImportPlan:
    """Return the versions that the bytes of a JSON file hold, oldest first and the current values last.

    ``history`` is a path to the list of versions, with ``[].prefix`` if the maps begin below each of them.
    Raises ``ImportFileError`` and ``ImportMapError``.
    """
    name, rules = os.path.basename(name), [_rule(spec) for spec in specs]
    sources = _sources(text, name, history)
    times = (time_field,) if time_field else TIME_FIELDS
    used: set[str] = set()
    versions = [_version(source, rules, times, reason_field, used) for source in sources]
    idle = [spec for spec in specs if spec not in used]
    if time_field and all(version.time is None for version in versions):
        idle.append(f"--time {time_field}")
    if history and len(versions) > 1 and not any(version.values for version in versions[:-1]):
        idle.append(f"--history {history}")
    if idle or not specs:
        _refuse_idle(idle, sources, name)
    taken = {cell.where for version in versions for cell in version.values}
    left = [(at, path) for _, head, at, leaves, _ in sources for path in leaves if head + path not in taken]
    rest = tuple(dict.fromkeys(at + path for at, path in left if path not in (*times, reason_field)))
    last = [versions.pop()] if history else []
    ordered = (*_in_order(versions, name), *(version for version in last if version.values))
    return ImportPlan(name, hashlib.sha256(text).hexdigest(), ordered, rest[:MOST_LISTED], len(rest))


def _refuse_idle(idle: list[str], sources: list[_Source], name: str) -> None:
    paths = [path for source in (sources[:1] + sources[-1:]) for path in islice(source.leaves, 2000)]
    lines = [f"{spec!r} matches nothing in {name}{_nearest(spec.partition('=')[0], paths)}." for spec in idle]
    raise ImportMapError("\n".join([*(lines or ["No map is given."]), f"Nothing was written. {MAP_FORM}"]))


def _version(source: _Source, rules: list[Rule], times: Sequence[str], why: str, used: set[str]) -> Version:
    """Return what a source holds; add the maps that matched to ``used``."""
    cells: dict[Place, Imported] = {}
    time = next((field for field in times if _is_time(source.leaves.get(field))), "")
    for path, value in source.leaves.items():
        inner = path.removeprefix(source.prefix) if path.startswith(source.prefix) else ""
        for spec, left, key in rules:
            if not (match := left.fullmatch(inner)):
                continue
            used.add(spec)
            cell = _cell(match, key, value, source.head + path)
            first = cells.setdefault(cell.place, cell)
            if first is not cell:
                at = "".join(f" at {dim}={named}" for dim, named in cell.context.items())
                problem = f"{first.where} and {cell.where} are both mapped to `{cell.key}`{at}"
                raise ImportMapError(f"{problem}. Nothing was written; drop one map, or make it narrower.")
    note = source.leaves.get(why)
    reason = note if isinstance(note, str) else "" if note is None else json.dumps(note)
    return Version(source.where, source.leaves.get(time), reason, tuple(cells.values()))


def _cell(match: re.Match[str], right: str, value: Any, where: str) -> Imported:
    dims = {number: dim for dim, number in match.re.groupindex.items()}
    stars = iter(_bare(text) for number, text in enumerate(match.groups(), 1) if number not in dims)
    key = ".".join(next(stars) if step == "*" else step for step in right.split("."))
    return Imported(key, {dim: _bare(match[dim]) for dim in dims.values()}, value, where)


def _is_time(value: Any) -> bool:
    return isinstance(value, str) or (type(value) in (int, float) and 0 <= value < 1e15)


def _moment(time: str | float | None) -> float | None:
    """Return the seconds of ISO 8601 text, a number as it is, ``None`` for what is no time."""
    if not isinstance(time, str):
        return time
    try:
        moment = datetime.fromisoformat(time.strip())
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _in_order(versions: list[Version], name: str) -> list[Version]:
    moments = [(_moment(version.time), version) for version in versions]
    known = [moment for moment, _ in moments if moment is not None]
    if len(known) == len(versions):
        return [version for _, version in sorted(moments, key=lambda pair: pair[0] or 0.0)]
    if known != sorted(known):
        problem = "some versions have no time and the others are not in order, so the oldest is not known"
        raise ImportFileError(name, problem, "name the field with --time, or put them in order, oldest first")
    return versions
