"""The migration on odd and hostile sources: encodings, line ends, broken files, kills in the middle."""

from __future__ import annotations

import json
import re
import stat
from itertools import product
from pathlib import Path

import pytest
from plan_file import Call, plan_of

from paramstore import ParamStore
from paramstore.authoring import Parameter, namespace_files, table_schema
from paramstore.errors import ValidationError

REPOSITORY = Path(__file__).resolve().parents[1]


# -- encodings and line ends ---------------------------------------------------------------------------

BODY = (
    '"""Ein Modul.{doc}"""\n'
    "import os\n"
    "\n"
    "MIN_SCORE = 0.30  # mindestens{word}\n"
    "NAMES = ['{word}', 0.75]; MAX_SIZE = 2.50\n"
    "\n"
    "def f(score, floor=0.10):\n"
    "{tab}note = '{word}'; size = score * 1.15 if score >= MIN_SCORE else -0.25\n"
    "{tab}return note, max(floor, min(MAX_SIZE, size))\n"
)
ENCODINGS = {
    "utf-8": ("", "utf-8", "größer als 5 € ≥ 日本"),
    "utf-8 with BOM": ("\ufeff", "utf-8", "größer €"),
    "utf-8 cookie": ("# -*- coding: utf-8 -*-\n", "utf-8", "größer €"),
    "latin-1": ("# -*- coding: latin-1 -*-\n", "latin-1", "größer ß é"),
    "cp1252": ("# coding: cp1252\n", "cp1252", "größer €"),
    "ascii": ("", "ascii", "greater"),
    "shift-jis": ("# coding: shift_jis\n", "shift_jis", "日本"),
}
ENDS = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
TABS = {"spaces": "    ", "tab": "\t", "form feed": "\f    "}


SOURCES = [
    *product(ENCODINGS, ENDS, ["spaces"], [True]),  # the two that decide where a byte stands, each with each
    *product(["utf-8 with BOM"], ENDS, ["tab", "form feed"], [True]),
    *product(["utf-8", "shift-jis"], ENDS, ["spaces"], [False]),
]


@pytest.mark.parametrize(("encoding", "end", "tab", "final"), SOURCES)
def test_every_byte_outside_the_planned_spans_stays(
    encoding: str, end: str, tab: str, final: bool, call: Call, tmp_path: Path
) -> None:
    head, codec, word = ENCODINGS[encoding]
    text = head + BODY.format(doc=word, word=word, tab=TABS[tab])
    raw = (text if final else text.rstrip("\n")).replace("\n", ENDS[end]).encode(codec)
    path = tmp_path / "bot.py"
    path.write_bytes(raw)
    path.chmod(0o750)
    call("scan", "bot.py")
    plan = [site for site in plan_of(tmp_path) if site["accept"]]
    assert {"0.30", "2.50", "0.10", "1.15", "-0.25"} <= {site["literal"] for site in plan}
    for site in plan:
        assert raw[slice(*site["span"])].decode(codec) == site["literal"]
    call("apply", "plan.yaml", "--write")
    after = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert unmoved(after, codec, ENDS[end]) == unmoved(raw, codec, ENDS[end])
    run = ["--run"] if end == "LF" or encoding == "cp1252" else []  # runs the file, which takes its time
    assert json.loads(call("verify", "plan.yaml", "--json", *run).stdout)["ok"]
    call("revert", "plan.yaml", "--write")
    assert path.read_bytes() == raw


def unmoved(raw: bytes, codec: str, end: str) -> str:
    """Return the text without what the migration puts in, and without the literals that it takes out."""
    text = raw.decode(codec)
    e = re.escape(end)
    text = re.sub(rf"from paramstore import params{e}params\.require\([^)]*\){e}", "", text)
    text = re.sub(rf"[ \t\f]*\w+ = params\.get\([^)]*\) if \w+ is \.\.\. else \w+{e}", "", text)
    return re.sub(
        r"params\.get\([^)]*\)|\.\.\.|MIN_SCORE(?= else)|MAX_SIZE(?=,)|-?0\.(30|10|25)|2\.50|1\.15", "#", text
    )


# -- hostile sources ------------------------------------------------------------------------------------


