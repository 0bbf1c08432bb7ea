"""The threats of docs/security.md, one after the other; each row there names its test."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mutants import PYTEST, Mutant, planted, run_on, sample

from paramstore import ParamStore, _files, _sidecar
from paramstore._generation import Generation
from paramstore._read_counts import tally_of
from paramstore._schema_safe import MOST_CHARACTERS, why_slow
from paramstore._yaml import parse
from paramstore.errors import DocumentError, InvalidFileError, ParamstoreError, ValidationError, WriteError

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS / "faults"))
from plainstore import fast_folder, make_store, schema_of, text_of  # noqa: E402
from processes import together  # noqa: E402

KEY = "alpha.count"
QUICK_S = 0.025  # of processor time


@pytest.fixture
def root() -> Iterator[Path]:
    folder = fast_folder()
    yield make_store(folder / "store", ("alpha",))
    shutil.rmtree(folder)


def opened(root: Path) -> ParamStore:
    return ParamStore(root, environ={})


def commit(store: ParamStore, **words: Any) -> None:
    with store.transaction(**{"author": "me", **words}) as tx:
        tx[KEY] += 1


# --- keys are never paths -----------------------------------------------------------------------------

HOSTILE_KEYS = (
    "../outside.count",
    "../../outside.count",
    "/etc/passwd",
    "alpha/../../outside.count",
    "alpha.count\0",
    "a\0.b",
    "..",
    ".",
    "",
)


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_a_key_is_never_a_path(root: Path, key: str) -> None:
    for name in ("outside", "../outside"):  # what a key that leads out of the folders would find
        (root / "params" / f"../{name}.yaml").write_bytes(text_of("outside", 1))
        (root / "schemas" / f"../{name}.schema.json").write_text(json.dumps(schema_of("outside")))
    store = opened(root)
    asked: list[Callable[[], Any]] = [
        lambda: store.get(key), lambda: store.spec(key), lambda: store.explain(key), lambda: store.blame(key),
        lambda: store.history(key) if key else store.get(key), lambda: store.live(key), lambda: store.rollback(0, author="me", keys=key),
        lambda: store.freeze(key, author="me", reason="x"), lambda: store.transaction(author="me").__enter__().set(key, 1),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises((ParamstoreError, ValueError)):
            ask()


# --- what a schema may do -----------------------------------------------------------------------------


def with_leaf(root: Path, leaf: dict[str, Any], value: str) -> Path:
    raw = schema_of("alpha")
    raw["properties"]["values"]["properties"]["word"] = leaf
    (root / "schemas/alpha.schema.json").write_text(json.dumps(raw))
    text = text_of("alpha", 10).decode().rstrip("\n") + f"\n  word: {value}\n"
    (root / "params/alpha.yaml").write_text(text)
    return root


SLOW = (
    "^(a+)+$",
    "(a|a)*$",
    "^(a|aa)+$",
    "a*a*a*a*b",
    "(?:(?:(?:){65535}){65535}){65535}",
    "^([a-z]+-?)*$",
    "(a?){30}a{30}",
    "(" * 400,
)


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_could_search_for_ever_is_refused(root: Path, pattern: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidFileError, match=r"pattern|regular|regex"):
        opened(with_leaf(root, {"type": "string", "pattern": pattern}, "a" * 40 + "!")).get(KEY)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "pattern",
    ["^[A-Z]{3,10}$", "^[A-Z]+-[A-Z]+$", r"^\d{2}:\d{2}$", "^(BTC|ETH)-USDT$", "^(?:[A-Z]{3}-){1,5}$", "x"],
)
def test_patterns_that_people_write_are_allowed(pattern: str) -> None:
    assert why_slow(pattern) == ""


def test_a_text_too_long_for_a_pattern_is_refused(root: Path) -> None:
    store = opened(
        with_leaf(root, {"type": "string", "pattern": "^[ab]*$", "x-param": {"learnable": True}}, "ab")
    )
    with (
        pytest.raises(ValidationError, match="no pattern is held against"),
        store.transaction(author="me") as tx,
    ):
        tx["alpha.word"] = "a" * (MOST_CHARACTERS + 1)
    store.reset()


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:9/x", "file:///etc/passwd", "other.schema.json", "urn:x"]
)
@pytest.mark.parametrize("place", ["leaf", "top", "dimension"])
def test_no_reference_leads_out_of_a_schema(root: Path, target: str, place: str) -> None:
    raw = schema_of("alpha")
    inner = {"leaf": raw["properties"]["values"]["properties"]["count"], "top": raw}
    inner["dimension"] = raw["properties"]["overrides"]["items"]["properties"]["at"]["properties"]["symbol"]
    inner[place]["$ref"] = target
    (root / "schemas/alpha.schema.json").write_text(json.dumps(raw))
    with pytest.raises(InvalidFileError, match="is not followed"):
        opened(root).get(KEY)


# --- what YAML may do ---------------------------------------------------------------------------------

BOMBS = {
    "tag": b"a: !!python/object/apply:os.system [ls]\n",
    "aliases": b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "deep": b"a: " + b"[" * 100_000,
    "a huge scalar": b"a: " + b"x" * 4_000_000 + b"\n",
    "a huge quoted scalar": b'a: "' + b"x" * 4_000_000 + b'"\n',
    "a huge number": b"a: " + b"9" * 200_000 + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_yaml_that_does_harm_is_refused_at_once(name: str) -> None:
    times = []
    for _ in range(3):
        began = time.process_time()
        with pytest.raises(DocumentError):
            parse(BOMBS[name], "x.yaml")
        times.append(time.process_time() - began)
    assert min(times) < QUICK_S


def test_integers_of_thousands_of_digits_are_told(root: Path) -> None:
    with pytest.raises(ValidationError), opened(root).transaction(author="me") as tx:
        tx[KEY] = 10**5000
    schema = root / "schemas/alpha.schema.json"
    schema.write_text(schema.read_text().replace("1000000000", "9" * 5000))
    with pytest.raises(InvalidFileError, match="is not JSON"):
        opened(root).get(KEY)


# --- who may write ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "params", "schemas", ".paramstore", "params/journal"])
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_folder_that_every_user_may_write_to_is_refused(root: Path, folder: str, mode: int) -> None:
    running = opened(root)
    commit(running)
    assert running.get(KEY) == 11
    place = root / folder if folder else root
    place.chmod(mode)
    with pytest.raises(InvalidFileError, match=f"chmod o-w {place}"):
        opened(root).get(KEY)
    with pytest.raises(WriteError, match=f"chmod o-w {place}.*Nothing was written; revision 1 stands"):
        commit(running)
    assert running.get(KEY) == 11  # who runs already goes on with what was good
    place.chmod(0o775)  # a group is trusted: somebody made it
    assert opened(root).get(KEY) == 11
    running.reset()


@pytest.mark.parametrize("file", ["params/alpha.yaml", "schemas/alpha.schema.json"])
def test_a_file_that_every_user_may_write_to_is_refused(root: Path, file: str) -> None:
    (root / file).chmod(0o666)
    with pytest.raises(InvalidFileError, match="chmod o-w"):
        opened(root).get(KEY)


@pytest.mark.parametrize("journal", ["params/journal", "params/journal.jsonl"])
def test_a_journal_that_every_user_may_write_to_is_refused(root: Path, journal: str) -> None:
    words = {"PARAMSTORE_JOURNAL": journal}
    running = ParamStore(root, environ=words)
    commit(running)
    assert running.get(KEY) == 11
    place = root / journal
    segment = place if place.is_file() else place / "00000001.jsonl"
    segment.chmod(0o666)
    with pytest.raises(InvalidFileError, match=f"chmod o-w {segment}"):
        ParamStore(root, environ=words).get(KEY)
    with pytest.raises(WriteError, match=f"chmod o-w {segment}.*Nothing was written; revision 1 stands"):
        commit(running)
    file = root / "params/alpha.yaml"
    file.write_text(file.read_text().replace("count: 11", "count: 12"))
    time.sleep(1.0)  # long enough to look at the files, and for the edit to have rested
    assert running.get(KEY) == 11  # who runs already goes on with what was good
    assert ParamStore(root, environ={**words, "PARAMSTORE_ANY_USER_MAY_WRITE": "1"}).get(KEY) == 12
    segment.chmod(0o664)
    assert ParamStore(root, environ=words).get(KEY) == 12
    running.reset()


@pytest.mark.parametrize("shared", [True, False])
def test_no_umask_makes_what_every_user_may_write(root: Path, shared: bool) -> None:
    """Not even for the moment before it is shared, which takes such a permission away once more."""

    def work() -> None:
        os.umask(0)
        if not shared:
            _files._ANYONE_WRITES = 0
        store = ParamStore(root, environ={"PARAMSTORE_READ_COUNTS": "1"})
        for _ in range(2):
            commit(store)
        with store.transaction(author="idle") as tx:
            tx[KEY] = 12  # which it is
        assert store.get(KEY) == 12
        assert tally_of(str(root)).flush(2.0)

    together(work)
    made = [root / ".paramstore", *(root / ".paramstore").rglob("*"), *(root / "params").rglob("*")]
    names = {path.name for path in made}
    assert names >= {
        "cache",
        "generation",
        "lock",
        "attempts.json",
        "reads.json",
        "reads.lock",
        "00000001.jsonl",
    }
    assert {path.name: oct(path.stat().st_mode) for path in made if path.stat().st_mode & 0o002} == {}


def test_what_is_shared_is_taken_from_every_user(root: Path) -> None:
    (file := root / "made").write_text("")
    file.chmod(0o666)
    with file.open() as stream:
        _files.share(stream.fileno(), str(root))
    assert file.stat().st_mode & 0o006 == 0o004


def forged(root: Path) -> Path:
    """Have the cache, with a right checksum, say what no file does."""
    commit(opened(root))
    (cache := root / ".paramstore/cache").unlink(missing_ok=True)
    assert opened(root).get(KEY) == 11
    data = _sidecar.load(str(cache))
    document = list(data["documents"]["alpha"])
    document[3]["count"] = 999
    data["documents"]["alpha"] = tuple(document)
    _sidecar.save(str(cache), data)
    return cache


def test_a_cache_that_every_user_may_write_is_not_believed(root: Path) -> None:
    cache = forged(root)
    assert opened(root).get(KEY) == 999  # else nothing is shown below
    cache.chmod(0o666)
    assert opened(root).get(KEY) == 11
    assert cache.stat().st_mode & 0o002 == 0  # written anew


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_cache_of_a_stranger_is_not_believed(root: Path) -> None:
    cache = forged(root)
    for owner, group, mode, believed in (
        (4321, 0, 0o644, False),
        (4321, 4321, 0o664, False),
        (4321, 0, 0o664, True),
    ):
        cache.parent.chmod(0o775)
        os.chown(cache, owner, group)
        cache.chmod(mode)
        assert (_sidecar.load(str(cache)) is not None) == believed, (owner, group, oct(mode))


def test_a_signal_that_every_user_may_write_is_not_mapped_and_made_anew(root: Path) -> None:
    early = opened(root)
    commit(early)
    assert early.get(KEY) == 11
    (signal := root / ".paramstore/generation").chmod(0o666)
    with pytest.raises(OSError, match="every user may write"):
        Generation(str(signal))
    late = opened(root)
    for number in range(2):
        assert late.get(KEY) == early.get(KEY) == 11 + number
        together(lambda: commit(opened(root)))
        assert signal.stat().st_mode & 0o002 == 0
    assert late.get(KEY) == early.get(KEY) == 13
    Generation(str(signal))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_folder_of_a_stranger_is_refused(root: Path) -> None:
    os.chown(root / "params", 4321, -1)
    with pytest.raises(InvalidFileError, match="belongs to user 4321"):
        opened(root).get(KEY)
    os.chown(root, 4321, -1)  # the whole store is theirs, and somebody named it
    assert opened(root).get(KEY) == 10


def test_links_in_the_place_of_run_time_files_are_refused(root: Path) -> None:
    elsewhere = root.parent / "elsewhere"
    elsewhere.mkdir()
    (root / ".paramstore").symlink_to(elsewhere)
    with pytest.raises(InvalidFileError, match="symbolic link"):
        opened(root).get(KEY)
    assert list(elsewhere.iterdir()) == []
    (root / ".paramstore").unlink()
    (root / ".paramstore").mkdir()
    (elsewhere / "precious").write_text("kept")
    (root / ".paramstore/lock").symlink_to(elsewhere / "precious")
    with pytest.raises(WriteError, match="symbolic link"):
        commit(opened(root))
    assert (elsewhere / "precious").read_text() == "kept"


def test_a_hard_link_to_a_values_file_keeps_the_old_bytes(root: Path) -> None:
    os.link(root / "params/alpha.yaml", root / "other-name")
    old = (root / "other-name").read_bytes()
    commit(opened(root))
    assert (root / "other-name").read_bytes() == old != (root / "params/alpha.yaml").read_bytes()


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o664])
def test_mode_and_group_of_a_file_stay_over_a_commit(root: Path, mode: int) -> None:
    file = root / "params/alpha.yaml"
    if os.geteuid() == 0:
        os.chown(file, 1234, 2345)
    file.chmod(mode)
    before, mask = file.stat(), os.umask(0o077)
    try:
        commit(opened(root))
    finally:
        os.umask(mask)
    after = file.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


# --- what people and learners say ---------------------------------------------------------------------


def test_no_author_or_reason_makes_a_line_of_the_journal(root: Path) -> None:
    text = 'x\n{"v":1}\r\u2028\x1b[2J\x85"'
    store = opened(root)
    commit(store, author=text, reason=text)
    raw = b"".join(path.read_bytes() for path in (root / "params/journal").iterdir())
    assert raw.isascii() and raw.count(b"\n") == 2 == len(raw.splitlines()) and b"\x1b" not in raw
    assert store.history()[-1].reason == text
    said = subprocess.run(
        [sys.executable, "-m", "paramstore", "--root", str(root), "history"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "\x1b" not in said and len(said.splitlines()) == 3
    store.reset()


# --- source is only parsed ----------------------------------------------------------------------------

COMMANDS = ("stubs", "stubs --check", "doctor --source .", "check", "migrate scan .", "migrate apply plan.yaml --write",
            "migrate verify plan.yaml", "migrate lint .", "migrate revert plan.yaml --write")  # fmt: skip


def test_no_command_runs_the_source_that_it_reads(root: Path) -> None:
    trap = f"open({str(root / 'ran')!r}, 'w')\nMIN_SCORE = 0.3\ndef f():\n    return MIN_SCORE\n"
    for name in ("bot.py", "conftest.py", "sitecustomize.py", "alpha.py", "paramstore.py", "__init__.py"):
        (root / name).write_text(trap)
    for command in COMMANDS:
        run = "import sys; from paramstore.cli import main; sys.path.insert(0, ''); sys.argv[1:] = sys.argv[2:]; main()"
        done = subprocess.run(
            [sys.executable, "-P", "-c", run, "paramstore", *command.split()],
            cwd=root, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), (command, done.stderr)
        assert not (root / "ran").exists(), f"{command} ran the source that it reads"
    assert "MIN_SCORE" in (root / "plan.yaml").read_text()


# --- the table, and the checks themselves -------------------------------------------------------------


def test_each_threat_has_a_test_that_exists() -> None:
    text = (TESTS.parent / "docs/security.md").read_text()
    for file, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        assert f"def {test}(" in (TESTS.parent / file).read_text(), f"{file} has no {test}"
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    rows = rows[rows.index("| threat | answer | test |") + 1 :]
    assert len(rows) >= 15
    for row in rows:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", row), row


PLANTED = {
    Mutant("patterns are not looked at", "_schema_safe.py", "    if ways > MOST_WAYS:", "    if False:"): "test_a_pattern_that_could_search_for_ever_is_refused",
    Mutant("long lines are parsed", "_yaml.py", "    if longest > MAX_LINE:", "    if False:"): "test_yaml_that_does_harm_is_refused_at_once",
    Mutant("anybody may write", "_trust.py", "    if mode & ANYONE:", "    if False:"): "test_a_folder_that_every_user_may_write_to_is_refused",
    Mutant("a mode is not kept", "_files.py", "        os.fchmod(fd, like.st_mode & 0o7777)", "        pass"): "test_mode_and_group_of_a_file_stay_over_a_commit",
    Mutant("source is imported to be read", "_sources.py", "            tree = ast.parse(raw)\n", "            exec(raw, {})\n            tree = ast.parse(raw)\n"): "test_no_command_runs_the_source_that_it_reads",
    Mutant("a forged cache is believed", "_sidecar.py", "if not is_ours(file.fileno(), path):", "if False:"): "test_a_cache_that_every_user_may_write_is_not_believed",
    Mutant("the umask decides who may write", "_sidecar.py", '"xb", opener=closed', '"xb"'): "test_no_umask_makes_what_every_user_may_write",
    Mutant("the lock follows links", "_files.py", "os.O_RDWR | os.O_NOFOLLOW", "os.O_RDWR"): "test_links_in_the_place_of_run_time_files_are_refused",
}  # fmt: skip


@pytest.mark.parametrize(("mutant", "test"), sample(PLANTED.items()), ids=lambda it: getattr(it, "name", ""))
def test_the_checks_catch_a_planted_bug(mutant: Mutant, test: str, tmp_path: Path) -> None:
    place = planted(tmp_path, mutant)
    words = (*PYTEST, "-x", f"{__file__}::{test}")
    # a pattern that does search for ever is caught by the end of patience
    patience_s = 6 if "patterns" in mutant.name else 120
    try:
        assert run_on(place, *words, timeout_s=patience_s).returncode == 1
    except subprocess.TimeoutExpired:
        assert "patterns" in mutant.name
