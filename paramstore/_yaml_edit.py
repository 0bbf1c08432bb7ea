"""How the text of a values file changes: splices of the old text, and how values are written.

Nothing here is trusted: whoever applies a splice parses the result and compares the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paramstore._yaml import Node

Path = tuple[str | int, ...]
Splice = tuple[int, int, str]  # replace text[start:end]
Scalar = str | int | float | bool | None
Tree = Mapping[str, "str | Tree"]  # groups, down to values as they are written
Addition = tuple[Mapping[str, Any], Mapping[str, Any]]  # a context and its nested values

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
NOT_A_STRING = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
MISSING = object()
MAX_BITS = 1600  # of an integer: about 480 decimal digits, which every parser here still reads


class CannotEdit(Exception):  # noqa: N818 - says what happened, and never leaves the package
    """An edit that does not fit the text. The message starts a sentence."""


# --- data: what is to differ ---------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return ``value`` as plain data, without subclasses that print as something else."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise CannotEdit("a number has too many digits")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not plain data that a values file can hold")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is not a string, so it cannot be a key in a values file")
    return str(key)


def lookup(data: Any, path: Path) -> Any:
    """Return the value at ``path``, or ``MISSING``."""
    for step in path:
        if type(data) is dict:
            data = data.get(step, MISSING)
        elif type(data) is list and type(step) is int and 0 <= step < len(data):
            data = data[step]
        else:
            return MISSING
    return data


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


def differences(data: Any, sets: Mapping[Path, Any]) -> list[tuple[Path, Any]]:
    """Return the smallest edits that give these values: in containers of the same shape, scalars."""
    found: list[tuple[Path, Any]] = []
    for path, value in sets.items():
        old = lookup(data, path) if path else MISSING
        if old is MISSING and not _addable(data, path):
            raise CannotEdit(f"there is no value at `{dotted(path)}`")
        found += _differing(path, old, plain(value))
    return found


def _addable(data: Any, path: Path) -> bool:
    """Tell whether the path is a new key in an existing entry: elsewhere it is a misspelt one."""
    if len(path) < 3 or path[0] != "overrides" or type(path[1]) is not int:
        return False
    known = len(path) - 1
    while (parent := lookup(data, path[:known])) is MISSING:
        known -= 1
    return type(parent) is dict and all(type(step) is str for step in path[known:])


def _differing(path: Path, old: Any, new: Any, inside: bool = False) -> Iterator[tuple[Path, Any]]:
    if type(old) is type(new) is dict and old and old.keys() == new.keys():
        for key in old:
            yield from _differing((*path, key), old[key], new[key], True)
    elif type(old) is type(new) is list and old and len(old) == len(new):
        for index, item in enumerate(new):
            yield from _differing((*path, index), old[index], item, True)
    elif repr(old) != repr(new) and not (inside and _equal_numbers(old, new)):
        yield path, new


def _equal_numbers(old: Any, new: Any) -> bool:
    # A typed [0.0, 0.6] read from [0, 0.6] must not rewrite the 0 when only the 0.6 moves.
    return {type(old), type(new)} == {int, float} and bool(old == new)


def updated(data: dict[str, Any], edits: Iterable[tuple[Path, Any]]) -> dict[str, Any]:
    """Return ``data`` with these values, copying only the containers on the way to them."""
    root = dict(data)
    copies: dict[Path, Any] = {(): root}
    for path, value in edits:
        node: Any = root
        for depth, step in enumerate(path[:-1], 1):
            prefix = path[:depth]
            if prefix not in copies:
                old = lookup(node, (step,))
                copies[prefix] = node[step] = {} if old is MISSING else old.copy()
            node = copies[prefix]
        node[path[-1]] = value
    return root


def appended(data: dict[str, Any], appends: Sequence[Addition]) -> dict[str, Any]:
    """Return ``data`` with these entries at the end of its overrides."""
    if not appends:
        return data
    old = data.get("overrides")
    if not isinstance(old, list | None):
        raise CannotEdit("`overrides` is not a list")
    entries = [{"at": plain(at), "values": plain(values)} for at, values in appends]
    return {**data, "overrides": [*(old or ()), *entries]}


def removed(data: dict[str, Any], removes: Sequence[Path]) -> dict[str, Any]:
    """Return ``data`` without these values; a group, entry or list that becomes empty goes too."""
    if not removes:
        return data
    for path in removes:
        if not _removable(path) or lookup(data, path) is MISSING:
            raise CannotEdit(f"there is no override to remove at `{dotted(path)}`")
    entries = []
    for index, entry in enumerate(data["overrides"]):
        mine = {path[2:] for path in removes if path[1] == index}
        values = MISSING if () in mine else _without(entry["values"], ("values",), mine) if mine else None
        if values is not MISSING:
            entries.append({**entry, "values": values} if mine else entry)
    kept = {**data, "overrides": entries}
    return kept if entries else {key: value for key, value in data.items() if key != "overrides"}


def without(data: dict[str, Any], removes: Sequence[Path]) -> dict[str, Any]:
    """Return ``data`` without these values, wherever they are; a group that becomes empty goes too."""
    kept = _without(data, (), set(removes))
    return {} if kept is MISSING else kept


def _removable(path: Path) -> bool:
    if path[:1] != ("overrides",):
        return False
    leaf = len(path) > 3 and path[2] == "values" and all(type(step) is str for step in path[2:])
    return len(path) == 2 or leaf


def _without(value: Any, path: Path, removes: set[Path]) -> Any:
    if path in removes:
        return MISSING
    if not isinstance(value, dict) or not any(other[: len(path)] == path for other in removes):
        return value  # what was a group may be one value by now, and then there is nothing below it
    kept = {key: _without(item, (*path, key), removes) for key, item in value.items()}
    return {key: item for key, item in kept.items() if item is not MISSING} or MISSING


# --- writing: how a value looks ------------------------------------------------------------------


def number_text(value: int | float) -> str:
    """Write a number so that YAML 1.1 and 1.2 read it alike: 1.1 takes ``1e-05`` for a string."""
    if isinstance(value, int):
        return str(value)
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return text.replace("inf", ".inf").replace("nan", ".nan")
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text


def scalar_text(value: Scalar, old: str = "") -> str:
    """Write a scalar; a string keeps the quotes of the ``old`` text if they can hold it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    quote = old[:1]
    if quote == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if quote != '"' and WORD.fullmatch(value) and value.lower() not in NOT_A_STRING:
        return value
    # JSON leaves these bare, and a parser may take them for line breaks or refuse them.
    return UNPRINTABLE.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value, ensure_ascii=False))


