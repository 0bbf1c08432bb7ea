"""Writers that take turns: each goes on from the text that it knows, and writes the same bytes as one that parses."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from local_store import age, number, schema, write_store

from paramstore import ParamStore, _files, _yaml
from paramstore._backends._texts import MOST, Texts
from paramstore.testing import ManualClock

SYMBOLS = ("BTC", "ETH", "SOL")
TEXT = """\
schema: 1
# weights
values:
  a: 1.0   # one
  b: 2
  list: [1, 2.5]
  group: {c: 0.25}
overrides:
  - at: {symbol: BTC}
    values:
      a: 1.5
"""
KEYS = ("w.a", "w.b", "w.list", "w.group.c")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    listed = {"type": "array", "items": {"type": "number"}, "default": [1, 2.5]}
    group = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"c": number(0.25, **{"x-param": {"learnable": True}})},
        "required": ["c"],
    }
    properties = {"a": number(1.0), "b": number(2.0), "list": listed, "group": group}
    whole = schema(properties, {"symbol": {"type": "string"}})
    return write_store(tmp_path / "a", {"w": whole, "v": whole}, {"w": TEXT, "v": TEXT})


def change(store: ParamStore, dice: random.Random) -> None:
    """Write one to three values, in contexts too, or take some away."""
    with store.transaction(author="learner") as tx:
        for _ in range(dice.randint(1, 3)):
            key = dice.choice(KEYS)
            key = key.replace("w.", "v.") if dice.random() < 0.2 else key
            context: Any = {"symbol": dice.choice(SYMBOLS)} if dice.random() < 0.5 else {}
            if context and dice.random() < 0.3:
                tx.remove(key, **context)
            elif key.endswith("list"):
                tx.set(key, [dice.randrange(9) / 4 for _ in range(dice.randint(1, 3))], **context)
            else:
                tx.set(key, dice.choice([dice.randrange(9), dice.random()]), **context)


def files(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "params").glob("*.yaml")}


class Parses:
    """Counts how many files were parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = _yaml.parse

        def counted(*words: Any) -> _yaml.YamlText:
            self.count += 1
            return real(*words)

        monkeypatch.setattr(_yaml, "parse", counted)


@pytest.mark.parametrize("seed", range(8))
def test_writers_that_take_turns_write_what_one_that_parses_would(seed: int, root: Path) -> None:
    twin = root.with_name("b")
    shutil.copytree(root, twin)
    writers = [ParamStore(root, environ={}, clock=ManualClock()) for _ in range(3)]
    mine, theirs = random.Random(seed), random.Random(seed)
    for turn in range(25):
        if turn % 6 == 5:  # by hand, so that the trail is lost
            for folder in (root, twin):
                file = folder / "params" / "w.yaml"
                file.write_bytes(file.read_bytes() + b"# edited\n")
                age(file)
        change(writers[mine.randrange(3)], mine)
        theirs.randrange(3)
        change(ParamStore(twin, environ={}, clock=ManualClock()), theirs)
        assert files(root) == files(twin)


def test_writers_that_take_turns_do_not_parse(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writers, dice = [ParamStore(root, environ={}) for _ in range(2)], random.Random(1)
    parses = Parses(monkeypatch)
    for turn in range(30):
        with writers[turn % 2].transaction(author="learner") as tx:
            tx["w.a"] = tx["v.group.c"] = dice.random()
            tx.set("w.a", dice.random(), symbol="BTC")
        if turn == 3:
            assert parses.count >= 2
            parses.count = 0
    assert parses.count == 0


def entry(before: bytes, after: bytes, *changes: tuple[str, float, float]) -> dict[str, Any]:
    sums = {"before": _files.digest(before), "after": _files.digest(after)}
    items = [{"key": key, "old": old, "new": new} for key, old, new in changes]
    return {"files": {"params/w.yaml": sums}, "changes": items}


def in_context(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "changes": [{**item, "context": {"symbol": "BTC"}} for item in record["changes"]]}


OLD, NEW, NEWEST = (f"schema: 1\nvalues:\n  a: {a}\n  b: true\n".encode() for a in ("1.0", "2.0", "3.0"))


def known() -> Texts:
    texts = Texts()
    texts.put("", _files.digest(OLD), _yaml.parse(OLD, "params/w.yaml"))
    return texts


def found(texts: Texts, raw: bytes) -> bytes | None:
    text = texts.get(_files.digest(raw))
    return text.raw if text is not None else None


def test_a_text_is_what_its_entries_made_of_it_or_is_not_known() -> None:
    texts = known()
    texts.follow(entry(OLD, NEW, ("w.a", 1.0, 2.0), ("v.a", 1.0, 9.0)))
    texts.follow(entry(NEW, NEWEST, ("w.a", 2.0, 3.0), ("w.b", 5, 5)))
    assert found(texts, NEWEST) == NEWEST and texts.get(_files.digest(NEWEST))
    assert found(texts, OLD) is found(texts, NEW) is None
    for wrong in (
        entry(OLD, NEW, ("w.a", 1.0, 2.5)),  # another splice than the hash says
        entry(OLD, NEW, ("w.c", 1.0, 2.0)),
        entry(OLD, NEW, ("w.a.b", 1.0, 2.0)),
        entry(OLD, NEW, ("w.a", 1.0, 2.0), ("w.b", True, False)),  # would be parsed by the splice
        entry(NEWEST, NEW, ("w.a", 1.0, 2.0)),
        entry(OLD, NEW),  # an edit of a comment
        in_context(entry(OLD, NEW, ("w.a", 1.0, 2.0), ("w.a.b.c", 1.0, 2.0))),
    ):
        texts = known()
        texts.follow(wrong)
        assert found(texts, NEW) is None


def test_texts_are_bounded() -> None:
    texts = known()
    names = [str(turn) for turn in range(2 * MOST)]
    for name in names:
        texts.put("", name, _yaml.parse(OLD, "params/w.yaml"))
    assert sum(texts.get(name) is not None for name in names) <= MOST + 1


def test_a_writer_that_slept_through_many_commits_parses_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper, other = ParamStore(root, environ={}), ParamStore(root, environ={})
    for writer in (sleeper, other):
        with writer.transaction(author="learner") as tx:
            tx["w.a"] = 3.0 if writer is sleeper else 4.0
    for turn in range(1100):
        with other.transaction(author="learner") as tx:
            tx["w.b"] = turn / 1000
    parses = Parses(monkeypatch)
    for value in (5.0, 6.0):
        with sleeper.transaction(author="learner") as tx:
            tx["w.a"] = value
    assert parses.count == 1
    assert ParamStore(root).get("w.a") == 6.0
