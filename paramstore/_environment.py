"""The environment layer: ``PARAM__conviction_gate__min_trades=40`` sets a value for one process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from paramstore._schema import Schema
    from paramstore._state import State

PREFIX = "PARAM__"


def variable(key: str) -> str:
    """Return the name of the variable that sets ``key``."""
    return PREFIX + key.replace(".", "__")


def read(environ: Mapping[str, str], state: State, schema_of: Callable[[str], Schema]) -> dict[str, Any]:
    """Return the values that the environment sets, by full key.

    Raises ``ValidationError`` for a name that no parameter has, a value that is not of its type or
    within its bounds, and a constraint that the values so set would break.
    """
    named = {name: text for name, text in environ.items() if name.startswith(PREFIX)}
    if not named:
        return {}
    return _judged(named, state, schema_of)


def _judged(named: Mapping[str, str], state: State, schema_of: Callable[[str], Schema]) -> dict[str, Any]:
    from paramstore._values import nearest
    from paramstore.errors import ValidationError

    places = [(ns, path) for ns, doc in state.documents.items() for path in doc.values]
    keys = {variable(f"{ns}.{path}"): (ns, path) for ns, path in places}
    twice = {variable(".".join(place)) for place in places if keys[variable(".".join(place))] != place}
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name, text in sorted(named.items()):
        if name in twice:
            problems.append(f"{name} may mean more than one parameter; set it in the file.")
            continue
        if name not in keys:
            close = nearest(name, keys)
            problems.append(f"{name} sets no known parameter.{f' Did you mean {close[0]}?' if close else ''}")
            continue
        namespace, path = keys[name]
        schema = schema_of(namespace)
        value, wrong = schema.judge(path, parse(text, schema.specs[path].type))
        problems += [f"{name}: {problem}." for problem in wrong]
        found[f"{namespace}.{path}"] = value
    if not problems:
        for namespace in dict.fromkeys(key.partition(".")[0] for key in found):
            own = {
                key.partition(".")[2]: value
                for key, value in found.items()
                if key.startswith(namespace + ".")
            }
            broken = schema_of(namespace).broken_constraints({**state.documents[namespace].values, **own})
            problems += [f"{PREFIX}…: {problem}." for problem in broken]
    if problems:
        raise ValidationError(problems, "Nothing was opened: unset the variable, or correct it.")
    return found


def parse(text: str, kind: str) -> Any:
    """Return ``text`` as a value of ``kind``, or unchanged, for ``judge`` to refuse, if it is none."""
    import json

    if kind == "string":
        return text
    words = {"true": True, "false": False}
    if kind == "boolean":
        return words.get(text.strip().lower(), text)
    try:
        return float(text) if kind == "number" else json.loads(text)
    except (ValueError, RecursionError):
        return text
