"""Stubs: what mypy and pyright make of code that reads and writes a store, and the command that writes them."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import paramstore
from paramstore import ParamStore, _init
from paramstore._stubs import stub_text
from paramstore._stubs_types import read_type, write_type
from paramstore._transaction import Transaction
from paramstore.cli import cli

CASES = Path(__file__).parent / "typing"
MYPY_INI = "[mypy]\nmypy_path = $MYPY_CONFIG_FILE_DIR/typings\n"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PARAM")]:
        monkeypatch.delenv(name)


def run(root: Path, *words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(cli, ["--root", str(root), *words])
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert done.exit_code == status, done.output
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project: the shipped store and one parameter of every kind, the cases, and the stub."""
    root = tmp_path_factory.mktemp("project")
    _init.write(str(root), _init.shipped())
    shutil.copy(CASES / "kinds.schema.json", root / "schemas")
    for case in CASES.glob("*.py"):
        shutil.copy(case, root)
    (root / "mypy.ini").write_text(MYPY_INI)
    (root / "pyrightconfig.json").write_text("{}")
    run(root, "stubs")
    return root


# --- what type checkers say -----------------------------------------------------------------------------


def mypy(root: Path, file: str) -> dict[int, str]:
    """Return the errors of mypy by line."""
    words = [sys.executable, "-m", "mypy", "--strict", "--show-absolute-path", file]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(r"(.*?):(\d+): error: (.*)", line)
        if match:
            assert match[1].endswith(file), line  # the stub itself is in order
            found[int(match[2])] = match[3]
    return found


def pyright(root: Path, *files: str) -> dict[int, str]:
    """Return the errors of pyright by line. Without files it checks the project, the stub too."""
    if find_spec("pyright") is None:
        without_pyright("it is not installed")
    words = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", *files]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    try:
        said = json.loads(done.stdout)["generalDiagnostics"]
    except ValueError:
        without_pyright((done.stderr or done.stdout).strip().rpartition("\n")[2])
    errors = [item for item in said if item["severity"] == "error"]
    return {item["range"]["start"]["line"] + 1: f"{item['file']}: {item['message']}" for item in errors}


def without_pyright(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"pyright does not run: {reason}")
    pytest.skip(f"pyright does not run: {reason}")


CHECKERS: dict[str, Callable[..., dict[int, str]]] = {"mypy": mypy, "pyright": pyright}


@pytest.mark.parametrize("tool", CHECKERS)
def test_good_code_has_no_error(project: Path, tool: str) -> None:
    assert CHECKERS[tool](project, "good.py") == {}


@pytest.mark.parametrize("tool", CHECKERS)
def test_every_marked_line_is_an_error_and_no_other(project: Path, tool: str) -> None:
    lines = (CASES / "bad.py").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    assert len(marked) > 60
    found = CHECKERS[tool](project, "bad.py")
    assert {number: lines[number - 1] for number in marked - found.keys()} == {}
    assert {number: text for number, text in found.items() if number not in marked} == {}


def test_the_message_of_mypy_names_no_thousand_keys(project: Path) -> None:
    lines = (CASES / "bad.py").read_text().splitlines()
    misspelt = lines.index('params.get("signal_weights.fundng")  # error') + 1
    words = [sys.executable, "-m", "mypy", "--strict", "bad.py"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False, timeout=300)
    said = [line for line in done.stdout.splitlines() if f"bad.py:{misspelt}:" in line]
    assert any("_FloatKey" in line for line in said)
    assert not any("win_rate.floor" in line for line in said)


@pytest.mark.parametrize("tool", CHECKERS)
def test_a_wide_store_needs_no_more_than_the_stub_says(tmp_path: Path, tool: str) -> None:
    """Names that collide, namespaces of different dimensions, one type only: the stub is in order all the same."""
    (tmp_path / "typings" / "paramstore").mkdir(parents=True)
    (tmp_path / "mypy.ini").write_text(MYPY_INI)
    leaf = {"type": "number", "default": 0.5}
    count = {"type": "integer", "default": 1}
    odd = {
        "a-b": leaf, "a_b": leaf, "1st": leaf, "class": leaf, "a": group({"b": leaf, "c": count}), "A": group({"b": count, "d": leaf}),
        "x-y": {"enum": ["p"]}, "x_y": {"enum": ["q"]},
    }  # fmt: skip
    raw = {"odd": frame(odd, {"venue": {"type": "string"}}), "a-b": frame({"c": leaf}, None)}
    (tmp_path / "typings" / "paramstore" / "__init__.pyi").write_text(stub_text(raw))
    code = [
        "from typing import Literal, assert_type",
        "from paramstore import params",
        'assert_type(params.get("odd.a-b", venue="x"), float)',
        'assert_type(params.section("odd.a")["b"], float)',
        'assert_type(params.section("odd.A")["b"], int)',
        'p: Literal["p"] = params.get("odd.x-y")',
        'q: Literal["q"] = params.get("odd.x_y")',
        'assert_type(params.section("a-b")["c"], float)',
        'params.get("odd.c")',
        'with params.transaction(author="me") as tx:',
        '    tx.set("a-b.c", 1, venue="x")',
    ]
    (tmp_path / "use.py").write_text("\n".join(code) + "\n")
    assert sorted(CHECKERS[tool](tmp_path, "use.py")) == [9, 11]


