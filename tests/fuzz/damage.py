"""Damage done to a good file: what disks, editors, merges and hostile hands do to text. Every piece of it is a seed's."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Harm = Callable[[random.Random, bytes], bytes]

NUMBERS = (
    b"1e999", b"-1e999", b".nan", b"-.inf", b"NaN", b"Infinity", b"010", b"0o17", b"0x1F", b"1_000", b"1e-400", b"-0.0",
    b"9" * 400, b"9" * 5000, b"0." + b"1" * 3000, b"1e10000000000", b"18446744073709551616", b"-9223372036854775809",
    b"2020-01-01", b"12:30:00", b"true", b"null", b"~", b"yes", b"1.0", b"''", b"[]", b"{}", b'"0.5"', b"1e", b"0.5.1",
)  # fmt: skip
SNIPPETS = (
    *(bytes([byte]) for byte in b"[]{}:,-?#&*!|>'\"%@`~=<\\ \t\n\r\0\x01\x1b\x7f\x80\xc0\xff"),
    b"- ", b": ", b"? ", b"\n  ", b"---\n", b"...\n", b"<<: *a", b"&a ", b"*a", b"!!python/object/apply:os.system [ls]",
    b"!!binary ", b"!x ", b"|\n", b">-\n", b"\\x", b"\r\n", b"\xc3\xa9", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xed\xa0\x80",
    b"\\ud800", b"\xf4\x90\x80\x80", b"%YAML 1.1\n", b"<<<<<<< ours\n", b"=======\n", b">>>>>>> theirs\n", b'"', b"\\",
    b'":', b"},{", b"__proto__", b"$ref", b"\xff\xfe", b"\0\0\0\0", b"\n\n", b'{"a":', b"null,", b'"crc":"00000000"}\n',
)  # fmt: skip


def flip(dice: random.Random, raw: bytes) -> bytes:
    """One bit, or one byte, as a bad disk or cable does it."""
    at = dice.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << dice.randrange(8))]) + raw[at + 1 :]


def cut(dice: random.Random, raw: bytes) -> bytes:
    return raw[: dice.randrange(len(raw))]


def hole(dice: random.Random, raw: bytes) -> bytes:
    """A stretch of zeros, which a power failure leaves; sometimes the whole tail."""
    at = dice.randrange(len(raw))
    size = min(dice.choice((1, 8, 64, 4096)), len(raw) - at)
    return raw[:at] + bytes(size) + raw[at + size :]


def insert(dice: random.Random, raw: bytes) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + dice.choice(SNIPPETS) + raw[at + dice.choice((0, 0, 1, 5, 40)) :]


def _lines(dice: random.Random, raw: bytes) -> tuple[list[bytes], int, int]:
    lines = raw.splitlines(keepends=True) or [b""]
    return lines, dice.randrange(len(lines)), dice.randrange(len(lines))


def double(dice: random.Random, raw: bytes) -> bytes:
    lines, at, to = _lines(dice, raw)
    lines.insert(to, lines[at])
    return b"".join(lines)


def swap(dice: random.Random, raw: bytes) -> bytes:
    lines, at, to = _lines(dice, raw)
    lines[at], lines[to] = lines[to], lines[at]
    return b"".join(lines)


def drop(dice: random.Random, raw: bytes) -> bytes:
    lines, at, _ = _lines(dice, raw)
    del lines[at]
    return b"".join(lines)


def _spans(raw: bytes) -> list[tuple[int, int]]:
    """Where runs of letters and digits stand: words, numbers, hashes."""
    spans, start = [], None
    for at, byte in enumerate(raw + b" "):
        is_word = chr(byte).isalnum() or byte in b"._"
        if is_word and start is None:
            start = at
        elif not is_word and start is not None:
            spans.append((start, at))
            start = None
    return spans


def number(dice: random.Random, raw: bytes) -> bytes:
    """A word or number becomes a number that is none, or none that is one to every parser."""
    spans = _spans(raw)
    if not spans:
        return raw
    start, end = dice.choice(spans)
    return raw[:start] + dice.choice(NUMBERS) + raw[end:]


def exchange(dice: random.Random, raw: bytes) -> bytes:
    """A word takes the place of another one: a key for a value, a hash for a name."""
    spans = _spans(raw)
    if not spans:
        return raw
    (start, end), (a, b) = dice.choice(spans), dice.choice(spans)
    return raw[:start] + raw[a:b] + raw[end:]


def nest(dice: random.Random, raw: bytes) -> bytes:
    spans = _spans(raw) or [(0, 0)]
    start, end = dice.choice(spans)
    depth = dice.choice((2, 30, 40, 500))
    opening, closing = dice.choice(
        ((b"[", b"]"), (b'{"a":', b"}"), (b"{a: ", b"}"), (b"- ", b""), (b"(", b")"))
    )
    whole = dice.random() < 0.5
    return raw[:start] + opening * depth + raw[start:end] + (closing * depth if whole else b"") + raw[end:]


def huge(dice: random.Random, raw: bytes) -> bytes:
    at = dice.randrange(len(raw) + 1)
    kind = dice.choice((b"x", b"9", b" ", b"\n", b'"', b"#", b"a: ", b"- ", b"\\", b"[", b"&a ", b"\xc3\xa9"))
    return raw[:at] + kind * dice.choice((300, 2000, 6000)) + raw[at:]


def bomb(dice: random.Random, raw: bytes) -> bytes:
    """The billion laughs: aliases of aliases."""
    levels = [b"a0: &a0 [x, x]\n"]
    levels += [
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9))
        for n in range(1, dice.choice((3, 9)))
    ]
    at = raw.find(b"\n", dice.randrange(len(raw))) + 1
    return raw[:at] + b"".join(levels) + raw[at:]


def encode(dice: random.Random, raw: bytes) -> bytes:
    text = raw.decode("utf-8", "replace")
    return text.encode(
        dice.choice(("utf-16", "utf-32", "utf-16-le", "utf-8-sig", "latin-1", "utf-7")), "replace"
    )


HARMS: tuple[Harm, ...] = (
    flip, flip, cut, hole, insert, insert, insert, double, swap, drop, number, number, number, exchange, exchange, nest, huge,
    bomb, encode,
)  # fmt: skip
RARE = {nest, huge, bomb, encode}  # each of them alone is seen through at the first look


def damaged(dice: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of ``seeds`` with one to four harms done to it."""
    raw = dice.choice(seeds)
    for _ in range(dice.choice((1, 1, 1, 2, 2, 4))):
        harm = dice.choice(HARMS)
        if harm in RARE and dice.random() < 0.7:
            continue
        raw = harm(dice, raw) if raw else dice.choice(SNIPPETS)
    return raw
