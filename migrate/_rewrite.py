"""From accepted sites to a file's new text: each literal replaced in its span, one import, nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from paramstore.migrate._facts import (
    FUNCTIONS,
    Facts,
    Node,
    When,
    bindings,
    has_docstring,
    leading_imports,
    link,
)
from paramstore.migrate._plan import PlanError
from paramstore.migrate._reads import Read
from paramstore.migrate._shapes import find
from paramstore.migrate._sites import ATTRIBUTE, DEFAULT, LEAF, SECTION, Site
from paramstore.migrate._source import LINE, Source

ALIASES = ("params", "_params", "live_params", "paramstore_params")
WIDTH = 100


@dataclass(frozen=True, order=True)
class Edit:
    """Replace ``start`` to ``end`` (characters of the old text) by ``new``. ``kind``: ``value`` (a literal
    became a read), ``section``, ``read`` (a name became a read), ``default`` (a literal became ``...``),
    ``body`` (the line that reads a default), ``import``."""

    start: int
    end: int
    new: str
    kind: str
    key: str = ""
    old: str = ""
    scope: str = ""  # in a record: the function or class that it stands in


@dataclass
class Rewritten:
    """A file's new text, the edits that made it (sorted), and the name that the store has in it."""

    text: str
    edits: list[Edit]
    alias: str


def rewrite(source: Source, sites: Sequence[Site], reads: Iterable[tuple[Site, Read]]) -> Rewritten:
    """Rewrite one file: its own accepted ``sites``, and the ``reads`` of names that are sites of any file.

    Raises ``PlanError`` where a dictionary is accepted in part, or two sites overlap.
    """
    facts = link(source.tree)
    alias, imported = _alias(facts)
    edits = _site_edits(source, facts, sites, alias)
    edits += [_read_edit(source, site, read, alias) for site, read in _unique(reads)]
    edits += _default_edits(source, facts, [site for site in sites if site.keep == DEFAULT], alias)
    edits = sorted(set(edits))
    _check_apart(edits, source.path)
    keys = sorted({site.key for site in sites} | {site.key for site, _ in _unique(reads)})
    if edits:
        edits = sorted([*edits, _import_edit(source, facts, alias, imported, keys)])
    return Rewritten(apply(source.text, edits), edits, alias)


def apply(text: str, edits: Iterable[Edit]) -> str:
    parts, done = [], 0
    for edit in edits:
        parts += [text[done : edit.start], edit.new]
        done = edit.end
    return "".join([*parts, text[done:]])


def new_spans(edits: Iterable[Edit]) -> list[tuple[int, int]]:
    """Return where each edit's new text stands in the new text."""
    found, shift = [], 0
    for edit in edits:
        start = edit.start + shift
        found.append((start, start + len(edit.new)))
        shift += len(edit.new) - (edit.end - edit.start)
    return found


# -- the store's name ------------------------------------------------------------------------------


def _alias(facts: Facts) -> tuple[str, bool]:
    """Return a name that collides with nothing in the file, and whether the file imports it already."""
    for statement in leading_imports(facts.tree):
        if type(statement) is ast.ImportFrom and statement.module == "paramstore" and not statement.level:
            for each in statement.names:
                name = each.asname or each.name
                if each.name == "params" and bindings(facts, name) == 1 and name not in facts.arguments:
                    return name, True
    taken = facts.words | set(facts.names)
    stars = any(type(each) is ast.ImportFrom and each.names[0].name == "*" for each in facts.imports)
    for name in (*ALIASES[stars:], *(f"_paramstore_{number}" for number in range(1, 1000))):
        if name not in taken:
            return name, False
    raise AssertionError("a thousand names are taken")


# -- edits -----------------------------------------------------------------------------------------


def _call(alias: str, method: str, key: str, quote: str = '"') -> str:
    return f"{alias}.{method}({quote}{key}{quote})"