def flow_text(value: Any) -> str:
    if isinstance(value, dict):
        return _flow_tree({key: flow_text(item) for key, item in value.items()})
    if isinstance(value, list):
        return "[" + ", ".join(map(flow_text, value)) + "]"
    return scalar_text(value)


def _flow_pairs(tree: Tree) -> str:
    return ", ".join(
        f"{scalar_text(key)}: {item if isinstance(item, str) else _flow_tree(item)}"
        for key, item in tree.items()
    )


def _flow_tree(tree: Tree) -> str:
    return "{" + _flow_pairs(tree) + "}"


def _block_lines(tree: Tree, indent: int, step: int) -> Iterator[str]:
    for key, item in tree.items():
        head = f"{' ' * indent}{scalar_text(key)}:"
        if isinstance(item, str):
            yield f"{head} {item}"
        else:
            yield head
            yield from _block_lines(item, indent + step, step)


def _entry_lines(entry: Tree, indent: int, offset: int, step: int) -> Iterator[str]:
    first, *others = _block_lines(entry, indent + offset, step)
    yield " " * indent + "-".ljust(offset) + first.lstrip()
    yield from others


def _groups(values: Mapping[str, Any]) -> Tree:
    return {
        key: _groups(item) if isinstance(item, Mapping) and item else flow_text(plain(item))
        for key, item in values.items()
    }


def _entry(at: Mapping[str, Any], values: Mapping[str, Any]) -> Tree:
    return {"at": flow_text(plain(at)), "values": _groups(values) if values else "{}"}


def document_text(values: Mapping[str, Any]) -> str:
    """Write a whole values file with these nested values."""
    return "\n".join(["schema: 1", "values:", *_block_lines(_groups(values), 2, 2), ""])


# --- places in the text --------------------------------------------------------------------------


