"""Bring values that learners wrote to JSON files into the store, with their history where the file keeps one.

``plan_import`` reads the bytes of a file and needs no store. ``run_import`` judges every version, in order,
before it writes the first; each becomes one transaction.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Any, NamedTuple

from paramstore import ParamStore, errors

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


def run_import(
    store: ParamStore,
    plan: ImportPlan,
    *,
    author: str,
    reason: str = "",
    dry_run: bool = False,
    on_violation: str = "reject",
) -> ImportReport:
    """Write each version that changes something as one transaction, once all of them are judged, in order.

    A version that breaks a rule refuses the whole import, or with ``on_violation="skip"`` is left out. Raises
    ``ValidationError`` with all problems, ``UnknownParamError`` and ``ContextError`` for wrong maps, and what
    ``transaction`` raises: nothing was written. ``ImportStoppedError``: some versions were.
    """
    if on_violation not in ("reject", "skip"):
        problem = f"on_violation={on_violation!r} is not known; use 'reject' or 'skip'."
        raise errors.ValidationError([problem], "Nothing was written.")
    with store.transaction(author=author, reason=reason, dry_run=True) as tx:
        start, state = tx.revision, tx.state
        stands = f"Nothing was written; revision {start} stands."
        _refuse_unknown(store, plan, stands)
        for key in {cell.key for version in plan.versions for cell in version.values}:
            tx.get(key)  # raises if its file is broken
    kinds = {name: dimension.type for name, dimension in state.dimensions().items()}
    versions = [
        replace(version, values=tuple(_typed(cell, kinds) for cell in version.values))
        for version in plan.versions
    ]
    versions = _judged(store, versions, state, {"author": author, "expected_revision": start}, stands)
    bad = [f"{version.where}: {problem}" for version in versions for problem in version.problems]
    if bad and on_violation == "reject":
        more = [f"… and {len(bad) - MOST_PROBLEMS} more."] if len(bad) > MOST_PROBLEMS else []
        todo = "Correct the file or the maps, or leave such versions out with --on-violation skip."
        raise errors.ValidationError(bad[:MOST_PROBLEMS] + more, f"{stands} {todo}")
    if not dry_run:
        versions = _written(store, plan, versions, author, reason, start)
    revision = max([start, *(version.revision or 0 for version in versions)])
    about = (plan.name, plan.sha256, tuple(versions), plan.unmatched, plan.unmatched_count)
    return ImportReport(*about, dry_run, revision)


def _refuse_unknown(store: ParamStore, plan: ImportPlan, stands: str) -> None:
    known = set(store.keys())
    cells = {cell.key: cell for version in plan.versions for cell in version.values}
    missing = [cell for key, cell in cells.items() if key not in known]
    named = ", ".join(f"`{cell.key}` ({cell.where})" for cell in missing[1:MOST_LISTED])
    others = f" Unknown as well: {named}{', …' * (len(missing) > MOST_LISTED)}." if named else ""
    todo = "Correct the map, or name the values one by one instead of with `*`."
    try:
        store.require(*(cell.key for cell in missing[:1]))
    except errors.UnknownParamError as error:
        hint = f"{missing[0].where} in {plan.name} is mapped to it.{others} {stands} {todo}"
        raise errors.UnknownParamError(error.key, error.nearest, hint) from None


def _typed(cell: Imported, kinds: Mapping[str, str]) -> Imported:
    """Return ``cell`` with its context typed as declared; what cannot be stays text, to be refused."""
    context = dict(cell.context)
    for name, text in cell.context.items():
        if kinds.get(name, "string") != "string" and re.fullmatch(LITERAL, text):
            value = json.loads(text)
            context[name] = float(value) if kinds[name] == "number" and type(value) is int else value
    return replace(cell, context=context)


def _judged(
    store: ParamStore, versions: list[Version], state: Any, words: Words, stands: str
) -> list[Version]:
    """Return the versions with their changes or problems. Each is judged by the state that it would leave:
    its values on top of those before that are not left out."""
    now = {cell.place: _stored(cell, state) for version in versions for cell in version.values}
    before, standing, found = now, dict[Place, Imported](), []
    for version in versions:
        wanted = standing | {cell.place: cell for cell in version.values}
        judged = ((cell, store.judge(cell.key, cell.new)[1]) for cell in version.values)
        problems = [f"{problem}, from {cell.where}." for cell, wrong in judged for problem in wrong]
        try:
            later = {} if problems else before | _outcome(store, wanted.values(), words, stands)
        except errors.ValidationError as error:
            problems = [*error.violations, *_rounded(store, version)]
        if problems:
            found.append(replace(version, problems=tuple(problems)))
            continue
        changes = [replace(cell, old=now[cell.place], new=later[cell.place]) for cell in version.values]
        standing, now = wanted, later
        found.append(replace(version, changes=tuple(cell for cell in changes if cell.old != cell.new)))
    return found


def _stored(cell: Imported, state: Any) -> Any:
    namespace, _, path = cell.key.partition(".")
    return state.documents[namespace].own_value(path, cell.context, None)


def _outcome(store: ParamStore, cells: Iterable[Imported], words: Words, stands: str) -> dict[Place, Any]:
    """Return what would change if ``cells`` were written now. Raises ``ValidationError``."""
    with store.transaction(dry_run=True, **words) as tx:
        for cell in cells:
            try:
                tx.set(cell.key, cell.new, **cell.context)
            except errors.ContextError as error:
                todo = "Correct the map; {dimension:this|that} in it takes these names only."
                raise errors.ContextError(f"{cell.where}: {error} {stands} {todo}") from None
    changes = tx.commit_result.changes
    return {(change.key, tuple(sorted(change.context.items()))): change.new for change in changes}


def _rounded(store: ParamStore, version: Version) -> list[str]:
    """Say which digits were dropped before a rule was broken: often that is what broke it."""
    digits = [(cell, store.spec(cell.key).decimals) for cell in version.values if type(cell.new) is float]
    kept = [(cell, round(cell.new, count)) for cell, count in digits if count is not None]
    words = [f"`{cell.key}` = {cell.new!r} as {short!r}" for cell, short in kept if short != cell.new]
    more = f" and {len(words) - 1} others" if len(words) > 1 else ""
    return [f"The schema's `decimals` keep {words[0]}{more}."] if words else []


def _written(
    store: ParamStore, plan: ImportPlan, versions: list[Version], author: str, reason: str, start: int
) -> list[Version]:
    """Write the versions that change something, each on top of the one before and of nothing else."""
    done, revision = list(versions), start
    for index, version in enumerate(versions):
        count = f"{index + 1} of {len(versions)}"
        about = {"imported_from": plan.name, "sha256": plan.sha256, "time": version.time, "version": count}
        why = ": ".join(filter(None, (reason, version.reason))) or f"imported from {plan.name}"
        if not version.changes:
            continue
        try:
            with store.transaction(
                author=author, reason=why, evidence=about, expected_revision=revision
            ) as tx:
                for cell in version.values:
                    tx.set(cell.key, cell.new, **cell.context)
        except errors.ParamstoreError as error:
            if revision == start:
                raise
            problem = f"Version {count} and those after it were not imported: {error}"
            todo = f"`paramstore rollback {start}` takes back everything since; then import again."
            stands = f"Those before it are written; revision {revision} stands."
            raise ImportStoppedError(f"{problem}\n{stands} {todo}") from error
        revision = tx.commit_result.revision
        done[index] = replace(version, revision=revision)
    return done
