# ruff: noqa: T201 - run as a command, it prints
"""Values written into files of any style: ``python tests/fuzz/edits.py [EDITS] [SEED]``. Exactly the changed scalar's bytes differ.

The styles are those of ``test_yaml.Writer``, and more: unicode keys, tabs in comments, long floats. What is
compared is bytes, and the data that a parser of ruamel's own makes of them.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path as File
from typing import Any

HERE = File(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import test_yaml  # noqa: E402

from paramstore import _yaml  # noqa: E402
from paramstore._backends._splice import splice  # noqa: E402
from paramstore._model import Change  # noqa: E402
from paramstore._yaml import Path, identical  # noqa: E402

LONG = [
    "0.1000000000000000055511151231257827",
    "3.141592653589793238462643383279",
    "-0.00000000000000012500",
    "100000000000000000000.5",
]
WORDS = ["größe", "信号", "naïve", "a b", "x-1", "ключ"]
ENDS = ["", "", " # c", " # é\tb\t", "   # 0.5 {[ '", " #", " #\t"]
VALUES: list[Any] = [
    0.5,
    0.1 + 0.2,
    -1e-300,
    1e22,
    7,
    -12345678901234567890,
    True,
    None,
    "word",
    "yes",
    "it's",
    "a: b # c",
    "é",
    "",
    "0.5",
]


class Writer(test_yaml.Writer):
    """Documents in more styles."""

    def token(self, path: Path) -> None:
        if self.rng.random() < 0.7:
            return super().token(path)
        self.tokens.append((path, len(self.out.encode()), self.rng.choice(LONG)))
        self.out += self.tokens[-1][2]
        return None

    def key(self, path: Path) -> Path:
        if self.rng.random() < 0.6:
            return super().key(path)
        self.names += 1
        name = f"{self.rng.choice(WORDS)}{self.names}"
        self.out += self.pick(name, f"'{name}'", f'"{name}"') + ":"
        return (*path, name)

    def end_line(self) -> None:
        self.out += self.rng.choice(ENDS) + self.newline
        if self.rng.random() < 0.2:
            self.out += self.pick("", "  ", "# 0.5", "          # é: 1") + self.newline


def problem(seed: int) -> str | None:
    """Make one edit of one file; return what is wrong with it."""
    dice = random.Random(seed)
    raw, tokens = Writer(dice).document(dice.random() < 0.5)
    path, start, token = dice.choice(tokens)
    value = dice.choice(VALUES) if dice.random() < 0.5 else dice.random() * 10 ** dice.randint(-9, 9)
    end = start + len(token.encode())
    text = _yaml.parse(raw, "p.yaml")
    if path[0] == "values" and all(isinstance(step, str) and "." not in step for step in path):
        new = splice(
            text, [Change(".".join(["p", *map(str, path[1:])]), 0, value)]
        )  # as a transaction does it
    else:
        new = text.edited({path: value})
    tail = len(raw) - end
    expected = test_yaml.independent(raw)
    now = test_yaml.get(expected, path)
    test_yaml.put(
        expected, path, now if type(now) is int and type(value) is float and value == now else value
    )
    if new.raw[:start] != raw[:start] or (tail and new.raw[-tail:] != raw[end:]):
        return f"seed {seed}: foreign bytes differ after {path} = {value!r}: {raw!r} → {new.raw!r}"
    if not identical(test_yaml.independent(new.raw), expected) or not identical(new.data, expected):
        return f"seed {seed}: {path} = {value!r} changed other values: {raw!r} → {new.raw!r}"
    return None


def main(count: int, seed: int) -> int:
    """Make ``count`` edits; exit status 1 where one is wrong."""
    found = 0
    for number in range(count):
        try:
            said = problem(seed + number)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            said = f"seed {seed + number}: {type(error).__name__}: {error}"
        if said:
            found += 1
            print(said[:2000])
    print(f"{count} edits, {found} violations")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(int((*sys.argv[1:2], "100000")[0]), int((*sys.argv[2:3], "1")[0])))
