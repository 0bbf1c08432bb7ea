"""What `_yaml` promises: strict reading, and edits that touch nothing but what they name."""

from __future__ import annotations

import copy
import json
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from paramstore import _yaml
from paramstore._yaml import Path, YamlText, identical, parse
from paramstore._yaml_edit import CannotEdit, apply
from paramstore.errors import DocumentError

DOCUMENT = """\
# yaml-language-server: $schema=../schemas/signal_weights.schema.json
schema: 1
values:
  liquidation: 0.22   # comments survive every write
  funding: 0.16
  name: 'fast'
  group:
    on_off: "yes"
    ladder: [[0.5, 2.0], [0.35, 1.5]]   # tiers
    block:
      - 1
      - [2, 3]   # tail
  empty:
overrides:   # by symbol
  - at: {symbol: BTCUSDT}
    values:
      funding: 0.18  # why
      group:
        name: slow
  # about ETH
  - at: {symbol: ETHUSDT}
    values: {funding: 0.3, liquidation: 0.2}
# end"""


def text(source: str) -> YamlText:
    return parse(source.encode(), "p.yaml")


def independent(raw: bytes, version: tuple[int, int] = (1, 2)) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(raw)


def edit(source: str, *args: Any, **named: Any) -> str:
    """Edit, check that the result is what a fresh parse makes of it, and return its text."""
    new = text(source).edited(*args, **named)
    agrees_with_fresh_parse(new)
    return new.raw.decode()


def agrees_with_fresh_parse(new: YamlText) -> None:
    fresh = parse(new.raw, "p.yaml")
    assert identical(fresh.data, new.data)
    assert list(fresh._pieces) == list(new._pieces)
    assert fresh._at == new._at


# --- reading -------------------------------------------------------------------------------------

READS = {
    "1": 1, "-7": -7, "+3": 3, "0": 0, "0x1f": 31, "0o17": 15, "0.5": 0.5, ".5": 0.5, "5.": 5.0, "1e3": 1000.0,
    "-1.5E-3": -0.0015, "1.0": 1.0, "-0.0": -0.0, "012.5": 12.5, "1e999": float("inf"), ".inf": float("inf"),
    "-.INF": float("-inf"), ".nan": float("nan"), "true": True, "FALSE": False, "null": None, "~": None, "": None,
    "yes": "yes", "no": "no", "on": "on", "off": "off", "12:30:00": "12:30:00", "2020-01-01": "2020-01-01",
    "0.5.1": "0.5.1", "1-2": "1-2", "+": "+", ".": ".", "-x": "-x", "=": "=", "nan": "nan", "a b": "a b",
    "'0.5'": "0.5", '"0.5"': "0.5", "'it''s'": "it's", '"\\u00e9\\n"': "é\n", "é": "é", "|\n    x\n    y\n": "x\ny\n",
    ">-\n    x\n    y\n": "x y", "x\n    y": "x y", "[1, 'a', [], {}]": [1, "a", [], {}], "{a: 1, \"b\":2}": {"a": 1, "b": 2},
}  # fmt: skip


@pytest.mark.parametrize(("token", "value"), READS.items())
def test_reads_yaml_1_2_core(token: str, value: Any) -> None:
    assert identical(text(f"schema: 1\nvalues:\n  x: {token}\n").data, {"schema": 1, "values": {"x": value}})


@pytest.mark.parametrize(
    "raw",
    [
        b"\xef\xbb\xbfa: 1", b"a: 1\r\n", b"---\na: 1\n", b"--- # c\na: 1", b"# c\n\na: 1", b"{a: 1}", b'{"a":1}',
        b'"a": 1\n', b"a: 1\n# x ======= <<<<<<< y\n", b"a: 1 # \t&x *y !z %\n", b"a: 1\n   \n  # c\n",
        b"a:\n  1\n",
    ],
)  # fmt: skip
def test_accepts(raw: bytes) -> None:
    document = parse(raw, "p.yaml")
    assert identical(document.data, {"a": 1})
    assert document.edited({("a",): 1}) is document
    assert document.edited({("a",): 2}).raw == raw.replace(b"1", b"2")


