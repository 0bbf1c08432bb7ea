"""The audit: green on the shipped set, red with a useful message for every single thing that is broken."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from paramstore import ParamStore, _check, _files
from paramstore._backends.local import LocalBackend
from paramstore._check import Audit, Finding
from paramstore._options import Options
from paramstore.cli import cli
from paramstore.errors import WriteError

SOURCE = Path(__file__).resolve().parents[1]
NAMESPACES = sorted(p.name.removesuffix(".yaml") for p in (SOURCE / "params").glob("*.yaml"))
MODELINE = "# yaml-language-server: $schema=../schemas/{}.schema.json\n"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PARAM")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(_check, "IN_FLIGHT_S", 0.01)


class Place:
    """A store in a directory, and short ways to break it."""

    def __init__(self, root: Path, *namespaces: str) -> None:
        self.root = root
        for folder in ("schemas", "params"):
            (root / folder).mkdir(parents=True)
        for name in namespaces:
            for file in (f"schemas/{name}.schema.json", f"params/{name}.yaml"):
                shutil.copy(SOURCE / file, root / file)

    def text(self, file: str) -> str:
        return (self.root / file).read_bytes().decode()

    def write(self, file: str, text: str | bytes) -> None:
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_bytes(text if isinstance(text, bytes) else text.encode())

    def replace(self, file: str, old: str, new: str) -> None:
        text = self.text(file)
        assert old in text
        self.write(file, text.replace(old, new, 1))

    def edit_schema(self, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
        file = f"schemas/{name}.schema.json"
        schema = json.loads(self.text(file))
        edit(schema)
        self.write(file, json.dumps(schema))

    def all(self, environ: dict[str, str] | None = None) -> list[Finding]:
        audit = Audit(LocalBackend(str(self.root), Options()), environ or {})
        for step in audit.steps():
            step()
        return audit.findings

    def findings(self, environ: dict[str, str] | None = None) -> list[str]:
        return [str(found) for found in self.all(environ) if found.level == "finding"]

    def of_level(self, level: str) -> list[str]:
        return [str(found) for found in self.all() if found.level == level]

    def call(self, *args: str) -> Result:
        result = CliRunner().invoke(cli, ["--root", str(self.root), *args])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result

    def commit(self, **values: float) -> None:
        with ParamStore(self.root, environ={}).transaction(author="me", force=True, reason="test") as tx:
            for key, value in values.items():
                tx[key.replace("__", ".")] = value


@pytest.fixture
def shipped(tmp_path: Path) -> Place:
    return Place(tmp_path / "store", *NAMESPACES)


@pytest.fixture
def weights(tmp_path: Path) -> Place:
    return Place(tmp_path / "store", "signal_weights")


@pytest.fixture
def rates(tmp_path: Path) -> Place:
    return Place(tmp_path / "store", "win_rate")


def only(findings: list[str]) -> str:
    assert len(findings) == 1, findings
    return findings[0]


# --- green ---------------------------------------------------------------------------------------


def test_the_shipped_set_is_in_order(shipped: Place) -> None:
    assert shipped.all() == []
    result = shipped.call("check")
    assert (result.exit_code, result.stdout) == (0, "everything is in order\n")
    assert json.loads(shipped.call("check", "--json").stdout) == {"ok": True, "findings": []}


def test_a_store_that_was_committed_to_is_in_order(rates: Place) -> None:
    for value in (0.41, 0.42):
        rates.commit(win_rate__floor=value)
    assert rates.all() == []


def test_checking_changes_nothing_on_disk(shipped: Place) -> None:
    shipped.commit(win_rate__floor=0.41)
    shutil.rmtree(shipped.root / ".paramstore")
    before = sorted((str(p), p.stat().st_mtime_ns) for p in shipped.root.rglob("*"))
    shipped.all()
    assert sorted((str(p), p.stat().st_mtime_ns) for p in shipped.root.rglob("*")) == before


# --- values: every parameter, every bound, every constraint ---------------------------------------


def _leaves(node: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    if "properties" not in node:
        return [(path, node)]
    return [leaf for name, child in node["properties"].items() for leaf in _leaves(child, (*path, name))]


def _shipped_schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((SOURCE / f"schemas/{name}.schema.json").read_text())
    return schema


PARAMETERS = [
    pytest.param(name, path, leaf, id=".".join((name, *path)))
    for name in NAMESPACES
    for path, leaf in _leaves(_shipped_schema(name)["properties"]["values"])
]


def _set(text: str, path: tuple[str, ...], value: str) -> str:
    """Replace one value of a values file that is indented by two, as the shipped ones are."""
    lines, depth = text.split("\n"), 0
    for number, line in enumerate(lines):
        name = f"{'  ' * (depth + 1)}{path[depth]}:"
        if line.startswith(name):
            depth += 1
            if depth == len(path):
                lines[number] = f"{name} {value}"
                return "\n".join(lines)
    raise AssertionError(path)


@pytest.mark.parametrize(("name", "path", "leaf"), PARAMETERS)
def test_any_one_value_out_of_bounds_is_found(
    tmp_path: Path, name: str, path: tuple[str, ...], leaf: dict[str, Any]
) -> None:
    place = Place(tmp_path, name)
    file = f"params/{name}.yaml"
    place.write(file, _set(place.text(file), path, repr(leaf["maximum"] * 10)))
    found = only(place.findings())
    key = ".".join((name, *path))
    assert f"`{key}` = {leaf['maximum'] * 10}" in found and f"above its maximum {leaf['maximum']}" in found
    line = int(found.split(":")[1])
    assert place.text(file).split("\n")[line - 1].strip().startswith(path[-1])


@pytest.mark.parametrize(("name", "path", "leaf"), PARAMETERS)
def test_any_one_bound_that_excludes_its_value_is_found(
    tmp_path: Path, name: str, path: tuple[str, ...], leaf: dict[str, Any]
) -> None:
    place = Place(tmp_path, name)

    def tighten(schema: dict[str, Any]) -> None:
        node = schema["properties"]["values"]
        for step in path:
            node = node["properties"][step]
        node["maximum"] = node["minimum"]
        node["minimum"] = node["minimum"] - 1
        node["default"] = node["minimum"]

    place.edit_schema(name, tighten)
    assert f"`{'.'.join((name, *path))}` = " in only(place.findings())


CONSTRAINTS = [
    pytest.param(name, index, id=f"{name}-{index}")
    for name in NAMESPACES
    for index, _ in enumerate(_shipped_schema(name)["properties"]["values"].get("x-constraints", []))
]


@pytest.mark.parametrize(("name", "index"), CONSTRAINTS)
def test_any_one_constraint_that_does_not_hold_is_found(tmp_path: Path, name: str, index: int) -> None:
    place = Place(tmp_path, name)

    def turn_around(schema: dict[str, Any]) -> None:
        constraint = schema["properties"]["values"]["x-constraints"][index]
        if "sum" in constraint:
            constraint["equals"] = 1.25
        else:
            other = {"ascending": "descending", "descending": "ascending"}
            kind = next(kind for kind in other if kind in constraint)
            constraint[other[kind]] = constraint.pop(kind)

    place.edit_schema(name, turn_around)
    found = only(place.findings())
    assert found.startswith(f"params/{name}.yaml") and f"schemas/{name}.schema.json" in found
    assert "1.25" in found or "must be" in found


def test_a_broken_sum_says_by_how_much(weights: Place) -> None:
    weights.replace("params/signal_weights.yaml", "funding: 0.16", "funding: 0.17")
    assert "sum of liquidation … oi_divergence equals 1, but it is 1.01, 0.01 too much" in only(
        weights.findings()
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("high", "is a string, a number is expected"),
        ("true", "is a boolean, a number is expected"),
        (".nan", "is not a finite number"),
        (".inf", "is not a finite number"),
        ("", "is empty, a number is expected"),
        ("[0.5]", "is an array, a number is expected"),
        ("{a: 1}", "is an object, a number is expected"),
    ],
)
def test_a_value_of_another_kind_is_found(rates: Place, value: str, said: str) -> None:
    rates.replace("params/win_rate.yaml", "floor: 0.40", f"floor: {value}")
    found = only(rates.findings())
    assert found.startswith("params/win_rate.yaml:5: `win_rate.floor` = ") and said in found


def test_it_does_not_stop_at_the_first(shipped: Place) -> None:
    shipped.replace("params/win_rate.yaml", "floor: 0.40", "flor: 7")
    shipped.replace("params/win_rate.yaml", "low: 0.45", "low: 7")
    shipped.replace("params/ensemble.yaml", "schema: 1", "schema: 2")
    shipped.write("schemas/profit_engine.schema.json", "{")
    shipped.write("params/profit_discipline.yaml", "a: [")
    found = shipped.findings()
    for wanted in (
        "params/win_rate.yaml:5: `win_rate.flor` is not in schemas/win_rate.schema.json; did you mean",
        "params/win_rate.yaml:3: `win_rate.floor` is missing",
        "params/win_rate.yaml:6: `win_rate.low` = 7.0 is above its maximum",
        "params/ensemble.yaml:2: `schema: 1` must stand at the top, not 2",
        "schemas/profit_engine.schema.json:1: is not JSON",
        "params/profit_discipline.yaml:",
    ):
        assert any(line.startswith(wanted) for line in found), (wanted, found)
    assert len(found) == 6
    result = shipped.call("check")
    assert result.exit_code == 1 and result.stdout.endswith("6 findings\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema: 1\nvalues: [", "not valid YAML"),
        ("schema: 1\n<<<<<<< HEAD\nvalues: {}\n", "merge-conflict marker"),
        ("", "empty"),
        ("schema: 1\nvalues:\n", "`values` must be a mapping"),
        ("schema: 1\nvalues: {}\noverrides: {}\n", "`overrides` must be a list"),
        ("- 1\n", "mapping"),
        ("schema: 1\nvalues: &a {}\n", "anchor"),
        (b"\xff\xfes\0", "UTF-16"),
    ],
)
def test_a_broken_values_file_is_found(rates: Place, text: str | bytes, said: str) -> None:
    rates.write("params/win_rate.yaml", text)
    assert any(said in line for line in rates.findings()), rates.findings()


# --- schemas --------------------------------------------------------------------------------------


def _value(schema: dict[str, Any], name: str) -> dict[str, Any]:
    leaf: dict[str, Any] = schema["properties"]["values"]["properties"][name]
    return leaf


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda s: _value(s, "floor").update(maximum="x"), "floor/maximum: 'x' is not of type 'number'"),
        (lambda s: _value(s, "floor").update(type="numbre"), "'numbre' is not"),
        (lambda s: _value(s, "floor").update(minimum=2), "minimum 2 is above maximum"),
        (lambda s: _value(s, "floor").update(default=0.99), "the default is wrong"),
        (lambda s: _value(s, "floor").pop("default"), "`win_rate.floor` has no default"),
        (lambda s: _value(s, "floor").update(multipleOf=0.05), "`multipleOf` is not allowed"),
        (
            lambda s: _value(s, "floor").update(maximun=1),
            "the keyword `maximun` means nothing; did you mean `maximum`?",
        ),
        (lambda s: _value(s, "floor").update({"x-parm": {}}), "did you mean `x-param`?"),
        (lambda s: _value(s, "floor")["x-param"].update(unti="%"), "'unti'"),
        (lambda s: s["properties"]["values"].update({"x-constraint": []}), "did you mean `x-constraints`?"),
        (
            lambda s: s["properties"]["values"].update({"x-constraints": [{"sum": ["nope"], "equals": 1}]}),
            "nope",
        ),
        (
            lambda s: s["properties"]["values"].update({"x-constraints": [{"sum": ["floor"]}]}),
            "x-constraints",
        ),
        (lambda s: s["properties"].pop("schema"), "'schema' is a required property"),
        (lambda s: s["properties"]["values"].update(properties={}), "declares no parameter"),
        (
            lambda s: s["properties"]["values"].pop("additionalProperties"),
            "'additionalProperties' is a required",
        ),
    ],
)
def test_a_broken_schema_is_found(rates: Place, edit: Callable[[dict[str, Any]], object], said: str) -> None:
    rates.edit_schema("win_rate", edit)
    found = only(rates.findings())
    assert found.startswith("schemas/win_rate.schema.json") and said in found


def test_other_tools_may_have_their_own_keywords(rates: Place) -> None:
    rates.edit_schema("win_rate", lambda s: _value(s, "floor").update({"x-vendor-widget": "slider"}))
    assert rates.findings() == []


def test_constraints_in_a_group_mean_nothing_and_are_found(tmp_path: Path) -> None:
    place = Place(tmp_path, "ensemble")
    place.edit_schema("ensemble", lambda s: _value(s, "weights").update({"x-constraints": []}))
    assert "`x-constraints` has a meaning on `values` only" in only(place.findings())


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not JSON"), ("[]", "must be a JSON object"), ('{"a": 1, "a": 2}', "occurs twice")],
)
def test_a_schema_that_is_no_json_object_is_found(rates: Place, text: str, said: str) -> None:
    rates.write("schemas/win_rate.schema.json", text)
    assert said in only(rates.findings())


def test_two_schema_errors_are_both_found(rates: Place) -> None:
    def edit(schema: dict[str, Any]) -> None:
        _value(schema, "floor")["maximum"] = "x"
        _value(schema, "low")["type"] = 5

    rates.edit_schema("win_rate", edit)
    found = "\n".join(rates.findings())
    assert "floor/maximum" in found and "low/type" in found


def test_a_namespace_without_schema_is_found(rates: Place) -> None:
    (rates.root / "schemas/win_rate.schema.json").unlink()
    found = only(rates.findings())
    assert (
        found
        == "schemas/win_rate.schema.json: the file is missing: every namespace in params/ needs its schema"
    )


def test_a_name_that_cannot_be_a_namespace_is_found(tmp_path: Path) -> None:
    place = Place(tmp_path)
    shutil.copy(SOURCE / "schemas/win_rate.schema.json", tmp_path / "schemas/win rate.schema.json")
    shutil.copy(SOURCE / "params/win_rate.yaml", tmp_path / "params/win rate.yaml")
    assert any("`win rate` is no namespace" in line for line in place.findings())


# --- what an editor sees --------------------------------------------------------------------------


def test_what_only_plain_json_schema_refuses_is_found(rates: Place) -> None:
    rates.edit_schema("win_rate", lambda s: s["properties"]["values"].update(maxProperties=3))
    found = only(rates.findings())
    assert (
        "params/win_rate.yaml" in found and "an editor would say" in found and "too many properties" in found
    )


def test_what_was_said_of_a_key_is_not_said_twice(rates: Place) -> None:
    rates.replace("params/win_rate.yaml", "floor: 0.40", "floor: x")
    only(rates.findings())


def test_editors_are_sent_to_the_right_schema(rates: Place) -> None:
    right = MODELINE.format("win_rate")
    rates.replace("params/win_rate.yaml", right, MODELINE.format("ensemble"))
    assert "params/win_rate.yaml:1: editors are sent to ../schemas/ensemble" in only(rates.findings())
    rates.replace("params/win_rate.yaml", MODELINE.format("ensemble"), "")
    assert rates.findings() == []
    assert right.strip() in only(rates.of_level("information"))


# --- overrides ------------------------------------------------------------------------------------


def test_a_broken_override_is_found_on_its_line(weights: Place) -> None:
    file = "params/signal_weights.yaml"
    override = "overrides:\n  - at: {symbol: BTCUSDT}\n    values:\n      hurst: 0.9\n"
    weights.write(file, weights.text(file) + override)
    found = only(weights.findings())
    line = weights.text(file).split("\n").index("      hurst: 0.9") + 1
    assert found.startswith(f"{file}:{line}: `signal_weights.hurst` = 0.9") and "in override 1" in found


def test_a_partial_override_that_breaks_a_constraint_is_a_warning(weights: Place) -> None:
    file = "params/signal_weights.yaml"
    override = "overrides:\n  - at: {symbol: BTCUSDT}\n    values:\n      hurst: 0.1\n"
    weights.write(file, weights.text(file) + override)
    assert weights.findings() == []
    assert "in {'symbol': 'BTCUSDT'}: `signal_weights`: sum of" in only(weights.of_level("warning"))
    result = weights.call("check")
    assert result.exit_code == 0
    assert "warning: params/signal_weights.yaml" in result.stdout and "in order" in result.stdout


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("{}", "at least one dimension"),
        ("{simbol: X}", "no declared dimension"),
        ("{mode: real}", "not a value of dimension `mode`"),
        ("{symbol: 5}", "not a value of dimension `symbol`"),
    ],
)
def test_a_context_that_cannot_be_is_found(weights: Place, at: str, said: str) -> None:
    file = "params/signal_weights.yaml"
    weights.write(file, weights.text(file) + f"overrides:\n  - at: {at}\n    values:\n      hurst: 0.08\n")
    assert any(said in line for line in weights.findings())


# --- the journal ----------------------------------------------------------------------------------


@pytest.fixture
def journalled(rates: Place) -> Place:
    for value in (0.41, 0.42, 0.43):
        rates.commit(win_rate__floor=value)
    return rates


JOURNAL = "params/journal/00000001.jsonl"


def _lines(place: Place) -> list[str]:
    return place.text(JOURNAL).splitlines(keepends=True)


def _signed(line: str, edit: Callable[[dict[str, Any]], object]) -> str:
    """Edit an entry and give it a right checksum, as somebody clever would."""
    record = json.loads(line)
    del record["crc"]
    edit(record)
    text = json.dumps(record, separators=(",", ":"))[:-1]
    return f'{text},"crc":"{zlib.crc32(text.encode()):08x}"}}\n'


def test_a_damaged_line_is_found_with_its_number(journalled: Place) -> None:
    journalled.replace(JOURNAL, '"revision":2', '"revision":7')
    found = journalled.findings()
    assert found[0].startswith(f"{JOURNAL}:3: the line is no journal entry, or its checksum is wrong")
    assert "git checkout" in found[0]


def test_a_merge_conflict_in_the_journal_is_found(journalled: Place) -> None:
    first, *rest = _lines(journalled)
    journalled.write(JOURNAL, "".join([first, "<<<<<<< HEAD\n", *rest]))
    assert only(journalled.findings()).startswith(f"{JOURNAL}:2: ")


def test_a_missing_entry_is_found(journalled: Place) -> None:
    lines = _lines(journalled)
    del lines[2]
    journalled.write(JOURNAL, "".join(lines))
    gap, chain = journalled.findings()
    assert gap == f"{JOURNAL}:3: revision 3 follows revision 1: entries are missing"
    assert chain.startswith(f"{JOURNAL}:3: revision 3 does not build on the params/win_rate.yaml")


def test_a_doubled_entry_is_found(journalled: Place) -> None:
    lines = _lines(journalled)
    journalled.write(JOURNAL, "".join([*lines, lines[-1]]))
    assert "the same entry as in params/journal/00000001.jsonl:4" in journalled.findings()[0]


def test_an_entry_that_lacks_a_part_is_found_even_with_a_right_checksum(journalled: Place) -> None:
    lines = _lines(journalled)
    lines[1] = _signed(lines[1], lambda record: record.pop("files"))
    journalled.write(JOURNAL, "".join(lines))
    assert journalled.findings()[0].startswith(f"{JOURNAL}:2: ")


def test_a_forged_value_is_found_though_its_checksum_is_right(journalled: Place) -> None:
    lines = _lines(journalled)
    lines[-1] = _signed(lines[-1], lambda record: record["changes"][0].update(new=0.44))
    journalled.write(JOURNAL, "".join(lines))
    found = only(journalled.findings())
    assert "`win_rate.floor` is 0.43; the journal has 0.44, though it has the bytes" in found


def test_a_torn_last_line_is_found_and_gone_after_the_next_commit(journalled: Place) -> None:
    journalled.write(JOURNAL, journalled.text(JOURNAL) + '{"v":1,"rev')
    assert (
        only(journalled.findings())
        == f"{JOURNAL}:5: the last line is torn; the next commit sets it aside and goes on"
    )
    journalled.commit(win_rate__floor=0.44)
    torn = only(journalled.findings())
    assert torn.startswith(f"{JOURNAL}.") and ".torn: half an entry" in torn


def test_edits_by_hand_are_information_and_name_the_value(journalled: Place) -> None:
    journalled.replace("params/win_rate.yaml", "low: 0.45", "low: 0.46")
    assert journalled.findings() == []
    said = only(journalled.of_level("information"))
    assert "edited by hand: `win_rate.low` is 0.46; the journal has 0.45; the next commit records it" in said
    assert journalled.call("check").exit_code == 0
    journalled.commit(win_rate__floor=0.4)
    assert journalled.all() == []


def test_an_edit_of_a_comment_is_information(journalled: Place) -> None:
    journalled.write("params/win_rate.yaml", journalled.text("params/win_rate.yaml") + "# note\n")
    assert "without changing a value" in only(journalled.of_level("information"))
    assert journalled.findings() == []


def test_a_commit_whose_writer_died_before_the_files_moved_is_information(journalled: Place) -> None:
    file = "params/win_rate.yaml"
    before = journalled.text(file)
    journalled.commit(win_rate__floor=0.44)
    after, entry = journalled.text(file), json.loads(_lines(journalled)[-1])
    journalled.write(file, before)
    journalled.write(f"params/.win_rate.yaml.{entry['id']}.tmp", after)
    assert "left by a writer that died" in only(journalled.findings())
    assert "revision 4 is being written, or its writer died" in only(journalled.of_level("information"))
    journalled.commit(win_rate__floor=0.435)  # which first settles revision 4
    assert journalled.all() == []


def test_a_commit_that_was_taken_back_is_in_order(journalled: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk, pytest.raises(WriteError):
        disk.setattr(_files, "swap_in", full)
        journalled.commit(win_rate__floor=0.44)
    assert [json.loads(line)["kind"] for line in _lines(journalled)][-2:] == ["commit", "abort"]
    assert journalled.all() == []
    journalled.commit(win_rate__floor=0.44)
    assert journalled.all() == []


def test_a_commit_during_the_audit_is_no_edit_by_hand(journalled: Place) -> None:
    audit = Audit(LocalBackend(str(journalled.root), Options()), {})
    first, *rest = audit.steps()
    first()
    journalled.commit(win_rate__floor=0.44)
    for step in rest:
        step()
    assert audit.findings == []


def test_a_journal_of_the_users_choice_is_audited(rates: Place) -> None:
    rates.write("paramstore.toml", 'journal = "logs/learning_audit.jsonl"\n')
    assert (
        rates.call("set", "win_rate.floor", "0.41", "--author", "me", "--force", "--reason", "r").exit_code
        == 0
    )
    rates.replace("logs/learning_audit.jsonl", '"revision":0', '"revision":5')
    result = rates.call("check")
    assert result.exit_code == 1 and "logs/learning_audit.jsonl:1: " in result.stdout


# --- leftovers, environment, run-time directory ---------------------------------------------------


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("params/win_rate.yaml.conflict", "a save that came in between commits"),
        ("params/journal/00000001.jsonl.9.abcdef01.torn", "half an entry"),
        ("params/.win_rate.yaml.0123.tmp", "left by a writer that died"),
        ("params/.win_rate.yaml.0123.new", "left by a writer that died"),
        ("params/win_rate.yaml.paramstore-new", "a migration that was cut off"),
        ("schemas/.win_rate.schema.json.0123.new", "left by a writer that died"),
        ("params/more.yml", "is not read. Rename it to .yaml"),
        ("schemas/more.json", "is not read. Rename it to .schema.json"),
    ],
)
def test_leftovers_and_misnamed_files_are_found(rates: Place, file: str, said: str) -> None:
    rates.write(file, "x")
    found = only(rates.findings())
    assert found.startswith(f"{file}: ") and said in found


def test_the_temporary_file_of_a_commit_under_way_is_not_a_finding(
    rates: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = rates.root / "params/.win_rate.yaml.0123.tmp"
    temporary.write_text("x")
    monkeypatch.setattr("paramstore._check.time.sleep", lambda _: temporary.unlink())
    assert rates.findings() == []


def test_environment_variables_that_name_nothing_are_found(rates: Place) -> None:
    environ = {
        "PARAM__win_rate__flor": "0.4",
        "PARAM__win_rate__low": "7",
        "PARAM__win_rate__high": "0.56",
        "OTHER": "x",
    }
    name, value = rates.findings(environ)
    assert name == (
        "environment: PARAM__win_rate__flor sets no known parameter. Did you mean PARAM__win_rate__floor?"
    )
    assert value.startswith("environment: PARAM__win_rate__low: `win_rate.low` = 7.0 is above its maximum")
    assert rates.findings({"PARAM__win_rate__high": "0.56"}) == []


def test_variables_of_a_broken_namespace_are_not_called_unknown(shipped: Place) -> None:
    shipped.write("params/win_rate.yaml", "")
    assert len(shipped.findings({"PARAM__win_rate__low": "0.45"})) == 1


def test_a_runtime_directory_that_cannot_be_used_is_information(rates: Place) -> None:
    rates.write(".paramstore", "a file in its place")
    assert rates.findings() == []
    assert only(rates.of_level("information")).startswith(".paramstore/: cannot be written to")


# --- the command ----------------------------------------------------------------------------------


def test_json_has_every_finding_with_its_place(rates: Place) -> None:
    rates.replace("params/win_rate.yaml", "floor: 0.40", "floor: 7")
    result = rates.call("check", "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1 and told["ok"] is False
    (found,) = told["findings"]
    assert {**found, "problem": ""} == {
        "level": "finding", "file": "params/win_rate.yaml", "line": 5, "place": None, "problem": "",
    }  # fmt: skip
    assert "above its maximum" in found["problem"]


def test_without_a_store_or_with_wrong_settings_it_exits_2(rates: Place, tmp_path: Path) -> None:
    nowhere = CliRunner().invoke(cli, ["--root", str(tmp_path / "none"), "check"])
    assert nowhere.exit_code == 2 and nowhere.stderr.startswith("error: ")
    rates.write("paramstore.toml", "pol_s = 1\n")
    assert rates.call("check").exit_code == 2


def test_it_runs_as_a_program(rates: Place) -> None:
    rates.replace("params/win_rate.yaml", "floor: 0.40", "floor: 7")
    done = subprocess.run(
        [sys.executable, "-m", "paramstore", "--root", str(rates.root), "check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr == ""
    assert re.match(
        r"params/win_rate\.yaml:5: `win_rate\.floor` = 7\.0 is above its maximum .*\n1 finding\n", done.stdout
    )


# --- --fix ----------------------------------------------------------------------------------------


def test_fix_writes_a_missing_file_from_the_defaults(shipped: Place) -> None:
    for name in NAMESPACES:
        (shipped.root / f"params/{name}.yaml").unlink()
    result = shipped.call("check", "--fix")
    assert result.exit_code == 0, result.stdout
    assert "params/win_rate.yaml: written from the defaults of its schema" in result.stdout
    assert shipped.all() == []
    assert shipped.text("params/win_rate.yaml").startswith(MODELINE.format("win_rate"))
    assert ParamStore(shipped.root, environ={}).get("conviction_gate.score_tiers.high.multiplier") == 1.5


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_fix_adds_missing_keys_at_the_end_of_their_group_and_touches_nothing_else(
    tmp_path: Path, newline: str
) -> None:
    place = Place(tmp_path, "predictive_flow")
    file = "params/predictive_flow.yaml"
    whole = place.text(file).replace("\n", newline)
    gone = f"      signals: 4{newline}"
    assert gone in whole
    place.write(file, whole.replace(gone, ""))
    result = place.call("check", "--fix")
    assert result.exit_code == 0, result.stdout
    assert "added from the defaults of its schema: `conviction.high.signals`" in result.stdout
    last = f"      multiplier: 1.5{newline}"
    assert place.text(file) == whole.replace(gone, "").replace(last, last + gone)


def test_fix_adds_a_whole_missing_group(tmp_path: Path) -> None:
    place = Place(tmp_path, "predictive_flow")
    file = "params/predictive_flow.yaml"
    text = place.text(file)
    start, end = text.index("    medium:"), text.index("    low:")
    place.write(file, text[:start] + text[end:])
    assert place.call("check", "--fix").exit_code == 0
    assert place.text(file) == text[:start] + text[end:] + text[start:end]


def test_fix_writes_nothing_that_would_still_be_wrong(weights: Place) -> None:
    file = "params/signal_weights.yaml"
    weights.replace(file, "  hurst: 0.08\n", "")
    weights.replace(file, "funding: 0.16", "funding: 0.2")
    before = weights.text(file)
    result = weights.call("check", "--fix")
    assert result.exit_code == 1
    assert "not fixed, as it would still be wrong: `signal_weights`: sum of" in result.stdout
    assert weights.text(file) == before


def test_fix_without_anything_to_fix_changes_nothing(shipped: Place) -> None:
    before = {p: p.read_bytes() for p in shipped.root.rglob("*.*") if p.is_file()}
    assert shipped.call("check", "--fix").exit_code == 0
    assert {p: p.read_bytes() for p in before} == before


def test_fix_leaves_no_temporary_file(shipped: Place) -> None:
    (shipped.root / "params/win_rate.yaml").unlink()
    shipped.replace("params/ensemble.yaml", "sensitivity: 0.03", "# sensitivity")
    shipped.call("check", "--fix")
    assert [p.name for p in (shipped.root / "params").iterdir() if p.name.startswith(".")] == []


def test_fix_keeps_a_save_that_comes_in_between(rates: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "params/win_rate.yaml"
    rates.replace(file, "  floor: 0.40\n", "")
    write_new = _files.write_new

    def saved_meanwhile(path: str, data: bytes, like: str | None) -> None:
        write_new(path, data, like)
        rates.write(file, "# mine\n")

    monkeypatch.setattr(_files, "write_new", saved_meanwhile)
    result = rates.call("check", "--fix")
    assert result.exit_code == 1 and "saved by someone else meanwhile" in result.stdout
    assert rates.text(file) == "# mine\n"
    assert [p.name for p in (rates.root / "params").iterdir() if p.name.startswith(".")] == []


def test_fix_waits_for_writers_and_gives_up_in_time(rates: Place) -> None:
    (rates.root / "params/win_rate.yaml").unlink()
    rates.write("paramstore.toml", "timeout_s = 0.2\n")
    (rates.root / ".paramstore").mkdir()
    code = (
        "import sys, time; from paramstore._lock import WriteLock; r = sys.argv[1]\n"
        "with WriteLock((r + '/schemas', r + '/params'), r + '/.paramstore/lock', 5):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(rates.root)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        result = rates.call("check", "--fix")
        holder.kill()
    assert result.exit_code == 1 and result.stderr.startswith("error: ")
    assert not (rates.root / "params/win_rate.yaml").exists()