def test_hostile_sources_are_never_run_and_the_rest_is_scanned(call: Call, tmp_path: Path) -> None:
    marker = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    for name in ("evil.py", "conftest.py", "setup.py", "sitecustomize.py", "usercustomize.py", "__init__.py"):
        (tmp_path / name).write_text(marker + "MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    (tmp_path / "nul.py").write_bytes(b"x = 1\0\n")
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "cookie.py").write_bytes(b"# coding: no-such-codec\nx = 1\n")
    (tmp_path / "deep.py").write_text("x = " + "(" * 100_000)
    (tmp_path / "minus.py").write_text("x = " + "-" * 50_000 + "1\n")
    (tmp_path / "large.py").write_text("[" * (10 << 20))
    (tmp_path / "good.py").write_text("MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    said = call("scan", ".").output
    assert not (tmp_path / "ran").exists()
    for name in ("wrong.py", "nul.py", "bytes.py", "cookie.py", "deep.py", "minus.py", "large.py", "gone.py"):
        assert f"not scanned: {name} " in said, name
    assert {site["file"] for site in plan_of(tmp_path)} >= {"good.py", "evil.py", "setup.py"}
    call("apply", "plan.yaml", "--write")
    call("verify", "plan.yaml")
    assert not (tmp_path / "ran").exists()


def test_an_unreadable_file_is_reported(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bot.py").mkdir()
    (tmp_path / "good.py").write_text("MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    call("scan", ".")
    assert [site["file"] for site in plan_of(tmp_path)] == ["good.py"]


PLANS = {
    "not YAML": "sites: [",
    "another document": "a: 1\n",
    "a list": "- 1\n",
    "another version": "plan: 2\nroot: .\nsites: []\n",
    "a site without a key": 'plan: 1\nroot: .\nsites:\n- file: "a.py"\n  line: 1\n',
    "accept as text": 'plan: 1\nroot: .\nsites:\n- {file: a.py, line: 1, column: 0, literal: "1", key: a.b, shape: x, accept: "sure", tier: "yes"}\n',
    "nothing accepted": "plan: 1\nroot: .\nsites: []\n",
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_is_none_is_refused_in_words(name: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLANS[name])
    said = call("apply", "plan.yaml", status=1).output
    assert said.startswith("error: ") and "Traceback" not in said


def test_a_key_that_the_store_has_with_another_value_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bot.py").write_text("MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    for file, raw in namespace_files("bot", [Parameter(("min_score",), 0.4, "number")]).items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(raw)
    call("scan", "bot.py")
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "`bot.min_score` is 0.4 in params/bot.yaml already, and 0.3 here" in said
    assert "params" not in (tmp_path / "bot.py").read_text()


# -- all or nothing; each call of it: tests/faults/test_apply_points.py -----------------------------------


def test_a_source_saved_while_it_is_migrated_is_kept(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paramstore.migrate import _apply

    path = tmp_path / "bot.py"
    path.write_text("MIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n")
    call("scan", "bot.py")
    stage = _apply._stage

    def save_first(target: str, raw: bytes) -> None:
        path.write_text("MIN_SCORE = 0.9\n")
        stage(target, raw)

    monkeypatch.setattr(_apply, "_stage", save_first)
    said = call("apply", "plan.yaml", "--write", status=1).output
    assert "Nothing was written" in said
    assert path.read_text() == "MIN_SCORE = 0.9\n"
    assert list(tmp_path.glob("params/*")) == []


# -- the public door that writes namespaces ------------------------------------------------------------------


def test_tables_keep_their_containers_and_kinds() -> None:
    assert table_schema([(0.5, 2, "A"), (-999, 1, "B")])["items"]["prefixItems"] == [
        {},
        {"type": "integer"},
        {"type": "string"},
    ]
    for value in ([(1, 2), (1,)], [[1], 2], [()]):
        with pytest.raises(ValidationError):
            table_schema(value)


def test_a_parameter_joins_a_namespace_that_is_there(tmp_path: Path) -> None:
    first = namespace_files(
        "risk", [Parameter(("cap",), 0.1, "number", 0.0, 0.2, "fraction", "Largest position.")]
    )
    both = (
        first["schemas/risk.schema.json"],
        first["params/risk.yaml"].replace(b"cap: 0.1", b"cap: 0.10  # mine"),
    )
    more = namespace_files("risk", [Parameter(("limits", "loss"), -0.02, "number")], existing=both)
    assert b"cap: 0.10  # mine" in more["params/risk.yaml"]
    for file, raw in more.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(raw)
    store = ParamStore(tmp_path)
    assert (store.get("risk.cap"), store.get("risk.limits.loss")) == (0.1, -0.02)
    assert store.spec("risk.cap").unit == "fraction"