def apply(text: str, splices: Iterable[Splice]) -> str:
    """Return the text with all splices made; two at one place keep their order."""
    parts: list[str] = []
    done = 0
    for start, end, new in sorted(splices, key=lambda splice: splice[:2]):
        if start < done:
            raise CannotEdit("two edits are of the same text")
        parts += (text[done:start], new)
        done = end
    return "".join([*parts, text[done:]])


def _newline(text: str) -> str:
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def _line_start(text: str, offset: int) -> int:
    return text.rfind("\n", 0, offset) + 1


def _line_end(text: str, offset: int) -> int:
    """Return where the line ends, before its line break."""
    end = text.find("\n", offset)
    if end < 0:
        return len(text)
    return end - 1 if text[end - 1 : end] == "\r" else end


def _column(text: str, offset: int) -> int:
    return offset - _line_start(text, offset)


def _lines_at(text: str, offset: int, lines: Iterable[str]) -> Splice:
    """Insert lines below the one at ``offset``: each begins with its line break, so that a file
    without a final line break stays one."""
    end = _line_end(text, offset)
    return end, end, "".join(_newline(text) + line for line in lines)


def _whole_lines(text: str, start: int, end: int) -> Splice:
    """Delete the lines from ``start`` to ``end``. Another value there would be missed in the proof."""
    first, last = _line_start(text, start), _line_end(text, end)
    if first:
        return _line_end(text, first - 1), last, ""
    return 0, min(text.find("\n", last) + 1 or last, len(text)), ""


# --- edits: which splices ------------------------------------------------------------------------


def changes(
    text: str, root: Node, edits: Sequence[tuple[Path, Any]], appends: Sequence[Addition]
) -> list[Splice]:
    """Return the splices that replace values, add keys to existing mappings, and add entries."""
    splices: list[Splice] = []
    missing: dict[Path, dict[str, Any]] = {}
    for path, value in edits:
        node, known = _deepest(root, path)
        if known == len(path):
            splices += _replacement(text, node, value)
        else:
            group = missing.setdefault(path[:known], {})
            *groups, key = map(str, path[known:])
            for name in groups:
                group = group.setdefault(name, {})
            group[key] = flow_text(value)
    for path in sorted(missing, key=len, reverse=True):  # at one line's end, the deepest comes first
        splices.append(_insertion(text, root, _deepest(root, path)[0], missing[path]))
    if appends:
        splices += _additions(text, root, [_entry(*addition) for addition in appends])
    return splices


def _deepest(root: Node, path: Path) -> tuple[Node, int]:
    """Return the node furthest along the path, and how many steps lead there."""
    node = root
    for depth, step in enumerate(path):
        if step not in node.children:
            return node, depth
        node = node.children[step]
    return node, len(path)


def _replacement(text: str, node: Node, value: Any) -> list[Splice]:
    is_leaf = not isinstance(value, dict | list)
    new = scalar_text(value, text[node.start : node.end]) if is_leaf else flow_text(value)
    below = node.children and not node.flow and "\n" in text[node.colon : node.start]
    if below:  # its key's line takes the new text, as a column that suits a block may not suit a flow
        return [(node.colon, node.colon, " " + new), (_line_end(text, node.colon), node.end, "")]
    if node.start == node.end and text[node.start - 1 : node.start] in (":", "-"):
        new = " " + new
    return [(node.start, node.end, new)]


def _insertion(text: str, root: Node, node: Node, tree: Tree) -> Splice:
    if not isinstance(node.value, dict):
        raise CannotEdit("a key can be added to a mapping only")
    if node.flow:
        at = _last(node).end if node.children else node.start + 1
        return at, at, (", " if node.children else "") + _flow_pairs(tree)
    indent = _column(text, next(iter(node.children.values())).head)
    return _lines_at(text, node.end, _block_lines(tree, indent, _step(text, root)))


def _last(node: Node) -> Node:
    return next(reversed(node.children.values()))


def _step(text: str, root: Node) -> int:
    """Return by how many columns this file indents ``values``; 2 where that does not show."""
    values = root.children.get("values")
    if root.flow or values is None or values.flow or not values.children:
        return 2
    first = next(iter(values.children.values()))
    return max(_column(text, first.head) - _column(text, values.head), 1)