REFUSED: dict[str, tuple[bytes, int | None, str]] = {
    "too big": (b"a: 1\n#" + b"x" * _yaml.MAX_BYTES, None, "Split"),
    "NUL": (b"a: 1\nb: \0\0", 2, "NUL"),
    "UTF-16": ("a: 1".encode("utf-16"), None, "UTF-16"),
    "UTF-32": ("a: 1".encode("utf-32"), None, "UTF-32"),
    "UTF-16 without mark": ("a: 1".encode("utf-16-le"), 1, "NUL"),
    "Latin-1": (b"a: 1\n# \xe9\n", 2, "UTF-8"),
    "cut in a character": ("a: 1 # é".encode()[:-1], 1, "UTF-8"),
    "control character": (b"a: 1\nb: \x1b[0m\n", 2, "U+001B"),
    "next line": ("a: x\x85y".encode(), 1, "U+0085"),
    "line separator": ("a: x\u2028y".encode(), 1, "U+2028"),
    "byte-order mark inside": ("a: 1\n\ufeffb: 2".encode(), 2, "U+FEFF"),
    "lone carriage return": (b"a: 1\nb: 1\rc: 2\n", 2, "carriage return"),
    "conflict, ours": (b"a: 1\n<<<<<<< HEAD\nb: 1\n", 2, "Resolve the conflict"),
    "conflict, middle": (b"a: 1\r\n=======\r\nb: 1\r\n", 2, "Resolve the conflict"),
    "conflict, theirs": (b"a: 1\n\n>>>>>>> branch\n", 3, "Resolve the conflict"),
    "conflict, base": (b"a: 1\n||||||| 1a2b\n", 2, "Resolve the conflict"),
    "directive": (b"%YAML 1.1\n---\na: 1\n", 1, "directive"),
    "tag directive": (b"# c\n%TAG ! !x\n---\na: 1\n", 2, "directive"),
    "second document": (b"a: 1\n---\nb: 2\n", 2, "second document"),
    "document end": (b"a: 1\n...\n", 2, "Delete the line"),
    "tab": (b"a:\n\tb: 1\n", 2, "tab"),
    "tab before a comment": (b"a: 1\n \t# c\n", 2, "Indent with spaces"),
    "tab after spaces": (b"a:\n  b: 1\n \t c: 1\n", 3, "tab"),
    "anchor": (b"a: 1\nb: &x 1\n", 2, "anchors"),
    "anchored mapping": (b"a: 1\nb: &x\n  c: 1\n", 2, "anchors"),
    "anchored key": (b"&x a: 1\n", 1, "anchors"),
    "alias": (b"a: 1\nb: *x\n", 2, "anchors"),
    "merge key": (b"a: 1\nb:\n  <<: {c: 1}\n", 3, "merge"),
    "tag": (b"a: 1\nb: !foo 1\n", 2, "tags"),
    "python tag": (b"a: !!python/object/apply:os.system [ls]\n", 1, "tags"),
    "core tag": (b"a: !!str 1\n", 1, "tags"),
    "duplicate key": (b"a: 1\nb:\n  c: 1\n  d: 1\n  'c': 2\n", 5, "second time"),
    "duplicate key in a flow mapping": (b"a: {b: 1,\n b: 2}\n", 2, "second time"),
    "int key": (b"a: 1\n1: x\n", 2, "quotes"),
    "bool key": (b"true: x\n", 1, "quotes"),
    "null key": (b"a: 1\n: x\n", 2, "quotes"),
    "sequence as key": (b"[a]: 1\n", 1, "key"),
    "complex key": (b"a: 1\n? {b: 1}\n: 2\n", 2, "key"),
    "question mark": (b"a: 1\n? b\n: 2\n", 2, "key: value"),
    "question mark in a flow mapping": (b"a: {? b : 1}\n", 1, "key: value"),
    "key alone": (b"a: {b}\n", 1, "key: value"),
    "empty": (b"", None, "empty"),
    "only a comment": (b"# c\n\n", None, "empty"),
    "only a start": (b"---\n", None, "empty"),
    "a list": (b"# c\n- 1\n", 2, "top level"),
    "a word": (b"a\n", 1, "top level"),
    "underscore": (b"a: 1\nb: 1_000\n", 2, "quote"),
    "leading zero": (b"a: 012\n", 1, "quote"),
    "binary": (b"a: 0b11\n", 1, "quote"),
    "signed hex": (b"a: -0x1F\n", 1, "quote"),
    "underscore in a fraction": (b"a: 0.1_5\n", 1, "quote"),
    "many digits": (b"a: " + b"9" * 5000, 1, "digits"),
    "many hex digits": (b"a: 0x" + b"9" * 5000, 1, "digits"),
    "half a character": (b'a: "\\ud800"\n', 1, "character"),
    "unclosed": (b"a: 1\nb: [1, 2\n", 3, "not valid YAML"),
    "bad escape": (b'a: "\\q"\n', 1, "not valid YAML"),
    "bad indentation": (b"a:\n    b: 1\n  c: 1\n", 3, "not valid YAML"),
    "brackets": (b"a: " + b"[" * 100_000, 1, "deeper"),
    "brackets by line": (b"a: " + b"[\n" * 50_000, 33, "deeper"),
    "braces": (b"{" * 100_000, 1, "deeper"),
    "dashes": (b"- " * 50_000, 1, "deeper"),
    "indentation": (b"".join(b" " * i + b"a:\n" for i in range(300)), 33, "deeper"),
}