def spaced(text: str, start: int, new: str) -> str:
    """Keep a keyword that stood right before a literal (``return-0.5``) apart from the name put there."""

    def in_word(char: str) -> bool:
        return char.isalnum() or char == "_"

    glued = start > 0 and in_word(text[start - 1]) and in_word(new[:1])
    return f" {new}" if glued else new


def _site_edits(source: Source, facts: Facts, sites: Sequence[Site], alias: str) -> list[Edit]:
    edits = []
    groups: dict[tuple[int, int], list[Site]] = {}
    for site in sites:
        if site.keep == SECTION and site.group is not None:
            groups.setdefault(site.group, []).append(site)
        elif site.keep != DEFAULT:
            method = "live" if site.keep == ATTRIBUTE else "get"
            new = spaced(source.text, site.start, _call(alias, method, site.key))
            edits.append(Edit(site.start, site.end, new, "value", site.key, site.literal))
    whole: dict[tuple[int, int], list[tuple[str, ...]]] = {}
    for found in find(facts.numbers) if groups else ():
        if found.group is not None:
            whole.setdefault(source.span(found.group), []).append(found.path)
    for (start, end), members in groups.items():
        prefix = _prefix(source, members, whole[start, end])
        new = _call(alias, "section", prefix)
        edits.append(Edit(start, end, new, "section", prefix, source.text[start:end]))
    return edits


def _prefix(source: Source, members: list[Site], paths: Sequence[tuple[str, ...]]) -> str:
    """Return the key below which a whole dictionary stands. Raises ``PlanError`` if it is not there whole."""
    accepted = {site.group_path for site in members}
    missing = [".".join(path) for path in paths if path not in accepted]
    where = f"{source.path}:{members[0].line}"
    if missing:
        raise PlanError(
            f"{where}: `{members[0].name}` moves as a whole, because code reads the dictionary: accept "
            f"{', '.join(missing[:5])} as well, or none of it."
        )
    prefixes = {site.key.removesuffix("." + ".".join(site.group_path)) for site in members}
    if len(prefixes) != 1 or any(not site.key.endswith("." + ".".join(site.group_path)) for site in members):
        raise PlanError(
            f"{where}: the keys of `{members[0].name}` must be one prefix and then the names in the dictionary, which "
            "code reads."
        )
    return prefixes.pop()


def _unique(reads: Iterable[tuple[Site, Read]]) -> list[tuple[Site, Read]]:
    seen: dict[tuple[int, int], tuple[Site, Read]] = {}
    for site, read in reads:
        if read.when is not When.IMPORT:
            seen.setdefault(read.span if site.keep == LEAF else read.whole, (site, read))
    return [seen[key] for key in sorted(seen)]


def _read_edit(source: Source, site: Site, read: Read, alias: str) -> Edit:
    start, end = read.span if site.keep == LEAF else read.whole
    quote = "'" if read.in_f_string.startswith('"') else '"'
    old = source.text[start:end]
    if not re.fullmatch(r"[\w.]+(\[['\"]\w+['\"]\])*", old):
        raise PlanError(f"{source.path}:{read.line}: `{site.name}` was not found where it is read.")
    return Edit(
        start, end, spaced(source.text, start, _call(alias, "get", site.key, quote)), "read", site.key, old
    )


def _default_edits(source: Source, facts: Facts, sites: Sequence[Site], alias: str) -> list[Edit]:
    edits: list[Edit] = []
    functions = {source.span(node)[0]: node for node in facts.definitions if type(node) in FUNCTIONS}
    lines: dict[int, list[Site]] = {}
    for site in sites:
        assert site.default_of is not None
        edits.append(
            Edit(
                site.start,
                site.end,
                spaced(source.text, site.start, "..."),
                "default",
                site.key,
                site.literal,
            )
        )
        lines.setdefault(site.default_of[0], []).append(site)
    for start, members in lines.items():
        edits.append(_body_edit(source, functions[start], members, alias))
    return edits