def _additions(text: str, root: Node, entries: Sequence[Tree]) -> list[Splice]:
    node = root.children.get("overrides")
    flow = ", ".join(map(_flow_tree, entries))
    if node is None and root.flow:
        return [_insertion(text, root, root, {"overrides": f"[{flow}]"})]
    if node is None:
        indent, step = _column(text, root.start), _step(text, root)
        lines = [" " * indent + "overrides:", *_block_entries(entries, indent + step, 2, step)]
        return [_lines_at(text, len(text) - text.endswith("\n"), lines)]
    if not node.children:
        return _overrides_anew(text, root, entries)
    if node.flow:
        return [(_last(node).end, _last(node).end, ", " + flow)]
    indent = _column(text, node.start)
    offset = max(_column(text, node.children[0].start) - indent, 2)
    if "\n" in text[node.start : node.children[0].start]:  # `-` stands alone on its line
        offset = 2
    return [_lines_at(text, node.end, _block_entries(entries, indent, offset, _step(text, root)))]


def _block_entries(entries: Iterable[Tree], indent: int, offset: int, step: int) -> list[str]:
    return [line for entry in entries for line in _entry_lines(entry, indent, offset, step)]


def _overrides_anew(text: str, root: Node, entries: Sequence[Tree]) -> list[Splice]:
    """Write these entries in place of all there are; a comment beside ``overrides:`` stays."""
    node = root.children["overrides"]
    if root.flow:
        return [(node.start, node.end, "[" + ", ".join(map(_flow_tree, entries)) + "]")]
    step = _step(text, root)
    lines = _block_entries(entries, _column(text, node.head) + step, 2, step)
    return [(node.colon, node.end, ""), _lines_at(text, node.end, lines)]


def regenerated(
    text: str, root: Node, edits: Sequence[tuple[Path, Any]], expected: Mapping[str, Any]
) -> list[Splice]:
    """Return the splices that write ``overrides`` anew: the last resort, as it loses comments there."""
    entries = expected.get("overrides")
    if not entries or "overrides" not in root.children:
        raise CannotEdit("there are no overrides to write")
    if any(set(entry) != {"at", "values"} for entry in entries):
        raise CannotEdit("an override has other keys than `at` and `values`")
    anew = [_entry(entry["at"], entry["values"]) for entry in entries]
    return [*changes(text, root, edits, ()), *_overrides_anew(text, root, anew)]


def removals(text: str, root: Node, removes: Iterable[Path]) -> list[Splice]:
    """Return the splices that take these values out, and with them what would be left empty."""
    splices: list[Splice] = []
    _vanishes(text, root, (), set(removes), splices)
    return splices


def _vanishes(text: str, node: Node, path: Path, removes: set[Path], splices: list[Splice]) -> bool:
    """Tell whether all of ``node`` goes; if only a part does, add the splices for it."""
    if path in removes:
        return True
    if not any(other[: len(path)] == path for other in removes):
        return False
    children = node.children.items()
    gone = [key for key, child in children if _vanishes(text, child, (*path, key), removes, splices)]
    if len(gone) == len(node.children) or (len(path) == 2 and "values" in gone):
        return True
    splices += _flow_cuts(node, gone) if node.flow else [_block_cut(text, node, key) for key in gone]
    return False


def _flow_cuts(node: Node, gone: Sequence[Any]) -> list[Splice]:
    """Cut items with one comma each: up to the next item, or, at the tail, from the last one kept."""
    keys = list(node.children)
    kept = [index for index, key in enumerate(keys) if key not in gone]
    cuts = []
    for index, key in enumerate(keys):
        if key in gone and index < kept[-1]:
            cuts.append((node.children[key].head, node.children[keys[index + 1]].head, ""))
    tail = (node.children[keys[kept[-1]]].end, _last(node).end, "")
    return [*cuts, tail] if tail[0] < tail[1] else cuts


def _block_cut(text: str, node: Node, key: Any) -> Splice:
    child = node.children[key]
    start = _dash(text, node, key) if isinstance(node.value, list) else child.head
    return _whole_lines(text, start, child.end)


def _dash(text: str, node: Node, index: int) -> int:
    """Return where the item's dash is: the parser reports that of the first item only."""
    if index == 0:
        return node.start
    pattern = re.compile(rf"\n {{{_column(text, node.start)}}}-(?=[ \r\n])")
    found = pattern.search(text, node.children[index - 1].end)
    if found is None:
        raise CannotEdit("the override's first line was not found")
    return found.end() - 1
