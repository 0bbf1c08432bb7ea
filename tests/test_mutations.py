"""The list of mutants that may live: what it explains, what it does not, and that it is about functions that exist."""

from __future__ import annotations

import ast

import mutations
import pytest
from mutations import Mutant, explained, interval, read_list, report

TEXT = """# about the list
[equivalent] no reader sees it
_rules.judge: return a[1] * b -> *
_rules.*: x = * -> x = None

[unreachable] never
_guards.clamp: y -> z
"""


def alive(function: str, change: str, status: str = "survived") -> Mutant:
    return Mutant(f"paramstore.{function}__mutmut_1", status, function, change)


def test_a_survivor_is_explained_by_the_first_line_that_fits() -> None:
    listed = read_list(TEXT)
    assert [(line.sort, line.reason) for line in listed] == [
        ("equivalent", "no reader sees it"), ("equivalent", "no reader sees it"), ("unreachable", "never"),
    ]  # fmt: skip
    found = explained(
        [
            alive("_rules.judge", "return a[1] * b -> return a[1] / b"),
            alive("_rules.other", "x = 5 -> x = None", "no tests"),
            alive("_guards.clamp", "y -> zz"),
            alive("_guards.clamp", "y -> z", "killed"),
        ],
        listed,
    )
    assert list(found.values()) == [listed[0], listed[1], None]


def test_the_report_fails_on_what_is_not_explained(capsys: pytest.CaptureFixture[str]) -> None:
    known = alive("_rules.judge", "return a[1] * b -> return a[1] / b")
    killed = [alive("_rules.judge", "", "killed")] * 9
    listed = read_list(TEXT)[:1]
    assert report([known, *killed], listed, is_sample=False) == 0
    assert "killed: 90.0% of 10\n" in capsys.readouterr().out
    for odd in (alive("_rules.judge", "b -> c"), alive("_rules.judge", "b -> c", "suspicious")):
        assert report([known, *killed, odd], listed, is_sample=False) == 1
        assert "_rules.judge: b -> c" in capsys.readouterr().out
    assert report(killed, listed, is_sample=False) == 1  # the list has rotted
    assert report(killed, listed, is_sample=True) == 0


def test_the_interval_of_a_share() -> None:
    low, high = interval(90, 100)
    assert 0.82 < low < 0.83 and 0.94 < high < 0.95


def test_every_line_of_the_list_is_about_a_function_that_is_there() -> None:
    names = {"*"}
    for file in mutations.settings()["only_mutate"]:
        module = file.removeprefix("paramstore/").removesuffix(".py")
        for node in ast.parse((mutations.ROOT / file).read_text()).body:
            names.add(f"{module}.{getattr(node, 'name', '')}")
            for inner in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
                names.add(f"{module}.{node.name}.{getattr(inner, 'name', '')}")
    listed = read_list(mutations.LISTED.read_text())
    assert len(listed) > 5
    for line in listed:
        assert line.pattern.partition(": ")[0] in names and " -> " in line.pattern, line.pattern
        assert line.sort in ("equivalent", "unreachable", "speed", "text")