def _body_edit(source: Source, function: Node, members: list[Site], alias: str) -> Edit:
    """Return the lines, first in the body, that give arguments left out their value of today."""
    texts = []
    for site in members:
        assert site.default_of is not None
        name = site.default_of[1]
        texts.append(f"{name} = {_call(alias, 'get', site.key)} if {name} is ... else {name}")
    body = function.body
    keys = " ".join(site.key for site in members)
    if has_docstring(body) and len(body) == 1:
        place = source.span(body[0])[1]
        return Edit(place, place, "; " + "; ".join(texts), "body", keys)
    first = body[int(has_docstring(body))]
    line = min([first.lineno, *(each.lineno for each in getattr(first, "decorator_list", ()))])
    start = source.offset(line, 0)
    place = source.span(first)[0]
    indent = source.text[start:place] if line == first.lineno else LINE.split(source.line_text(line))[0]
    if line != first.lineno:
        indent = indent[: len(indent) - len(indent.lstrip())]
    if indent.strip():  # on the line of the `def`
        return Edit(place, place, "; ".join(texts) + "; ", "body", keys)
    return Edit(start, start, "".join(f"{indent}{text}{source.newline}" for text in texts), "body", keys)


def _check_apart(edits: Sequence[Edit], file: str) -> None:
    for before, after in pairwise(edits):
        if after.start < before.end or (
            after.start == before.start and after.end == before.end and after.new != before.new
        ):
            raise PlanError(
                f"{file}: `{before.key}` and `{after.key}` are of the same text. Accept one of them."
            )


# -- the import ------------------------------------------------------------------------------------


def _import_edit(source: Source, facts: Facts, alias: str, imported: bool, keys: Sequence[str]) -> Edit:
    """Return the line that imports the store and the one that checks, at import, that every key is there."""
    newline = source.newline
    name = "params" if alias == "params" else f"params as {alias}"
    lines = [] if imported else [f"from paramstore import {name}"]
    lines += _require(alias, keys)
    place, before = _import_place(source, facts)
    text = newline.join(lines) + newline
    if has_docstring(facts.tree.body) and not leading_imports(facts.tree):
        text = newline + text
    return Edit(place, place, before + text, "import", " ".join(keys))


def _require(alias: str, keys: Sequence[str]) -> list[str]:
    one = f"{alias}.require({', '.join(_quoted(keys))})"
    if len(one) <= WIDTH:
        return [one]
    lines, line = [f"{alias}.require("], "   "
    for key in _quoted(keys):
        if len(line) + len(key) + 2 > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {key},"
    return [*lines, line, ")"]


def _quoted(keys: Sequence[str]) -> list[str]:
    return [f'"{key}"' for key in keys]


def _import_place(source: Source, facts: Facts) -> tuple[int, str]:
    """Return where the import goes, and what must stand before it: behind the docstring, the ``__future__``
    imports and the first run of imports; at the beginning of a line of its own."""
    body, imports = facts.tree.body, leading_imports(facts.tree)
    index = int(has_docstring(body)) + len(imports)
    if index == 0:
        return _line_before(source, body[0]), ""
    last = body[index - 1]
    assert last.end_lineno is not None
    end = source.span(last)[1]
    match = LINE.search(source.text, end)
    if match is None:
        return len(source.text), source.newline
    if index < len(body) and body[index].lineno == last.end_lineno:  # `import a; X = 1`
        if len(imports) < 2:
            raise PlanError(
                f"{source.path}:{last.lineno}: there is no line for an import. Split the line at its `;`."
            )
        return source.offset(last.lineno, 0), ""
    return match.end(), ""


def _line_before(source: Source, statement: Node) -> int:
    """Return the start of the first statement's line, in front of the comments right above it unless
    they head the file."""
    line = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])
    first = line
    while first > 1 and source.line_text(first - 1).lstrip().startswith("#"):
        first -= 1
    return source.offset(line if first == 1 else first, 0)