def test_pyright_finds_nothing_wrong_with_the_stub_itself(project: Path) -> None:
    assert not [text for text in pyright(project).values() if "typings" in text]


# --- completion -------------------------------------------------------------------------------------------


def test_an_editor_completes_keys_groups_and_dimensions(project: Path, tmp_path: Path) -> None:
    if find_spec("pyright") is None:
        without_pyright("it is not installed")
    code = [
        "from paramstore import params",
        'params.get("sig")',
        'params.section("sig")',
        'params.get("signal_weights.funding", )',
        'params.override({"sig": 1})',
    ]
    with Editor(project, "edited.py", "\n".join(code) + "\n") as editor:
        assert "signal_weights.funding" in editor.completed(1, len('params.get("sig'))
        assert "signal_weights" in editor.completed(2, len('params.section("sig'))
        assert "symbol=" in editor.completed(3, len('params.get("signal_weights.funding", '))
        assert "signal_weights.funding" in editor.completed(4, len('params.override({"sig'))


class Editor:
    """An editor that asks pyright's language server what it would complete."""

    def __init__(self, root: Path, name: str, text: str) -> None:
        self._uri = (root / name).as_uri()
        self._root, self._text = root, text
        (root / name).write_text(text)
        self._last = 0

    def __enter__(self) -> Editor:
        words = [sys.executable, "-m", "pyright.langserver", "--stdio"]
        self._server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self._root)
        folders = [{"uri": self._root.as_uri(), "name": "project"}]
        about = {"processId": os.getpid(), "capabilities": {}, "workspaceFolders": folders}
        self._ask("initialize", {**about, "rootUri": self._root.as_uri()})
        self._send({"method": "initialized", "params": {}})
        document = {"uri": self._uri, "languageId": "python", "version": 1, "text": self._text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.communicate()

    def completed(self, line: int, column: int) -> list[str]:
        place = {"textDocument": {"uri": self._uri}, "position": {"line": line, "character": column}}
        found = self._ask("textDocument/completion", place) or {"items": []}
        return [item["label"].strip("\"'") for item in found["items"]]

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        self._last += 1
        self._send({"id": self._last, "method": method, "params": params})
        for message in self._messages():
            if message.get("id") == self._last and "method" not in message:
                return message.get("result")
            if "method" in message and "id" in message:  # the server wants to know something: nothing is set
                items = message.get("params", {}).get("items", [])
                python = {"pythonPath": sys.executable}
                answer = [python if item.get("section") == "python" else None for item in items]
                self._send({"id": message["id"], "result": answer})
        return None

    def _send(self, message: dict[str, Any]) -> None:
        raw = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._server.stdin is not None
        self._server.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(raw), raw))
        self._server.stdin.flush()

    def _messages(self) -> Iterator[dict[str, Any]]:
        stream = self._server.stdout
        assert stream is not None
        while True:
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            if not length:
                return
            yield json.loads(stream.read(length))


# --- the text -----------------------------------------------------------------------------------------------


