"""Follow a page of the documentation: write the files that it shows, run its commands, hold their output to the page.

A block with a name after its language (```` ```python bot.py ````) is a file. In a ``console`` block each line that
starts with ``$`` is a command for the shell; what follows is its output, where a line of ``…`` stands for any lines
and ``…`` within a line for the rest of it. A ``python`` block with ``>>>`` is a session in the page's folder. Any other
block (``sh``, ``text``, ``ini``) is only shown.

``python tests/guide.py docs/tutorial.md`` writes into a page what its commands say today, where that differs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<name>[\w./-]+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
GAP = "…"
# What differs from run to run, and what stands for it on both sides of a comparison.
VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "2026-01-31T12:00:00Z"),
    (re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?( [+-]\d{4})?)?"), "2026-01-31"),
    (re.compile(r"(?<![.\w])[0-9a-f]{7,40}\b"), "c0ffee0"),  # a name in git may be digits alone
    (re.compile(r"(?<= )\d+(\.\d+)? ?(ms|s|seconds?|min)\b( ago)?"), "1 s"),
    (re.compile(r"^store: .*$", re.MULTILINE), "store: …"),
    (re.compile("│.*$", re.MULTILINE), "│"),  # where a chart steps depends on the seconds between
)
DOCTEST = "import doctest, sys; sys.exit(doctest.testfile(sys.argv[1], module_relative=False).failed > 0)"


class Step(NamedTuple):
    """One command of a page: the command, the output that the page shows, and where that stands in the page."""

    command: str
    shown: str
    start: int
    end: int


def steps(block: re.Match[str]) -> Iterator[Step]:
    """Yield the commands of a ``console`` block."""
    starts = [found.start() for found in re.finditer(r"^\$ ", block["body"], re.MULTILINE)]
    for start, end in zip(starts, [*starts[1:], len(block["body"])], strict=True):
        command, _, shown = block["body"][start + 2 : end].partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command += "\n" + more
        end_in_page = block.start("body") + end
        yield Step(command, shown, end_in_page - len(shown), end_in_page)


def lines(text: str) -> list[str]:
    """Return the lines of an output with all that varies from run to run made equal."""
    for pattern, stand_in in VARIES:
        text = pattern.sub(stand_in, text)
    return [re.sub(" +", " ", line).rstrip() for line in text.strip().splitlines()]


def agree(shown: list[str], said: list[str]) -> bool:
    """Tell whether what is shown is what was said; a line of ``…`` in it stands for any number of lines."""
    if not shown:
        return not said
    if shown[0].strip() == GAP:
        return any(agree(shown[1:], said[skipped:]) for skipped in range(len(said) + 1))
    if not said:
        return False
    pattern = ".*".join(re.escape(part) for part in shown[0].split(GAP))
    return re.fullmatch(pattern, said[0]) is not None and agree(shown[1:], said[1:])


class Reader:
    """A newcomer in an empty folder, with this interpreter's commands, a name in git, and nothing else set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder.parent / f"home-of-{folder.name}"
        home.mkdir(exist_ok=True)
        (home / ".gitconfig").write_text(
            "[user]\nname = Ada\nemail = ada@example.org\n[init]\ndefaultBranch = main\n"
            "[core]\npager = cat\n[advice]\ndetachedHead = false\n"
        )
        passed = {"LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV"}
        self.environ = {name: value for name, value in os.environ.items() if name in passed}
        self.environ |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(home), "COLUMNS": "200",
            "GIT_CONFIG_NOSYSTEM": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1",
            "GIT_EDITOR": "true", "LOGNAME": "ada", "USER": "ada",
        }  # fmt: skip

    def follow(self, page: str) -> Iterator[tuple[Step, str]]:
        """Go through a page; yield each command with what it said. Files and sessions are dealt with on the way."""
        for block in BLOCK.finditer(page):
            if block["name"]:
                self._write(block["name"], block["body"])
            elif block["kind"] == "python" and ">>>" in block["body"]:
                self._session(block["body"])
            elif block["kind"] == "console":
                yield from ((step, self.run(step.command)) for step in steps(block))

    def run(self, command: str) -> str:
        """Run one command in a shell, in the page's folder; return all it said."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.stdout.replace(str(self.folder.resolve()), GAP)

    def _write(self, name: str, body: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")

    def _session(self, body: str) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write(body)
            file.flush()
            command = [sys.executable, "-c", DOCTEST, file.name]
            done = subprocess.run(
                command, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stdout + done.stderr


def arrive(path: Path, folder: Path) -> Reader:
    """Return the reader of a page: one of a how-to guide has done what the guides' index says first."""
    reader = Reader(folder)
    index = path.parent / "index.md"
    if path.parent.name == "how-to" and path != index:
        for _ in reader.follow(index.read_text(encoding="utf-8")):
            pass
    return reader


def hold(path: Path, folder: Path) -> int:
    """Follow a page in an empty folder and hold every output to it; return how many commands there were."""
    ran = 0
    for step, said in arrive(path, folder).follow(path.read_text(encoding="utf-8")):
        assert agree(lines(step.shown), lines(said)), f"{path.name}: $ {step.command}\n{said}"
        assert "Traceback" not in said, said
        ran += 1
    return ran


def rewrite(path: Path) -> None:
    """Put today's outputs into a page, where what it shows is no longer what is said."""
    page = path.read_text(encoding="utf-8")
    pieces, position = [], 0
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / "bot"
        folder.mkdir()
        for step, said in arrive(path, folder).follow(page):
            if not agree(lines(step.shown), lines(said)):
                pieces += [page[position : step.start], said.rstrip() + "\n" if said.strip() else ""]
                position = step.end
                print(f"$ {step.command}\n{said}", end="")  # noqa: T201 - a command for people
    path.write_text("".join([*pieces, page[position:]]), encoding="utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument))
