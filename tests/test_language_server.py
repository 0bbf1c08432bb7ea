"""What an editor shows in a values file: errors, keys and descriptions, by the public language server for YAML.

The first line of each file names its schema, and that is all an editor needs. `scripts/test` installs the server (npm,
in the version that it pins); where that is impossible these tests are skipped, but never in CI.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from language_server import LanguageServer

from paramstore import ParamStore, _init
from paramstore.errors import InvalidFileError

SERVER = Path(sys.prefix) / "node" / "node_modules" / ".bin" / "yaml-language-server"
# What is on by default in editors, but for the catalogue of schemas in the net.
SETTINGS = {"yaml": {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}}
NAMESPACES = [
    name.removeprefix("params/").removesuffix(".yaml") for name in _init.shipped() if name.endswith(".yaml")
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    _init.write(str(root), _init.shipped())
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[LanguageServer]:
    if not SERVER.exists() or shutil.which("node") is None:
        assert "CI" not in os.environ, f"{SERVER} is missing: run scripts/test"
        pytest.skip("node or yaml-language-server is missing; scripts/test installs it where there is npm")
    with LanguageServer([str(SERVER), "--stdio"], root, SETTINGS) as server:
        yield server


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_the_shipped_files_are_right(server: LanguageServer, root: Path, namespace: str) -> None:
    file = root / "params" / f"{namespace}.yaml"
    assert server.open(file, file.read_text()) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  funding: 0.9", "Value is above the maximum of 0.5."),
        ("  funding: high", 'Incorrect type. Expected "number".'),
        ("  funding:", 'Incorrect type. Expected "number".'),
        ("  fundnig: 0.1\n  funding: 0.16", "Property fundnig is not allowed."),
    ],
)
def test_what_readers_refuse_is_marked_where_it_stands(
    server: LanguageServer, root: Path, tmp_path: Path, line: str, said: str
) -> None:
    file = root / "params" / "signal_weights.yaml"
    text, number = _with_line(file, line)
    found = server.open(file, text)
    assert [each["message"] for each in found] == [said]
    assert found[0]["severity"] == 1
    marked = found[0]["range"]["start"]["line"] - number
    assert line.splitlines()[marked].split(":")[0].strip() in ("funding", "fundnig")
    shutil.copytree(root, tmp_path / "broken")
    (tmp_path / "broken" / "params" / file.name).write_text(text)
    with pytest.raises(InvalidFileError):
        ParamStore(tmp_path / "broken").get("signal_weights.funding")


def test_a_context_is_looked_at_too(server: LanguageServer, root: Path) -> None:
    file = root / "params" / "signal_weights.yaml"
    text = file.read_text() + "overrides:\n  - at: {sybmol: BTCUSDT}\n    values:\n      funding: 9\n"
    messages = [each["message"] for each in server.open(file, text)]
    assert messages == ["Property sybmol is not allowed.", "Value is above the maximum of 0.5."]


def test_keys_are_offered_with_their_default_and_meaning(server: LanguageServer, root: Path) -> None:
    file = root / "params" / "signal_weights.yaml"
    text, number = _with_line(file, "  ", rest=False)
    server.open(file, text)
    items = {item["label"]: item for item in server.at("completion", file, number, 2)["items"]}
    keys = [key.partition(".")[2] for key in ParamStore(root).keys("signal_weights.*")]
    assert list(items) == keys[keys.index("funding") :]  # those before it are there already
    assert "0.16" in items["funding"]["insertText"]
    assert items["funding"]["documentation"] == ParamStore(root).spec("signal_weights.funding").description


def test_hovering_tells_what_a_parameter_is(server: LanguageServer, root: Path) -> None:
    file = root / "params" / "signal_weights.yaml"
    text, number = _with_line(file, "  funding: 0.16")
    server.open(file, text)
    shown = server.at("hover", file, number, 4)["contents"]["value"]
    assert ParamStore(root).spec("signal_weights.funding").description in shown


def _with_line(file: Path, line: str, rest: bool = True) -> tuple[str, int]:
    """Return the file's text with ``line`` where `funding` stands (and, unless ``rest``, nothing after it), and where that is."""
    lines = file.read_text().splitlines()
    number = next(index for index, each in enumerate(lines) if each.startswith("  funding:"))
    return "\n".join([*lines[:number], line, *(lines[number + 1 :] if rest else [])]) + "\n", number