def group(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def frame(properties: dict[str, Any], at: dict[str, Any] | None) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(_init.frame("frame")["schemas/frame.schema.json"])
    raw["properties"]["values"]["properties"] = properties
    if at is None:
        del raw["properties"]["overrides"]
    else:
        raw["properties"]["overrides"]["items"]["properties"]["at"]["properties"] = at
    return raw


@pytest.mark.parametrize(
    ("leaf", "read", "written"),
    [
        ({"type": "number", "enum": [0.5, 1]}, "float", "float"),
        ({"enum": [True]}, "Literal[True]", "Literal[True]"),
        ({"type": "string", "enum": ["a", 1]}, 'Literal["a"]', 'Literal["a"]'),
        ({"enum": ['"', "\\"]}, 'Literal["\\"", "\\\\"]', 'Literal["\\"", "\\\\"]'),
        ({"type": "array"}, "_FrozenList[Any]", "Sequence[Any]"),
        ({"type": "array", "items": {"type": ["number", "null"]}}, "_FrozenList[float | None]", "Sequence[float | None]"),
        ({"type": "array", "prefixItems": [{"type": "number"}]}, "tuple[Any, ...]", "Sequence[Any]"),
        ({"type": "array", "prefixItems": [{"type": "number"}], "items": {"type": "string"}}, "tuple[float | str, ...]", "Sequence[float | str]"),
        ({"type": "array", "prefixItems": [{"type": "number"}], "items": False}, "tuple[float, ...]", "Sequence[float]"),
        ({"type": "object"}, "_FrozenDict[Any]", "Mapping[str, Any]"),
        ({"type": "object", "properties": {"a": {"type": "number"}}, "additionalProperties": False, "x-param": {}}, "_FrozenDict[float]", "Mapping[str, float]"),
    ],
)  # fmt: skip
def test_types_of_a_parameter(leaf: dict[str, Any], read: str, written: str) -> None:
    assert (read_type(leaf), write_type(leaf)) == (read, written)


def test_the_text_depends_on_schemas_only(project: Path) -> None:
    raw = {
        path.name.partition(".")[0]: json.loads(path.read_text()) for path in (project / "schemas").iterdir()
    }
    backwards = dict(sorted(raw.items(), reverse=True))
    text = stub_text(raw)
    assert text == stub_text(backwards) == (project / "typings/paramstore/__init__.pyi").read_text()


def test_the_stub_exports_what_the_package_does(project: Path) -> None:
    text = (project / "typings/paramstore/__init__.pyi").read_text()
    exported = re.search(r"^__all__ = (\[.*?\])", text, re.MULTILINE | re.DOTALL)
    assert exported is not None and sorted(json.loads(exported[1])) == sorted(paramstore.__all__)


def test_signatures_that_are_written_out_are_those_of_the_package(project: Path) -> None:
    text = (project / "typings/paramstore/__init__.pyi").read_text()
    written = re.search(r"def transaction\(\n(.*?)\n    \)", text, re.DOTALL)
    assert written is not None
    real = [
        str(each).replace("'", "") for each in inspect.signature(ParamStore.transaction).parameters.values()
    ]
    lines = [line.strip().rstrip(",").replace('"', "") for line in written[1].splitlines()]
    assert [line for line in lines if line != "*"] == real
    text = text[text.index("class _Transaction") :]
    for name in ("set", "propose", "remove"):
        stubbed = re.search(rf"    def {name}\((.*?)\) -> None", text)
        assert stubbed is not None
        names = re.findall(r"(\w+):", stubbed[1].partition("*")[0].replace("Literal", ""))
        known = [
            each
            for each in inspect.signature(getattr(Transaction, name)).parameters
            if each not in ("self", "context")
        ]
        assert names == known  # fmt: skip


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Path:
    _init.write(str(tmp_path), _init.shipped())
    return tmp_path


def test_check_says_what_differs_and_writes_nothing(store: Path) -> None:
    file = store / "typings/paramstore/__init__.pyi"
    assert "missing" in run(store, "stubs", "--check", status=1).stdout
    assert not file.exists()
    said = run(store, "stubs").stdout
    assert 'mypy_path = "$MYPY_CONFIG_FILE_DIR/typings"' in said and "stubPath" not in said
    run(store, "stubs", "--check")
    schema = store / "schemas/win_rate.schema.json"
    schema.write_text(schema.read_text().replace('"floor"', '"ground"'))
    before = file.read_bytes()
    said = run(store, "stubs", "--check", status=1).stdout
    assert '+    "win_rate.ground",' in said and '-    "win_rate.floor",' in said
    data = json.loads(run(store, "stubs", "--check", "--json", status=1).stdout)
    assert data["changed"] and not data["missing"] and '+    "win_rate.ground",' in data["difference"]
    assert file.read_bytes() == before


def test_a_file_that_is_right_is_left_alone(store: Path) -> None:
    run(store, "stubs")
    file = store / "typings/paramstore/__init__.pyi"
    os.utime(file, (0, 0))
    assert json.loads(run(store, "stubs", "--json").stdout)["changed"] is False
    assert file.stat().st_mtime == 0
    assert [path.name for path in file.parent.iterdir()] == ["__init__.pyi"]


def test_another_folder_needs_a_line_for_pyright(store: Path) -> None:
    said = run(store, "stubs", "--output", str(store / "types")).stdout
    assert 'stubPath = "types"' in said and "$MYPY_CONFIG_FILE_DIR/types" in said
    assert (store / "types/paramstore/__init__.pyi").exists()


def test_what_somebody_else_wrote_is_kept(store: Path) -> None:
    file = store / "typings/paramstore/__init__.pyi"
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    assert "move it away" in run(store, "stubs", status=2).stderr
    assert file.read_text() == "mine\n"
    assert "not up to date" in run(store, "stubs", "--check", status=1).stdout


def test_broken_schemas_and_disks_end_in_a_message(store: Path) -> None:
    (store / "typings").write_text("a file")
    assert "Traceback" not in run(store, "stubs", status=2).stderr
    (store / "schemas/win_rate.schema.json").write_text("{")
    assert (
        "schemas/win_rate.schema.json" in run(store, "stubs", "--output", str(store / "t"), status=2).stderr
    )
    for path in (store / "schemas").iterdir():
        path.unlink()
    assert "no schema" in run(store, "stubs", status=2).stderr


def test_values_need_not_be_there(store: Path) -> None:
    (store / "params/win_rate.yaml").write_text("broken: [")
    run(store, "stubs")
