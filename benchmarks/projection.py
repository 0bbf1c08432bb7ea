"""Projection of 200 proposed numbers onto the rules, against one validation of the same 200 numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from benchmarks.harness import Case, Row, compare, failed_row, statement
from benchmarks.plan import Plan

SECTION = "Projection of 200 numbers onto the rules"
KEYS = 200
DECIMALS = 4
TARGET_MS = 5
SEED = 20


def rows(plan: Plan) -> list[Row]:
    """A sum, a chain of orders, and both; the baseline is one jsonschema validation, its validator reused.

    The target is a time: whether it was met stands in the row's name.
    """
    document = _document()
    baseline = Case(f"jsonschema, {KEYS} numbers with limits", _validation(document))
    found: list[Row] = []
    for name, rules in (
        ("one sum", "sum"),
        ("one chain of orders", "chain"),
        ("a chain and a sum", "chain sum"),
    ):
        try:
            case = Case(name, _projection(document, rules))
            found += [_with_verdict(row) for row in compare(SECTION, baseline, [case], plan.reads)]
        except Exception as error:  # noqa: BLE001 - the other rules still run
            found.append(failed_row(SECTION, name, error))
    return found


def _with_verdict(row: Row) -> Row:
    met = row.absolute is not None and row.absolute * 1000 <= TARGET_MS
    return replace(row, note=f"target {TARGET_MS} ms: {'met' if met else 'not reached'}")


def _document() -> dict[str, float]:
    """Numbers that fall from key to key and nearly add up to 1, with noise that breaks both."""
    rnd = random.Random(SEED)
    falling = sorted((rnd.uniform(0, 2 / KEYS) for _ in range(KEYS)), reverse=True)
    return {f"p{i:04}": abs(value + rnd.gauss(0, 0.2 / KEYS)) for i, value in enumerate(falling)}


def _validation(document: Mapping[str, float]) -> Callable[[], float]:
    from jsonschema import Draft202012Validator

    leaf = {"type": "number", "minimum": 0, "maximum": 1}
    schema = {"type": "object", "properties": dict.fromkeys(document, leaf), "required": list(document)}
    validator = Draft202012Validator(schema)
    return statement("validator.validate(document)", {"validator": validator, "document": document})


def _projection(document: Mapping[str, float], rules: str) -> Callable[[], float]:
    from paramstore._project import Variable, project

    variables = [Variable(name, x, Decimal(0), Decimal(1), DECIMALS) for name, x in document.items()]
    names: dict[str, Any] = {
        "project": project,
        "variables": variables,
        "rows": _rules(list(document), rules),
    }
    found = list(project(variables, names["rows"]).values())
    if "sum" in rules and sum(found) != 1:
        raise ValueError(f"the sum is {sum(found)}, not 1")
    if "chain" in rules and found != sorted(found, reverse=True):
        raise ValueError("the values are out of order")
    return statement("project(variables, rows)", names)


def _rules(names: Sequence[str], rules: str) -> list[Any]:
    from paramstore._project import Row as Rule

    one = Decimal(1)
    found = [Rule(dict.fromkeys(names, one), one, one, "sum")] if "sum" in rules else []
    if "chain" in rules:
        found += [Rule({a: one, b: -one}, Decimal(0), None, f"{a} above {b}") for a, b in pairwise(names)]
    return found
