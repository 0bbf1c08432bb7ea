"""The documented examples run, and say what they say; every command is documented."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paramstore import ParamStore

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def blocks(file: str) -> Iterator[tuple[str, str]]:
    for match in BLOCK.finditer((ROOT / file).read_text(encoding="utf-8")):
        yield match[1], match[2]


def run(command: list[str], folder: Path) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PARAM", "COLUMNS"))}
    environ |= {"COLUMNS": "200", "PARAMSTORE_ROOT": ""}
    environ.pop("PARAMSTORE_ROOT")
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def normal(text: str) -> list[str]:
    text = TIME.sub("2026-01-31T12:00:00Z", text)
    text = re.sub(r"^store: .*$", "store: …", text, flags=re.MULTILINE)
    text = re.sub("│.*$", "│", text, flags=re.MULTILINE)  # where a chart steps depends on the seconds between
    return [line.rstrip() for line in text.strip().splitlines()]


def test_the_tour_of_the_readme_is_what_happens(tmp_path: Path) -> None:
    ran = 0
    for kind, text in blocks("README.md"):
        if kind == "python":
            code = text if "import params" in text else "from paramstore import params\n" + text
            out = run([sys.executable, "-c", code], tmp_path)
            for line in code.splitlines():  # print(x)   # shown
                if line.startswith("print("):
                    assert out.strip() == line.partition("#")[2].strip()
            assert "Traceback" not in out, out
            ran += 1
        if kind == "console":
            ran += hold_session(text, tmp_path)
    assert ran >= 12


def hold_session(text: str, folder: Path) -> int:
    """Run each command of a terminal session and hold its output to what is shown; return how many there were."""
    steps = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    for step in steps:
        command, _, expected = step.partition("\n")
        words = shlex.split(command)
        assert words[0] == "paramstore"
        out = run([sys.executable, "-m", "paramstore", *words[1:]], folder)
        assert normal(out) == normal(expected), f"$ {command}"
    return len(steps)


@pytest.mark.parametrize("file", ["docs/history.md", "docs/reading.md", "docs/writing.md", "docs/guards.md"])
def test_examples_of_the_reference_hold(file: str, tmp_path: Path) -> None:
    run([sys.executable, "-m", "paramstore", "init"], tmp_path)
    for kind, session in blocks(file):
        if kind == "console":
            hold_session(session, tmp_path)
    text = "\n".join(code for kind, code in blocks(file) if kind == "python")
    names = {"params": ParamStore(tmp_path), "__name__": "__main__"}
    test = doctest.DocTestParser().get_doctest(text, names, file, file, 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=report.append)
    assert test.examples
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_the_report_of_the_page_is_written_as_shown(tmp_path: Path) -> None:
    run([sys.executable, "-m", "paramstore", "init"], tmp_path)
    sessions = [text for kind, text in blocks("docs/web.md") if kind == "console"]
    assert sum(hold_session(text, tmp_path) for text in sessions) == 1


def test_the_examples_of_types_run_and_are_what_mypy_says(tmp_path: Path) -> None:
    run([sys.executable, "-m", "paramstore", "init"], tmp_path)
    (tmp_path / "mypy.ini").write_text("[mypy]\nmypy_path = $MYPY_CONFIG_FILE_DIR/typings\n")
    files = {}
    for kind, text in blocks("docs/types.md"):
        if kind == "console":
            hold_session(text, tmp_path)
        if kind == "python":
            file = text.partition("\n")[0].removeprefix("# ")
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(text, encoding="utf-8")
            files[file] = {number for number, line in enumerate(text.splitlines(), 1) if "# error" in line}
            if not files[file]:
                assert "Traceback" not in run([sys.executable, file], tmp_path)
    assert len(files) == 4
    said = run([sys.executable, "-m", "mypy", "--strict", *files], tmp_path)
    for file, marked in files.items():
        wrong = {int(line) for line in re.findall(rf"^{re.escape(file)}:(\d+): error", said, re.MULTILINE)}
        assert wrong == marked, f"{file}: {said}"


def test_every_command_and_link_is_documented() -> None:
    from paramstore.cli import cli

    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    for name in cli.commands:
        assert f"`paramstore {name}" in text, name
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / link).exists(), link
