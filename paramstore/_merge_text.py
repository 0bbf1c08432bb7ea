"""The text of a merged values file: ours, with what theirs changed written into it, and markers where a person has to
decide. What is written is parsed again: its data is what was to be merged, or there are markers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from paramstore import _yaml
from paramstore._merge import (
    At,
    Leaves,
    Merged,
    NotMergeable,
    Place,
    alike,
    at_of,
    context_of,
    leaves,
    merge,
    settled,
)
from paramstore._values import ABSENT
from paramstore._yaml import YamlText
from paramstore.errors import DocumentError

Judge = Callable[[Mapping[str, Any], Leaves], tuple[list[str], set[Place]]]
TextMerge = Callable[[bytes, bytes, bytes], bytes | None]  # base, ours, theirs; None where lines conflict

UNREADABLE = "one side is no values file, so that values cannot be told apart"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A merged file: its bytes, and why a person has to decide (nothing: it is clean). ``by_lines`` tells that the
    comments and layout of both sides are in it, not of ours alone."""

    raw: bytes
    reasons: tuple[str, ...] = ()
    by_lines: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What is known of a namespace's schema: keys whose value is one even if it is a mapping, and a judge that returns
    what is wrong with data, as sentences, and the places involved."""

    whole: Collection[str] = ()
    judge: Judge = lambda data, found: ([], set())


def merge_files(
    base: bytes, ours: bytes, theirs: bytes, file: str, rules: Rules, by_lines: TextMerge, prefer: str = ""
) -> Outcome:
    """Merge three versions of ``file``; an empty ``base`` is one without values (both sides added the file).

    Values merge by key, comments and layout line by line where that can be done, else ours are kept. What both sides
    changed, or what breaks a rule together, is decided by ``prefer`` (``ours`` or ``theirs``), else by a person.
    """
    try:
        mine, other = _yaml.parse(ours, file), _yaml.parse(theirs, file)
        sides = leaves(mine.data, rules.whole), leaves(other.data, rules.whole)
    except (DocumentError, NotMergeable):
        return _unread(ours, theirs, by_lines(base, ours, theirs), file)
    merged = merge(_base(base, file, rules), *sides)
    reasons = [_both(place, *sides) for place in merged.conflicts]
    undecided = set(merged.conflicts)
    if not undecided:
        combined = by_lines(base, ours, theirs)
        carrying = _carrying(combined, merged, file, rules) if combined is not None else None
        text = carrying or _written(mine, merged.leaves, rules)
        if text is None:
            return _marked(ours, theirs, ("the two sides cannot be written into one text",))
        problems, involved = rules.judge(text.data, merged.leaves)
        if not problems:
            return Outcome(text.raw, by_lines=carrying is not None)
        differing = {place for place in sides[0].keys() | sides[1].keys() if _differs(place, *sides)}
        undecided = involved & differing or differing
        reasons = [f"each side keeps the rules, both together do not: {problem}" for problem in problems]
    if prefer:
        side = sides[prefer == "theirs"]
        text = _written(mine, settled(merged, side, undecided), rules)
        if text is not None and not rules.judge(text.data, leaves(text.data, rules.whole))[0]:
            return Outcome(text.raw)
    return _undecided(mine, other, merged, sides, undecided, reasons, rules)


def _base(raw: bytes, file: str, rules: Rules) -> Leaves | None:
    if not raw.strip():
        return {}
    try:
        return leaves(_yaml.parse(raw, file).data, rules.whole)
    except (DocumentError, NotMergeable):
        return None  # as where git merged several bases into one, with markers in it


def _unread(ours: bytes, theirs: bytes, combined: bytes | None, file: str) -> Outcome:
    """Merge by lines what cannot be merged by values."""
    if combined is not None:
        try:
            return Outcome(_yaml.parse(combined, file).raw, by_lines=True)
        except DocumentError as error:
            return Outcome(combined, (error.problem,))
    return _marked(ours, theirs, (UNREADABLE,))


def _differs(place: Place, ours: Leaves, theirs: Leaves) -> bool:
    return not alike(ours.get(place, ABSENT), theirs.get(place, ABSENT))


def _both(place: Place, ours: Leaves, theirs: Leaves) -> str:
    where = (
        f"{place.key} at {', '.join(f'{name}={value}' for name, value in context_of(place.at).items())}"
        if place.at
        else place.key
    )
    said = [
        "is not there" if side.get(place, ABSENT) is ABSENT else repr(side[place]) for side in (ours, theirs)
    ]
    return f"both sides changed {where}: ours {said[0]}, theirs {said[1]}"


# --- writing ------------------------------------------------------------------------------------


def _carrying(raw: bytes, merged: Merged, file: str, rules: Rules) -> YamlText | None:
    """Return a text that was merged line by line, if it holds the merged values."""
    try:
        text = _yaml.parse(raw, file)
        return text if _same(leaves(text.data, rules.whole), merged.leaves) else None
    except (DocumentError, NotMergeable):
        return None


def _same(a: Leaves, b: Leaves) -> bool:
    return a.keys() == b.keys() and all(alike(a[place], b[place]) for place in a)


def _written(text: YamlText, target: Leaves, rules: Rules) -> YamlText | None:
    """Return ``text`` with exactly the values of ``target``, or ``None`` where it cannot be written."""
    try:
        now = leaves(text.data, rules.whole)
        text = _with_overrides(text, now, target)
        missing = {_path(place, {}): target[place] for place in target if not place.at and place not in now}
        text = text.completed(missing) if missing else text
        gone = [_path(place, {}) for place in now if not place.at and place not in target]
        text = text.without(gone) if gone else text
        return text if _same(leaves(text.data, rules.whole), target) else None
    except (DocumentError, NotMergeable, TypeError):
        return None


def _with_overrides(text: YamlText, now: Leaves, target: Leaves) -> YamlText:
    """Set what differs and is there, and let overrides come and go."""
    entries = text.data.get("overrides") or ()
    index = {at_of(entry["at"]): number for number, entry in enumerate(entries)}
    sets: dict[_yaml.Path, Any] = {}
    fresh: dict[At, dict[str, Any]] = {}
    for place, value in target.items():
        if place.at and place.at not in index:
            _put(fresh.setdefault(place.at, {}), place.path, value)
        elif (place in now or place.at) and not alike(now.get(place, ABSENT), value):
            sets[_path(place, index)] = value
    gone = index.keys() - {place.at for place in target}
    removes: list[_yaml.Path] = [("overrides", index[at]) for at in gone]
    removes += [_path(p, index) for p in now if p.at and p.at not in gone and p not in target]
    return text.edited(sets, [(context_of(at), own) for at, own in fresh.items()], removes)


def _path(place: Place, index: Mapping[At, int]) -> _yaml.Path:
    if not place.at:
        return place.path if place.at is None else ("values", *place.path)
    return "overrides", index[place.at], "values", *place.path


def _put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


# --- markers ------------------------------------------------------------------------------------


def _undecided(
    mine: YamlText,
    other: YamlText,
    merged: Merged,
    sides: tuple[Leaves, Leaves],
    places: Collection[Place],
    reasons: Sequence[str],
    rules: Rules,
) -> Outcome:
    """Merge all but ``places``, and put markers around those."""
    ours = _written(mine, settled(merged, sides[0], places), rules)
    theirs = _written(ours, settled(merged, sides[1], places), rules) if ours is not None else None
    if ours is None or theirs is None:
        return _marked(mine.raw, other.raw, tuple(reasons))
    return _marked(ours.raw, theirs.raw, tuple(reasons))


def _marked(ours: bytes, theirs: bytes, reasons: tuple[str, ...]) -> Outcome:
    """Put ordinary conflict markers around the lines that differ; the first names the reason."""
    a, b = ours.splitlines(keepends=True), theirs.splitlines(keepends=True)
    newline = b"\r\n" if a and a[0].endswith(b"\r\n") else b"\n"
    why = "; ".join(reasons).encode("ascii", "backslashreplace").replace(b"\n", b" ")
    return Outcome(b"".join(_hunks(a, b, newline, why)), reasons)


def _hunks(a: list[bytes], b: list[bytes], newline: bytes, why: bytes) -> Iterator[bytes]:
    def whole(lines: list[bytes]) -> bytes:
        text = b"".join(lines)
        return text if not text or text.endswith(b"\n") else text + newline

    for kind, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            yield whole(a[i:j]) if j < len(a) or m < len(b) else b"".join(a[i:j])
        else:
            yield b"<<<<<<< ours: " + why + newline + whole(a[i:j]) + b"=======" + newline
            yield whole(b[k:m]) + b">>>>>>> theirs" + newline
