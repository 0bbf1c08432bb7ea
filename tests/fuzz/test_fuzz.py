"""Damaged input, small: only our errors come out, nothing that was refused is changed, no byte but the edited ones differs.

``scripts/proof fuzz``, ``scripts/proof edits`` and ``scripts/proof doors`` are the long runs.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import doors
import edits
import fuzz_store
import fuzzing
import targets

from paramstore import _records
from paramstore.errors import ParamstoreError

INPUTS = int(os.environ.get("FUZZ_INPUTS", "12000"))
EDITS = int(os.environ.get("FUZZ_EDITS", "400"))
STORES = int(os.environ.get("FUZZ_STORES", "60"))
GENEROUS_S = 2.0  # one input is meant to take a tenth of a second at most; a busy machine takes longer


@pytest.mark.parametrize("part", range(4))
def test_only_our_errors_come_out(part: int) -> None:
    outcome = fuzzing.run(INPUTS // 4, 1 + part * INPUTS)
    assert not outcome.violations, "\n".join(outcome.violations[:5])
    assert outcome.slowest_s < GENEROUS_S, outcome.slowest
    assert set(outcome.accepted) == set(targets.TARGETS), (
        "a target refuses whatever it is given, so it proves nothing"
    )


def test_no_foreign_byte_differs() -> None:
    wrong = [said for seed in range(EDITS) if (said := edits.problem(seed))]
    assert not wrong, wrong[0]


def test_a_damaged_file_in_a_whole_store() -> None:
    assert doors.main(STORES, 1) == 0


@given(
    st.randoms(use_true_random=False),
    st.sampled_from(["values", "schema", "sealed_journal", "plan", "merge"]),
)
@settings(max_examples=60, deadline=None)
def test_structured_damage(dice: random.Random, name: str) -> None:
    """The same by hypothesis, which makes what it finds as small as it can."""
    from damage import damaged

    raw = damaged(dice, targets.SEEDS[name]())
    with suppress(ParamstoreError):
        targets.TARGETS[name](raw)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    targets.work_in(tmp_path)


def _journal_line(old: bytes, new: bytes) -> bytes:
    assert fuzz_store.ENTRIES.count(old)
    return fuzz_store.ENTRIES.replace(old, new, 1)


def _schema_with(old: bytes, new: bytes) -> bytes:
    schema = json.dumps(json.loads(fuzz_store.SCHEMA), separators=(",", ":")).encode()
    assert schema.count(old)
    return schema.replace(old, new, 1)


HASHES = b'"files":{"params/risk.yaml":{"before":"' + b"a" * 64 + b'"'
FOUND = {
    "a revision of thousands of digits": ("sealed_journal", lambda: _journal_line(b'"revision":2', b'"revision":' + b"9" * 5000)),
    "an id that is no name": ("sealed_journal", lambda: _journal_line(b'"id":"id00000000000003"', b'"id":"a\\u0000b"')),
    "a file outside of the store": ("sealed_journal", lambda: _journal_line(b"params/risk.yaml", b"../../risk.yaml")),
    "a revision that begins with zeros": ("sealed_journal", lambda: _journal_line(b'"revision":2', b'"revision":002')),
    "hashes under another name": ("sealed_journal", lambda: _journal_line(HASHES, HASHES.replace(b"before", b"beforu"))),
    "an aborted entry without a name": ("sealed_journal", lambda: _journal_line(b'"aborts":"id00000000000003"', b'"aborts":[]')),
    "overridden rules that are no list": ("sealed_journal", lambda: _journal_line(b'"overrode":["cooldown_s"]', b'"overrode":1')),
    "an entry nested beyond what JSON reads": (
        "sealed_journal", lambda: _journal_line(b'"samples":812', b'"samples":' + b"[" * 5000 + b"]" * 5000),
    ),
    "changes of a freeze that are none": (
        "sealed_journal",
        lambda: _journal_line(b'"changes":[],"files":{},"details":{"pattern":"risk.*","until"', b'"changes":["boot",15.5],"files":{},"details":{"pattern":"risk.*","until"'),
    ),
    "a context that is a list": ("sealed_journal", lambda: _journal_line(b'"symbol":"BTC"', b'"symbol":["BTC"]')),
    "a key that is no JSON": ("sealed_journal", lambda: _journal_line(b'"key":"risk.fraction"', b'"key":"risk.\\q"')),
    "a value nested too deep": ("sealed_journal", lambda: _journal_line(b'"new":0.12', b'"new":' + b"[" * 900 + b"]" * 900)),
    "a checksum in other letters": ("join", lambda: fuzz_store.ENTRIES.replace(b'"crc":"191890dd"', b'"crc":"191890Dd"')),
    "a schema with a deep default": ("schema", lambda: _schema_with(b'"default":[]', b'"default":' + b"[" * 500 + b"]" * 500)),
    "a schema with a default of hundreds of digits": ("schema", lambda: _schema_with(b'"default":0.5', b'"default":' + b"9" * 400)),
    "settings nested beyond what TOML reads": ("settings", lambda: b"timeout_s = " + b"[" * 3000),
    "a plan with a list as a key": ("plan", lambda: targets.SEEDS["plan"]()[0].replace(b"root:", b"[a]: 1\n[b]: 2\n? [c]\n: {[d]: 1}\nroot:")),
    "a record that names a directory": ("applied", lambda: targets.SEEDS["applied"]()[0].replace(b"bot.py", b".")),
    "a record with a name that is too long": ("applied", lambda: targets.SEEDS["applied"]()[0].replace(b"bot.py", b"9" * 5000)),
}  # fmt: skip


@pytest.mark.parametrize(("target", "raw"), FOUND.values(), ids=FOUND)
def test_what_was_found_is_refused(target: str, raw: Callable[[], bytes]) -> None:
    with suppress(ParamstoreError):
        targets.TARGETS[target](raw())


def test_a_long_first_line_of_values_is_read_at_once() -> None:
    begun = time.process_time()
    targets.shown(b"# yaml-language-server: $schema=" + b"x" * 20_000 + b"\n" + fuzz_store.TEXT)
    assert time.process_time() - begun < 1  # it took minutes


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (b"[" * 500, "is not YAML: nested deeper than 32 levels"),  # which took a second and a half
        (b"[" * 500 + b"]" * 500, r"`literal` must be text, not \[{57}…"),
        (b"&a [x, x]\n  note: *a", "is not YAML: anchors and aliases"),
        (b"*a", "is not YAML: anchors and aliases"),
    ],
)
def test_a_plan_that_would_take_long_to_read_or_to_show(new: bytes, problem: str) -> None:
    raw = targets.SEEDS["plan"]()[0]
    assert raw.count(b'literal: "0.30"')
    with pytest.raises(ParamstoreError, match=problem):
        targets.plan(raw.replace(b'literal: "0.30"', b"literal: " + new, 1))


def test_a_group_that_became_a_list_is_merged() -> None:
    targets.merge(fuzz_store.TEXT.replace(b"  tiers:\n", b"  tiers:\n  - at:\n", 1))


def test_evidence_of_a_commit_may_have_any_name() -> None:
    line = fuzz_store.journal_of(1).replace(b'"samples":812', b'"aborts":3')
    assert _records.parse(targets._sealed(line)) is not None