@pytest.mark.parametrize(("raw", "line", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(raw: bytes, line: int | None, words: str) -> None:
    began = time.perf_counter()
    with pytest.raises(DocumentError) as caught:
        parse(raw, "p.yaml")
    assert caught.value.line == line
    assert caught.value.file == "p.yaml"
    assert words in caught.value.problem
    assert time.perf_counter() - began < 2  # a hundred kilobytes of brackets would take minutes


@pytest.mark.parametrize(
    "error", [ValueError, AttributeError, RecursionError, IndexError, AssertionError, KeyError]
)
def test_no_other_exception_leaves(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error("x")

    monkeypatch.setattr(YAML, "parse", fail)
    with pytest.raises(DocumentError, match=error.__name__):
        text("a: 1")


def test_deep_but_allowed() -> None:
    depth = _yaml.MAX_DEPTH - 1
    assert text("a: " + "[" * depth + "]" * depth).data
    assert text("\n".join(" " * i + "a:" for i in range(depth)) + " 1").data


def test_import_is_light() -> None:
    code = "import sys, paramstore._yaml; sys.exit(any(name.startswith('ruamel') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cut_anywhere() -> None:
    for source in (DOCUMENT, DOCUMENT.replace("\n", "\r\n")):
        for size in range(0, len(source), 3):
            try:
                document = text(source[:size])
            except DocumentError:
                continue
            assert independent(document.raw) == document.data


# --- editing values ------------------------------------------------------------------------------

EDITS: dict[str, tuple[Path, Any, str, str]] = {
    "float": (("values", "liquidation"), 0.25, "liquidation: 0.22", "liquidation: 0.25"),
    "longer": (("values", "funding"), 0.1612345, "funding: 0.16\n", "funding: 0.1612345\n"),
    "to int": (("values", "funding"), 2, "funding: 0.16\n", "funding: 2\n"),
    "int to float": (("schema",), 1.0, "schema: 1\n", "schema: 1.0\n"),
    "small": (("values", "funding"), 1e-05, "funding: 0.16\n", "funding: 1.0e-05\n"),
    "large": (("values", "funding"), 1e16, "funding: 0.16\n", "funding: 1.0e+16\n"),
    "negative zero": (("values", "funding"), -0.0, "funding: 0.16\n", "funding: -0.0\n"),
    "infinity": (("values", "funding"), float("-inf"), "funding: 0.16\n", "funding: -.inf\n"),
    "not a number": (("values", "funding"), float("nan"), "funding: 0.16\n", "funding: .nan\n"),
    "to bool": (("values", "funding"), True, "funding: 0.16\n", "funding: true\n"),
    "to null": (("values", "funding"), None, "funding: 0.16\n", "funding: null\n"),
    "to string": (("values", "funding"), "0.16", "funding: 0.16\n", 'funding: "0.16"\n'),
    "from null": (("values", "empty"), 3, "empty:\n", "empty: 3\n"),
    "single quotes": (("values", "name"), "it's: on", "'fast'", "'it''s: on'"),
    "single quotes too weak": (("values", "name"), "a\nb", "'fast'", '"a\\nb"'),
    "double quotes": (("values", "group", "on_off"), 'no "x"', '"yes"', '"no \\"x\\""'),
    "double quotes unneeded": (("values", "group", "on_off"), "never", '"yes"', '"never"'),
    "quoted to number": (("values", "group", "on_off"), 1, '"yes"', "1"),
    "plain string": (("overrides", 0, "values", "group", "name"), "very fast", "slow", "very fast"),
    "in a sequence": (("values", "group", "ladder", 1, 0), 0.3, "0.35", "0.3"),
    "in a block sequence": (("values", "group", "block", 1, 1), 4, "[2, 3]", "[2, 4]"),
    "same shape": (("values", "group", "ladder"), [[0.5, 2], [0.4, 1.5]], "0.35", "0.4"),
    "other shape": (("values", "group", "ladder"), [[0.5, 2.0]], "[[0.5, 2.0], [0.35, 1.5]]", "[[0.5, 2.0]]"),
    "block to flow": (
        ("values", "group", "block"),
        {"a": [1], "no": "x,y"},
        "block:\n      - 1\n      - [2, 3]   # tail",
        'block: {a: [1], "no": "x,y"}   # tail',
    ),
    "override": (("overrides", 0, "values", "funding"), 0.2, "funding: 0.18", "funding: 0.2"),
    "override in a flow mapping": (("overrides", 1, "values", "funding"), 0.4, "funding: 0.3,", "funding: 0.4,"),
    "new key": (("overrides", 0, "values", "b"), 1, "name: slow\n", "name: slow\n      b: 1\n"),
    "new key in a group": (
        ("overrides", 0, "values", "group", "b"), [1], "name: slow\n", "name: slow\n        b: [1]\n",
    ),
    "new group": (
        ("overrides", 0, "values", "g", "h", "b"), 1, "name: slow\n", "name: slow\n      g:\n        h:\n          b: 1\n",
    ),
    "new key in a flow mapping": (
        ("overrides", 1, "values", "g", "b"), 1, "liquidation: 0.2}", "liquidation: 0.2, g: {b: 1}}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("path", "value", "old", "new"), EDITS.values(), ids=EDITS.keys())
@pytest.mark.parametrize("crlf", [False, True])
def test_edits(path: Path, value: Any, old: str, new: str, crlf: bool) -> None:
    source, wanted = DOCUMENT, DOCUMENT.replace(old, new, 1)
    assert DOCUMENT.count(old) == 1
    if crlf:
        source, wanted = source.replace("\n", "\r\n"), wanted.replace("\n", "\r\n")
    assert edit(source, {path: value}) == wanted
    assert edit("\ufeff" + source, {path: value}) == "\ufeff" + wanted


@pytest.mark.parametrize(
    ("source", "new"),
    [
        ("a:\nb: 1", "a: 5\nb: 1"), ("a:   # c", "a: 5   # c"), ("a: '1'  ", "a: 5  "), ("a: |\n  x\n\nb: 1\n", "a: 5\n\nb: 1\n"),
        ("a: >-\n  x\n # c\n", "a: 5\n # c\n"), ("a:\n  x\n  y\n", "a:\n  5\n"), ("a:\n- 1\n- 2 # c\nb: 1", "a: 5 # c\nb: 1"),
        ("a: # c\n  # d\n  b: 1\n # e\n", "a: 5 # c\n # e\n"), ("a: [\n 1, # x\n 2]\n", "a: 5\n"), ("{a: , b: 1}", "{a: 5 , b: 1}"),
        ('{"a":1,"b":2}', '{"a":5,"b":2}'), ("--- {a: 1}", "--- {a: 5}"),
    ],
)  # fmt: skip
def test_edits_in_odd_layouts(source: str, new: str) -> None:
    assert edit(source, {("a",): 5}) == new


def test_several_edits_at_once() -> None:
    new = edit("a: 1\nb: x # c\nd: [1, 2.5]\n", {("a",): 2, ("b",): "z", ("d",): [1.0, 3.5]})
    assert new == "a: 2\nb: z # c\nd: [1, 3.5]\n"


def test_an_equal_value_leaves_its_text() -> None:
    document = text("a: 0.50\nb: +1\nc: [0, 0.60]\n")
    assert document.edited({("a",): 0.5, ("b",): 1, ("c",): [0.0, 0.6]}) is document


def test_old_text_is_not_touched() -> None:
    document = text(DOCUMENT)
    before = copy.deepcopy(document.data)
    document.edited({("values", "group", "ladder", 0, 0): 9, ("values", "group", "on_off"): "x"})
    document.edited({("values", "group", "ladder", 0, 0): 9})
    assert identical(document.data, before)
    assert document.raw == DOCUMENT.encode()


def test_no_edit_makes_a_file_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_yaml, "MAX_BYTES", 4)
    document = text("a: 1")
    assert document.edited({("a",): 2}).raw == b"a: 2"
    with pytest.raises(DocumentError, match="Nothing was edited"):
        document.edited({("a",): 22})


def test_a_number_needs_no_second_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    document = text(DOCUMENT)
    monkeypatch.setattr(_yaml, "compose", None)
    new = document.edited({("values", "funding"): 0.5, ("values", "group", "ladder"): [[1, 2], [3, 4]]})
    new = new.edited({("values", "funding"): 7, ("values", "group", "ladder", 0, 0): -1e-300})
    monkeypatch.undo()
    agrees_with_fresh_parse(new)


@pytest.mark.parametrize("token", ["0.51", "+1", "0x1F", "1e3", "'0.5'", "x", "true"])
def test_the_local_proof_doubts_its_positions(token: str) -> None:
    """Positions that do not hold the old value must not be written to."""
    document = text(f"a: 0.5\nb: {token}\n")
    wrong = YamlText(document.raw, "p", document.data, document._pieces, {("a",): document._at[("b",)]}, None)
    assert wrong._with_numbers([(("a",), 0.7)]) is None


WRONG_PATHS: list[Path] = [
    (), ("x",), ("values", "x"), ("values", "group", "ladder", 2), ("values", "group", "ladder", -1), ("overrides", 2),
    ("overrides", 2, "values", "x"), ("overrides", 0, "values", 0), ("overrides", 0, "values", "funding", "x"),
    ("values", "name", 0), ("overrides", "x", "y"), ("overrides", 0, "values", "new", 0),
]  # fmt: skip


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_a_misspelt_path_is_refused(path: Path) -> None:
    with pytest.raises(DocumentError, match="no value at"):
        text(DOCUMENT).edited({path: 1})


@pytest.mark.parametrize("value", [object(), {1: 2}, {1, 2}, b"x", [object()]])
def test_only_plain_data(value: Any) -> None:
    with pytest.raises(TypeError):
        text(DOCUMENT).edited({("values", "funding"): value})


@pytest.mark.parametrize("value", [10**5000, -(10**700), "\ud800", {"x\ud800": 1}], ids=["a", "b", "c", "d"])
def test_what_yaml_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(DocumentError, match="Nothing was edited"):
        text(DOCUMENT).edited({("values", "funding"): value})


def test_the_local_proof_doubts_what_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_yaml, "number_text", lambda _: "0.7000001")
    assert text("a: 0.5")._with_numbers([(("a",), 0.7)]) is None


def test_two_edits_of_one_text_are_refused() -> None:
    with pytest.raises(CannotEdit):
        apply("abcd", [(0, 2, "x"), (1, 3, "y")])
    with pytest.raises(DocumentError, match="without touching other values"):
        text("a: [1, 2]").edited({("a",): [1], ("a", 0): 3})


def test_an_edit_that_would_change_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_yaml, "changes", lambda *_: [(3, 4, "x\nc: 3")])
    with pytest.raises(DocumentError, match="without touching other values"):
        text("a: 1\nb: 2").edited({("a",): "x"})


def test_subclasses_are_written_as_what_they_are() -> None:
    class Odd(float):
        def __repr__(self) -> str:
            return "Odd()"

    new = text("a: 0.5").edited({("a",): Odd(0.25)})
    assert new.raw == b"a: 0.25"
    assert type(new.data["a"]) is float


# --- how values are written ----------------------------------------------------------------------

TRAPS = [
    "", " ", "yes", "No", "on", "OFF", "y", "n", "null", "~", "true", "1e3", "0x1f", "1_000", "12:30:00", "2020-01-01",
    " x", "x ", "a: b", "a #b", "a:", "#a", "- a", "-", "---", "[", "{a", "a,b", "&a", "*a", "!a", "%a", "@a", "`a", "|", ">",
    "'", '"', "\\", "\t", "a\tb", "a\nb", "\r", "\x07", "\x7f", "\x85", "\u2028", "\ufeff", "é", "😀", ".inf", ".nan", "0o17",
    "=", "<<", "?", "? a", "BTC/USDT:USDT", "a  b", "0.5", "inf", "nan", "Infinity", "1.2.3", "x" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("word", TRAPS)
@pytest.mark.parametrize("old", ["0.5", "'x'", '"x"', "[1]", "|\n  x\n"])
def test_strings_survive_both_yaml_versions(word: str, old: str) -> None:
    for value in (word, [word], {"k": word}):
        new = text(f"a: {old}\nb: [1]\n").edited({("a",): value})
        for version in ((1, 1), (1, 2)):
            assert independent(new.raw, version) == {"a": value, "b": [1]}


@given(st.text(max_size=20), st.sampled_from(["x", "'x'", '"x"']))
@settings(max_examples=100, deadline=None)
def test_any_string_survives(word: str, old: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        return
    new = text(f"a: {old}\nb: {{c: {old}}}").edited({("a",): word, ("b", "c"): word})
    for version in ((1, 1), (1, 2)):
        assert independent(new.raw, version) == {"a": word, "b": {"c": word}}


@given(st.floats(), st.integers(-(10**40), 10**40))
@settings(max_examples=100, deadline=None)
def test_any_number_survives_to_the_bit(real: float, whole: int) -> None:
    new = text("a: 0.5\nb: [1]\n").edited({("a",): real, ("b", 0): whole})
    for version in ((1, 1), (1, 2)):
        data = independent(new.raw, version)
        assert data["b"] == [whole]
        assert type(data["a"]) is float
        assert struct.pack("d", data["a"]) == struct.pack("d", real) or real != real  # noqa: PLR0124


# --- overrides -----------------------------------------------------------------------------------

APPENDS = {
    "missing": ("values: {a: 1}\n", "values: {a: 1}\noverrides:\n  - at: {s: X}\n    values:\n      a: 2\n"),
    "no final newline": ("values:\n a: 1", "values:\n a: 1\noverrides:\n - at: {s: X}\n   values:\n    a: 2"),
    "closing comment": ("a: 1\n# c", "a: 1\n# c\noverrides:\n  - at: {s: X}\n    values:\n      a: 2"),
    "indented root": ("  a: 1\n", "  a: 1\n  overrides:\n    - at: {s: X}\n      values:\n        a: 2\n"),
    "empty list": (
        "overrides: []  # c\nb: 1\n",
        "overrides:  # c\n  - at: {s: X}\n    values:\n      a: 2\nb: 1\n",
    ),
    "null": ("overrides:\nb: 1\n", "overrides:\n  - at: {s: X}\n    values:\n      a: 2\nb: 1\n"),
    "flow list": (
        "overrides: [{at: {s: Y}, values: {a: 1}}]\n",
        "overrides: [{at: {s: Y}, values: {a: 1}}, {at: {s: X}, values: {a: 2}}]\n",
    ),
    "flow root": ("{a: 1}", "{a: 1, overrides: [{at: {s: X}, values: {a: 2}}]}"),
    "flow root with an empty list": (
        "{overrides: [], a: 1}",
        "{overrides: [{at: {s: X}, values: {a: 2}}], a: 1}",
    ),
    "not indented": (
        "overrides:\n- at: {s: Y}\n  values: {a: 1}\n# c\n",
        "overrides:\n- at: {s: Y}\n  values: {a: 1}\n- at: {s: X}\n  values:\n    a: 2\n# c\n",
    ),
    "wide": (
        "overrides:\n    -   at: {s: Y}\n        values: {a: 1} # c\nb: 1",
        "overrides:\n    -   at: {s: Y}\n        values: {a: 1} # c\n    -   at: {s: X}\n        values:\n          a: 2\nb: 1",
    ),
    "dash alone": (
        "overrides:\n  -\n      at: {s: Y}\n      values: {a: 1}\n",
        "overrides:\n  -\n      at: {s: Y}\n      values: {a: 1}\n  - at: {s: X}\n    values:\n      a: 2\n",
    ),
}


@pytest.mark.parametrize(("source", "new"), APPENDS.values(), ids=APPENDS.keys())
@pytest.mark.parametrize("crlf", [False, True])
def test_appends(source: str, new: str, crlf: bool) -> None:
    if crlf and "\n" in source:
        source, new = source.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    assert edit(source, {}, [({"s": "X"}, {"a": 2})]) == new


def test_appends_the_documented_shape() -> None:
    entries = [
        ({"symbol": "BTCUSDT", "mode": "on"}, {"funding": 0.18, "g": {"h": [[1, 2]], "e": {}}}),
        ({"s": 1}, {}),
    ]
    assert edit("schema: 1\n", {}, entries) == (
        "schema: 1\n"
        "overrides:\n"
        '  - at: {symbol: BTCUSDT, mode: "on"}\n'
        "    values:\n"
        "      funding: 0.18\n"
        "      g:\n"
        "        h: [[1, 2]]\n"
        "        e: {}\n"
        "  - at: {s: 1}\n"
        "    values: {}\n"
    )


REMOVES: dict[str, tuple[list[Path], str, str]] = {
    "a value": ([("overrides", 0, "values", "funding")], "      funding: 0.18  # why\n", ""),
    "a group's last value": (
        [("overrides", 0, "values", "group", "name")], "      group:\n        name: slow\n", "",
    ),
    "an entry's last value": (
        [("overrides", 0, "values", "group", "name"), ("overrides", 0, "values", "funding")],
        "  - at: {symbol: BTCUSDT}\n    values:\n      funding: 0.18  # why\n      group:\n        name: slow\n", "",
    ),
    "an entry": (
        [("overrides", 0)],
        "  - at: {symbol: BTCUSDT}\n    values:\n      funding: 0.18  # why\n      group:\n        name: slow\n", "",
    ),
    "the last entry of a block": (
        [("overrides", 1)], "  - at: {symbol: ETHUSDT}\n    values: {funding: 0.3, liquidation: 0.2}\n", "",
    ),
    "first in a flow mapping": ([("overrides", 1, "values", "funding")], "funding: 0.3, ", ""),
    "last in a flow mapping": ([("overrides", 1, "values", "liquidation")], ", liquidation: 0.2", ""),
    "everything": (
        [("overrides", 1), ("overrides", 0)],
        DOCUMENT[DOCUMENT.index("overrides") : DOCUMENT.index("# end")], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("paths", "old", "new"), REMOVES.values(), ids=REMOVES.keys())
@pytest.mark.parametrize("crlf", [False, True])
def test_removes(paths: list[Path], old: str, new: str, crlf: bool) -> None:
    source, wanted = DOCUMENT, DOCUMENT.replace(old, new, 1)
    assert DOCUMENT.count(old) == 1
    if crlf:
        source, wanted = source.replace("\n", "\r\n"), wanted.replace("\n", "\r\n")
    assert edit(source, {}, removes=paths) == wanted


REMOVES_IN_ODD_LAYOUTS: dict[str, tuple[str, list[Path], str]] = {
    "tail of a flow mapping": (
        "overrides: [{at: {s: X}, values: {a: 1, b: 2, c: 3, d: 4 }}]",
        [("overrides", 0, "values", key) for key in "acd"],
        "overrides: [{at: {s: X}, values: {b: 2 }}]",
    ),
    "entry of a flow list": (
        "overrides: [{at: {s: X}, values: {a: 1}},  # c\n {at: {s: Y}, values: {a: 1}}]",
        [("overrides", 1)],
        "overrides: [{at: {s: X}, values: {a: 1}}]",
    ),
    "no final newline": ("a: 1\noverrides:\n- at: {s: X}\n  values: {a: 1}", [("overrides", 0)], "a: 1"),
    "overrides first": ("overrides:\n- at: {s: X}\n  values: {a: 1}\nb: 1", [("overrides", 0)], "b: 1"),
    "flow root": ("{overrides: [{at: {s: X}, values: {a: 1}}], b: 1}", [("overrides", 0)], "{b: 1}"),
    "block scalar": (
        "overrides:\n- at: {s: X}\n  values:\n    a: |\n      x\n\n    b: 1\n",
        [("overrides", 0, "values", "a")],
        "overrides:\n- at: {s: X}\n  values:\n\n    b: 1\n",
    ),
    "dash in a comment": (
        "overrides:\n  - at: {s: X}\n    values: {a: 1}\n  # - at\n  - # - x\n    at: {s: Y}\n    values: {a: 1}\nb: 1\n",
        [("overrides", 1)],
        "overrides:\n  - at: {s: X}\n    values: {a: 1}\n  # - at\nb: 1\n",
    ),
    "a value on the dash's line, written anew": (
        "# 1\noverrides: # 2\n  - {at: {s: X}, values: {a: 1}\n    }\n  - values: {a: 1,\n     b: 2} # 3\n    at: {s: Y}\n# 4\nb: 1\n",
        [("overrides", 1, "values", "a")],
        "# 1\noverrides: # 2\n  - {at: {s: X}, values: {a: 1}\n    }\n  - values: {b: 2} # 3\n    at: {s: Y}\n# 4\nb: 1\n",
    ),
}


@pytest.mark.parametrize(
    ("source", "paths", "new"), REMOVES_IN_ODD_LAYOUTS.values(), ids=REMOVES_IN_ODD_LAYOUTS.keys()
)
def test_removes_in_odd_layouts(source: str, paths: list[Path], new: str) -> None:
    assert edit(source, {}, removes=paths) == new


def test_overrides_are_written_anew_as_a_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(*_: object) -> None:
        raise CannotEdit("x")

    monkeypatch.setattr(_yaml, "removals", unable)
    new = edit(DOCUMENT, {("schema",): 2}, removes=[("overrides", 0, "values", "funding")])
    start, end = DOCUMENT.index("   # by symbol"), DOCUMENT.index("\n# end")
    assert (
        new
        == DOCUMENT[:start].replace("schema: 1", "schema: 2")
        + (
            "\n  - at: {symbol: BTCUSDT}\n    values:\n      group:\n        name: slow"
            "\n  - at: {symbol: ETHUSDT}\n    values:\n      funding: 0.3\n      liquidation: 0.2"
        )
        + DOCUMENT[end:]
    )


def test_the_last_resort_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_yaml, "removals", lambda *_: [])
    for source in ("overrides: [{values: {a: 1, b: 2}}]", "overrides: [{at: {}, values: {a: 1}}]\nc: 1"):
        with pytest.raises(DocumentError, match="without touching other values"):
            text(source).edited({}, removes=[("overrides", 0, "values", "a")])


def test_new_keys_of_two_mappings_that_end_on_one_line() -> None:
    source = DOCUMENT[: DOCUMENT.index("  # about ETH")]
    inner, outer = ("overrides", 0, "values", "group", "b"), ("overrides", 0, "values", "b")
    new = edit(source, {outer: 1, inner: 2}, [({"s": "X"}, {"a": 3})])
    assert new == source + ("        b: 2\n      b: 1\n  - at: {s: X}\n    values:\n      a: 3\n")


def test_all_kinds_of_edits_at_once() -> None:
    new = text(DOCUMENT).edited(
        {
            ("values", "name"): "x",
            ("overrides", 1, "values", "a", "b"): 1,
            ("overrides", 1, "values", "a", "c"): 2,
        },
        [({"symbol": "X"}, {"funding": 1})],
        [("overrides", 0), ("overrides", 1, "values", "liquidation")],
    )
    agrees_with_fresh_parse(new)
    assert new.data["overrides"] == [
        {"at": {"symbol": "ETHUSDT"}, "values": {"funding": 0.3, "a": {"b": 1, "c": 2}}},
        {"at": {"symbol": "X"}, "values": {"funding": 1}},
    ]


@pytest.mark.parametrize(
    "path",
    [(), ("values", "name"), ("overrides",), ("overrides", 2), ("overrides", -1), ("overrides", 0, "at"), ("overrides", 0, "values"),
     ("overrides", 0, "at", "symbol"), ("overrides", 0, "values", "x"), ("overrides", 0, "values", "funding", 0)],
)  # fmt: skip
def test_only_overrides_are_removed(path: Path) -> None:
    with pytest.raises(DocumentError, match="no override to remove"):
        text(DOCUMENT).edited({}, removes=[path])


def test_no_path_makes_a_malformed_override() -> None:
    for source in ("a: 1", "overrides: {x: {}}"):
        with pytest.raises(DocumentError, match="no value at"):
            text(source).edited({("overrides", "x", "y"): 1})
    with pytest.raises(DocumentError, match="no override to remove"):
        text("overrides: [{at: {s: X}, values: {a: [1, 2]}}]").edited(
            {}, removes=[("overrides", 0, "values", "a", 0)]
        )


@pytest.mark.parametrize("source", ["overrides: 1", "overrides: {a: 1}", "overrides: abc", "overrides: [1]"])
def test_malformed_overrides_are_not_edited(source: str) -> None:
    document = text(source)
    with pytest.raises(DocumentError):
        document.edited({("overrides", 0, "values", "x"): 1})
    with pytest.raises(DocumentError):
        document.edited({}, removes=[("overrides", 0, "values", "x")])
    if source != "overrides: [1]":
        with pytest.raises(DocumentError):
            document.edited({}, [({"s": "X"}, {"a": 1})])


# --- any layout ----------------------------------------------------------------------------------

NUMBERS = ["0.5", "0.50", "-3", "+7", "0", "1e3", "1.5E-7", ".25", "4.", "0x1f", "123456789.123456789"]
OTHERS = ["'x'", '"0.5"', "word", "two words", "true", "null", "~", "'it''s'", '"\\t"', "é", "''"]
COMMENTS = ["", "", "", " # c", "   # 0.5 é {[ 'x", "  ", " #"]


class Writer:
    """Writes one document in a random style, and notes the place of each value's token."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.newline = rng.choice(["\n", "\r\n"])
        self.indent = rng.randint(1, 8)
        self.out = rng.choice(["", "\ufeff"])
        self.tokens: list[tuple[Path, int, str]] = []
        self.names = 0

    def pick(self, *choices: str) -> str:
        return self.rng.choice(choices)

    def token(self, path: Path) -> None:
        token = self.rng.choice(NUMBERS + OTHERS if self.rng.random() < 0.5 else NUMBERS)
        self.tokens.append((path, len(self.out.encode()), token))
        self.out += token

    def key(self, path: Path) -> Path:
        self.names += 1
        name = f"k{self.names}"
        self.out += self.pick(name, name, f"'{name}'", f'"{name}"') + ":"
        return (*path, name)

    def end_line(self) -> None:
        self.out += self.rng.choice(COMMENTS) + self.newline
        if self.rng.random() < 0.2:
            self.out += self.pick("", "  ", "# 0.5", "          # é: 1") + self.newline

    def gap(self) -> None:
        self.out += self.pick("", " ", "  ", self.newline + " " * 20)

    def flow(self, path: Path, depth: int) -> None:
        kind = self.rng.choice(["token", "token", "{}", "[]"]) if depth else "token"
        if kind == "token":
            return self.token(path)
        self.out += kind[0]
        for index in range(self.rng.randint(1, 3)):
            if index:
                self.out += ","
            self.gap()
            below = self.key(path) if kind == "{}" else (*path, index)
            self.out += " " if kind == "{}" else ""
            self.flow(below, depth - 1)
            self.gap()
        self.out += kind[1]
        return None

    def block(self, path: Path, column: int, depth: int) -> None:
        for _ in range(self.rng.randint(1, 4)):
            self.out += " " * column
            self.value(self.key(path), column, depth)

    def value(self, path: Path, column: int, depth: int) -> None:
        kind = self.rng.choice(["flow", "flow", "map", "list"]) if depth else "flow"
        if kind == "flow":
            self.out += " "
            self.flow(path, 2)
            return self.end_line()
        self.end_line()
        if kind == "map":
            return self.block(path, column + self.indent, depth - 1)
        for index in range(self.rng.randint(1, 3)):
            self.out += " " * (column + self.indent) + "- "
            if self.rng.random() < 0.5:
                self.out += "- "
                self.token((*path, index, 0))
            else:
                self.flow((*path, index), 2)
            self.end_line()
        return None

    def document(self, overrides: bool) -> tuple[bytes, list[tuple[Path, int, str]]]:
        self.out += self.pick("", "# c é" + self.newline, "---" + self.newline)
        self.out += "schema: 1" + self.newline + "values:" + self.pick("", " # v") + self.newline
        self.block(("values",), self.indent, 2)
        if overrides:
            column = self.rng.choice([0, self.indent])
            self.out += "overrides:" + self.newline
            for index in range(self.rng.randint(1, 3)):
                self.out += (
                    " " * column
                    + "- at: {s: S}"
                    + self.newline
                    + " " * (column + 2)
                    + "values:"
                    + self.newline
                )
                self.block(("overrides", index, "values"), column + 2 + self.indent, 1)
        if self.rng.random() < 0.3:
            self.out = self.out.removesuffix(self.newline)
        return self.out.encode(), self.tokens


@st.composite
def documents(draw: st.DrawFn) -> tuple[bytes, list[tuple[Path, int, str]]]:
    rng = draw(st.randoms(use_true_random=False))
    return Writer(rng).document(draw(st.booleans()))


VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 1),
    st.integers(-1000, 1000),
    st.booleans(),
    st.none(),
    st.sampled_from(["word", "yes", "it's", "a: b # c", "é", ""]),
)


def put(data: Any, path: Path, value: Any) -> None:
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = value


def get(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


@given(documents(), st.data())
@settings(max_examples=100, deadline=None)
def test_one_value_is_its_own_bytes_and_no_other(
    written: tuple[bytes, list[tuple[Path, int, str]]], data: st.DataObject
) -> None:
    raw, tokens = written
    document = parse(raw, "p.yaml")
    assert identical(document.data, independent(raw))
    path, start, token = data.draw(st.sampled_from(tokens))
    value = data.draw(VALUES)
    end = start + len(token.encode())
    assert raw[start:end] == token.encode()

    new = document.edited({path: value})

    tail = len(raw) - end
    put_in = new.raw[start : len(new.raw) - tail]
    assert new.raw[:start] == raw[:start]
    assert new.raw[len(new.raw) - tail :] == raw[end:]
    assert identical(independent(b"x: " + put_in)["x"], value)
    expected = independent(raw)
    put(expected, path, value)
    assert identical(independent(new.raw), expected)
    assert identical(new.data, expected)


@given(documents(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_chain_of_edits_equals_a_fresh_parse(
    written: tuple[bytes, list[tuple[Path, int, str]]], data: st.DataObject
) -> None:
    raw, tokens = written
    document = parse(raw, "p.yaml")
    expected = independent(raw)
    for _ in range(data.draw(st.integers(2, 6))):
        path, _, _ = data.draw(st.sampled_from(tokens))
        value = data.draw(st.floats(0, 1) | VALUES)
        put(expected, path, value)
        document = document.edited({path: value})
        agrees_with_fresh_parse(document)
        assert identical(document.data, expected)


@given(documents(), st.data())
@settings(max_examples=60, deadline=None)
def test_the_local_proof_equals_the_second_parse(
    written: tuple[bytes, list[tuple[Path, int, str]]], data: st.DataObject
) -> None:
    raw, tokens = written
    document = parse(raw, "p.yaml")
    numbers = [path for path, _, token in tokens if token in NUMBERS]
    paths = data.draw(
        st.lists(st.sampled_from(numbers or [("schema",)]), min_size=1, max_size=4, unique=True)
    )
    edits = [
        (path, data.draw(st.floats(allow_nan=False, allow_infinity=False) | st.integers())) for path in paths
    ]
    quick = document._with_numbers(edits)
    slow = document._rewritten(edits, (), ())
    assert quick is not None
    assert quick.raw == slow.raw
    assert identical(quick.data, slow.data)
    agrees_with_fresh_parse(quick)


@given(documents(), st.data())
@settings(max_examples=20, deadline=None)
def test_overrides_come_and_go(
    written: tuple[bytes, list[tuple[Path, int, str]]], data: st.DataObject
) -> None:
    raw, _ = written
    document = parse(raw, "p.yaml")
    count = len(document.data.get("overrides", ()))
    at, values = {"s": "X", "r": "trend"}, {"a": 0.5, "g": {"b": 1, "c": [[1, 2]]}}
    more = document.edited({}, [(at, values)])
    assert identical(independent(more.raw)["overrides"][count], {"at": at, "values": values})
    assert identical(more.data["overrides"][:count], document.data.get("overrides", []))
    for path in data.draw(st.permutations([("new",), ("g", "d"), ("h", "i")])):
        more = more.edited({("overrides", count, "values", *path): "x"})
    values = independent(more.raw)["overrides"][count]["values"]
    assert values["new"] == values["g"]["d"] == values["h"]["i"] == "x"
    leaves = [("a",), ("g", "b"), ("g", "c"), ("new",), ("g", "d"), ("h", "i")]
    for path in data.draw(st.permutations(leaves)):
        more = more.edited({}, removes=[("overrides", count, "values", *path)])
        agrees_with_fresh_parse(more)
    assert more.raw == raw


@given(documents(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_override_can_be_removed(
    written: tuple[bytes, list[tuple[Path, int, str]]], data: st.DataObject
) -> None:
    document = parse(written[0], "p.yaml")
    while entries := document.data.get("overrides"):
        index = data.draw(st.integers(0, len(entries) - 1))
        key = data.draw(st.sampled_from([None, *entries[index]["values"]]))
        path: Path = ("overrides", index) if key is None else ("overrides", index, "values", key)
        document = document.edited({}, removes=[path])
        agrees_with_fresh_parse(document)
    agrees_with_fresh_parse(document)
    assert document.data.keys() == {"schema", "values"}


# --- damage --------------------------------------------------------------------------------------


def is_read_or_refused(raw: bytes) -> None:
    try:
        document = parse(raw, "p.yaml")
    except DocumentError:
        return
    agrees_with_fresh_parse(document)
    assert "".join(document._pieces).encode() == raw
    for path, index in list(document._at.items())[:3]:
        if document._pieces[index][:1] in ("|", ">"):
            continue  # the parser takes it at its key's own column, where no other scalar may stand
        new = document.edited({path: 0.125})
        assert get(new.data, path) == 0.125


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_random_bytes(raw: bytes) -> None:
    is_read_or_refused(raw)


SNIPPETS = [
    *"[]{}:,-?#&*!|>'\"%@`~=<\\ \t\n\r\0", "- ", ": ", "? ", "\n- ", "\n  ", "---\n", "...\n", "<<: ", "&a ", "*a", "!!x ", "|\n", ">-\n",
    "'", "''", '"', "\\x", "\r\n", "é", "\ufeff", "\u2028", "0x", "1_0", "1e999", "9" * 5000, "[" * 200, "{a: " * 40, "\ud7ff", "12:30",
    "2020-01-01", ".nan", "null", "%YAML 1.1\n", "|2\n", "|+\n", "|9-\n", "!<", "? |\n a\n: b",
]  # fmt: skip


def mutated(rng: random.Random) -> Iterator[str]:
    source = rng.choice([DOCUMENT, DOCUMENT.replace("\n", "\r\n"), "a: 1\nb: [1, {c: 2}]\n", "a: 1"])
    for _ in range(rng.randint(1, 4)):
        start = rng.randint(0, len(source))
        end = min(len(source), start + rng.choice([0, 0, 1, 5, 40]))
        source = source[:start] + rng.choice([*SNIPPETS, ""]) + source[end:]
    yield source


@given(st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_damaged_documents(rng: random.Random) -> None:
    for source in mutated(rng):
        is_read_or_refused(source.encode())


def test_json_is_yaml() -> None:
    data = {"schema": 1, "values": {"a": 0.5, "b": [1, [2, None]], "c": "x"}}
    for layout in (json.dumps(data), json.dumps(data, indent=2), json.dumps(data, separators=(",", ":"))):
        assert identical(text(layout).data, data)
        assert edit(layout, {("values", "a"): -1.5}) == layout.replace("0.5", "-1.5")
