"""Writing stores: the shipped set, an empty one, one namespace; and nothing that exists is touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from paramstore import ParamStore, _init
from paramstore.cli import cli
from paramstore.errors import StoreNotFoundError, ValidationError

ROOT = Path(__file__).resolve().parents[1]
NAMESPACES = [
    "conviction_gate", "ensemble", "predictive_flow", "profit_discipline", "profit_engine", "signal_weights",
    "win_rate",
]  # fmt: skip
FILES = [f"schemas/{n}.schema.json" for n in NAMESPACES] + [f"params/{n}.yaml" for n in NAMESPACES]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("PARAM")]:
        monkeypatch.delenv(name)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def call(*args: str) -> Result:
    result = CliRunner().invoke(cli, args)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def call_json(*args: str) -> Any:
    result = call(*args, "--json")
    return json.loads(result.stdout)


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_init_writes_the_shipped_set_into_the_working_directory() -> None:
    result = call("init")
    assert result.exit_code == 0
    assert everything(Path.cwd()).keys() == {*FILES, ".gitignore"}
    for name in FILES:
        assert Path(name).read_bytes() == (ROOT / name).read_bytes()
    assert Path(".gitignore").read_text() == ".paramstore/\n"
    assert all(f"wrote {name}" in result.stdout for name in [*FILES, ".gitignore"])


def test_what_init_wrote_is_a_store_in_order() -> None:
    call("init")
    assert ParamStore(Path.cwd(), environ={}).get("signal_weights.funding") == 0.16
    assert call("check").exit_code == 0


@pytest.mark.parametrize("args", [["init", "there/deep"], ["--root", "there/deep", "init"]])
def test_init_writes_where_it_is_told_to(args: list[str]) -> None:
    assert call(*args).exit_code == 0
    assert everything(Path("there/deep")).keys() == {*FILES, ".gitignore"}


def test_init_twice_changes_nothing_and_says_what_it_kept() -> None:
    call("init")
    before = everything(Path.cwd())
    told = call_json("init")
    assert told["written"] == [] and told["differing"] == []
    assert sorted(told["kept"]) == sorted(FILES)
    assert everything(Path.cwd()) == before
    assert call("init").exit_code == 0


def test_init_never_overwrites_and_exits_1_when_content_differs() -> None:
    Path("params").mkdir()
    Path("params/win_rate.yaml").write_bytes(b"mine\n")
    result = call("init")
    assert result.exit_code == 1
    assert "kept params/win_rate.yaml, which differs" in result.stdout
    assert Path("params/win_rate.yaml").read_bytes() == b"mine\n"
    assert Path("params/ensemble.yaml").exists()  # the rest was written all the same
    assert call_json("init")["differing"] == ["params/win_rate.yaml"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b".paramstore/\n"),
        (b"*.pyc\n", b"*.pyc\n.paramstore/\n"),
        (b"*.pyc", b"*.pyc\n.paramstore/\n"),
        (b"\xff\r\n", b"\xff\r\n.paramstore/\n"),
        (b"a\n.paramstore/\nb", b"a\n.paramstore/\nb"),
        (b"  .paramstore\r\n", b"  .paramstore\r\n"),
        (b"/.paramstore/", b"/.paramstore/"),
    ],
)
def test_gitignore_is_appended_to_once_and_keeps_its_bytes(before: bytes, after: bytes) -> None:
    Path(".gitignore").write_bytes(before)
    for _ in range(2):
        assert call("init", "--empty").exit_code == 0
        assert Path(".gitignore").read_bytes() == after


def test_init_leaves_no_temporary_file() -> None:
    call("init")
    call("init")
    assert [p for p in Path.cwd().rglob(".*") if p.name != ".gitignore"] == []


def test_create_gives_a_file_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert _init.create(str(path), b"first")
    assert not _init.create(str(path), b"second")
    assert path.read_bytes() == b"first"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["a"]


def test_an_existing_symbolic_link_is_kept_as_it_is() -> None:
    Path("params").mkdir()
    Path("params/win_rate.yaml").symlink_to("elsewhere.yaml")
    Path("params/elsewhere.yaml").write_bytes((ROOT / "params/win_rate.yaml").read_bytes())
    assert call("init").exit_code == 0
    assert Path("params/win_rate.yaml").is_symlink()


# --- an empty store -----------------------------------------------------------------------------


def test_an_empty_store_opens_and_tells_what_to_do_next() -> None:
    assert call("init", "--empty").exit_code == 0
    assert everything(Path.cwd()).keys() == {".gitignore"}
    listed = call("list")
    assert listed.exit_code == 0
    assert "no parameters yet" in listed.stdout and "paramstore init --namespace NAME" in listed.stdout
    assert json.loads(call("list", "--json").stdout) == []
    assert call("check").exit_code == 0
    assert call("history").exit_code == 0
    assert call("get", "x.y").exit_code == 1


# --- a namespace --------------------------------------------------------------------------------


@pytest.mark.parametrize("existing", [[], ["--empty"], None])
def test_a_new_namespace_works_at_once_and_keeps_the_rest(existing: list[str] | None) -> None:
    if existing is not None:
        call("init", *existing)
    before = everything(Path.cwd())
    result = call("init", "--namespace", "exit_rules")
    assert result.exit_code == 0 and "schemas/exit_rules.schema.json" in result.stdout
    added = {"params/exit_rules.yaml", "schemas/exit_rules.schema.json", ".gitignore"}
    assert everything(Path.cwd()).keys() - before.keys() <= added
    assert {name: everything(Path.cwd())[name] for name in before} == before
    check = call_json("check")
    assert check == {"ok": True, "findings": []}
    assert call("set", "exit_rules.example", "0.45", "--force", "--reason", "a trial").exit_code == 0
    assert call("get", "exit_rules.example").stdout == "0.45\n"


def test_the_frame_says_what_to_edit_and_allows_an_override() -> None:
    call("init", "--namespace", "exit_rules")
    values = Path("params/exit_rules.yaml").read_text()
    assert values.startswith("# yaml-language-server: $schema=../schemas/exit_rules.schema.json\n")
    assert "NAME" not in values + Path("schemas/exit_rules.schema.json").read_text()
    assert "schemas/exit_rules.schema.json, which holds its bounds" in values
    done = call("set", "exit_rules.example", "0.4", "--at", "symbol=BTCUSDT", "--force", "--reason", "r")
    assert done.exit_code == 0
    assert call("get", "exit_rules.example", "--at", "symbol=BTCUSDT").stdout == "0.4\n"


def test_a_namespace_joins_the_store_around_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    call("init")
    root = Path.cwd()
    (root / "src").mkdir()
    monkeypatch.chdir(root / "src")
    assert call("init", "--namespace", "exit_rules").exit_code == 0
    assert (root / "params/exit_rules.yaml").exists() and not (root / "src/params").exists()


@pytest.mark.parametrize("name", ["Exit", "exit rules", "a.b", "a__b", "../x", "", "_a", "a_", "9a", "é"])
def test_a_name_that_cannot_be_a_namespace_is_refused_and_nothing_is_written(name: str) -> None:
    result = call("init", "--namespace", name)
    assert result.exit_code == 1
    assert "cannot name a namespace" in result.stderr and "Nothing was written." in result.stderr
    assert list(Path.cwd().iterdir()) == []
    with pytest.raises(ValidationError):
        _init.frame(name)


def test_a_namespace_that_exists_is_kept() -> None:
    call("init")
    before = everything(Path.cwd())
    assert call("init", "--namespace", "win_rate").exit_code == 1
    assert everything(Path.cwd()) == before


def test_empty_and_namespace_exclude_each_other() -> None:
    result = call("init", "--empty", "--namespace", "x")
    assert result.exit_code == 2 and list(Path.cwd().iterdir()) == []


# --- where it cannot be written -----------------------------------------------------------------


@pytest.mark.parametrize("blocked", ["params", "schemas", "."])
def test_a_file_in_place_of_a_directory_is_one_clear_error(blocked: str) -> None:
    place = Path("blocked")
    if blocked != ".":
        place.mkdir()
    (place / blocked).write_text("a file") if blocked != "." else place.write_text("a file")
    result = call("init", "blocked")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and "blocked" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_place_where_nothing_can_be_written_is_one_clear_error() -> None:
    result = call("init", "/proc/paramstore")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: /proc/paramstore") and len(result.stderr.splitlines()) == 1


# --- where the shipped set is found -------------------------------------------------------------


def test_in_a_source_checkout_the_shipped_set_lies_beside_the_package() -> None:
    assert Path(_init.shipped_root()) == ROOT
    assert sorted(_init.shipped()) == sorted(FILES)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The layout of an installed package, with a journal and other strays beside the values."""
    package = tmp_path / "site-packages" / "paramstore"
    for folder in ("schemas", "params"):
        shutil.copytree(ROOT / folder, package / "_shipped" / folder)
    shipped = package / "_shipped"
    (shipped / "params/journal").mkdir(exist_ok=True)
    for stray in ("params/journal/00000001.jsonl", "params/x.conflict", "params/.x.yaml", "schemas/notes.md"):
        (shipped / stray).write_text("stray")
    monkeypatch.setattr(_init, "__file__", str(package / "_init.py"))
    return package


def test_in_a_wheel_the_shipped_set_is_inside_the_package(wheel: Path) -> None:
    assert Path(_init.shipped_root()) == wheel / "_shipped"
    assert call("init").exit_code == 0
    assert everything(Path.cwd()).keys() == {*FILES, ".gitignore"}  # no journal, no strays


def test_an_installation_without_its_shipped_set_says_so(wheel: Path) -> None:
    shutil.rmtree(wheel / "_shipped")
    with pytest.raises(StoreNotFoundError, match="Reinstall paramstore"):
        _init.shipped()
    result = call("init")
    assert result.exit_code == 2 and "Reinstall paramstore" in result.stderr
    assert list(Path.cwd().iterdir()) == []
    assert call("init", "--empty").exit_code == 0


def test_the_values_that_a_schema_writes_parse_back_to_its_defaults() -> None:
    from paramstore import _yaml

    values = {"a": 1.0, "group": {"b": "x: y", "c": [1, 2.5], "d": True}, "e": 1e-07}
    text = _yaml.parse(_init.values_text("n", values).encode(), "n.yaml")
    assert text.data == {"schema": 1, "values": values}
