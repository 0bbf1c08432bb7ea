"""What a schema must not do to whoever judges values by it: search for ever, or read what lies elsewhere.

Python's search for a pattern goes back and tries again, so some patterns take longer than the world will stand
(``^(a+)+$``). A thread cannot be stopped in it. So a pattern is counted out before it is ever used: in how many
ways can it be laid over a text of the most characters that are judged? Few enough: it is fast on any text. Too
many, or a construct that is not counted here: the schema is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from paramstore.errors import SchemaError

MOST_CHARACTERS = 200  # of a text that is held against a pattern
MOST_WAYS = 100_000
LONGEST_PATTERN = 500
MOST_LEVELS = (
    68  # jsonschema calls itself ten times for each; thirty groups within each other are two for each
)
LARGEST = int(sys.float_info.max)
TOO_DEEP = f"is nested deeper than {MOST_LEVELS} levels"
_NODES = (dict, list, tuple)
_DATA = ("enum", "const", "default", "examples", "x-param", "x-constraints")  # values, not schemas


def check_size(raw: Any, file: str) -> None:
    """Raise ``SchemaError`` for a schema nested so deep that no judge comes to its end, or with a whole number, be it a
    bound or a default, that is beyond all that values are compared and calculated with."""
    wrong = _oversized(raw, MOST_LEVELS)
    if wrong is not None:
        place, problem = wrong
        steps = place.split("/")
        raise SchemaError(file, problem, place="/".join(steps[:10]) + ("/…" if len(steps) > 10 else ""))


def _oversized(node: Any, left: int) -> tuple[str, str] | None:
    """Return the place and the problem of the first that is too deep or too large."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, _NODES):
            wrong = _oversized(value, left - 1) if left > 1 else ("", TOO_DEEP)
            if wrong is not None:
                return f"/{name}{wrong[0]}", wrong[1]
        elif type(value) is int and not -LARGEST <= value <= LARGEST:
            return f"/{name}", f"a number of {value.bit_length()} bits is too large"
    return None


def check_safe(raw: Any, file: str) -> None:
    """Raise ``SchemaError`` for a pattern that could take for ever, or a ``$ref`` to anything outside of the file."""
    for place, word, value in _words(raw, ""):
        if word in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
            problem = f"`{word}` is not followed to {value!r}: a schema is judged by its own file alone"
            raise SchemaError(file, problem, place=place.rpartition("/")[0])
        patterns = value if word == "patternProperties" and isinstance(value, dict) else [value]
        for pattern in patterns if word in ("pattern", "patternProperties") else ():
            problem = why_slow(pattern) if isinstance(pattern, str) else ""
            if problem:
                raise SchemaError(file, f"the pattern {_short(pattern)} {problem}", place=place)


def has_pattern(node: Any) -> bool:
    """Tell whether a schema holds texts against patterns."""
    return any(word in ("pattern", "patternProperties") for _, word, _ in _words(node, ""))


def too_long(value: Any) -> bool:
    """Tell whether there is a text in ``value`` that no pattern is held against."""
    if isinstance(value, str):
        return len(value) > MOST_CHARACTERS
    if isinstance(value, Mapping):
        return any(too_long(name) or too_long(inner) for name, inner in value.items())
    return isinstance(value, list | tuple) and any(map(too_long, value))


def why_slow(pattern: str) -> str:
    """Return why a pattern may not be used, or nothing. One that is no regular expression is for others to tell."""
    import re
    from re import _parser  # type: ignore[attr-defined]  # there is no other way to the tree of a pattern

    if len(pattern) > LONGEST_PATTERN:
        return f"is longer than {LONGEST_PATTERN} characters"
    try:
        tree = _parser.parse(pattern)
        anchored = str(tree[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING") if len(tree) else False
        starts = 1 if anchored and not tree.state.flags & re.MULTILINE else MOST_CHARACTERS + 1
        ways = starts * _ways(tree)
    except re.error:
        return ""
    except (RecursionError, OverflowError):
        return "is nested too deeply"
    except _NotCountedError as error:
        return f"has a construct that is not allowed here ({error})"
    if ways > MOST_WAYS:
        return (
            f"could take for ever: there are too many ways to lay it over {MOST_CHARACTERS} characters. Start it with `^`, "
            "write `{1,10}` in place of `+` or `*`, and repeat no group that has a repeat inside"
        )
    return ""


class _NotCountedError(Exception):
    pass


def _ways(items: Any) -> int:
    """Return an upper bound for the ways in which a sequence can be laid over a text: those of its parts, multiplied."""
    product = 1
    for operation, what in items:
        product = min(product * _ways_of(str(operation), what), MOST_WAYS + 1)
    return product


def _ways_of(name: str, what: Any) -> int:
    if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "CATEGORY", "GROUPREF"):
        return 1
    if name in ("SUBPATTERN", "ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"):
        return _ways(what if name == "ATOMIC_GROUP" else what[-1])
    if name == "BRANCH":
        return sum(map(_ways, what[1]))
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        return _ways_of_repeat(*what)
    raise _NotCountedError(name.lower())


def _ways_of_repeat(least: Any, most: Any, body: Any) -> int:
    if int(most) > 1 and body.getwidth()[0] == 0:
        raise _NotCountedError("a repeat of what may be empty")
    low, high = int(least), min(int(most), max(MOST_CHARACTERS, int(least)))
    each = _ways(body)
    if each == 1:
        return high - low + 1
    if high > 20:  # each of them doubles it at least
        return MOST_WAYS + 1
    return sum(int(each**times) for times in range(low, high + 1))


def _words(node: Any, place: str) -> Iterator[tuple[str, str, Any]]:
    """Yield place, keyword and value of everything in a schema that is not data."""
    if isinstance(node, dict):
        for word, value in node.items():
            here = f"{place}/{word}"
            yield here, word, value
            if word not in _DATA or (isinstance(value, dict) and place.endswith("/properties")):
                yield from _words(value, here)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _words(item, f"{place}/{index}")


def _short(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 60 else pattern[:57] + "…")
