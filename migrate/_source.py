"""One Python source file: its bytes as they are, and where a place of its syntax tree lies in them."""

from __future__ import annotations

import ast
import hashlib
import io
import re
import tokenize
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

MOST_BYTES = 4 << 20  # no one writes such a file by hand, and parsing one may take minutes
LINE = re.compile("\r\n|\r|\n")
IGNORE = re.compile(r"#\s*paramstore:\s*ignore(?:\[([^\]]*)\])?")
BOM = b"\xef\xbb\xbf"


class Unreadable(Exception):  # noqa: N818 - tells about the file, not about the program
    """The file is no Python source that can be read; the message says why."""


@dataclass
class Source:
    """``text`` is decoded, without BOM; ``raw`` is what is on disk. Lines end as Python sees them."""

    path: str
    raw: bytes
    text: str
    encoding: str
    bom: bool
    tree: ast.Module = field(repr=False)
    _starts: list[int] = field(default_factory=list, repr=False)  # character offset of each line
    _byte_starts: list[int] = field(default_factory=list, repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    @cached_property
    def ignored(self) -> dict[int, str]:
        """The lines with a comment ``# paramstore: ignore[reason]``, and the reasons."""
        found: dict[int, str] = {}
        if IGNORE.search(self.text) is None:
            return found
        with suppress(tokenize.TokenError, SyntaxError):
            for token in tokenize.generate_tokens(io.StringIO(self.text, newline="").readline):
                if token.type == tokenize.COMMENT and (match := IGNORE.search(token.string)):
                    found[token.start[0]] = match.group(1) or ""
        return found

    def offset(self, line: int, column: int) -> int:
        """Return the character offset of a 1-based line and a 0-based column in UTF-8 bytes."""
        if not self._starts:
            self._starts = [0, *(match.end() for match in LINE.finditer(self.text))]
        start = self._starts[line - 1]
        if column == 0:
            return start
        text = self.text[start : start + column]
        if text.isascii():
            return start + column
        return start + len(text.encode()[:column].decode(errors="ignore"))

    def byte_offset(self, line: int, offset: int) -> int:
        """Return where in ``raw`` the character at ``offset``, which stands in ``line``, begins."""
        if not self._byte_starts:
            self.offset(1, 0)
            self._byte_starts = [3 if self.bom else 0]
            for start, end in zip(self._starts, self._starts[1:], strict=False):
                self._byte_starts.append(
                    self._byte_starts[-1] + len(self.text[start:end].encode(self.encoding))
                )
        return self._byte_starts[line - 1] + len(
            self.text[self._starts[line - 1] : offset].encode(self.encoding)
        )

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the character offsets between which ``node`` stands."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self.offset(node.lineno, node.col_offset),
            self.offset(node.end_lineno, node.end_col_offset),
        )

    def segment(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.text[start:end]

    def line_text(self, line: int) -> str:
        """Return a 1-based line without its end."""
        start = self.offset(line, 0)
        end = LINE.search(self.text, start)
        return self.text[start : end.start() if end else len(self.text)]

    @property
    def newline(self) -> str:
        """Return the line ending that the file uses first, ``\\n`` if it has none."""
        match = LINE.search(self.text)
        return match.group() if match else "\n"

    def encode(self, text: str) -> bytes:
        """Return the bytes of an edited text, as this file is encoded. Raises ``UnicodeEncodeError``."""
        return (BOM if self.bom else b"") + text.encode(self.encoding)


def bytes_of(path: str) -> bytes | None:
    """Return what is in a file, ``None`` if there is none. Raises ``OSError``."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def read(path: str, raw: bytes | None = None) -> Source:
    """Read and parse a file, or the bytes given. Raises ``Unreadable``."""
    if raw is None:
        try:
            with open(path, "rb") as stream:
                raw = stream.read(MOST_BYTES + 1)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise Unreadable(f"is larger than {MOST_BYTES >> 20} MB")
    encoding, text = _decode(raw)
    return Source(path, raw, text, encoding, raw.startswith(BOM), _parse(text, path))


def _decode(raw: bytes) -> tuple[str, str]:
    """Return the encoding that Python would use, and the text."""
    try:
        encoding, _ = tokenize.detect_encoding(
            io.BytesIO(raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).readline
        )
        bare = raw[3:] if raw.startswith(BOM) else raw
        encoding = "utf-8" if encoding == "utf-8-sig" else encoding
        text = bare.decode(encoding)
        if text.encode(encoding) != bare:
            raise Unreadable(f"does not survive decoding and encoding as {encoding}")
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise Unreadable(f"cannot be decoded: {error}") from None
    return encoding, text


def _parse(text: str, path: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code's own doubtful escapes
            return ast.parse(text, path)
    except SyntaxError as error:
        raise Unreadable(f"is not valid Python {_version()}: {error.msg} (line {error.lineno})") from None
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise Unreadable(f"cannot be parsed: {error or type(error).__name__}") from None


def compiled(text: str, path: str) -> None:
    """Raise ``Unreadable`` for what parsing does not see, such as a ``__future__`` import too late."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"does not compile: {error}") from None


def _version() -> str:
    import sys

    return f"{sys.version_info.major}.{sys.version_info.minor}"
